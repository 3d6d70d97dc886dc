"""``offboard run … --timings FILE.csv``: where the time of each step went."""

from __future__ import annotations

from typing import Any

from ..play import Answer, EpisodeInfo, Outcome, Tick
from ..terminal import CsvFile

#: The server's own stages are called as in its ``--timings``; its whole time is ``server_ms``.
COLUMNS = (
    "time", "episode", "step", "round_trip_ms", "network_ms", "queue_ms", "decode_ms", "codec_ms", "infer_ms",
    "encode_ms", "server_ms", "batch", "client_encode_ms", "client_decode_ms", "observe_ms", "apply_ms", "commands",
    "error",
)  # fmt: skip
#: Columns by the names of a session's ``timing``.
_STAGES = {
    "network_ms": "network_ms", "encode_ms": "client_encode_ms", "decode_ms": "client_decode_ms",
    "server.total_ms": "server_ms", "server.batch": "batch",
    **{f"server.{name}": name for name in ("queue_ms", "decode_ms", "codec_ms", "infer_ms")},
}  # fmt: skip


class Timings:
    """Watches a run: writes a line for each observation, once its chunk was played."""

    def __init__(self, file: CsvFile) -> None:
        self._file = file
        self._line: dict[str, Any] = {}

    def started(self, episode: EpisodeInfo) -> None:
        """Steps count anew."""
        self._episode, self._step, self._line = episode, 0, {}

    def answered(self, answer: Answer) -> None:
        """Begins a line; the one before it learns what only this answer tells."""
        if self._line:
            self._line["encode_ms"] = answer.timing.get("server.prev_encode_ms")
            self._file.write(self._line)
        self._step += 1
        self._line = {
            "time": self._episode.wall_time + answer.at - self._episode.at,
            "episode": self._episode.number,
            "step": self._step,
            "round_trip_ms": answer.round_trip_ms,
            "observe_ms": answer.observe_ms,
            "apply_ms": 0.0,
            "commands": 0,
            "error": answer.failure and answer.failure[0],
            **{column: answer.timing[stage] for stage, column in _STAGES.items() if stage in answer.timing},
        }

    def ticked(self, tick: Tick) -> None:
        """Counts a command for its line."""
        if self._line:
            self._line["apply_ms"] += tick.apply_ms
            self._line["commands"] += 1

    def ended(self, outcome: Outcome) -> None:
        """Writes the last line."""
        if self._line:
            self._line["error"] = outcome.failure and outcome.failure[0]
            self._file.write(self._line)
            self._line = {}
