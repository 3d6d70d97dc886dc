"""Arrays as other projects write them: msgpack-numpy (vLLM-Omni, GR00T N1.7), GR00T before, PathOn-AI, and others.

The first three are read where a foreign protocol is spoken, by the same allow-list as our own markers; all are known by
name, so that an error can say what came. msgpack-numpy unpickles arrays of objects and numpy evaluates the header of
an ``npy`` file; here nothing is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, cast

from ..errors import BadMessage, brief
from .arrays import Array, array_from

_MSGPACK_NUMPY = "msgpack-numpy's form (nd, type, kind, shape, data)"
_NPY = "GR00T's form (__ndarray_class__, as_npy)"
_TENSOR = "PathOn-AI's form of a tensor (__tensor__)"
_COMPLEX = "msgpack-numpy's form of a complex number"
#: Keys that nobody has by chance.
_MARKS = {
    "__ndarray_class__": _NPY,
    "__ModalityConfig__": "GR00T's form of a ModalityConfig, which is no array,",
    "__ModalityConfig_class__": "GR00T's form of a ModalityConfig, which is no array,",
    "__tensor__": _TENSOR,
    "__numpy__": "json_numpy's form (__numpy__)",
}
_MOST_ENTRIES = 5
#: One of these is in each of the forms, as text or as bytes.
_TELLING = frozenset(key for mark in ("nd", "complex", *_MARKS) for key in (mark, mark.encode()))
#: What numpy writes before the data, for arrays of one plain dtype (NEP 1), and how long it may be.
_HEADER = re.compile(
    r"\{'descr': '([^']{1,16})', 'fortran_order': (True|False), 'shape': \(((?:\d{1,19}(?:, )?)*),?\), ?\} *\n"
)
_LONGEST_HEADER = 1024


def read_forms(value: Any) -> Any:
    """``value``, as :func:`.packing.decode` left it, with what msgpack-numpy, GR00T and PathOn-AI wrote made arrays.

    Arrays are read-only. Raises BadMessage that names the place and the form for what the allow-list refuses and for
    the forms that are not read.
    """
    return _walk(value, "", _array)


def refuse_forms(value: Any) -> None:
    """Raises BadMessage that names the place and the form if there is any of them in ``value``."""
    flat = isinstance(value, dict) and not any(
        isinstance(part, (dict, list)) for part in cast("dict[Any, Any]", value).values()
    )
    if not flat or _form(cast("dict[Any, Any]", value)) is not None:
        _walk(value, "", _refuse)


def _walk(value: Any, where: str, convert: Callable[[dict[Any, Any], str], Any]) -> Any:
    if isinstance(value, dict):
        found = cast("dict[Any, Any]", value)
        if (form := _form(found)) is not None:
            try:
                return convert(found, form)
            except BadMessage as error:
                raise BadMessage(f"{where or 'the message'}: {error.text}") from None
        return {
            name: _walk(part, f"{where}/{name}" if where else str(name), convert)
            if isinstance(part, (dict, list))
            else part
            for name, part in found.items()
        }
    if isinstance(value, list):
        parts = cast("list[Any]", value)
        if any(isinstance(part, (dict, list)) for part in parts):
            return [_walk(part, f"{where}[{i}]", convert) for i, part in enumerate(parts)]
        return parts
    return value


def _form(found: dict[Any, Any]) -> str | None:
    if len(found) > _MOST_ENTRIES or _TELLING.isdisjoint(found):
        return None
    if isinstance(_part(found, "nd"), bool) and _part(found, "type") is not None:
        return _MSGPACK_NUMPY
    if _part(found, "complex") is True and _part(found, "data") is not None:
        return _COMPLEX
    return next((form for mark, form in _MARKS.items() if _part(found, mark) is not None), None)


def _part(found: dict[Any, Any], name: str) -> Any:
    """An entry whose key is bytes or, from packers of another setting, a string."""
    return found.get(name.encode(), found.get(name))


def _refuse(found: dict[Any, Any], form: str) -> Any:
    raise BadMessage(
        f"it comes in {form}; write an array as a map of __ndarray__, data, dtype and shape, as openpi does"
    )


def _array(found: dict[Any, Any], form: str) -> Any:
    if form == _NPY:
        return _from_npy(_part(found, "as_npy"))
    if form == _TENSOR:  # whichever device it was on: here it is numbers
        return _view(_part(found, "data"), _text(_part(found, "dtype")), _part(found, "shape"))
    if form != _MSGPACK_NUMPY:
        _refuse(found, form)
    if kind := _text(_part(found, "kind")):
        why = _KINDS.get(kind) if isinstance(kind, str) else None
        raise BadMessage(f"an array of kind {brief(kind, 8)} is refused: {why or 'it holds no plain numbers'}")
    whole = _part(found, "nd")
    shape: Any = _part(found, "shape") if whole else []
    array = _view(_part(found, "data"), _text(_part(found, "type")), shape)
    return array if whole else array[()]


#: Why msgpack-numpy's kinds of arrays are refused; plain numbers have none.
_KINDS = {"O": "its data is a pickle", "V": "send one array for each of its fields"}


def _text(value: Any) -> Any:
    return value.decode("latin-1") if isinstance(value, bytes) else value


def _view(data: Any, dtype: Any, shape: Any) -> Array:
    return array_from({b"data": data, b"dtype": dtype, b"shape": shape}, binary=True)


def _from_npy(file: Any) -> Array:
    if type(file) is not bytes or not file.startswith(b"\x93NUMPY") or len(file) < 12:
        raise BadMessage("as_npy is no npy file")
    start = 10 if file[6] == 1 else 12
    length = int.from_bytes(file[8:start], "little")
    header = _HEADER.fullmatch(file[start : start + length].decode("latin-1")) if length <= _LONGEST_HEADER else None
    if header is None:
        raise BadMessage("as_npy has no header of an array of plain numbers")
    dtype, fortran, axes = header.groups()
    shape = [int(axis) for axis in axes.split(", ") if axis]
    array = _view(file[start + length :], dtype, shape[::-1] if fortran == "True" else shape)
    return array.T if fortran == "True" else array
