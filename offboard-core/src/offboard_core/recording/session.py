"""One session's file: what its robot said, what the model saw, what it answered, and what the robot got."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from offboard_client.errors import BadMessage, RecordingFailed
from offboard_client.recording import (
    EPISODE,
    OUTCOME,
    VERSION,
    RecordingFile,
    Topics,
    as_json,
    is_picture,
    own,
    plain_observation,
)
from offboard_client.wire import CONTEXT, encode, encode_text

from ..engine import ExchangeRecord
from ..types import Chunk
from .options import RecordingOptions

#: So many names are tried for a file: sessions of several servers may begin within one second.
_NAMES = 1000
_STAGES = ("queue_ms", "decode_ms", "codec_ms", "infer_ms", "total_ms", "batch")


class SessionRecording:
    """The file of one session. Not thread-safe; what it raises is RecordingFailed, or about one exchange."""

    def __init__(self, options: RecordingOptions, facts: Mapping[str, Any], first: ExchangeRecord) -> None:
        """``first``: the first exchange that is recorded of it. ``facts``: of the server, as JSON has forms for."""
        self._options = options
        self._clock, self._wall = first.arrived, first.wall_time
        self._counts: Counter[str] = Counter()
        self._last = self._number = 0
        self._totals = array("d")
        self._file = _new_file(options.dir, first)
        self._topics = Topics(self._file)
        self._file.describe(EPISODE, self._about(facts, first))

    @property
    def path(self) -> Path:
        """Where it is."""
        return self._file.path

    @property
    def exchanges(self) -> int:
        """How many were recorded."""
        return self._counts["exchanges"] + self._counts["failures"]

    def write(self, record: ExchangeRecord) -> None:
        """One exchange."""
        came = self._at(record.arrived)
        answered = came + round((record.timing["total_ms"] + (record.encode_ms or 0.0)) * 1e6)
        self._count(record)
        sent = self._sent(record.observation or {}, came)
        unchanged = self._seen(record.inputs or {}, sent, came)
        stages: dict[str, Any] = {name: record.timing[name] for name in _STAGES}
        got, made = list(_rows(record.reply_chunk)), list(_rows(record.chunk))
        self._file.write(
            "/answer", own("Answer"), answered, stamp=came, round_trip_ms=(answered - came) / 1e6,
            failure=record.error or "", timing=encode_text(as_json({**record.timing, "robot_ms": record.robot_ms})),
            observation=_packed(_said(record.observation or {})), rows=_packed(got),
            end=record.reply_chunk is not None and not got,
        )  # fmt: skip
        self._file.write(
            "/exchange", own("Exchange"), answered, stamp=came, number=record.number, error=record.error or "",
            robot_ms=-1 if record.robot_ms is None else record.robot_ms, encode_ms=record.encode_ms or 0,
            frame_bytes=record.frame_bytes or 0, reply_bytes=record.reply_bytes or 0,
            image_files=-1 if record.image_files is None else record.image_files,
            inputs=_packed(plain_observation(record.inputs or {})), rows=_packed(made),
            unchanged=encode_text(unchanged),
            **stages,
        )  # fmt: skip
        self._topics.chunk(got, self._period, answered)
        self._topics.chunk(made, self._period, answered, "output")

    def finish(self) -> None:
        """With what became of it."""
        p50, p95, p99 = np.percentile(self._totals, (50, 95, 99)).tolist()
        self._file.describe(OUTCOME, {
            "success": None, "failure": None, "stopped": False, "scores": {}, "seconds": self._seconds,
            "exchanges": self._counts["exchanges"], "failures": self._counts["failures"],
            "missed": self._last - self.exchanges,
            "round_trips_ms": {"p50": p50, "p95": p95, "p99": p99},
        })  # fmt: skip
        self._file.finish()

    def abandon(self) -> None:
        """What it has can be read."""
        self._file.abandon()

    # -- inside ----------------------------------------------------------------------------------------
    def _about(self, facts: Mapping[str, Any], first: ExchangeRecord) -> dict[str, Any]:
        meta = dict(first.meta or {})
        fps = meta.get("action_fps")
        self._period = 1 / fps if isinstance(fps, (int, float)) and fps > 0 else 1.0
        task = (first.observation or {}).get("task")
        return {
            "version": VERSION, "number": 1, "seed": None, "seconds": None, "control_period": None,
            "action_period": self._period, "wall_time": first.wall_time, "images": None, "fit": None,
            "meta": as_json(meta),
            "run": {**facts, "task": task if isinstance(task, str) else None},
            # Who knows the whole id of a session that goes on can take it over.
            "session": {
                "id": first.session_id[:8], "client": first.holder, "model": first.model_id, "replica": first.replica,
                "codec": meta.get("codec"),
            },
        }  # fmt: skip

    def _count(self, record: ExchangeRecord) -> None:
        self._last = record.number
        self._seconds = record.arrived - self._clock + record.timing["total_ms"] / 1e3
        self._counts["failures" if record.error else "exchanges"] += 1
        self._totals.append(record.timing["total_ms"])

    def _sent(self, observation: Mapping[str, Any], at: int) -> dict[str, Any]:
        """What the robot said; its pictures that are in the file."""
        pictures: dict[str, Any] = {}
        for name, value in observation.items():
            if not is_picture(value):
                self._topics.values("observation", name, value, at)
            elif self._options.sent:
                self._topics.still(name, value, at)
                pictures[name] = value
        return pictures

    def _seen(self, inputs: Mapping[str, Any], sent: Mapping[str, Any], at: int) -> dict[str, str]:
        """What the model saw; which pictures of it are those that were sent. Writing them twice is the largest cost."""
        unchanged: dict[str, str] = {}
        for name, value in inputs.items():
            if not is_picture(value):
                self._topics.values("input", name, value, at)
            elif same := next((one for one, picture in sent.items() if np.array_equal(picture, value)), None):
                unchanged[name] = same
            elif self._options.seen:
                self._topics.still(name, value, at, "seen")
        return unchanged

    def _at(self, clock: float) -> int:
        """Nanoseconds since 1970, of seconds on the records' clock."""
        return round(self._wall * 1e9) + round((clock - self._clock) * 1e9)


def _new_file(folder: Path, first: ExchangeRecord) -> RecordingFile:
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime(first.wall_time))
    for more in range(_NAMES):
        with suppress(FileExistsError):
            return RecordingFile(folder / f"{stamp}-{first.session_id[:8]}{f'-{more}' if more else ''}.mcap")
    raise RecordingFailed(f"{folder} has {_NAMES} recordings of {stamp} already")


def _rows(chunk: Chunk | None) -> Iterator[dict[str, Any]]:
    if chunk is None:
        return
    columns = chunk.columns()
    for row in range(len(chunk)):
        said: dict[str, Any] = {"action": {name: column[row] for name, column in columns.items()}}
        if chunk.timestamp is not None:
            said["timestamp"] = float(chunk.timestamp[row])
        yield said


def _said(observation: Mapping[str, Any]) -> dict[str, Any]:
    """Without its pictures. Frames of before are in no other message here: the robot sent them once."""
    earlier = CONTEXT["history"]
    return {**plain_observation(observation), **({earlier: observation[earlier]} if earlier in observation else {})}


def _packed(value: Any) -> bytes:
    """As msgpack; what a codec or a model has made that has no form there is said in its own words."""
    try:
        return encode(value)
    except BadMessage:
        return encode(as_json(value))
