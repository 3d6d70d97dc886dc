"""What goes on while a command works: on a terminal one line that changes, elsewhere a line for each event."""

from __future__ import annotations

import contextlib
from types import TracebackType

from rich.console import RenderableType
from rich.filesize import decimal
from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.table import Column

from ..errors import one_line
from ..protocol import Sparse
from ..wire import Status
from .output import console, note


class Line:
    """The line, on stderr; begun by the first word about anything, gone at the end. One at a time in a process."""

    def __init__(self, refresh_per_second: float = 5.0) -> None:
        out = console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False, table_column=Column(ratio=1, no_wrap=True)),
            _IfKnown(BarColumn(16)),
            TextColumn("{task.fields[amount]}", markup=False, table_column=Column(no_wrap=True)),
            TimeElapsedColumn(table_column=Column(no_wrap=True)),
            console=out, transient=True, expand=True, refresh_per_second=refresh_per_second,
        )  # fmt: skip
        self._task = self._progress.add_task("", total=None, amount="")
        self._sparse = Sparse(lambda status: note(str(status)))
        #: Whether there is a terminal to change a line on.
        self.live = out.is_terminal and not out.is_dumb_terminal

    def __enter__(self) -> Line:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Take it away, for what is printed now; it comes again with the next word."""
        if self.live:
            with contextlib.suppress(OSError):  # a terminal that is no more, and what stands there then is nobody's
                self._progress.stop()

    def status(self, status: Status) -> None:
        """What a session waits for; with a bar where the size is known."""
        if not self.live:
            self._sparse(status)
            return
        done, total = status.done_bytes, status.total_bytes
        amount = "" if done is None or total is None else f"{decimal(int(done))} of {decimal(int(total))}"
        if status.elapsed_s is not None:
            self._since(status.elapsed_s)
        self.show(status.phase or str(status), done, total, amount)

    def event(self, text: str) -> None:
        """Something begins: on the line, its time counted from now, or as a line of its own."""
        if not self.live:
            note(text)
            return
        self._since(0)
        self.show(text)
        self._progress.refresh()  # what follows at once would take its place unseen

    def aside(self, text: str) -> None:
        """Something that stays: a line of its own, above the line that changes."""
        if not self.live:
            note(text)
            return
        self._progress.console.print(one_line(text), markup=False, highlight=False)

    def show(self, text: str, done: float | None = None, total: float | None = None, amount: str = "") -> None:
        """The line, with a bar at ``done`` of ``total`` where both are known. Only on a terminal."""
        if not self.live:
            return
        known = done is not None and total is not None
        self._progress.tasks[0].total = total if known else None
        self._progress.update(self._task, description=one_line(text), completed=done if known else 0, amount=amount)
        with contextlib.suppress(OSError):
            self._progress.start()

    def _since(self, seconds: float) -> None:
        self._progress.tasks[0].start_time = self._progress.get_time() - seconds


class _IfKnown(ProgressColumn):
    """A column of a task whose size is known."""

    def __init__(self, column: ProgressColumn) -> None:
        super().__init__()
        self._column = column

    def render(self, task: Task) -> RenderableType:
        """See :meth:`ProgressColumn.render`."""
        return "" if task.total is None else self._column.render(task)
