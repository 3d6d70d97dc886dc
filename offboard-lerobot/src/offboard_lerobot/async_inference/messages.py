"""The messages of ``transport.AsyncInference`` in protobuf's encoding: one or two fields each."""

from __future__ import annotations

from offboard_client.errors import BadMessage

SERVICE = "transport.AsyncInference"
#: Of ``TransferState``: where in an observation a piece of it stands.
BEGIN, MIDDLE, END = 1, 2, 3
EMPTY = b""
_VARINT, _EIGHT, _BYTES, _FOUR = 0, 1, 2, 5
#: Fields of a message: theirs have two at most. Each is a round of Python while the event loop waits.
_MOST_FIELDS = 16


def read_data(message: bytes, largest: int | None = None) -> bytes:
    """``data`` of a ``PolicySetup`` or of ``Actions``, of ``largest`` bytes at most. Raises BadMessage."""
    if largest is not None and len(message) > largest:
        raise BadMessage(f"the message has {len(message):,} bytes, {largest:,} at most")
    found = _fields(message).get(1, b"")
    if not isinstance(found, bytes):
        raise BadMessage("the message has a number where its data belong")
    return found


def read_piece(message: bytes) -> tuple[int, bytes]:
    """``transfer_state`` and ``data`` of an ``Observation``. Raises BadMessage."""
    found = _fields(message)
    state, data = found.get(1, 0), found.get(2, b"")
    if not isinstance(state, int) or not isinstance(data, bytes):
        raise BadMessage("the message is no piece of an observation")
    return state, data


def write_data(data: bytes) -> bytes:
    """A ``PolicySetup``, or ``Actions``."""
    return b"\x0a" + _varint(len(data)) + data if data else b""


def write_piece(state: int, data: bytes) -> bytes:
    """An ``Observation``."""
    return (b"\x08" + _varint(state) if state else b"") + (b"\x12" + _varint(len(data)) + data if data else b"")


def _fields(message: bytes) -> dict[int, int | bytes]:
    """Number of the field → its value, which is passed over where it is neither a whole number nor bytes."""
    found: dict[int, int | bytes] = {}
    at = count = 0
    while at < len(message):
        count += 1
        if count > _MOST_FIELDS:
            raise BadMessage(f"the message has more than {_MOST_FIELDS} fields, where two at most are known")
        key, at = _read_varint(message, at)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            found[number], at = _read_varint(message, at)
            continue
        size = {_EIGHT: 8, _FOUR: 4}.get(kind)
        if kind == _BYTES:
            size, at = _read_varint(message, at)
        if size is None or at + size > len(message):
            raise BadMessage("the message is not in protobuf's encoding, or cut off")
        if kind == _BYTES:
            found[number] = message[at : at + size]
        at += size
    return found


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    for byte in message[at : at + 10]:
        value |= (byte & 0x7F) << shift
        shift, at = shift + 7, at + 1
        if byte < 0x80:
            return value, at
    raise BadMessage("the message is not in protobuf's encoding, or cut off")


def _varint(value: int) -> bytes:
    made = bytearray()
    while value >= 0x80:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)
