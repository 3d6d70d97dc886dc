"""A codec whose two sides differ in everything, and a model for it."""

from typing import Any

import numpy as np
from offboard_core import Chunk, Codec, CodecEntry, CodecMeta, hookimpl


class Halves(Codec):
    """A codec that halves the picture, hands on the joints in degrees, and makes radians of what is answered."""

    @property
    def meta(self) -> CodecMeta:
        return CodecMeta(action_fps=10.0)

    def encode(self, observation: Any) -> dict[str, Any]:
        return {
            "pixels": observation["image.wrist"][::2, ::2],
            "degrees": np.degrees(observation["robot_state.q"]),
            "words": observation["task"],
        }

    def decode(self, chunk: Chunk, observation: Any) -> Chunk:
        assert not isinstance(chunk.action, dict)
        return Chunk({"target_joints": np.radians(chunk.action)}, np.arange(len(chunk)) / 10)


class Plugin:
    @hookimpl
    def offboard_codecs(self) -> Any:
        yield CodecEntry(name="halves", summary="Halves.", factory=lambda *_: Halves())


def think(_: Any, inputs: Any) -> Chunk:
    if inputs["degrees"][0] > 300:
        raise ValueError("out of reach")
    return Chunk(np.stack([inputs["degrees"] + step for step in range(3)]))
