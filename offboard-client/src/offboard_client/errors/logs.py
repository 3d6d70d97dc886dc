"""The log of the commands and of a server whose program sets up no logging: lines that fit a terminal."""

from __future__ import annotations

import copy
import logging
import sys
from typing import Literal

from .kinds import OffboardError
from .printable import printable, wrapped

#: Libraries that fetch. What they raise becomes one line of ours; what they log besides, with the traces of their
#: retries, is for whoever asks for debug.
FETCHING = ("aiobotocore", "aiohttp", "botocore", "fsspec", "gcsfs", "google", "httpx", "huggingface_hub", "s3fs",
             "urllib3")  # fmt: skip

Level = Literal["debug", "info", "warning", "error"]


class Lines(logging.Formatter):
    """``TIME LEVEL message``: without the date on a terminal, with the logger's name where it is none of ours.

    What others wrote is text, as :func:`~.printable.printable` has it, and what follows the first line is indented: no
    message passes for another record. An expected failure is its text; its trace is for ``debug``.
    """

    def __init__(self, form: str, *, terminal: bool = False, debug: bool = False) -> None:
        super().__init__(form, "%H:%M:%S" if terminal else "%Y-%m-%d %H:%M:%S")
        self._debug = debug

    def format(self, record: logging.LogRecord) -> str:
        """See :class:`logging.Formatter`."""
        record = copy.copy(record)
        record.msg, record.args = record.getMessage(), None
        if record.name.partition(".")[0].partition("_")[0] != "offboard":
            record.msg = f"{record.name}: {record.msg}"
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, OffboardError) and not self._debug:
            record.msg, record.exc_info, record.exc_text = f"{record.msg}: {error.text}", None, None
        return printable(super().format(record), lines=True).replace("\n", "\n  ")


class _Stderr(logging.Handler):
    """To what sys.stderr is at the time: while a line moves on a terminal, that is what writes above it.

    ``wraps``: whether a terminal gets its lines broken between words.
    """

    def __init__(self, wraps: bool) -> None:
        super().__init__()
        self.wraps = wraps

    def emit(self, record: logging.LogRecord) -> None:
        """See :class:`logging.Handler`."""
        try:
            text = self.format(record)
            sys.stderr.write((wrapped(text, sys.stderr, "  ") if self.wraps else text) + "\n")
            sys.stderr.flush()
        except Exception:
            self.handleError(record)


def log_to_stderr(level: Level, *, times: bool = True, debug: bool = False, force: bool = False) -> None:
    """Log from this level on, unless something else is set up; ``force`` takes its place.

    Without ``times`` a record looks like an error of ``offboard``; ``debug``, or that level, shows every trace.
    """
    debug, handler = debug or level == "debug", _Stderr(wraps=not times)
    form = "%(asctime)s %(levelname)s %(message)s" if times else "offboard: %(message)s"
    handler.setFormatter(Lines(form, terminal=sys.stderr.isatty(), debug=debug))
    logging.basicConfig(handlers=[handler], level=level.upper(), force=force)
    for name in FETCHING:  # below a warning they would log requests, and credentials with them
        logging.getLogger(name).setLevel(logging.WARNING if debug else logging.CRITICAL)
