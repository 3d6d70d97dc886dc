"""What went last through a session, as JSON: numbers as they are, images as PNG."""

from __future__ import annotations

import base64
import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
from offboard_client.wire import Array

from ..engine import ExchangeRecord
from ..types import Chunk

#: Larger arrays are told by their shape and range.
_NUMBERS, _CHUNK = 1024, 65536
#: Pixels of a side that are shown; of larger images every second, third … pixel is.
_SIDE = 1024
#: Of images that a model gets several moments of.
_MOMENTS = 8
_TEXT = 4000


def last_json(name: str, record: ExchangeRecord) -> bytes:
    """The answer of ``/api/v1/sessions/{name}/last``. It computes for a while: not for the event loop."""
    said = {
        "session": name,
        "last": {
            "number": record.number, "time": record.wall_time, "model": record.model_id, "replica": record.replica,
            "client": record.holder, "error": record.error, "image_files": record.image_files,
            "frame_bytes": record.frame_bytes, "reply_bytes": record.reply_bytes,
            "timing": {**record.timing, "encode_ms": record.encode_ms, "robot_ms": record.robot_ms},
            "said": _values(record.observation), "saw": _values(record.inputs),
            "answered": _chunk(record.chunk), "got": _chunk(record.reply_chunk),
        },
    }  # fmt: skip
    return json.dumps(said, allow_nan=False).encode()


def _values(values: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return None if values is None else {name: _value(value) for name, value in values.items()}


def _value(value: Any) -> dict[str, Any]:
    kind = type(value).__name__
    if isinstance(value, str):
        return {"text": value[:_TEXT]}
    if isinstance(value, (bool, int, float, np.ndarray, np.generic)):
        array: Array = np.asarray(cast("Array", value))
        if array.dtype.kind in "biuf":
            return _array(array)
    if isinstance(value, (list, tuple)):
        items = cast("list[Any]", value)
        if items and all(isinstance(item, (bool, int, float)) for item in items):
            return _array(np.asarray(items))
        return {"text": f"{len(items)} of {type(items[0]).__name__}" if items else "nothing"}
    return {"text": f"of type {kind}"}


def _array(array: Array) -> dict[str, Any]:
    said: dict[str, Any] = {"shape": list(array.shape), "dtype": array.dtype.name}
    pictures = _pictures(array)
    if not pictures and array.size <= _NUMBERS:
        return {**said, "values": _plain(array)}
    finite = array[np.isfinite(array)] if array.dtype.kind == "f" else array
    if finite.size:
        said["range"] = [finite.min().item(), finite.max().item()]
    if finite.size != array.size:
        said["not_finite"] = array.size - finite.size
    if pictures:
        low, high = (0, 255) if array.dtype == np.uint8 else said.get("range", (0, 1))
        said["png"] = [base64.b64encode(_png(_bytes(one, low, high))).decode() for one in pictures]
    return said


def _pictures(array: Array) -> list[Array]:
    """(H, W) or (H, W, 3) of each moment of what looks like images; else none."""
    if array.dtype.kind not in "uf" or array.size == 0:
        return []
    if array.ndim == 4 and len(array) <= _MOMENTS:
        return [one for moment in array for one in _pictures(moment)]
    if array.ndim != 3 or min(sorted(array.shape)[1:]) < 8:
        return []
    if array.shape[2] in (1, 3):
        return [array if array.shape[2] == 3 else array[:, :, 0]]
    if array.shape[0] in (1, 3):
        return [np.moveaxis(array, 0, 2) if array.shape[0] == 3 else array[0]]
    return []


def _bytes(picture: Array, low: float, high: float) -> Array:
    step = -(-max(picture.shape[:2]) // _SIDE)
    picture = picture[::step, ::step]
    if picture.dtype == np.uint8:
        return np.ascontiguousarray(picture)
    scaled = (np.nan_to_num(picture.astype(np.float64), posinf=high, neginf=low, nan=low) - low) * 255
    return np.clip(scaled / ((high - low) or 1.0), 0, 255).astype(np.uint8)


def _png(picture: Array) -> bytes:
    """Without loss. By zlib, which lets go of the interpreter's lock as Pillow's PNG does not."""
    height, width = picture.shape[:2]
    flat = picture.reshape(height, -1)
    rows = np.empty((height, flat.shape[1] + 1), np.uint8)
    rows[:, 0] = 2  # each row as its difference to the one above
    rows[0, 1:] = flat[0]
    np.subtract(flat[1:], flat[:-1], out=rows[1:, 1:])
    header = struct.pack(">IIBBBBB", width, height, 8, 2 if picture.ndim == 3 else 0, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows.data, 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in parts
    )


def _chunk(chunk: Chunk | None) -> dict[str, Any] | None:
    if chunk is None:
        return None
    times = None if chunk.timestamp is None else _plain(chunk.timestamp)
    columns = {
        name: _plain(column.reshape(len(column), -1))
        for name, column in chunk.columns().items()
        if column.dtype.kind in "biuf" and column.size <= _CHUNK
    }
    return {"timestamp": times, "action": columns}


def _plain(array: Array) -> Any:
    """Numbers as JSON has them: null for what is not finite."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        held = array.astype(object)
        held[~np.isfinite(array)] = None
        return held.tolist()
    return array.tolist()
