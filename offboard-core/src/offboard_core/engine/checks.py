"""What an observation must satisfy before a model may see it, and an action chunk before a robot may."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Sequence, Set
from dataclasses import MISSING, fields, is_dataclass
from itertools import pairwise
from typing import Any, cast

import numpy as np
from offboard_client.errors import BadObservation, InvalidAction, LoadFailed, told
from offboard_client.plugins import build
from offboard_client.wire import OFFSETS, WireLimits, are_offsets, check_actions, check_times, is_finite

from ..types import Array, Chunk, CodecMeta, Field, InferContext, Observation, Policy, fits
from .controls import check_controls

_NUMBERS = "fiub"
_UINT8 = np.dtype(np.uint8)
_ARRAY: Any = np.ndarray  # for type checkers an array of they do not know what, which only a call of cast would say
MAX_STEPS = WireLimits().chunk_steps


def expect_policy(made: Any) -> Policy[Any]:
    """What a loader made. Raises LoadFailed if it is no policy."""
    if not isinstance(made, Policy):
        raise LoadFailed(f"the loader made {type(made).__name__}; expected a Policy")
    return cast("Policy[Any]", made)


def check_policy(policy: Policy[Any]) -> None:
    """Raises LoadFailed naming what a policy declares that cannot be.

    Else the first robot would find out, and wait for its timeout.
    """
    most: dict[str, Any] = {"max_batch_size": policy.max_batch_size, "max_sessions": policy.max_sessions}
    for name, value in most.items():
        if not (type(value) is int and value >= 1) and not (name == "max_sessions" and value is None):
            or_none = " or None, for any" if name == "max_sessions" else ""
            raise LoadFailed(f"the policy's {name} is {value!r:.80}; expected a whole number from 1 up{or_none}")
    _check_context(policy)
    params: Any = policy.params
    if not (isinstance(params, type) and is_dataclass(params)):
        raise LoadFailed(f"the policy's params is {params!r:.80}; expected a frozen dataclass")
    if bare := [f.name for f in fields(params) if f.init and f.default is MISSING and f.default_factory is MISSING]:
        raise LoadFailed(f"the policy's params have no default for {', '.join(bare)}; a session may set nothing")
    build(params, {}, "the policy", LoadFailed)
    check_controls(policy)
    try:
        json.dumps(dict(policy.meta), allow_nan=False)
    except Exception as error:
        raise LoadFailed(f"the policy's meta is no plain JSON data with finite numbers ({told(error)})") from None


def _check_context(policy: Policy[Any]) -> None:
    known, context = [f.name for f in fields(InferContext)], cast("Any", policy.context)
    if not isinstance(context, Set) or not context <= set(known):
        raise LoadFailed(f"the policy's context is {context!r:.80}; expected a set of some of {', '.join(known)}")
    most: Any = policy.max_delay_steps
    if most is not None and not (type(most) is int and most >= 0 and "delay_steps" in policy.context):
        raise LoadFailed(
            f"the policy's max_delay_steps is {most!r:.40}; expected a whole number from 0 up where its context names "
            "delay_steps, else None"
        )
    offsets: Any = policy.history_sec
    steps: Any = policy.history_steps
    if steps and not _are_steps(steps):
        raise LoadFailed(
            f"the policy's history_steps is {steps!r:.80}; expected whole numbers below 0, each once, oldest first"
        )
    if offsets and steps:
        raise LoadFailed("the policy has both history_sec and history_steps; expected one of them")
    kept: Any = policy.history_kept
    if kept is not False and not (kept is True and "history" in policy.context):
        raise LoadFailed(
            f"the policy's history_kept is {kept!r:.40}; expected a bool, True only where it takes history"
        )
    if not are_offsets(offsets) or bool(offsets or steps) != ("history" in policy.context):
        raise LoadFailed(
            f"the policy's history_sec is {offsets!r:.80}; expected {OFFSETS}, where its context "
            "names history and no history_steps say it, else nothing"
        )


def _are_steps(value: Any) -> bool:
    if not isinstance(value, (list, tuple)) or not all(type(at) is int for at in cast("Sequence[Any]", value)):
        return False
    return all(before < after for before, after in pairwise([*cast("Sequence[int]", value), 0]))


def check_observation(observation: Observation, meta: CodecMeta) -> list[str] | None:
    """Every declared name is there, in its declared shape and dtype, and finite. Raises BadObservation.

    Models take wrong widths, NaN and doubled ranges without a word and answer plausible numbers; so nothing that
    the handshake did not promise reaches one. For another observation with the same names, shapes, dtypes and texts
    :func:`check_numbers` of what this returns is enough; None: nothing less than this is.
    """
    floats: list[str] | None = []
    for name, field in meta.observation.items():
        value = observation.get(name)
        if value is None:
            if field.required:
                raise BadObservation(_missing(name, observation, meta))
        elif isinstance(value, _ARRAY) and field.dtype != "str":
            if _check_array(name, value, field) and floats is not None:
                floats.append(name)
        elif field.dtype == "str":
            if not isinstance(value, str):
                raise BadObservation(f"{name} is {type(value).__name__}; expected a string")
        elif isinstance(value, (int, float, np.number)) and not isinstance(value, bool):
            _check_array(name, np.asarray(value), field)
            floats = None
        elif field.dtype is not None or field.shape is not None:
            raise BadObservation(f"{name} is {type(value).__name__}; expected {_spell(field)}")
    return floats


def check_numbers(observation: Observation, names: Iterable[str]) -> None:
    """The arrays of these names are finite. Raises BadObservation."""
    for name in names:
        if not is_finite(observation[name]):
            raise _not_finite(name, observation[name])


def _check_array(name: str, array: Array, field: Field) -> bool:
    """Whether it is one that need not have been finite."""
    dtype, shape = array.dtype, field.shape
    if field.dtype == "uint8" and dtype != _UINT8:
        raise BadObservation(f"{name} has dtype {dtype}; expected uint8 (0 to 255, RGB)")
    if dtype.kind not in _NUMBERS:
        raise BadObservation(f"{name} has dtype {dtype}; expected {_spell(field)}")
    if shape is not None and not fits(array.shape, shape) and not (array.size == 1 and shape in ((), (1,))):
        raise BadObservation(f"{name} has shape {array.shape}; expected {_spell(field)}")
    if dtype.kind != "f":
        return False
    if not is_finite(array):
        raise _not_finite(name, array)
    return True


def _not_finite(name: str, array: Array) -> BadObservation:
    where = np.argwhere(~np.isfinite(array))[0].tolist()
    return BadObservation(f"{name} is not finite at index {where}; check the sensor or the estimator behind it")


def _missing(name: str, observation: Observation, meta: CodecMeta) -> str:
    names = [key for key, value in observation.items() if value is not None and not key.startswith("offboard.")]
    unread = [key for key in names if key not in meta.observation]  # the others are meant as they are called
    near = difflib.get_close_matches(name, unread, n=1, cutoff=0.5)
    hint = f" (did you mean that by {near[0]}?)" if near else ""
    return f"the observation lacks {name}{hint}; it has: {', '.join(sorted(names)[:30]) or 'nothing'}"


def check_length(chunk: Chunk) -> None:
    """No longer than a reply may be (R-25). Raises InvalidAction before a codec spends time on it."""
    if len(chunk) > MAX_STEPS:
        raise InvalidAction(
            f"the policy answered a chunk of {len(chunk):,} steps, and at most {MAX_STEPS:,} are sent; "
            "steps are the first axis, (T, D)"
        )


def check_action(chunk: Chunk, meta: CodecMeta, right: object = None) -> object:
    """Finite numbers, in the shapes the handshake promised, under the names it promised. Raises InvalidAction.

    Where the handshake promises nothing, a name of the protocol still holds what the protocol says, whoever made it.
    Returns the form of a bare vector: with the same ``meta``, of the next one that has the form ``right`` only the
    numbers are looked at. None for named actions, whose numbers have a meaning.
    """
    action: Any = chunk.action
    times = chunk.timestamp
    form = (action.dtype, action.shape) if type(action) is _ARRAY else None
    if form is None or form != right:
        _check_columns(chunk, meta)
    elif not is_finite(action):
        raise _not_finite_from("action", action)
    if times is not None:
        check_times(np.asarray(times))
    return form


def _check_columns(chunk: Chunk, meta: CodecMeta) -> None:
    declared = meta.action
    columns = chunk.columns()
    if declared and columns.keys() != declared.keys():
        raise InvalidAction(
            f"the policy answered {sorted(columns)}, the handshake promised {sorted(declared)}; "
            "the codec does not fit this checkpoint"
        )
    for name, array in columns.items():
        if array.dtype.kind not in _NUMBERS:
            raise InvalidAction(f"{name} has dtype {array.dtype}; actions are numbers")
        field = declared.get(name)
        if field is not None and field.shape is not None and not fits(array.shape[1:], field.shape):
            promised = ", ".join(map(str, field.shape))
            raise InvalidAction(f"{name} has shape {array.shape}; the handshake promised (T, {promised})")
        if not is_finite(array):
            raise _not_finite_from(name, array)
    check_actions(columns)


def _not_finite_from(name: str, array: Array) -> InvalidAction:
    step = int(np.argwhere(~np.isfinite(array))[0][0])
    return InvalidAction(
        f"{name} is not finite from step {step} of {len(array)}; nothing of this chunk was sent. "
        "Usual causes: statistics of another data set, or a checkpoint that diverged"
    )


def _spell(field: Field) -> str:
    shape: Any = "any shape" if field.shape is None else f"shape {field.shape}"
    return f"{shape}, dtype {field.dtype or 'a number'}" + (f" ({field.unit})" if field.unit else "")
