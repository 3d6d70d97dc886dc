"""What GR00T may see, and what may leave it. It takes NaN itself without a word, and answers NaN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from offboard_client.errors import BadObservation, InvalidAction, brief
from offboard_client.wire import WireLimits
from offboard_core.types import Array, Checkpoint, Field, is_array

from .generation import Generation
from .modality import Modalities

#: The side of a synthetic image, for the generations that scale every size themselves.
_SIDE = 224
#: Numbers of a step at most; no GR00T has more than 132.
_WIDEST = 1024
#: Where an instruction may stand besides the model's own keys.
_TASK, _ANNOTATION = "task", "annotation."


def fields(modalities: Modalities) -> tuple[dict[str, Field], dict[str, Field]]:
    """What a model reads and what it answers, in offboard's names. A width that nobody knows is -1."""
    sizes, widths = modalities.image_sizes, modalities.widths
    inputs = {
        f"video.{camera}": Field(shape=(*(sizes.get(camera, (-1, -1))[::-1]), 3), dtype="uint8", unit="RGB")
        for camera in modalities.video
    }
    inputs |= {f"state.{g}": Field(shape=(widths.get(f"state.{g}", -1),), dtype="float32") for g in modalities.state}
    if modalities.instruction is not None:
        inputs[modalities.instruction] = Field(shape=(), dtype="str")
    outputs = {f"action.{g}": Field(shape=(widths.get(f"action.{g}", -1),), kind="vector") for g in modalities.action}
    return inputs, outputs


def known(checkpoint: Checkpoint, modalities: Modalities, **facts: Any) -> Checkpoint:
    """The checkpoint, as codecs and the handshake see a model of these modalities; ``facts``: what else is known."""
    inputs, outputs = fields(modalities)
    kinds = {name: kind.representation for name, kind in modalities.kinds.items()}
    return replace(
        checkpoint,
        inputs=inputs,
        outputs=outputs,
        chunk_length=modalities.horizon,
        extras={**checkpoint.extras, **facts, **({"representations": kinds} if kinds else {})},
    )


class AnotherModel(InvalidAction):
    """An answer has other widths than those before it: it is another model's, with the same names."""


class Checks:
    """The checks of one embodiment. ``history_steps``: which earlier frames it wants, in steps, oldest first.

    ``sim_wrapper``: the server takes and answers the names of GR00T's simulators (``--use-sim-policy-wrapper``).
    """

    def __init__(self, modalities: Modalities, generation: Generation, sim_wrapper: bool = False) -> None:
        self.modalities = modalities
        self.generation = generation
        self._sim_wrapper = sim_wrapper
        self._answered: Mapping[str, int] = {}
        self._names = [f"video.{camera}" for camera in modalities.video] + [f"state.{g}" for g in modalities.state]
        self.history_steps = tuple(sorted({f for f in (*modalities.frames, *modalities.state_frames) if f < 0}))

    def inputs(self, inputs: Mapping[str, Any], history: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
        """The observation that this generation takes, of what a codec made. Raises BadObservation.

        ``inputs``: ``video.CAM`` (H, W, 3) uint8, ``state.GROUP`` (D,), and the instruction as a text. ``history``: the
        same of the moments in ``history_steps``.
        """
        if len(history) != len(self.history_steps):
            raise BadObservation(self._no_history())
        moments = {step: self._frame(frame) for step, frame in zip(self.history_steps, history, strict=True)}
        moments[0] = self._frame(inputs)
        stacked = {
            name: _stacked(
                name,
                [
                    moments[step][name]
                    for step in (self.modalities.frames if name.startswith("video.") else self.modalities.state_frames)
                ],
            )
            for name in self._names
        }
        text = self._instruction(inputs)
        if self.generation is Generation.N1_5:
            return {**stacked, **{key: [text] for key in self.modalities.language}}
        stacked = {name: value[None] for name, value in stacked.items()}
        if self._sim_wrapper:
            return {**stacked, **{key: [text] for key in self.modalities.language}}
        return {
            "video": {camera: stacked[f"video.{camera}"] for camera in self.modalities.video},
            "state": {group: stacked[f"state.{group}"] for group in self.modalities.state},
            # It reads the first; its own check wants all of them.
            "language": {key: [[text]] for key in self.modalities.language},
        }

    def columns(self, reply: Mapping[str, Any]) -> dict[str, Array]:
        """The groups of an answer, ``action.GROUP`` → (T, D) float32. Raises InvalidAction, AnotherModel among it."""
        groups = {str(name).removeprefix("action."): value for name, value in reply.items()}
        wanted = self.modalities.action
        if len(groups) != len(reply) or groups.keys() != set(wanted):
            raise InvalidAction(
                f"GR00T answered {brief(', '.join(map(str, reply)) or 'nothing', 200)}, expected {', '.join(wanted)}; "
                "is --embodiment-tag the one that it was trained for?"
            )
        columns = {f"action.{group}": self._column(group, groups[group]) for group in wanted}
        # Of an attached server nobody knows the widths, and one that changes them is another model.
        self._answered = self._answered or {name: steps.shape[1] for name, steps in columns.items()}
        return columns

    def synthetic(self) -> dict[str, Any] | None:
        """An observation as :meth:`inputs` makes it, for the first inference; None where nobody knows its shapes."""
        sizes, widths = self.modalities.image_sizes, self.modalities.widths
        any_size = self.generation is not Generation.N1_5
        if any(f"state.{group}" not in widths for group in self.modalities.state) or (
            not any_size and any(camera not in sizes for camera in self.modalities.video)
        ):
            return None
        inputs: dict[str, Any] = {
            f"video.{camera}": np.zeros((*sizes.get(camera, (_SIDE, _SIDE))[::-1], 3), np.uint8)
            for camera in self.modalities.video
        }
        inputs |= {f"state.{group}": np.zeros(widths[f"state.{group}"], np.float32) for group in self.modalities.state}
        inputs[self.modalities.instruction or _TASK] = "warm up"
        return self.inputs(inputs, [inputs] * len(self.history_steps))

    def _frame(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        missing = [name for name in self._names if name not in inputs]
        if missing:
            raise BadObservation(
                f"the model takes {', '.join(self._names)}, and what it was to be sent lacks {', '.join(missing)}; it "
                f"holds {', '.join(sorted(map(str, inputs))) or 'nothing'}. Choose a codec that fits it (--codec)"
            )
        return {
            name: self._image(name, inputs[name]) if name.startswith("video.") else self._state(name, inputs[name])
            for name in self._names
        }

    def _image(self, name: str, value: Any) -> Array:
        if not is_array(value) or value.dtype != np.uint8 or value.ndim != 3 or value.shape[2] != 3 or not value.size:
            found = f"{value.shape} {value.dtype}" if is_array(value) else type(value).__name__
            raise BadObservation(f"{name} is {found}, expected an image (H, W, 3) uint8 RGB")
        size = self.modalities.image_sizes.get(name.removeprefix("video."))
        if size is not None and size != (value.shape[1], value.shape[0]):
            raise BadObservation(
                f"{name} is {value.shape[1]} x {value.shape[0]} pixels; the model was trained with "
                f"{size[0]} x {size[1]} and takes no other size (image_sizes)"
            )
        return value

    def _state(self, name: str, value: Any) -> Array:
        array = np.asarray(value)
        if array.ndim == 0:
            array = array.reshape(1)
        width = self.modalities.widths.get(name)
        if array.dtype.kind not in "iuf" or array.ndim != 1 or not array.size or (width or len(array)) != len(array):
            raise BadObservation(f"{name} is {array.shape} {array.dtype}, expected ({width or 'D'},) numbers")
        with np.errstate(over="ignore"):
            single = array.astype(np.float32, copy=False)
        if not np.isfinite(single).all():
            raise BadObservation(
                f"{name} holds numbers that are not finite; check the sensor or the estimator behind it"
            )
        return single

    def _instruction(self, inputs: Mapping[str, Any]) -> str:
        """The one text that is there: under the model's own key, else under another one that instructions have."""
        keys = self.modalities.language
        if not keys:
            return ""
        if keys[0] in inputs:
            found = {keys[0]: inputs[keys[0]]}
        else:
            found = {k: v for k, v in inputs.items() if k in keys or k == _TASK or k.startswith(_ANNOTATION)}
        texts = {value for value in found.values() if isinstance(value, str) and value.strip()}
        if len(texts) != 1 or not all(isinstance(value, str) for value in found.values()):
            said = ", ".join(f"{name} {brief(value, 40)}" for name, value in found.items()) or "none"
            raise BadObservation(
                f"expected one instruction, as task or as {keys[0]}, and what was sent has {said}: "
                "GR00T's models need one"
            )
        return texts.pop()

    def _column(self, group: str, value: Any) -> Array:
        name, horizon = f"action.{group}", self.modalities.horizon
        width = self.modalities.widths.get(name, self._answered.get(name))
        expected = f"({horizon}, {width or 'D'})"
        if not is_array(value) or value.dtype.kind not in "fiu":
            found = f"{value.shape} {value.dtype}" if is_array(value) else type(value).__name__
            raise InvalidAction(f"GR00T answered {group} as {found}, expected numbers {expected}")
        steps = value[0] if value.ndim == 3 and len(value) == 1 else value
        if self.generation is Generation.N1_5 and steps.ndim == 1 and width in (1, None):
            steps = steps[:, None]  # its later servers squeeze a group of one number
        if steps.ndim != 2 or len(steps) != horizon:
            raise InvalidAction(f"GR00T answered {group} {value.shape}, expected {expected}")
        if steps.shape[1] != (width or steps.shape[1]):
            kind = InvalidAction if name in self.modalities.widths else AnotherModel
            raise kind(f"GR00T answered {group} {value.shape}, expected {expected}")
        if not 0 < steps.shape[1] <= _WIDEST or horizon > WireLimits().chunk_steps:
            raise InvalidAction(f"GR00T answered {group} {value.shape}, which is no chunk of actions; is it GR00T?")
        with np.errstate(over="ignore"):
            single = steps.astype(np.float32)
        if not np.isfinite(single).all():
            step = int(np.argwhere(~np.isfinite(single))[0][0])
            raise InvalidAction(
                f"GR00T answered {group} with numbers that are not finite, from step {step} of {horizon}; nothing was "
                "sent. Usual causes: statistics of another data set, or a checkpoint that diverged"
            )
        return single

    def _no_history(self) -> str:
        ago = " and ".join(str(-step) for step in self.history_steps)
        return (
            f"the model looks at what was seen {ago} steps ago, too, and was told nothing of that: set --fps, so that "
            "its steps are seconds, and send offboard.history (meta.history says which)"
        )


def _stacked(name: str, frames: Sequence[Array]) -> Array:
    if len({frame.shape for frame in frames}) > 1:
        shapes = ", ".join(str(frame.shape) for frame in frames)
        raise BadObservation(f"{name} changed its shape between the frames that the model looks at: {shapes}")
    return np.stack(frames)
