"""Text that others wrote, made fit for a terminal and a log."""

from __future__ import annotations

import os
import re
import reprlib
import textwrap
from typing import Any, TextIO

_ODD = re.compile(r"[^ -~]")
_ODD_IN_A_LINE = re.compile(r"[^ -~\n]")
#: What is kept of each end of a text that is too long: twenty lines of a log and more.
_HALF = 2**14
#: How much of a text :func:`brief` writes.
_SHOWN = 200


def printable(text: str, *, lines: bool = False) -> str:
    """``text`` with everything that is not printable written as Python would write it: ``\\x1b``, ``\\u202e``.

    Not printable are control characters (C0, DEL, C1), what turns or hides text (bidirectional and zero-width
    characters), line separators, lone surrogates, and what Unicode leaves open. A tab becomes a space. With ``lines``
    a line feed stays; without, the text is one line.
    """
    if text.isprintable():
        return text
    return (_ODD_IN_A_LINE if lines else _ODD).sub(_escape, text.replace("\t", " "))


def counted(count: int, what: str) -> str:
    """``1 step``, ``2 steps``."""
    return f"{count} {what}" + "s" * (count != 1)


def one_line(text: str) -> str:
    """``text`` as :func:`printable` has it, its lines put in a row."""
    return printable(" ".join(text.split()))


def cell(text: str) -> str:
    """A text on one line that no spreadsheet takes for a formula: it may be a stranger's."""
    text = one_line(text)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def told(error: BaseException) -> str:
    """The type and the text of an exception that other code raised, which may have none that can be had."""
    try:
        text = str(error)
    except BaseException:
        text = "its text cannot be had"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class _Brief(reprlib.Repr):
    """Looks at no more of a value than can be shown."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 2
        self.maxlist = self.maxtuple = self.maxdict = self.maxset = self.maxfrozenset = self.maxdeque = 3

    def repr1(self, x: Any, level: int) -> str:
        """See :meth:`reprlib.Repr.repr1`."""
        if isinstance(x, bytes | bytearray | str):
            return repr(x[:_SHOWN])
        if getattr(x, "ndim", 0):  # an array, or a view
            return f"{type(x).__name__} of shape {x.shape}"
        return super().repr1(x, level)


_brief = _Brief()


def brief(value: Any, most: int = 60) -> str:
    """``value`` as Python would write it, ``most`` characters of that (200 at most).

    For whatever came over a wire: ``repr`` writes all of it first, and 29 MB of nested arrays take it half a minute.
    """
    return _brief.repr(value)[:most]


def shortened(text: str) -> str:
    """``text`` with its middle left out where it is longer than anybody reads, or than a message may be."""
    left_out = len(text) - 2 * _HALF
    return f"{text[:_HALF]} … ({left_out:,} characters) … {text[-_HALF:]}" if left_out > 0 else text


def wrapped(text: str, stream: TextIO, indent: str = "") -> str:
    """``text`` for ``stream``: on a terminal its lines are broken between words, and go on after ``indent``."""
    if not stream.isatty():
        return text
    return "\n".join(
        textwrap.fill(line, _width(stream), subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
        for line in text.split("\n")
    )


def _width(terminal: TextIO) -> int:
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and int(said):
        return int(said)
    try:
        return os.get_terminal_size(terminal.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


def _escape(match: re.Match[str]) -> str:
    character = match[0]
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
