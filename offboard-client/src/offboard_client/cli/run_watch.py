"""What ``offboard run`` puts around a driver: who watches it, and what Ctrl-C does."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ..drivers import RunLength
from ..play import Bounded, Controls, Quit, Report, RunObserver
from ..terminal import CsvFile, Line, terminable
from .run_display import Display
from .run_dry import DryRun
from .run_keyboard import Keyboard, KeyboardDisplay
from .run_page import Page, PageDisplay
from .run_timings import COLUMNS, Timings

#: How many events may wait for a terminal that takes no text, or a disk; then some are missed, and the arm goes on.
_DISPLAYED, _WRITTEN = 256, 4096


@contextmanager
def watched(
    line: Line,
    length: RunLength,
    timings: Path | None,
    keyboard: Keyboard | None,
    dry: DryRun | None,
    page: Page | None = None,
) -> Generator[list[RunObserver], None, None]:
    """The display, with a keyboard's keys or the ``page`` that drives the run, and what writes ``timings`` and what a
    ``dry`` run would have sent.

    Raises ConfigurationError for a file that cannot be made.
    """
    with ExitStack() as stack:
        observers: list[RunObserver] = []
        if timings is not None:
            file = stack.enter_context(CsvFile(timings, COLUMNS, "--timings"))
            observers.append(stack.enter_context(Bounded(Timings(file), _WRITTEN, f"--timings {timings}")))
        if dry is not None:
            observers.append(stack.enter_context(Bounded(dry, _WRITTEN, "the dry run")))
        if keyboard is not None:
            display = KeyboardDisplay(keyboard, line)
        elif page is not None:
            display = PageDisplay(page, line)
        else:
            display = Display(line, length.episodes, length.limit(attended=False))
        observers.append(stack.enter_context(Bounded(display, _DISPLAYED, "the display")))
        yield observers


@contextmanager
def interruptible(report: Report) -> Generator[Controls, None, None]:
    """Within, Ctrl-C, SIGTERM and SIGHUP post Quit, so that an arm that moves holds within a control period.

    What moves no arm, a wait for a connection or an answer, is left at once, by KeyboardInterrupt; and whatever it is,
    the second time.
    """
    controls = Controls()

    def interrupted() -> None:
        again, report.interrupted = report.interrupted, True
        controls.post(Quit())
        if again or not controls.attended:
            raise KeyboardInterrupt

    with terminable(interrupted):
        yield controls
