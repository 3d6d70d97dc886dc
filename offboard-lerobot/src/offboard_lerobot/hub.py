"""Names of what lies on the Hub, in a checkpoint: found on this machine or refused, and never fetched by a load."""

from __future__ import annotations

import os
import re
from pathlib import Path

_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?", re.ASCII)


def why_not(name: object, local: bool) -> str | None:
    """Why a load would not find what is named so on this machine; None: it is there.

    ``local``: whether the checkpoint lies here, too: another's folders are none of this machine's.
    """
    if not isinstance(name, str):
        return "is no name"
    if _NAME.fullmatch(name) and not name.startswith("."):
        if (local and Path(name).is_dir()) or _is_cached(name):
            return None
        return f"is not on this machine, and nothing is fetched at a load. Fetch it once: hf download {name}"
    if not local:
        return "is a folder of the machine that trained it. Write the name that it has on the Hub"
    return None if Path(name).is_dir() else "is no folder of this machine. Copy it there, or write its name on the Hub"


def _is_cached(name: str) -> bool:
    try:
        return any((_cache() / f"models--{name.replace('/', '--')}" / "snapshots").iterdir())
    except OSError:
        return False


def _cache() -> Path:
    """Where huggingface_hub keeps what it fetched, by its own variables."""
    for variable in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if place := os.environ.get(variable):
            return Path(place).expanduser()
    home = os.environ.get("HF_HOME")
    return (
        Path(home) if home else Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    ).expanduser() / "hub"
