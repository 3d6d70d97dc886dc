"""What commands print: results on stdout, everything else on stderr."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from ..errors import printable, wrapped

#: Wide enough for a table that goes into a file or a pipe.
_PIPE_WIDTH = 140


def say(text: str = "") -> None:
    """One line of a result, to be taken as it is."""
    sys.stdout.write(printable(text) + "\n")
    sys.stdout.flush()


def tell(text: str) -> None:
    """One sentence of a result, for people."""
    sys.stdout.write(wrapped(printable(text), sys.stdout) + "\n")
    sys.stdout.flush()


def note(text: str) -> None:
    """One line about what is going on."""
    sys.stderr.write(wrapped(printable(text), sys.stderr, "  ") + "\n")
    sys.stderr.flush()


def emit_json(data: Any) -> None:
    """The one JSON object that ``--json`` asks for, on one line. A number that JSON lacks is null in it."""
    try:
        text = json.dumps(data, default=_plain, allow_nan=False)
    except ValueError:
        text = json.dumps(_finite(data), default=_plain, allow_nan=False)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def emit_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, stderr: bool = False) -> None:
    """A table whose columns are as narrow as the terminal wants, but no narrower than their longest words.

    Where even that is too wide, each row is a paragraph instead: no word is broken that has a line for itself.
    """
    out = console(stderr=stderr)
    cells = [[Text(printable(cell, lines=True)) for cell in row] for row in rows]
    sizes = [
        [Measurement.get(out, out.options, cell) for cell in (Text(name), *column)]
        for name, *column in zip(columns, *cells, strict=True)
    ]
    narrowest = [max(size.minimum for size in column) for column in sizes]
    widths = [max(size.maximum for size in column) for column in sizes]
    room = out.width - 3 * len(columns) - 1
    if sum(narrowest) > room:
        for row in cells:
            emit_facts("", [(name, str(cell)) for name, cell in zip(columns, row, strict=True)], stderr=stderr)
        return
    while sum(widths) > room:
        widest = max(range(len(widths)), key=lambda i: widths[i] - narrowest[i])
        widths[widest] -= 1
    table = Table(header_style="bold")
    for name, width in zip(columns, widths, strict=True):
        table.add_column(Text(name), width=width, overflow="fold")
    for row in cells:
        table.add_row(*row)
    out.print(table)


def emit_facts(heading: str, facts: Iterable[tuple[str, str]], *, stderr: bool = False) -> None:
    """Names and what there is to say about each, a paragraph; an empty one is left out."""
    out = console(stderr=stderr)
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold", overflow="fold")
    grid.add_column(overflow="fold")
    for name, text in facts:
        if text:
            grid.add_row(Text(f"  {printable(name)}"), Text(printable(text, lines=True)))
    out.print(Text(heading, style="bold"))
    with out.capture() as captured:
        out.print(grid)
    out.file.writelines(f"{line.rstrip()}\n" for line in captured.get().splitlines())


def console(*, stderr: bool = False) -> Console:
    """stdout or stderr, for text as it is: what others wrote is no markup, no emoji and no link."""
    width = None if (sys.stderr if stderr else sys.stdout).isatty() else _PIPE_WIDTH
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, width=width)


def ms(value: float | None) -> str:
    """A duration for a table."""
    return "-" if value is None else f"{value:.2f}"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _finite(each) for name, each in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in cast("list[Any]", value)]
    if isinstance(value, np.ndarray | np.generic):
        return _finite(_plain(value))
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _plain(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return cast("NDArray[Any]", value).tolist()
    if isinstance(value, np.generic):
        return cast("Any", value).item()
    raise TypeError(f"a {type(value).__name__} has no JSON form")
