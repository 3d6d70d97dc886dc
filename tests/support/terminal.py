"""A terminal that keeps what was written on it."""

import contextlib
import io
import re

_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal(io.StringIO):
    """Stands for stdout, for stderr, or for both while :meth:`stands_for` says so; ``width`` columns."""

    encoding = "utf-8"  # what rich looks at to choose its characters

    def __init__(self, monkeypatch, width=80):
        super().__init__()
        self.width = width
        monkeypatch.setenv("COLUMNS", str(width))
        monkeypatch.setenv("TERM", "xterm-256color")
        for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
            monkeypatch.delenv(name, raising=False)

    def isatty(self):
        return True

    @contextlib.contextmanager
    def stands_for(self, *streams):
        with contextlib.ExitStack() as stack:
            if "stdout" in streams:
                stack.enter_context(contextlib.redirect_stdout(self))
            if "stderr" in streams:
                stack.enter_context(contextlib.redirect_stderr(self))
            yield self

    @property
    def lines(self):
        """Everything that was ever written, without what moves the cursor and colours."""
        return re.split(r"[\r\n]+", _CONTROL.sub("", self.getvalue()))
