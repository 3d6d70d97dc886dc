"""``meta/offboard.json`` of a data set: what its numbers are, and where each of its episodes came from."""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from offboard_client.errors import ConfigurationError, brief, told
from offboard_client.exports import Attempt, Layout, Numbers, origin_of
from offboard_client.recording import Episode

FILE = Path("meta") / "offboard.json"
#: The key that names such a file, and the version of what it says.
_FORMAT, _VERSION = "offboard_export", 1
#: What became of an episode, and where it came from; plain JSON data.
Entry: TypeAlias = dict[str, Any]


@dataclass
class Record:
    """``fps``: frames a second; 0 before it is known. ``episodes``: in the data set's order."""

    fps: int = 0
    state: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    action: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    cameras: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    episodes: list[Entry] = field(default_factory=list[Entry])

    @property
    def names(self) -> set[tuple[str, float]]:
        """The attempts that are in it, each with when it was recorded."""
        return {(entry["name"], entry["began"]) for entry in self.episodes}

    def begin(self, layout: Layout, fps: int) -> None:
        """What all of its frames hold is known."""
        self.fps = fps
        self.state, self.action = ([asdict(each) for each in part] for part in (layout.state, layout.action))
        self.cameras = {name: [*size] for name, size in layout.cameras.items()}

    def layout(self) -> Layout:
        """The same again."""
        state, action = (
            tuple(Numbers(e["name"], e["topic"], tuple(e["labels"]), e["unit"], e["frame"]) for e in part)
            for part in (self.state, self.action)
        )
        return Layout(state, action, {name: (high, wide) for name, (high, wide) in self.cameras.items()})

    def add(self, entry: Entry) -> None:
        """One more episode."""
        self.episodes.append({"episode_index": len(self.episodes), **entry})

    def write(self, root: Path) -> None:
        """Raises OSError."""
        said = {_FORMAT: _VERSION, **asdict(self)}
        (root / FILE).write_text(json.dumps(said, indent=1, allow_nan=False) + "\n", "utf-8")


def read(folder: Path) -> Record | None:
    """What a data set at ``folder`` says; None where nothing is. Raises ConfigurationError for what is none of ours."""
    try:
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            return None
        given: Any = json.loads((folder / FILE).read_bytes())
        if given.get(_FORMAT) != _VERSION:
            raise ValueError(f"{_FORMAT} is {brief(given.get(_FORMAT))}, and this offboard reads {_VERSION}")
        found = Record(**{name: given[name] for name in Record.__dataclass_fields__})
        found.layout()
        return found
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigurationError(
            f"{folder} is there, and no data set that `offboard export --to lerobot` wrote ({told(error)}): nothing is "
            "written over; say another --output-dir"
        ) from error


def entry(episode: Episode, attempt: Attempt, frames: int, led: int, left_out: int, at: int) -> Entry:
    """Of an attempt. ``at``: nanoseconds since 1970 of its first frame."""
    return {
        "name": attempt.name, "frames": frames, "led": led, "left_out": left_out,
        "wall_time_ns": at, "wall_time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at / 1e9)),
        **origin_of(attempt, episode.about, episode.outcome),
    }  # fmt: skip
