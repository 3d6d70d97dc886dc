"""GR00T's messages: msgpack, with arrays in one of two forms, and the descriptions of modalities in three.

Both ends of GR00T's wire are spoken here, so both read every form and write the one that the other side wrote.

Facts (NVIDIA's ``server_client.py`` at ade260e, and a later copy of it under NVIDIA's header; ``service.py`` of N1.5):
servers and clients up to ade260e write an array as ``{"__ndarray_class__": True, "as_npy": the bytes of an npy file}``
and read nothing else; later ones write msgpack-numpy's maps, whose keys are bytes, and read both. A description of a
modality is marked ``__ModalityConfig_class__`` by the former, ``__ModalityConfig__`` by the latter. N1.5's holds a JSON
text, those of N1.6 and later a map.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from functools import partial
from typing import Any, cast

import msgpack as _untyped  # pyright: ignore[reportMissingTypeStubs]
import numpy as np
from offboard_client.errors import BadMessage, brief
from offboard_client.wire import WireLimits, decode, decode_text, encode_text, read_forms
from offboard_core.types import Array

msgpack: Any = _untyped
_ALIGNED = 64
_NPY, _NUMPY = "__ndarray_class__", "nd"
_OLDER_CONFIG, _CONFIG, _AS_JSON = "__ModalityConfig_class__", "__ModalityConfig__", "as_json"
#: Where NVIDIA's client for DROID looks for it, which is a copy.
_AS_DICT = "as_dict"
#: How the keys of instructions begin; characters of one that comes as an array.
_ANNOTATION, _LONGEST_TEXT = "annotation.", 4096
#: The beginning of an npy file of one text, which numpy writes in UTF-32: what is in it, for () and for axes of 1.
_TEXT_FILE = re.compile(
    rb"\x93NUMPY\x01\x00..\{'descr': '<U(\d{1,6})', 'fortran_order': (?:False|True), "
    rb"'shape': \((?:1, ?)*1?,?\), ?\} *\n",
    re.DOTALL,
)
_LONGEST_HEADER = 1024


class Form(enum.Enum):
    """How arrays are written."""

    NPY = "npy"
    """As an npy file: N1.5, N1.6, and N1.7 until ade260e."""
    NUMPY = "msgpack-numpy"
    """As msgpack-numpy does: N1.7 since."""


def pack(value: Any, form: Form) -> bytes:
    """``value`` as one message: plain values, lists and maps of them, and C-ordered arrays of plain numbers."""
    return msgpack.packb(value, default=partial(_marker, form))


def unpack(message: bytes, limits: WireLimits | None = None) -> tuple[Any, Form | None]:
    """What a message says, its arrays read-only; and how it wrote these, None where it has none.

    Raises BadMessage for what the allow-list of :func:`offboard_client.wire.decode` and ``read_forms`` refuses, pickles
    of arrays of objects among it.
    """
    raw = read_texts(decode(message, limits or WireLimits()))
    return read_forms(raw), form_of(raw)


def read_texts(raw: Any) -> Any:
    """A request, with instructions that are numpy's arrays of one text (``np.array(["go"])``) as that text.

    Robots of N1.5 send such arrays, and its server takes them; later ones take lists alone. Whatever is no array of one
    short text is left as it is. Raises BadMessage for one that holds no text.
    """
    if not isinstance(raw, dict):
        return raw
    request = cast("dict[Any, Any]", raw)
    data: Any = request.get("data")
    if not isinstance(data, dict) or "observation" in data:
        return request
    found = cast("dict[Any, Any]", data)
    texts = {
        name: text
        for name, value in found.items()
        if isinstance(name, str) and name.startswith(_ANNOTATION) and (text := _one_text(name, value)) is not None
    }
    return {**request, "data": {**found, **texts}} if texts else request


def _one_text(name: str, value: Any) -> str | None:
    file: Any = None
    if isinstance(value, Mapping):
        held = cast("Mapping[Any, Any]", value)
        file = held.get("as_npy", held.get(b"as_npy")) if _NPY in held or _NPY.encode() in held else None
    if type(file) is not bytes or not (said := _TEXT_FILE.match(file[:_LONGEST_HEADER])):
        return None
    length, data = int(said[1]), file[said.end() :]
    if not 0 < length <= _LONGEST_TEXT or len(data) != 4 * length:
        raise BadMessage(f"{brief(name, 60)} is an array that holds no one text of at most {_LONGEST_TEXT} characters")
    try:
        return data.decode("utf-32-le").rstrip("\0")
    except UnicodeDecodeError:
        raise BadMessage(f"{brief(name, 60)} is an array of what is no text") from None


def form_of(raw: Any) -> Form | None:
    """How the first array of a message is written, as :func:`offboard_client.wire.decode` left that."""
    if isinstance(raw, Mapping):
        found = cast("Mapping[Any, Any]", raw)
        if _NPY in found or _NPY.encode() in found:
            return Form.NPY
        if isinstance(found.get(_NUMPY.encode(), found.get(_NUMPY)), bool):
            return Form.NUMPY
        parts = found.values()
    elif isinstance(raw, list):
        parts = cast("list[Any]", raw)
    else:
        return None
    return next((form for part in parts if (form := form_of(part)) is not None), None)


def write_configs(configs: Mapping[str, Mapping[str, Any]], *, as_text: bool) -> dict[str, Any]:
    """The reply to ``get_modality_config``: each modality's description, for clients of any age.

    A client looks for its own marker and takes no offence at another's, so both stand there. ``as_text``: N1.5, which
    reads JSON.
    """
    return {
        name: {
            _OLDER_CONFIG: True,
            _CONFIG: True,
            _AS_JSON: encode_text(config) if as_text else config,
            **({} if as_text else {_AS_DICT: config}),
        }
        for name, config in configs.items()
    }


def read_configs(message: bytes, limits: WireLimits | None = None) -> dict[str, dict[str, Any]]:
    """The descriptions of the modalities that a server answered. Raises BadMessage."""
    limits = limits or WireLimits()
    reply = decode(message, limits)
    if not isinstance(reply, dict):
        raise BadMessage(f"expected a map of modalities, not {brief(reply, 60)}")
    return {str(name): _config(name, value, limits) for name, value in cast("dict[Any, Any]", reply).items()}


def are_texts(reply: Any) -> bool:
    """Whether what a server answered describes its modalities in JSON, as N1.5 alone does."""
    configs = cast("dict[Any, Any]", reply).values() if isinstance(reply, dict) else ()
    return any(isinstance(config, dict) and isinstance(cast("Any", config).get(_AS_JSON), str) for config in configs)


def _config(name: Any, value: Any, limits: WireLimits) -> dict[str, Any]:
    held: Any = value
    if isinstance(value, dict):
        found = cast("dict[Any, Any]", value)
        if any(mark in found or mark.encode() in found for mark in (_OLDER_CONFIG, _CONFIG)):
            held = found.get(_AS_JSON, found.get(_AS_JSON.encode()))
    if isinstance(held, bytes):
        held = held.decode("utf-8", "replace")
    if isinstance(held, str):
        held = decode_text(held, limits)
    if not isinstance(held, dict):
        raise BadMessage(f"{brief(name, 40)}: expected the map of a modality, not {brief(held, 60)}")
    return cast("dict[str, Any]", held)


def _marker(form: Form, value: Any) -> dict[Any, Any]:
    if not isinstance(value, np.ndarray):
        raise TypeError(f"{type(value).__name__} has no form in GR00T's messages")
    given = cast("Array", value)
    array = np.ascontiguousarray(given).reshape(given.shape)  # which alone would give a lone number an axis
    if form is Form.NPY:
        return {_NPY: True, "as_npy": _npy(array)}
    return {b"nd": True, b"type": array.dtype.str, b"kind": b"", b"shape": array.shape, b"data": array.data}


def _npy(array: Array) -> bytes:
    """What ``numpy.save`` writes, in one copy instead of three."""
    said = f"{{'descr': '{array.dtype.str}', 'fortran_order': False, 'shape': {array.shape}, }}"
    padding = -(10 + len(said) + 1) % _ALIGNED
    header = f"{said}{' ' * padding}\n".encode("latin-1")
    return b"".join((b"\x93NUMPY\x01\x00", len(header).to_bytes(2, "little"), header, array.data))
