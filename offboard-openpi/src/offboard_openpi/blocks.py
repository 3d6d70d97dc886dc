"""What the codecs of this package share, beyond core's building blocks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from offboard_client.errors import BadObservation, LoadFailed, brief
from offboard_core.codecs import LetterboxImage
from offboard_core.types import Checkpoint, Codec, CodecMeta, Field, Observation

from .families import PROMPT

#: What openpi's image transform scales to; the same here, so that less crosses the wire.
SIZE = (224, 224)


def camera(name: str, source: str) -> Codec:
    """One of openpi's images, of a robot's."""
    return LetterboxImage(name=name, source=source, size=SIZE)


@dataclass(frozen=True, kw_only=True)
class Prompt(Codec):
    """Hands the instruction ``task`` to openpi as ``prompt``, without which its policies answer nothing."""

    required: bool = True

    @property
    def meta(self) -> CodecMeta:
        """Reads a text."""
        return CodecMeta(observation={"task": Field(shape=(), dtype="str", required=self.required)})

    def encode(self, observation: Observation) -> dict[str, Any]:
        """See :meth:`Codec.encode`."""
        task = observation.get("task")
        if task is None and not self.required:
            return {}
        if not isinstance(task, str) or not task.strip():
            raise BadObservation(f"task is {brief(task)}, expected the instruction as text: openpi's policies need one")
        return {PROMPT: task}


def check_fit(codec: str, makes: Mapping[str, tuple[int, ...] | None], takes: int, checkpoint: Checkpoint) -> None:
    """Raises LoadFailed if the checkpoint's config takes what the codec does not make, or in another width.

    ``makes``: model input → its shape, None for an image. ``takes``: numbers per step that the codec decodes. A config
    that nobody knows takes and answers anything.
    """
    # What to do comes first: openpi's client shows no more than the first hundred characters of a refusal.
    both = "choose another --codec, or the --config-name that it was trained with: "
    answered = checkpoint.outputs.get("action")
    if answered is not None and answered.shape != (takes,):
        raise LoadFailed(
            f"{both}the codec openpi.{codec} does not fit the config {checkpoint.extras.get('config_name')}, which "
            f"answers actions of {answered.shape}; the codec decodes {takes} numbers"
        )
    for name, declared in checkpoint.inputs.items():
        if name == "task" or not declared.required:
            continue
        config = checkpoint.extras.get("config_name")
        if name not in makes:
            raise LoadFailed(
                f"{both}the codec openpi.{codec} does not fit the config {config}, which takes {name}; the codec makes "
                f"{', '.join(makes)}"
            )
        shape = makes[name]
        if shape is not None and declared.shape is not None and -1 not in declared.shape and shape != declared.shape:
            raise LoadFailed(
                f"choose another --codec: openpi.{codec} does not fit the checkpoint {checkpoint.id}: it makes {name} "
                f"{shape}, and the checkpoint was trained with {declared.shape}"
            )
