"""What a worker runs in, and its limits."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from offboard_client.errors import ConfigurationError, LoadFailed

from ..process import check_names
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


def asked_for(base: Isolation, *, isolate: bool, python: str | None, inherit: Sequence[str]) -> Isolation | None:
    """What a command line or a file asks for, with the limits of ``base``; None where it asks for no worker.

    ``python``: an interpreter, the name of one that is on the PATH, or the folder of an environment.
    Raises ConfigurationError for one that is not there, and for what asks something of a worker without asking for one.
    """
    if not isolate and python is None:
        if inherit:
            raise ConfigurationError(
                f"{', '.join(inherit)} can be inherited by a worker only, and none is asked for: "
                "--isolate, --python or --env"
            )
        return None
    try:
        check_names("inherit", inherit)
    except ValueError as error:
        raise ConfigurationError(str(error)) from None
    path = None if python is None else _interpreter(python)
    return replace(base, python=path, inherit=tuple(inherit))


def _interpreter(text: str) -> Path:
    path = Path(text).expanduser()
    if path.is_dir():
        path = path / "bin" / "python"
    elif path.name == text and not path.exists():
        path = Path(shutil.which(text) or text)
    if not _runs(path):
        raise ConfigurationError(
            f"python is {text}, and {path} is no program that can be run; expected an interpreter such as "
            "/opt/lerobot/bin/python, the name of one on the PATH, or the folder of an environment"
        )
    # Absolute, but not through links: an environment's interpreter is one, and where it lies says which environment.
    return path.absolute()


def _runs(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def python_of(isolation: Isolation, report: ReportProgress) -> Path:
    """The interpreter of a worker. Raises LoadFailed for one that is not there."""
    python = isolation.python
    path = Path(sys.executable) if python is None else python if isinstance(python, Path) else python(report)
    if not _runs(path):
        raise LoadFailed(f"{path} is no program that can be run; expected a Python interpreter", permanent=True)
    return path


__all__ = ["Isolation", "asked_for", "python_of"]
