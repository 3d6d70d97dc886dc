"""The handshake's ``meta``, checked once and in one place: code that reads it later may trust its form (section 3)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from ..errors import BadMessage, brief
from ..wire import DEFAULT_LIMITS, OFFSETS, are_offsets

#: Steps per second that a robot may be meant to play, and that in words.
FPS_RANGE = (0.01, 10_000.0)
RATE = f"steps per second from {FPS_RANGE[0]:g} to {FPS_RANGE[1]:,.0f}"
_MAX_SIDE = 8192
_MAX_DIMENSIONS = 8
#: What a text shown as JSON, or sent back in a URL, may be long.
MAX_TEXT = 4096


def is_offboard(meta: Mapping[str, Any]) -> bool:
    """Whether the server is offboard itself, which echoes ``offboard.seq`` and answers pings while it infers."""
    return isinstance(meta.get("offboard_version"), str)


def check_meta(meta: Mapping[str, Any]) -> None:
    """Raises BadMessage naming the first field that is not what the protocol says. Unknown fields pass."""
    _check_plain("meta", meta)
    for name, (fits, expected) in _FIELDS.items():
        value = meta.get(name)
        if value is not None and not fits(value):
            raise _odd(f"meta.{name}", value, expected)
    shortest, longest = meta.get("shortest_chunk"), meta.get("chunk_length")
    if shortest is not None and longest is not None and shortest > longest:
        raise _odd("meta.shortest_chunk", shortest, f"no more than meta.chunk_length, {longest}")
    for name, field in _entries(meta, "observation"):
        _check_field(f"meta.observation[{brief(name, 80)}]", field)
        _check(
            f"meta.observation[{brief(name, 80)}].dtype",
            field.get("dtype"),
            _is_dtype,
            "the name of a numpy dtype, or 'str'",
        )
        _check(f"meta.observation[{brief(name, 80)}].required", field.get("required"), _is_bool, "true or false")
    for name, field in _entries(meta, "action"):
        _check_field(f"meta.action[{brief(name, 80)}]", field)
        _check(f"meta.action[{brief(name, 80)}].kind", field.get("kind"), _is_text, "text")


def _check_field(where: str, field: dict[str, Any]) -> None:
    _check(f"{where}.shape", field.get("shape"), _is_shape, "a list of at most 8 axes, -1 for a free one")
    _check(f"{where}.unit", field.get("unit"), _is_text, "text")


def _entries(meta: Mapping[str, Any], name: str) -> list[tuple[str, dict[str, Any]]]:
    """The names and fields of ``observation`` or ``action``."""
    found = cast("dict[str, dict[str, Any]]", meta.get(name) or {})
    for key, field in found.items():
        if not _is_map(field):
            raise _odd(f"meta.{name}[{brief(key, 80)}]", field, "a map with shape, unit …")
    return list(found.items())


def _check(where: str, value: Any, fits: Callable[[Any], bool], expected: str) -> None:
    if value is not None and not fits(value):
        raise _odd(where, value, expected)


def _odd(where: str, value: Any, expected: str) -> BadMessage:
    return BadMessage(f"the server's {where} is {brief(value, 80)} ({type(value).__name__}); expected {expected}")


def _check_plain(where: str, value: Any) -> None:
    """Plain data with finite numbers: it is shown as JSON, and compared after a reconnect."""
    if isinstance(value, dict):
        for name, part in cast("dict[Any, Any]", value).items():
            if not isinstance(name, str):
                raise _odd(f"{where} has a name that", name, "text")
            _check_plain(f"{where}.{name:.80}", part)
    elif isinstance(value, list):
        for i, part in enumerate(cast("list[Any]", value)):
            _check_plain(f"{where}[{i}]", part)
    elif isinstance(value, np.ndarray | np.generic):
        if not np.isfinite(cast("NDArray[Any]", value)).all():
            raise _odd(where, value, "finite numbers")
    elif isinstance(value, float) and not math.isfinite(value):
        raise _odd(where, value, "a finite number")
    elif isinstance(value, bytes):
        raise _odd(where, value, "plain data")


def _is_bool(value: Any) -> bool:
    return isinstance(value, bool)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= MAX_TEXT


def _is_map(value: Any) -> bool:
    return isinstance(value, dict)


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_text, cast("list[Any]", value)))


def _is_text_map(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_text, cast("dict[str, Any]", value).values()))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_rate(value: Any) -> bool:
    """Whether a robot may be meant to play so many steps per second."""
    return _is_number(value) and FPS_RANGE[0] <= value <= FPS_RANGE[1]


def _is_time(value: Any) -> bool:
    return _is_number(value) and 0 < value < math.inf


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_steps(value: Any) -> bool:
    return _is_count(value) or (value == 0 and type(value) is int)


def _is_history(value: Any) -> bool:
    found = cast("dict[str, Any]", value)
    if not _is_map(value) or not _is_texts(found.get("observation")) or not isinstance(found.get("offsets_sec"), list):
        return False
    return are_offsets(found["offsets_sec"])


def _is_dtype(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        return value == "str" or np.dtype(value).kind in "biuf"
    except (TypeError, ValueError, SyntaxError):
        return False


def _is_shape(value: Any) -> bool:
    if not isinstance(value, list) or len(cast("list[Any]", value)) > _MAX_DIMENSIONS:
        return False
    axes = cast("list[Any]", value)
    if not all(isinstance(axis, int) and not isinstance(axis, bool) and axis >= -1 for axis in axes):
        return False
    # What no message could hold is no shape, and whoever makes up an observation of it needs no such memory.
    return math.prod(max(axis, 1) for axis in axes) <= DEFAULT_LIMITS.message_bytes


def _is_size(value: Any) -> bool:
    sides = cast("list[Any]", value)
    return isinstance(value, list) and len(sides) == 2 and all(_is_count(s) and s <= _MAX_SIDE for s in sides)


def _is_sizes(value: Any) -> bool:
    return _is_size(value) or (isinstance(value, dict) and all(map(_is_size, cast("dict[str, Any]", value).values())))


def _is_controls(value: Any) -> bool:
    return isinstance(value, dict) and all(map(_is_control, cast("dict[str, Any]", value).values()))


def _is_control(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    found = cast("dict[str, Any]", value)
    params = found.get("params")
    return (
        _is_text(found.get("summary"))
        and _is_text_map(found.get("answers"))
        and isinstance(params, dict)
        and all(_is_map(p) and _is_text(p.get("type")) for p in cast("dict[str, Any]", params).values())
    )


def _is_compiled(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    found = cast("dict[str, Any]", value)
    sizes, speedup = found.get("batch_sizes", []), found.get("speedup")
    return (
        _is_bool(found.get("used"))
        and _is_text(found.get("how"))
        and _is_texts(found.get("problems"))
        and all(_is_number(found.get(name, 0)) and found.get(name, 0) >= 0 for name in ("tolerance", "difference"))
        and isinstance(sizes, list)
        and all(map(_is_count, cast("list[Any]", sizes)))
        and (speedup is None or _is_number(speedup))
    )


_TEXT = (_is_text, "text")
_COMPILED = (
    "a map with used, true or false, how, a text, problems, a list of texts; and tolerance, difference, speedup, "
    "numbers, and batch_sizes, numbers from 1 up"
)
_FIELDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    **dict.fromkeys(("type", "host", "checkpoint_path", "checkpoint_id", "experiment_name", "device"), _TEXT),
    **dict.fromkeys(("offboard_version", "codec", "codec_source", "spec_hash"), _TEXT),
    "port": (_is_count, "a port"),
    "observation": (_is_map, "a map from names to what each holds"),
    "action": (_is_map, "a map from names to what each holds"),
    "image_sizes": (_is_sizes, "[w, h], or a map from name to [w, h]"),
    "compress_images": (_is_bool, "true or false"),
    "image_formats": (_is_texts, "a list of names"),
    "action_fps": (is_rate, f"{RATE}, or null"),
    "action_horizon_sec": (_is_time, "seconds above 0"),
    "chunk_length": (_is_count, "a whole number above 0"),
    "shortest_chunk": (_is_count, "a whole number above 0"),
    "joint_names": (_is_texts, "a list of names"),
    "context": (_is_texts, "a list of names"),
    "context_absent": (_is_text_map, "a map from names to texts"),
    "context_refused": (_is_text_map, "a map from names to texts"),
    "max_delay_steps": (_is_steps, "a whole number from 0 up"),
    "history": (_is_history, f"a map with observation, a list of names, and offsets_sec, {OFFSETS}"),
    "conventions": (_is_text_map, "a map from names to texts"),
    "compiled": (_is_compiled, _COMPILED),
    "controls": (_is_controls, "a map from names to summary, params and answers"),
}
