"""Whether a recording is what was written, bit for bit: of all but what it says of itself in words."""

from __future__ import annotations

import random
import re
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from filmed import record
from mcap.opcode import Opcode
from offboard_client.errors import RecordingFailed
from offboard_client.recording import check_intact


def records(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Kind, place and length with its head of each."""
    at = 8
    while at < len(data) - 8:
        kind, length = struct.unpack_from("<BQ", data, at)
        yield kind, at, length + 9
        at += length + 9


def test_every_flipped_bit_of_what_was_recorded_is_found(tmp_path: Path) -> None:
    path = record(tmp_path, periods=60)
    shares: list[float] = []
    check_intact(path, shares.append)
    assert shares == sorted(shares)
    assert 0 < shares[-1] <= 1
    whole, draw = path.read_bytes(), random.Random(4)
    kinds = (Opcode.CHUNK, Opcode.MESSAGE_INDEX, Opcode.CHUNK_INDEX, Opcode.STATISTICS, Opcode.CHANNEL)
    places = [(kind, at, length) for kind, at, length in records(whole) if kind in kinds]
    assert {kind for kind, _, _ in places} == set(kinds)
    for number in range(300):
        _, at, length = draw.choice(places)
        # Every second one in what its head says.
        flipped = at + draw.randrange(min(length, 50) if number % 2 else length)
        data = bytearray(whole)
        data[flipped] ^= 1 << draw.randrange(8)
        path.write_bytes(data)
        with pytest.raises(RecordingFailed, match=re.escape(path.name) + " is damaged"):
            check_intact(path)


def test_it_says_where_the_first_is_and_how_many(tmp_path: Path) -> None:
    path = record(tmp_path, periods=60)
    data = bytearray(path.read_bytes())
    blocks = [(at, length) for kind, at, length in records(data) if kind == Opcode.CHUNK]
    for at, length in blocks[1:3]:
        data[at + length // 2] ^= 4
    path.write_bytes(data)
    with pytest.raises(RecordingFailed, match=rf"at byte {blocks[1][0]}: .* \(2 of {len(blocks)} blocks are\)"):
        check_intact(path)
