"""A vendor's training, run where the vendor lives; ``offboard stats`` and ``offboard train`` call it."""

from __future__ import annotations

import abc
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from offboard_client.errors import ConfigurationError

from .types import NoParams, Report

#: What is known of a checkpoint beside it; serving reads it.
RECORD = "offboard.json"


class Trainer(abc.ABC):
    """Makes checkpoints of a data set.

    ``stats_options``, ``train_options``: frozen dataclasses of the vendor's flags for the two commands.
    Raises ConfigurationError for whatever is wrong, with the end of the log of what was run.
    """

    stats_options: type = NoParams
    train_options: type = NoParams

    def stats(self, options: Any, report: Report) -> Path:
        """Compute what training needs to know of a data set beforehand; where it was written."""
        raise ConfigurationError("this vendor computes no statistics beforehand: train at once")

    @abc.abstractmethod
    def train(self, options: Any, record: Mapping[str, Any], report: Report) -> Path:
        """Train; where the checkpoints are. ``record`` (``codec``, ``action_fps``) belongs beside them."""


def read_record(folder: Path) -> dict[str, Any]:
    """What is recorded in a folder, {} without a record. Raises ConfigurationError."""
    path = folder / RECORD
    try:
        record = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None
    if not isinstance(record, dict):
        raise ConfigurationError(f"{path} holds no map")
    return record  # pyright: ignore[reportUnknownVariableType]


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write the record, or leave an equal one. Raises ConfigurationError naming both if another one is there."""
    there = read_record(folder)
    for name, value in record.items():
        if there.get(name, value) != value:
            raise ConfigurationError(
                f"{folder / RECORD} says that {name} is {there[name]!r}, and now it would be {value!r}; "
                "go on with what is recorded, or train into another folder"
            )
    if there != {**there, **record}:
        fresh = folder / f"{RECORD}.new"
        fresh.write_text(json.dumps({**there, **record}, indent=2) + "\n", "utf-8")
        fresh.replace(folder / RECORD)


__all__ = ["RECORD", "Trainer", "read_record", "write_record"]
