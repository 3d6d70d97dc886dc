"""Whether a recording is what was written, bit for bit: of all but what it says of itself in words."""

from __future__ import annotations

import random
import re
import struct
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from filmed import record
from mcap.opcode import Opcode
from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer
from offboard_client.errors import RecordingFailed
from offboard_client.recording import Episode, check_intact


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


def repack(path: Path, packed: Path, more: bytes = b"") -> None:
    """As others pack a recording, with one message more."""
    with path.open("rb") as file, packed.open("wb") as out:
        reader, writer = make_reader(file), Writer(out, compression=CompressionType.LZ4, chunk_size=4096)
        writer.start(profile=reader.get_header().profile, library=reader.get_header().library)
        schemas: dict[int, int] = {}
        channels: dict[int, int] = {}
        for schema, channel, message in reader.iter_messages():
            if channel.id not in channels:
                schema_id = 0
                if schema is not None:
                    if schema.id not in schemas:
                        schemas[schema.id] = writer.register_schema(schema.name, schema.encoding, schema.data)
                    schema_id = schemas[schema.id]
                channels[channel.id] = writer.register_channel(
                    channel.topic, channel.message_encoding, schema_id, channel.metadata
                )
            writer.add_message(channels[channel.id], message.log_time, message.data, message.publish_time)
        if more:
            writer.add_message(next(iter(channels.values())), 2**62, more, 2**62)
        for each in reader.iter_metadata():
            writer.add_metadata(each.name, each.metadata)
        writer.finish()


def test_one_that_another_program_packed_with_lz4_is_read_and_held_against_its_checksums(tmp_path: Path) -> None:
    """As ``mcap compress`` does, of which Rerun and others read either."""
    path, packed = record(tmp_path, periods=60), tmp_path / "packed.mcap"
    repack(path, packed)
    check_intact(packed)
    with Episode(path) as before, Episode(packed) as after:
        said = list(before.messages(["/played"]))
        assert len(said) > 50
        assert list(after.messages(["/played"])) == said
    whole = packed.read_bytes()
    blocks = [(at, length) for kind, at, length in records(whole) if kind == Opcode.CHUNK]
    assert len(blocks) > 2
    for at, length in blocks:
        for place in (at + 70, at + length // 2, at + length - 2):
            data = bytearray(whole)
            data[place] ^= 4
            packed.write_bytes(data)
            with pytest.raises(RecordingFailed, match=f"is damaged: at byte {at}: "):
                check_intact(packed)


def test_it_says_where_the_first_is_and_how_many(tmp_path: Path) -> None:
    path = record(tmp_path, periods=60)
    data = bytearray(path.read_bytes())
    blocks = [(at, length) for kind, at, length in records(data) if kind == Opcode.CHUNK]
    for at, length in blocks[1:3]:
        data[at + length // 2] ^= 4
    path.write_bytes(data)
    with pytest.raises(RecordingFailed, match=rf"at byte {blocks[1][0]}: .* \(2 of {len(blocks)} blocks are\)"):
        check_intact(path)


def test_what_is_packed_with_lz4_takes_no_more_room_than_it_says(tmp_path: Path) -> None:
    """Its head says 4 KiB, and it is 64 MiB: sizes are held against what is said before room is taken."""
    packed = tmp_path / "packed.mcap"
    repack(record(tmp_path, periods=4), packed, bytes(1 << 26))
    data = bytearray(packed.read_bytes())
    *_, (at, _) = [(at, length) for kind, at, length in records(bytes(data)) if kind == Opcode.CHUNK]
    struct.pack_into("<Q", data, at + 9 + 16, 4096)
    packed.write_bytes(data)
    tracemalloc.start()
    try:
        with Episode(packed) as found, pytest.raises(RecordingFailed, match="damaged"):
            list(found.messages(found.topics))
        assert tracemalloc.get_traced_memory()[1] < 1 << 24
    finally:
        tracemalloc.stop()
