"""``offboard serve … --timings FILE.csv``: where the time of each step went."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from offboard_client.terminal import CsvFile

from ..engine import ExchangeRecord, Observer

#: The stages are called as in the ``--timings`` of ``offboard run``; what is ``server_ms`` there is ``total_ms`` here.
SERVE_COLUMNS = (
    "time", "session", "model", "replica", "number", "robot_ms", "queue_ms", "decode_ms", "codec_ms", "infer_ms",
    "encode_ms", "total_ms", "batch", "frame_bytes", "reply_bytes", "error",
)  # fmt: skip
_STAGES = ("queue_ms", "decode_ms", "codec_ms", "infer_ms", "total_ms", "batch")


@dataclass(frozen=True, kw_only=True)
class TimingsOptions:
    """Options of :class:`ServeTimings`."""

    file: Path
    """A file that is not there yet."""


class ServeTimings(Observer):
    """Writes a line for each answered observation. Raises ConfigurationError where no such file can be made."""

    contents = False
    #: Lines are short, and none is to be missed while a disk is slow.
    waiting = 4096

    def __init__(self, options: TimingsOptions) -> None:
        self._file = CsvFile(options.file.expanduser(), SERVE_COLUMNS, "--timings")

    def exchanged(self, record: ExchangeRecord) -> None:
        """Write its line."""
        self._file.write(
            {
                "time": record.wall_time,
                # Whoever knows the whole id can take the session over.
                "session": record.session_id[:8],
                "model": record.model_id,
                "replica": record.replica,
                "number": record.number,
                "robot_ms": record.robot_ms,
                "encode_ms": record.encode_ms,
                "frame_bytes": record.frame_bytes,
                "reply_bytes": record.reply_bytes,
                "error": record.error,
                **{name: record.timing[name] for name in _STAGES},
            }
        )

    def close(self) -> None:
        """Close the file; it is taken away if nothing was answered."""
        self._file.close()
