"""What openpi may see, and what may leave it. openpi itself takes NaN, wrong widths and degrees without a word."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
from offboard_client.errors import BadObservation, InvalidAction, brief
from offboard_core.types import Array, is_array

from .families import PROMPT, Family, Vector

#: The side of a synthetic image, and what openpi scales every image to.
SIDE = 224
#: Steps of a chunk, and numbers of a step, at most. openpi's own configs have 50 and 32.
_LARGEST = (4096, 1024)
#: openpi adds 1e-6 to a range before it scales.
_ROUNDING = 2e-6


class Checks:
    """The checks of one config. ``family``: what it takes; None for a config that nobody here knows.

    An unknown config gets the generic checks: numbers are finite, images uint8, the prompt a text that is not empty.
    ``middles``: of the actions of the statistics that the checkpoint may be served with; see :func:`~.files.middles`.
    """

    def __init__(self, config: str, family: Family | None, middles: Sequence[Sequence[float]] = ()) -> None:
        self.config = config
        self.family = family
        self._middles = middles

    @property
    def kind(self) -> str:
        """For the handshake: which checks are made."""
        return "generic" if self.family is None else self.family.name

    def inputs(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """What of ``inputs`` openpi is sent. Raises BadObservation."""
        _check_prompt(inputs.get(PROMPT), required=self.family is not None and not self.family.default_prompt)
        if self.family is None:
            for name, value in _leaves(inputs):
                _check_finite(name, value)
            return dict(inputs)
        family = self.family
        wanted = [*family.vectors, *([family.nested] if family.nested else family.images)]
        missing = [name for name in wanted if name not in inputs and family.images.get(name, True)]
        if missing:
            raise BadObservation(
                f"the config {self.config} takes {', '.join(wanted)}, and what it was to be sent lacks "
                f"{', '.join(missing)}; it holds {', '.join(sorted(inputs)) or 'nothing'}. "
                f"Codecs that fit this config: {', '.join(family.codecs)} (--codec)"
            )
        sent = {name: _vector(name, inputs[name], vector) for name, vector in family.vectors.items()}
        sent |= self._images(inputs)
        return {**sent, **({PROMPT: inputs[PROMPT]} if inputs.get(PROMPT) is not None else {})}

    def _images(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        assert self.family is not None
        family, nested = self.family, self.family.nested
        if nested is None:
            return {name: _image(name, inputs[name], False) for name in family.images if name in inputs}
        given = inputs[nested]
        if not isinstance(given, Mapping):
            raise BadObservation(f"{nested} is a {type(given).__name__}, expected a map of camera names to images")
        images = cast("Mapping[str, Any]", given)
        unknown = sorted(set(images) - family.images.keys())
        missing = [name for name, required in family.images.items() if required and name not in images]
        if unknown or missing:
            raise BadObservation(
                f"{nested} holds {', '.join(sorted(map(str, images))) or 'nothing'}; the config {self.config} takes "
                f"{', '.join(family.images)}; required: {', '.join(n for n, r in family.images.items() if r)}"
            )
        return {nested: {name: _image(f"{nested}/{name}", image, True) for name, image in images.items()}}

    def actions(self, reply: Mapping[str, Any]) -> Array:
        """The (T, D) actions of openpi's reply. Raises InvalidAction."""
        actions = reply.get("actions")
        if not is_array(actions) or actions.dtype.kind not in "fiu" or actions.ndim != 2:
            found = f"{actions.shape} {actions.dtype}" if is_array(actions) else type(actions).__name__
            raise InvalidAction(f"openpi answered actions as {found}, expected numbers of shape (T, D)")
        if self.family is not None and actions.shape[1] != self.family.action_width:
            raise InvalidAction(
                f"openpi answered actions {actions.shape}, the config {self.config} has {self.family.action_width} "
                "per step; is --config-name the one that the checkpoint was trained with?"
            )
        if not actions.size:
            raise InvalidAction(f"openpi answered a chunk without numbers, {actions.shape}")
        if actions.shape[0] > _LARGEST[0] or actions.shape[1] > _LARGEST[1]:
            raise InvalidAction(
                f"openpi answered a chunk of {actions.shape}, and {_LARGEST} is the most; is it openpi?"
            )
        if not np.isfinite(actions).all():
            step = int(np.argwhere(~np.isfinite(actions))[0][0])
            raise InvalidAction(
                f"openpi answered numbers that are not finite, from step {step} of {len(actions)}; nothing was sent. "
                "Usual causes: statistics of another data set (asset id), or a checkpoint that diverged"
            )
        return actions

    def meant(self, actions: Array) -> Array:
        """``actions``, if the model meant them. Raises InvalidAction for what openpi answers if it understood nothing.

        Where pi0-FAST's tokens cannot be decoded, openpi goes on with zeros: each step is the middle of what the
        statistics hold, for an arm a pose in the middle of the room. Steps may have been made relative to the state;
        the last number, the gripper's, never is.
        """
        alike = len(actions) > 1 and bool((actions == actions[0]).all())
        last, column = float(actions[0, -1]), actions.shape[1] - 1
        middles: list[float] = [middle[column] for middle in self._middles if column < len(middle)]
        if alike and any(abs(last - middle) <= _ROUNDING * (1 + abs(middle)) for middle in middles):
            raise InvalidAction(
                "openpi could not decode what the model said, and answered the middle of its range in every step; "
                "nothing was sent: ask again. If it happens often, the checkpoint or its statistics do not fit the "
                "instruction and the cameras"
            )
        return actions

    def synthetic(self) -> dict[str, Any] | None:
        """An observation that this config takes, for the first inference; None where nobody knows what it takes."""
        family = self.family
        if family is None:
            return None
        shape = (3, SIDE, SIDE) if family.channels_first else (SIDE, SIDE, 3)
        images: dict[str, Any] = {name: np.zeros(shape, np.uint8) for name in family.images}
        vectors = {name: np.zeros(vector.widths[0], np.float32) for name, vector in family.vectors.items()}
        return {**vectors, **({family.nested: images} if family.nested else images), PROMPT: "warm up"}


def _check_prompt(prompt: Any, *, required: bool) -> None:
    if prompt is None and not required:
        return
    if not isinstance(prompt, str) or not prompt.strip():
        found = "is missing" if prompt is None else f"is {brief(prompt)}"
        raise BadObservation(f"the instruction {found}; openpi's policies need one: send it as task")


def _vector(name: str, value: Any, vector: Vector) -> Array:
    array = np.asarray(value)
    if array.ndim == 0:
        array = array.reshape(1)
    if array.dtype.kind not in "iuf" or array.ndim != 1 or len(array) not in vector.widths:
        widths = " or ".join(f"({width},)" for width in vector.widths)
        raise BadObservation(f"{name} is {array.shape} {array.dtype}, expected {widths} numbers ({vector.unit})")
    with np.errstate(over="ignore"):
        single = array.astype(np.float32, copy=False)
    _check_finite(name, single)
    if (array < vector.low).any() or (array > vector.high).any():
        raise BadObservation(
            f"{name} is {array.tolist()}, outside [{vector.low:g}, {vector.high:g}]; it is in {vector.unit}"
        )
    return single


def _image(name: str, value: Any, channels_first: bool) -> Array:
    shapes = "(3, h, w)" if channels_first else "(h, w, 3)"
    if not is_array(value) or value.dtype != np.uint8 or value.ndim != 3 or not value.size:
        found = f"{value.shape} {value.dtype}" if is_array(value) else type(value).__name__
        raise BadObservation(f"{name} is {found}, expected an image {shapes} uint8 RGB")
    # openpi takes an image whose first axis is 3 for one with its channels first, so three rows of pixels would be.
    first = value.shape[0] == 3
    if (not first) if channels_first else (not first and value.shape[2] != 3):
        raise BadObservation(f"{name} is {value.shape}, expected an image {shapes} uint8 RGB")
    if first and not channels_first and value.shape[2] == 3 and value.shape[1] != 3:
        raise BadObservation(f"{name} is {value.shape}: openpi would take it for channels first; send more than 3 rows")
    return value


def _check_finite(name: str, value: Any) -> None:
    array = np.asarray(value)
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise BadObservation(f"{name} holds numbers that are not finite; check the sensor or the estimator behind it")


def _leaves(inputs: Mapping[str, Any], under: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in inputs.items():
        if isinstance(value, Mapping):
            yield from _leaves(cast("Mapping[str, Any]", value), f"{under}{name}/")
        elif isinstance(value, list):
            yield from _leaves({str(i): part for i, part in enumerate(cast("list[Any]", value))}, f"{under}{name}/")
        elif isinstance(value, (np.ndarray, np.number, int, float)):
            yield f"{under}{name}", value
