"""What commands print: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from .._printable import printable

#: Wide enough for a table that goes into a file or a pipe.
_PIPE_WIDTH = 140


def say(text: str = "") -> None:
    """One line of a result."""
    sys.stdout.write(printable(text) + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """One line about what is going on."""
    sys.stderr.write(printable(text) + "\n")
    sys.stderr.flush()


def emit_json(data: Any) -> None:
    """The one JSON object that ``--json`` asks for, on one line."""
    sys.stdout.write(json.dumps(data, default=_plain, allow_nan=False) + "\n")
    sys.stdout.flush()


def emit_table(columns: Sequence[str], rows: Iterable[Sequence[str]], title: str = "") -> None:
    """A table. Cells are text as it is: no markup."""
    table = Table(title=title or None, title_justify="left", header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(printable(cell, lines=True) for cell in row))
    console().print(table)


def console(*, stderr: bool = False) -> Console:
    """stdout or stderr, for text as it is: what others wrote is no markup, no emoji and no link."""
    width = None if (sys.stderr if stderr else sys.stdout).isatty() else _PIPE_WIDTH
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, width=width)


def ms(value: float | None) -> str:
    """A duration for a table."""
    return "-" if value is None else f"{value:.2f}"


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return cast("NDArray[Any]", value).tolist()
    if isinstance(value, np.generic):
        return cast("Any", value).item()
    raise TypeError(f"a {type(value).__name__} has no JSON form")
