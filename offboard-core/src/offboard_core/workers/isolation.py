"""What a worker runs in, and its limits."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from offboard_client.errors import LoadFailed

from ..types import ReportProgress


@dataclass(frozen=True, kw_only=True)
class Isolation:
    """That a model runs in a worker: a process of its own, with a Python of its own if need be.

    ``python``: the interpreter of another environment, or a function that makes one when the model is loaded: it tells
    ``report`` how far it is, returns the interpreter, and raises LoadFailed where that cannot be; None: this server's
    own. ``inherit``: names of variables that the worker gets beside the few that any program needs, ``NAME`` or
    ``PREFIX*``; a secret only by its whole name. ``infer_timeout``: seconds that one call may take before the worker is
    killed. ``load_timeout``: seconds that a load may go without news. ``restarts``: how many are tried in a row.
    """

    python: Path | Callable[[ReportProgress], Path] | None = None
    inherit: tuple[str, ...] = ()
    infer_timeout: float = 60.0
    load_timeout: float = 1200.0
    restarts: int = 3


def python_of(isolation: Isolation, report: ReportProgress) -> Path:
    """The interpreter of a worker. Raises LoadFailed for one that is not there."""
    python = isolation.python
    path = Path(sys.executable) if python is None else python if isinstance(python, Path) else python(report)
    if not (path.is_file() and os.access(path, os.X_OK)):
        raise LoadFailed(f"{path} is no program that can be run; expected a Python interpreter", permanent=True)
    return path


__all__ = ["Isolation", "python_of"]
