"""A server whose model speaks of motors, for LeRobot's policies of the types ``offboard`` and ``pi05_websocket``."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from offboard_core import Chunk, Codec, CodecEntry, CodecMeta, Field, InferContext, InferenceServer, hookimpl
from puppets import Puppet, PuppetSession, source

PACKAGE = Path(__file__).parent / "third_party" / "lerobot_robot_trial"
MOTORS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")
#: In another order than the robot has them.
TURNED = ("gripper", *MOTORS[:5])
SIDE, FPS, STEPS = 64, 30.0, 4


def install(site: Path) -> Path:
    """The trial arm's package, with the metadata by which LeRobot finds it."""
    site.mkdir(exist_ok=True)
    shutil.copytree(PACKAGE, site / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    info = site / f"{PACKAGE.name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {PACKAGE.name}\nVersion: 1.0\n")
    return site


def image_field() -> Field:
    return Field(shape=(SIDE, SIDE, 3), dtype="uint8", unit="RGB")


def native() -> CodecMeta:
    """A checkpoint's own names."""
    return CodecMeta(
        observation={
            "observation.state": Field(shape=(6,), dtype="float32"),
            "observation.images.front": image_field(),
            "task": Field(dtype="str", required=False),
        },
        action={"action": Field(shape=(6,), kind="vector")},
    )


def motors(names: tuple[str, ...] = MOTORS, unit: str = "degrees; the gripper 0 to 100") -> CodecMeta:
    """As ``lerobot.motors`` declares it."""
    return CodecMeta(
        observation={
            "motors": Field(shape=(len(names),), dtype="float32", unit=unit),
            "image.front": image_field(),
            "task": Field(dtype="str", required=False),
        },
        action={"target_motors": Field(shape=(len(names),), unit=unit, kind="vector")},
        conventions={"motors": ", ".join(names)},
        action_fps=FPS,
    )


class Said(Codec):
    """Declares this, and changes nothing; the rows have the rate's times."""

    def __init__(self, meta: CodecMeta) -> None:
        self._meta = meta

    @property
    def meta(self) -> CodecMeta:
        return self._meta

    def encode(self, observation: Mapping[str, Any]) -> dict[str, Any]:
        return dict(observation)

    def decode(self, chunk: Chunk, observation: Mapping[str, Any]) -> Chunk:
        fps = self._meta.action_fps
        return chunk if fps is None else Chunk(chunk.action, np.arange(len(chunk)) / fps)

    def encode_actions(self, chunk: Chunk, observation: Mapping[str, Any]) -> Chunk:
        return chunk


class _Codecs:
    def __init__(self, meta: CodecMeta) -> None:
        self.meta = meta

    @hookimpl
    def offboard_codecs(self) -> Any:
        yield CodecEntry(name="said", summary="As it is said.", factory=lambda options, checkpoint: Said(self.meta))


def served(answer: Callable[[PuppetSession, Mapping[str, Any]], Any], meta: CodecMeta, **more: Any) -> InferenceServer:
    """A server of one model that declares this, and answers so."""
    made = more.pop("puppet", None) or Puppet(answer, **more)
    return InferenceServer({"": source({"m": lambda: made}, codec="said", plugin=_Codecs(meta))}, port=0)


def onward(name: str, answer: str) -> Callable[[PuppetSession, Mapping[str, Any]], Chunk]:
    """From the vector ``name`` on, a tenth farther with each of its :data:`STEPS` steps, as ``answer``."""

    def infer(_: PuppetSession, inputs: Mapping[str, Any]) -> Chunk:
        here = np.asarray(inputs[name], np.float64)
        return Chunk({answer: (here + np.arange(1, STEPS + 1)[:, None] / 10).astype(np.float32)})

    return infer


class _TellingSession(PuppetSession):
    def infer(self, inputs: Mapping[str, Any], context: InferContext) -> Chunk:
        self.policy.told.append(context)  # type: ignore[attr-defined]
        here = np.asarray(inputs["motors"], np.float64)[None]
        left = here[:0] if context.prefix is None else np.asarray(context.prefix.columns()["target_motors"], np.float64)
        last = left[-1:] if len(left) else here
        more = last + np.arange(1, 4 * STEPS + 1 - len(left))[:, None] / 10
        return Chunk({"target_motors": np.concatenate([left, more]).astype(np.float32)})


class RTCPuppet(Puppet):
    """Goes on from what is not played yet, a tenth farther with each step. ``told``: what it was told each time."""

    context = frozenset({"prefix", "delay_steps"})

    def __init__(self) -> None:
        super().__init__()
        self.told: list[InferContext] = []

    def new_session(self, params: Any) -> PuppetSession:
        self.episodes.append(_TellingSession(self, params))
        return self.episodes[-1]
