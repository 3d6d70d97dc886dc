"""Names of what lies on the Hub, in a checkpoint: found on this machine or refused, and never fetched by a load."""

from __future__ import annotations

import os
import re
from pathlib import Path

_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)
#: What lies in the folder of anything that is loaded by its name.
_THERE = (
    "config.json", "model_index.json", "preprocessor_config.json", "processor_config.json", "tokenizer.json",
    "tokenizer_config.json",
)  # fmt: skip
#: Characters of a name or path: what Linux opens at all.
_LONGEST = 1024
_REVISION = re.compile(r"[\w-][\w.-]*(/[\w-][\w.-]*)*", re.ASCII)


def wrong(value: object, usual: object, local: bool) -> str | None:
    """What is wrong with the name in a config's field; None: nothing. ``usual``: LeRobot's own."""
    if not value:
        return f"where a name is expected, such as {usual}" if usual and value == "" else None
    why = why_not(value, local)
    return why and f"which {why}"


def why_not(name: object, local: bool) -> str | None:
    """Why a load would not find what is named so on this machine; None: it is there.

    ``local``: whether the checkpoint lies here, too: another's folders are none of this machine's.
    """
    if not isinstance(name, str) or len(name) > _LONGEST or not name.isprintable():
        return "is no name"
    if not Path(name).is_absolute() and _is_folder(name):  # the Hub's library looks there first
        return f"is a folder of {Path.cwd()}, where this runs, and may be another elsewhere. {_WHOLE}"
    if _NAME.fullmatch(name) and not name.startswith("."):
        if _is_cached(name):
            return None
        return f"is not on this machine, and nothing is fetched at a load. {fetch_it(name)}"
    if not local:
        return "is a folder of the machine that trained it. Write the name that it has on the Hub"
    if not Path(name).is_absolute():
        return f"is a path from where it was trained, and may be another elsewhere. {_WHOLE}"
    if not _is_folder(name):
        return "is no folder of this machine. Copy it there, or write its name on the Hub"
    if not any(Path(name, each).is_file() for each in _THERE):
        return f"is a folder without a model or a tokenizer (none of {', '.join(_THERE)}). Write where that is"
    return None


def folder_of(name: str, revision: str | None, local: bool) -> Path:
    """The folder of this machine that is named so: itself, or what the Hub's cache has of it at a revision.

    Raises ValueError with why there is none.
    """
    if why := why_not(name, local):
        raise ValueError(why)
    if Path(name).is_absolute():
        return Path(name)
    at = revision or "main"
    if _REVISION.fullmatch(at) and not at.startswith("."):
        kept = _kept(name)
        try:
            commit = (kept / "refs" / at).read_text("utf-8").strip()
        except (OSError, ValueError):
            commit = at
        if _NAME.fullmatch(commit) and (kept / "snapshots" / commit).is_dir():
            return kept / "snapshots" / commit
    raise ValueError(f"is not on this machine at revision {at!r:.80}. {fetch_it(name, revision)}")


_WHOLE = "Write the whole path of the folder, or its name on the Hub"


def fetch_it(name: str, revision: str | None = None) -> str:
    """What to type."""
    return f"Fetch it once: hf download {name}{f' --revision {revision}' if revision else ''}"


def _is_folder(name: str) -> bool:
    try:
        return Path(name).is_dir()
    except OSError:  # no folder can have such a name
        return False


def _is_cached(name: str) -> bool:
    try:
        return any((_kept(name) / "snapshots").iterdir())
    except OSError:
        return False


def _kept(name: str) -> Path:
    return _cache() / f"models--{name.replace('/', '--')}"


def _cache() -> Path:
    """Where huggingface_hub keeps what it fetched, by its own variables."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if place := os.environ.get(variable):
            return Path(place).expanduser()
    home = os.environ.get("HF_HOME")
    return (
        Path(home) if home else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    ).expanduser() / "hub"
