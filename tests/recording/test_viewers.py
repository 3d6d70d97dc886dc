"""What other people's programs make of a recording."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from filmed import record
from mcap.reader import make_reader
from mcap.stream_reader import StreamReader
from waits import PATIENCE


def test_it_is_an_mcap_file_whose_sums_are_right(tmp_path: Path) -> None:
    path = record(tmp_path, periods=200)
    with path.open("rb") as file:
        records = list(StreamReader(file, validate_crcs=True).records)
    assert len(records) > 1000
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        summary = reader.get_summary()
        assert summary is not None
        assert summary.statistics is not None
        assert summary.statistics.message_count == sum(1 for _ in reader.iter_messages())
        assert {schema.name for schema in summary.schemas.values()} == {
            "foxglove.CompressedImage", "foxglove.CompressedVideo", "foxglove.PoseInFrame", "offboard.Answer",
            "offboard.Chunk", "offboard.Observed", "offboard.Played", "offboard.Text", "offboard.Values",
        }  # fmt: skip


def test_its_messages_are_read_by_what_it_holds_of_their_schemas(tmp_path: Path) -> None:
    """As Foxglove does: by the descriptors in the file, without a class of ours."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    path, seen = record(tmp_path), set[str]()
    with path.open("rb") as file:
        for schema, channel, message in make_reader(file).iter_messages():
            assert schema is not None
            files = descriptor_pb2.FileDescriptorSet.FromString(schema.data)
            pool = descriptor_pool.DescriptorPool()
            for each in files.file:
                pool.AddSerializedFile(each.SerializeToString())
            kind = message_factory.GetMessageClass(pool.FindMessageTypeByName(schema.name))
            read: Any = kind.FromString(message.data)
            assert read.timestamp.seconds >= 1_800_000_000
            seen.add(channel.topic)
    assert {"/video/wrist", "/sent/wrist", "/answer", "/action/target_grip", "/observation/robot_state/q"} <= seen


#: The runtime of protobuf 6, of which LeRobot 0.4 asks for one: a file generated for 5 is read, and spoken of.
OLDER = """
import warnings
from google.protobuf import runtime_version
def spoken_of(domain, major, minor, patch, suffix, file):
    if major < runtime_version.MAJOR:
        warnings.warn(f"Protobuf gencode version {major}.{minor}.{patch} is exactly one major version older at {file}")
runtime_version.ValidateProtobufRuntimeVersion = spoken_of
import offboard_client.recording
try:
    spoken_of(None, 5, 29, 6, "", "x.proto")
except UserWarning:
    raise SystemExit(0)
raise SystemExit("it hides what others have to say")
"""


def test_who_records_is_not_told_for_which_protobuf_foxgloves_schemas_were_generated() -> None:
    command = [sys.executable, "-W", "error::UserWarning", "-c", OLDER]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_rerun_reads_cameras_poses_and_numbers(tmp_path: Path) -> None:
    """Its own loader of MCAP files, of a release that knows Foxglove's schemas: LeRobot asks for an older one."""
    path, out = record(tmp_path, periods=60), tmp_path / "out.rrd"
    rerun = ["uv", "run", "-q", "--no-project", "--isolated", "--with", "rerun-sdk>=0.28", "rerun"]
    quiet = {**os.environ, "HOME": str(tmp_path)} | {"UV_CACHE_DIR": _cache()}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [*rerun, *arguments], check=True, env=quiet, timeout=5 * PATIENCE, capture_output=True, encoding="utf-8"
        )
        return done.stdout + done.stderr

    assert "Issues" in (checked := run("mcap", "check", str(path)))
    assert not [line for line in checked.splitlines() if line.startswith(("warn", "error"))]
    run("mcap", "convert", str(path), "-o", str(out))
    said = run("rrd", "print", "-v", str(out))
    for expected in (
        "/video/wrist@VideoStream:sample", "/sent/wrist@EncodedImage:blob", "/pose/target_pose@InstancePoses3D",
        "/action/target_grip@offboard.Values:message", "/played@offboard.Played:message", "offboard.episode",
    ):  # fmt: skip
        assert expected in said, said[-4000:]


def _cache() -> str:
    return subprocess.run(["uv", "cache", "dir"], check=True, capture_output=True, encoding="utf-8").stdout.strip()
