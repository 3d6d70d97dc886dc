"""What a recording's messages are: Foxglove's schemas where there is one, and a few of our own.

All of them are protobuf, so that Foxglove and Rerun show and plot them without knowing offboard. Ours are declared here
as a table; what a file holds of each is a descriptor, as the MCAP format wants it.
"""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any, NamedTuple

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2

with warnings.catch_warnings():
    # Protobuf 6, which LeRobot 0.4 insists on, says of these that they were generated for 5. It reads them as they are
    # meant, and who records has no way to generate them anew.
    warnings.filterwarnings("ignore", "Protobuf gencode version", UserWarning)
    from foxglove_schemas_protobuf import CompressedImage_pb2, CompressedVideo_pb2, PoseInFrame_pb2

_SCALARS = {"double": 1, "uint32": 13, "string": 9, "bytes": 12, "bool": 8}
_TIMESTAMP = "google.protobuf.Timestamp"

#: Our own messages: each field as ``NAME: KIND``, numbered in this order; ``KIND[]`` is repeated. Fields are added at
#: the end and never change, so that older recordings stay readable.
_OWN: dict[str, dict[str, str]] = {
    # A vector of numbers, exactly: a float64 holds every float32 and every whole number up to 2**53.
    "Values": {"timestamp": _TIMESTAMP, "values": "double[]"},
    "Text": {"timestamp": _TIMESTAMP, "text": "string"},
    # When the robot was observed: ``seconds`` since the episode began on the robot's clock.
    "Observed": {"timestamp": _TIMESTAMP, "seconds": "double", "observe_ms": "double", "sent": "bool"},
    # A command that was played, and why; ``row``: which of its chunk, -1 for none. Its numbers are in the topics of the
    # actions, at the same time.
    "Played": {
        "timestamp": _TIMESTAMP, "seconds": "double", "duration": "double", "rung": "string", "apply_ms": "double",
        "row": "double",
    },
    # An exchange with the policy, at the time when it was over; ``timestamp``: when it was sent. ``observation`` and
    # ``rows`` are msgpack as on the wire (the protocol's page), the observation without its images, which are messages
    # of their own at ``timestamp``. ``end``: the policy has said that the episode is over.
    "Answer": {
        "timestamp": _TIMESTAMP, "round_trip_ms": "double", "observe_ms": "double", "failure": "string",
        "failure_text": "string", "anew": "bool", "dropped": "string", "images": "string",
        "timing": "string", "configured": "string", "observation": "bytes", "rows": "bytes", "end": "bool",
    },
    # The rows of an answer's chunk that say the same name, as plots want them: row i at ``timestamp + offsets[i]``.
    "Chunk": {"timestamp": _TIMESTAMP, "offsets": "double[]", "width": "uint32", "values": "double[]"},
    # A server's half of an exchange, at the time of its answer; ``timestamp``: when the observation came. ``inputs``
    # (what the codec made for the model, without its pictures), ``rows`` (what the model answered): msgpack, likewise.
    # ``unchanged``: JSON, of the pictures that the codec handed on as they were, input → what the robot called it.
    # ``robot_ms``: since the answer before; -1 for the first. ``image_files``: -1 where nobody knows.
    "Exchange": {
        "timestamp": _TIMESTAMP, "number": "double", "robot_ms": "double", "queue_ms": "double", "decode_ms": "double",
        "codec_ms": "double", "infer_ms": "double", "encode_ms": "double", "total_ms": "double", "batch": "double",
        "frame_bytes": "double", "reply_bytes": "double", "image_files": "double", "error": "string",
        "inputs": "bytes", "rows": "bytes", "unchanged": "string",
    },
}  # fmt: skip


class Schema(NamedTuple):
    """A message's class, its full name, and the descriptors that a file holds of it."""

    message: Any
    name: str
    descriptors: bytes


def own(name: str) -> Schema:
    """One of ours: ``Values``, ``Text``, ``Observed``, ``Played``, ``Answer``, ``Chunk``, ``Exchange``."""
    return _schema(_classes()[f"offboard.{name}"])


def video() -> Schema:
    """Foxglove's CompressedVideo: one frame of H.264."""
    return _schema(CompressedVideo_pb2.CompressedVideo)


def image() -> Schema:
    """Foxglove's CompressedImage: one PNG."""
    return _schema(CompressedImage_pb2.CompressedImage)


def pose_in_frame() -> Schema:
    """Foxglove's PoseInFrame: position in m, quaternion by name."""
    return _schema(PoseInFrame_pb2.PoseInFrame)


def message_class(name: str) -> Any:
    """The class of a schema that recordings have. Raises KeyError for another."""
    known = {schema.name: schema.message for schema in (video(), image(), pose_in_frame())}
    return known[name] if name in known else _classes()[name]


def set_time(timestamp: Any, nanoseconds: int) -> None:
    """Into a message's ``timestamp``: nanoseconds since 1970."""
    timestamp.seconds, timestamp.nanos = divmod(nanoseconds, 1_000_000_000)


@cache
def _schema(message: Any) -> Schema:
    found = descriptor_pb2.FileDescriptorSet()
    seen: set[str] = set()

    def add(file: Any) -> None:
        if file.name in seen:
            return
        seen.add(file.name)
        for dependency in file.dependencies:
            add(dependency)
        file.CopyToProto(found.file.add())

    add(message.DESCRIPTOR.file)
    return Schema(message, message.DESCRIPTOR.full_name, found.SerializeToString())


@cache
def _classes() -> dict[str, Any]:
    file = descriptor_pb2.FileDescriptorProto(
        name="offboard/recording.proto", package="offboard", syntax="proto3",
        dependency=[timestamp_pb2.DESCRIPTOR.name],
    )  # fmt: skip
    for name, fields in _OWN.items():
        message = file.message_type.add(name=name)
        for number, (field, kind) in enumerate(fields.items(), 1):
            scalar = kind.removesuffix("[]")
            entry: Any = message.field.add(name=field, number=number, label=3 if kind.endswith("[]") else 1)
            if scalar in _SCALARS:
                entry.type = _SCALARS[scalar]
            else:
                entry.type, entry.type_name = 11, f".{scalar}"
    pool = descriptor_pool.Default()
    pool.AddSerializedFile(file.SerializeToString())
    return message_factory.GetMessageClassesForFiles([file.name], pool)


#: Those whose messages are large.
PICTURES = frozenset((video(), image()))
