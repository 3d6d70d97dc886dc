"""What is recorded beside a checkpoint: training writes it, serving reads it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from offboard_client.errors import ConfigurationError, unknown

#: The file's name.
RECORD = "offboard.json"


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


def check_record(record: Mapping[str, Any], *more: str) -> None:
    """That all that is recorded is read: the codec, its rate and options, and what a vendor reads ``more``.

    Raises ConfigurationError naming what nobody reads, and the nearest that somebody does.
    """
    for name in record:
        if name not in (known := ("codec", "action_fps", "codec_options", *more)):
            raise ConfigurationError(f"{unknown('field', name, known, f'in {RECORD}')}. Correct it, or take it out")


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
