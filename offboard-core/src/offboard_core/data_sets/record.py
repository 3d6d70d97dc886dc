"""``meta/offboard.json`` of a data set: the codec that made its rows, and where each of its episodes came from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from offboard_client.errors import ConfigurationError, brief, told

from .seam import DataSetForm

#: Where it stands in a data set.
RECORD = Path("meta") / "offboard.json"
#: The key that names such a file, and the version of what it says.
_FORMAT, _VERSION = "offboard_convert", 1
_SAID = ("codec", "options", "fps", "conventions", "features")


@dataclass
class DataSetRecord:
    """``form``: the name of what wrote it. ``episodes``: in the data set's order, plain JSON data of each."""

    form: str
    codec: str
    options: Mapping[str, Any]
    fps: float
    conventions: Mapping[str, str]
    features: Mapping[str, Any]
    episodes: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    @classmethod
    def of(cls, name: str, form: DataSetForm) -> DataSetRecord:
        """One without an episode, of the form called ``name``."""
        features = {column: asdict(feature) for column, feature in form.features.items()}
        said = {
            "options": form.options, "fps": float(form.fps), "conventions": form.conventions, "features": features
        }  # fmt: skip
        return cls(name, form.codec, **json.loads(json.dumps(said)))  # as a file would have it

    @property
    def identities(self) -> set[str]:
        """Which episodes are in it."""
        return {str(entry["identity"]) for entry in self.episodes}

    def check_same(self, other: DataSetRecord, folder: Path | str) -> None:
        """Raises ConfigurationError where ``other`` would be mixed with what is in ``folder`` already."""
        for name in ("form", *_SAID):
            ours, theirs = getattr(self, name), getattr(other, name)
            if name == "options":  # a codec may have got one since, which was as it is by itself
                ours, theirs = ({each: of[each] for each in ours.keys() & theirs.keys()} for of in (ours, theirs))
            if ours != theirs:
                if isinstance(ours, dict) and isinstance(theirs, dict):
                    name, ours, theirs = _first_difference(name, ours, theirs)
                raise ConfigurationError(
                    f"{folder} was made with the {name} {_said(ours)}, and now it would be "
                    f"{_said(theirs)}: one data set holds one kind of row. Say what it was made with, or another "
                    "--output-dir"
                )

    def add(self, entry: Mapping[str, Any]) -> None:
        """One more episode."""
        self.episodes.append({"episode_index": len(self.episodes), **entry})

    def write(self, folder: Path) -> None:
        """Raises OSError."""
        (folder / RECORD).parent.mkdir(parents=True, exist_ok=True)
        said = json.dumps({_FORMAT: _VERSION, **asdict(self)}, indent=1, allow_nan=False)
        (folder / RECORD).write_text(f"{said}\n", "utf-8")


def read_data_set(folder: Path) -> DataSetRecord | None:
    """What the data set at ``folder`` says of itself; None where nothing is.

    Raises ConfigurationError for what `offboard convert` did not write.
    """
    try:
        if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
            return None
        given: Any = json.loads((folder / RECORD).read_bytes())
        if given.get(_FORMAT) != _VERSION:
            raise ValueError(f"{_FORMAT} is {brief(given.get(_FORMAT))}, and this offboard reads {_VERSION}")
        found = DataSetRecord(**{name: given[name] for name in DataSetRecord.__dataclass_fields__})
        _ = found.identities
        return found
    except (OSError, ValueError, RecursionError, TypeError, KeyError, AttributeError) as error:
        raise ConfigurationError(
            f"{folder} is there, and no data set that `offboard convert` wrote ({told(error)}): nothing is written "
            "over; say another --output-dir"
        ) from error


def _first_difference(name: str, ours: Any, theirs: Any) -> tuple[str, Any, Any]:
    a, b = cast("dict[str, Any]", ours), cast("dict[str, Any]", theirs)
    changed = next(key for key in (*a, *b) if a.get(key) != b.get(key))
    return f"{changed} of its {name}", a.get(changed), b.get(changed)


def _said(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else brief(value)
