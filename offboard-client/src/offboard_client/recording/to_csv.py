"""A recording as a table: a line for each command that was played."""

from __future__ import annotations

import csv
from collections.abc import Callable, Sequence
from itertools import islice
from os import PathLike
from pathlib import Path
from typing import Any

from ..errors import RecordingFailed, cell
from .reader import Episode

_OBSERVED, _PLAYED = "/observation/", "/action/"
#: What a line begins with: seconds since 1970, and of the episode on the robot's clock.
_FIRST = ("time", "seconds", "duration", "rung", "apply_ms", "row")


def write_csv(
    episode: Episode,
    path: str | PathLike[str],
    progress: Callable[[float], None] = lambda share: None,
    within: tuple[int, int] | None = None,
) -> int:
    """Write ``path``, a table; how many commands it has.

    Columns: ``time`` (s since 1970), ``seconds`` (of the episode), ``duration`` in s, ``rung``, ``apply_ms``, ``row``
    of its chunk (-1: none); then ``observation.NAME.i``, what was measured last, and ``action.NAME.i``, what was
    commanded: empty where nothing was. Numbers read back as what they were; a text that a spreadsheet would take for a
    formula has a ``'`` before it. ``within``: only commands from one time on
    and before another, nanoseconds since 1970. ``progress`` is told which share is done. Raises RecordingFailed, and
    OSError for ``path``.
    """
    topics = [topic for topic in episode.topics if topic.startswith((_OBSERVED, _PLAYED))]
    columns = {topic: _columns(episode, topic) for topic in topics}
    held: dict[str, Sequence[Any]] = {topic: [""] * len(names) for topic, names in columns.items()}
    acted: dict[str, int] = {}
    begin, end = within or (episode.start, episode.end + 1)
    length, count = max(end - episode.start, 1), 0
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow([*_FIRST, *(name for names in columns.values() for name in names)])
        for said in episode.messages([*topics, "/played"], end=end):  # from the first: what was measured last
            message = said.message
            if said.topic != "/played":
                held[said.topic] = (
                    [cell(message.text)] if hasattr(message, "text") else [repr(v) for v in message.values]
                )
                acted[said.topic] = said.at
                if len(held[said.topic]) != len(columns[said.topic]):
                    raise RecordingFailed(
                        f"{episode.path.name}: {said.name} has {len(columns[said.topic])} numbers, and later "
                        f"{len(held[said.topic])}: no table has both"
                    )
                continue
            if said.at < begin:
                continue
            cells: list[Any] = []
            for topic, names in columns.items():
                # An observation holds until the next one; an action is of its own command.
                now = topic.startswith(_OBSERVED) or acted.get(topic) == said.at
                cells += held[topic] if now else [""] * len(names)
            first = (message.seconds, message.duration, cell(message.rung), message.apply_ms, int(message.row))
            lines.writerow([f"{said.at / 1e9:.6f}", *first, *cells])
            count += 1
            progress((said.at - episode.start) / length)
    return count


def _columns(episode: Episode, topic: str) -> list[str]:
    kind = "observation" if topic.startswith(_OBSERVED) else "action"
    name = f"{kind}.{episode.topics[topic]}"
    for said in islice(episode.messages([topic]), 1):
        if not hasattr(said.message, "text") and len(said.message.values) != 1:
            return [f"{name}.{number}" for number in range(len(said.message.values))]
    return [name]
