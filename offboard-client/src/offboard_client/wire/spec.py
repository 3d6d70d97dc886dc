"""An observation against what the handshake asks for, before the first one is sent."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, cast

import numpy as np

from ..errors import BadObservation, brief, nearest
from .messages import ALIASES, CONTEXT, RESERVED_NAMES, SEQ, canonical

_log = logging.getLogger("offboard_client")
# Which dtype kinds may be sent where one of the left is asked for. Whole numbers are exact floats; a float
# image or a bool joint is a mistake.
_ACCEPTED = {"f": "fiu", "i": "iu", "u": "u", "b": "b"}

#: Of a history: how many frames, how far back and how far apart in seconds. What is kept is the robot's memory.
_MAX_OFFSETS, _MAX_HISTORY, _MIN_APART = 64, 60.0, 0.001
OFFSETS = f"seconds below 0, oldest first: {_MAX_OFFSETS} at most, from -{_MAX_HISTORY:g} on, 1 ms or more apart"
_BROUGHT = frozenset(CONTEXT.values())
_TEXT = frozenset({str})
_MAPS: Any = (dict, Mapping)
#: Names that are not the robot's own; most observations have none of them.
_TELLING = _BROUGHT | {"type", SEQ}
#: What the protocol measures the state in (section 7).
_UNITS = {
    "ee_pose": "m and unit quaternion w x y z, in the arm's base frame",
    "q": "rad",
    "dq": "rad/s",
    "grip": "0 open to 1 closed",
}


def measured_unit(name: str) -> str | None:
    """The unit of an observed name of the protocol, of one arm or several; None for any other name."""
    first, _, rest = name.partition(".")
    return _UNITS.get("grip" if first == "grip" else rest.rpartition(".")[2] if first == "robot_state" else "")


def are_offsets(value: Any) -> bool:
    """Whether they can be a history's: :data:`OFFSETS`."""
    if not isinstance(value, (list, tuple)):
        return False
    offsets = cast("Sequence[Any]", value)
    if len(offsets) > _MAX_OFFSETS or any(isinstance(at, bool) or not isinstance(at, int | float) for at in offsets):
        return False
    return all(at >= -_MAX_HISTORY for at in offsets) and all(
        after - before >= _MIN_APART for before, after in pairwise([*offsets, 0.0])
    )


def check_sendable(observation: Any, meta: Mapping[str, Any], *, first: bool) -> None:
    """Raises BadObservation for what no session of this handshake takes; ``first``: name by name."""
    check_form(observation)
    if not _TELLING.isdisjoint(observation):
        _check_reserved(observation, meta)
    if first:
        check_observation(observation, meta.get("observation"))


def _check_reserved(observation: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
    if "type" in observation:
        raise BadObservation("an observation has no top-level name 'type': that is a control frame's; rename it")
    if SEQ in observation:
        raise BadObservation(f"{SEQ} tells this client's answers apart, so it numbers them: leave it out")
    check_context(observation, meta)


def check_form(observation: Any) -> None:
    """Raises BadObservation for what is no map."""
    if not isinstance(observation, _MAPS):  # a dict is told from others many times faster
        raise BadObservation(
            f"an observation is a map from names to values ({{'robot_state.q': array, …}}), and this is of type "
            f"{type(observation).__name__}"
        )
    if _TEXT.issuperset(map(type, observation)):  # asked of all of them at once, as it nearly always is
        return
    for name in cast("Mapping[Any, Any]", observation):
        if not isinstance(name, str):
            raise BadObservation(f"an observation's names are texts, and one is {brief(name, 40)}")


def check_context(observation: Mapping[str, Any], meta: Mapping[str, Any]) -> None:
    """Raises BadObservation where it brings for the inference what the handshake's ``context`` does not list.

    A server that knows no such name leaves it unread, and the robot would play an answer that knows nothing of it.
    """
    if _BROUGHT.isdisjoint(observation):
        return
    taken: Sequence[str] = meta.get("context") or ()
    refused: Mapping[str, str] = meta.get("context_refused") or {}
    for name, called in CONTEXT.items():
        if name not in taken and observation.get(called) is not None:
            why = refused.get(name) or "the model on this server does not take it"
            takes = ", ".join(CONTEXT.get(one, one) for one in taken) or "nothing of the kind"
            raise BadObservation(f"{called} was not sent: {why}. It takes {takes} (context in the handshake)")


def check_observation(observation: Mapping[str, Any], spec: Any) -> None:
    """Raises BadObservation that lists everything missing or of the wrong shape or dtype.

    ``spec``: the handshake's ``observation``, a map from canonical name to ``{shape, dtype, unit, required}``
    (shape: None for any, -1 for a free axis). Names that it does not ask for are only mentioned.
    """
    if not isinstance(spec, Mapping):
        return
    asked = cast("Mapping[str, Mapping[str, Any]]", spec)
    sent = canonical(observation, asked)
    extra = [name for name in sent if name not in asked and name not in RESERVED_NAMES]
    faults: list[str] = []
    for name, field in asked.items():
        if name in sent:
            fault = _fault(name, sent[name], field)
            if fault:
                faults.append(fault)
        elif field.get("required", True):
            names = [name, *(alias for alias, known in ALIASES.items() if known == name)]
            near = [n for n in extra if n in {hit for known in names for hit in nearest(known, extra)}]
            guess = f" (is it what you call {' or '.join(near)}?)" if near else ""
            faults.append(f"{name} {_wanted(field)} is missing{guess}")
    unread = f"; not asked for: {', '.join(extra)}" if extra else ""
    if faults:
        raise BadObservation(f"the server cannot use this observation: {'; '.join(faults)}{unread}")
    if extra:
        _log.info("the observation holds names that the server does not ask for: %s", ", ".join(extra))


def fits_dtype(found: str, wanted: str | None) -> bool:
    """Whether values of a dtype may be sent where ``wanted`` is asked for, None for any; both by name, ``str`` too."""
    if wanted is None or found == wanted:
        return True
    return "str" not in (found, wanted) and _fits_kind(np.dtype(found).kind, wanted)


def _fits_kind(kind: str, wanted: str) -> bool:
    return kind in _ACCEPTED.get(np.dtype(wanted).kind, kind)


def _fault(name: str, value: Any, field: Mapping[str, Any]) -> str | None:
    dtype, shape = field.get("dtype"), field.get("shape")
    if isinstance(value, bytes) or value is None:  # an encoded image; the server reads its header
        return None if value is not None else f"{name} is None, and {_wanted(field)} is asked for"
    if dtype == "str" or isinstance(value, str):
        same = dtype in ("str", None) and isinstance(value, str)
        return None if same else f"{name} is a {type(value).__name__}, and {_wanted(field)} is asked for"
    try:
        array = np.asarray(value)
    except ValueError:
        return f"{name} is ragged, and {_wanted(field)} is asked for"
    # By its kind: the name of a dtype of texts ("str32") is none that numpy would take.
    fits = dtype is None or _fits_kind(array.dtype.kind, dtype)
    if fits and (shape is None or fits_shape(array.shape, tuple(shape))):
        return None
    return f"{name} is {array.shape} {array.dtype}, and {_wanted(field)} is asked for"


def fits_shape(found: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """Whether an array of this shape may be sent where ``wanted`` is asked for, -1 for a free axis."""
    if {found, wanted} == {(), (1,)}:  # a scalar, either way of writing it
        return True
    return len(found) == len(wanted) and all(w in (-1, f) for f, w in zip(found, wanted, strict=True))


def _wanted(field: Mapping[str, Any]) -> str:
    shape, dtype, unit = field.get("shape"), field.get("dtype"), field.get("unit")
    parts = [
        str(tuple(shape)).replace("-1", "any") if shape is not None else "",
        str(dtype or ""),
        f"[{unit}]" if unit else "",
    ]
    return " ".join(part for part in parts if part) or "a value"
