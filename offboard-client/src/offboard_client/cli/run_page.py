"""``offboard run … --driver eval_ui`` and ``--show-gui``: the run in a browser, by a thread that nobody waits for."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError
from ..play import Bounded, Controls, EpisodeInfo, Outcome, Report, RunObserver, Tick
from ..terminal import Line, note, token_from
from .run_display import Display

if TYPE_CHECKING:
    from ..pages import Desk, Live, Seen, Starts
    from ..recording import Recorded
    from .run_options import RunOptions

#: Events that may wait for the page, and bytes of their pictures: it wants the newest only.
_WAITING, _MOST = 256, 64 << 20
#: Seconds in which browsers hear that the run is over.
_FAREWELL = 0.4


@dataclass(frozen=True)
class PageOptions:
    """The page of a run, and who may see it."""

    show_gui: bool = False
    """Show the run in a browser, whoever drives it; `--driver eval_ui` does so, too."""
    page_host: str = "127.0.0.1"
    """Where the page listens. 0.0.0.0 is every interface of this machine, and takes a token."""
    page_port: int = 5002
    """Where the page listens. 0 takes a free one."""
    page_token_file: Path | None = None
    """A file that holds the token to be given in the browser; without one the page is for this machine alone."""
    page_starts: Path | None = None
    """A folder of start pictures, START-CAMERA.png, to be laid over the live camera; made where there are none."""
    page_scale: float = 1.0
    """How large the page is: 1.5 for whoever stands farther away."""

    def __post_init__(self) -> None:
        if not 0.5 <= self.page_scale <= 3:
            raise ConfigurationError(f"--page-scale is {self.page_scale:g}; expected 0.5 to 3")


@dataclass
class Page:
    """The page of a run. ``url``: where it is. ``seen``: what it sees by, on a thread of its own."""

    url: str
    desk: Desk
    live: Live
    seen: Bounded

    @property
    def observers(self) -> Sequence[RunObserver]:
        """What watches the run for it."""
        return self.desk, self.seen

    def tell(self, report: Report) -> None:
        """What was said of the episodes goes into the report of the run."""
        for number, review in self.desk.said.items():
            if review.changed is not None and number <= len(report.episodes):
                report.reviewed(number, review.as_dict())


@contextmanager
def paged(
    options: PageOptions,
    make_desk: Callable[[Seen, Starts | None], Desk],
    facts: Mapping[str, Any],
    path_of: Callable[[int], Path | None] | None,
    *,
    blind: bool = False,
) -> Generator[Page, None, None]:
    """Serve it, from here until the run is over.

    ``path_of``: where an episode's recording is, if there are any: what is said of it is kept there. ``blind``: as of
    :class:`~offboard_client.pages.Seen`. Raises ConfigurationError without the libraries, and for an address that
    cannot be had.
    """
    from ..pages import Keeping, Live, PageServer, Seen, Starts, pages_app  # most runs have none

    token = token_from(options.page_token_file)
    seen = Seen(blind)
    starts = None if options.page_starts is None else Starts(options.page_starts.expanduser())
    desk = make_desk(seen, starts)
    keeping = None if path_of is None else Keeping(desk, path_of)
    live = Live(desk, seen, {**facts, "scale": options.page_scale, "recorded": path_of is not None}, keeping, starts)
    try:
        with (
            PageServer(
                pages_app(live, token), options.page_host, options.page_port, token=token, flags="page-"
            ) as server,
            _serving(server.serve, server.stop),
            Bounded(seen, _WAITING, "the page", _MOST) as bounded,
        ):
            note(f"the page of this run is at {server.url}")
            try:
                yield Page(server.url, desk, live, bounded)
            finally:
                desk.close()
                if keeping is not None:
                    keeping.close()
                if live.watched:
                    time.sleep(_FAREWELL)
    finally:
        live.close()
        if starts is not None:
            starts.close()


@contextmanager
def _serving(serve: Callable[[], None], stop: Callable[[], None]) -> Generator[None, None, None]:
    thread = threading.Thread(target=serve, name="offboard-page", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop()
        thread.join(5.0)


@contextmanager
def shown(
    options: RunOptions, controls: Controls, instruction: str | None, recording: tuple[Bounded, Recorded] | None
) -> Generator[Page | None, None, None]:
    """The page of a run, if it has one. ``recording``: what records it. Raises as :func:`paged`."""
    if options.driver != "eval_ui" and not options.page.show_gui:
        yield None
        return
    from ..pages import Desk

    begun = None if recording is None else recording[1].begun
    facts = {"driver": options.driver, "task": options.task or instruction}

    def desk(seen: Seen, starts: Starts | None) -> Desk:
        return Desk(controls, told=note, starts=starts, seen=seen, first=options.seed)

    with paged(options.page, desk, facts, None if begun is None else begun.get) as page:
        yield page


class PageDisplay(Display):
    """The display of a run that a page drives: where the page is, and whether anybody looks at it."""

    def __init__(self, page: Page, line: Line) -> None:
        super().__init__(line, 0, 0.0)
        self._page, self._line = page, line
        self._lost = False
        self._says("waiting for a start")

    def started(self, episode: EpisodeInfo) -> None:
        """On the line."""
        super().started(episode)
        self._lost = False
        self._says(f"episode {episode.number}")

    def ticked(self, tick: Tick) -> None:
        """On the line; one more where nobody looks any more."""
        self._seen.ticked(tick)
        self._went_on()
        episode = self._seen.episodes[-1]
        why = "" if tick.rung == "playing" else f" {tick.rung.replace('_', ' ')}"
        self._says(f"episode {len(self._seen.episodes)} {episode.seconds:.0f} s{why}")
        if not self._page.live.watched and not self._lost:
            note("no browser shows the run any more: the episode goes on, and Ctrl-C holds the arm and ends the run")
        self._lost = not self._page.live.watched

    def ended(self, outcome: Outcome) -> None:
        """A line of its own."""
        super().ended(outcome)
        self._says("waiting for a start")

    def _said(self) -> str | None:
        return self._page.desk.review.outcome

    def _says(self, doing: str) -> None:
        self._line.show(f"{doing} | {self._page.url} | Ctrl-C ends the run")
