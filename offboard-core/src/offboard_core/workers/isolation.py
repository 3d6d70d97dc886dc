"""What a worker runs in, and its limits."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from offboard_client.errors import ConfigurationError

from ..process import check_names
from ..types import ReportProgress
from .interpreter import interpreter


@dataclass(frozen=True, kw_only=True)
class Isolation:
    """That a model runs in a worker: a process of its own, with a Python of its own if need be.

    ``python``: the interpreter of another environment, or a function that makes one when the model is loaded: it tells
    ``report`` how far it is, returns the interpreter, and raises LoadFailed where that cannot be; None: this server's
    own. ``environment``: its name, for people; "": it has none. ``inherit``: names of variables that the worker gets
    beside the few that any program needs, ``NAME`` or ``PREFIX*``; a secret only by its whole name.
    ``infer_timeout``: seconds that one call may take before the worker is killed. ``load_timeout``: seconds that a load
    may go without news. ``restarts``: how many are tried in a row.
    """

    python: Path | Callable[[ReportProgress], Path] | None = None
    environment: str = ""
    inherit: tuple[str, ...] = ()
    infer_timeout: float = 60.0
    load_timeout: float = 1200.0
    restarts: int = 3


def asked_for(base: Isolation, *, isolate: bool, python: str | None, inherit: Sequence[str]) -> Isolation | None:
    """What a command line or a file asks for, with the limits of ``base``; None where it asks for no worker.

    ``python``: an interpreter, the name of one that is on the PATH, or the folder of an environment. It is started
    for a moment. Raises ConfigurationError for one that a worker cannot run in, and for what asks something of a worker
    without asking for one.
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
    path = None if python is None else interpreter(python, inherit)
    return replace(base, python=path, inherit=tuple(inherit))


__all__ = ["Isolation", "asked_for"]
