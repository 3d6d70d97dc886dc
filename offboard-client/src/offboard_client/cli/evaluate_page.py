"""``offboard evaluate … --driver eval_ui``: trials are set up, begun and judged on a page."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

from ..errors import OffboardError
from ..evaluation import Evaluation, Station, Trial, TrialLog, Turn, Watched
from ..play import Controls, Sample
from ..robots import Asked, Robot
from ..terminal import note
from .evaluate_options import EvaluateOptions
from .run_page import Page, paged

if TYPE_CHECKING:
    from ..pages import Seen, Starts, TrialDesk

#: Where start pictures are, in the folder of the evaluation.
STARTS = "starts"


@dataclass
class TrialPage:
    """The page of an evaluation."""

    page: Page
    desk: TrialDesk
    controls: Controls
    log: TrialLog

    def at(self, station: Station, judging: bool) -> None:
        """Put it at a station. ``judging``: whether trials are begun and judged there."""
        station.controls = self.controls
        self.page.live.drives(station.robot.spec, station.task.instruction)
        ready, watch = station.ready, station.watch

        def expect(turn: Turn) -> None:
            self.desk.expect(turn, self.queue())
            if ready is not None:
                ready(turn)

        @contextmanager
        def watched(turn: Turn) -> Generator[Watched, None, None]:
            with watch(turn) as found:
                found.observers = [*found.observers, *self.page.observers]
                self.desk.opened()
                yield found

        station.ready, station.watch = expect, watched
        if judging:
            station.attended = True
            station.reviewed = lambda turn, by_task: self.desk.judge(turn, by_task, Look(station.robot, self.page).look)

    def follows(self, evaluation: Evaluation) -> None:
        """Be told what each trial came to, too."""
        told = evaluation.on_trial

        def on_trial(turn: Turn, trial: Trial) -> None:
            told(turn, trial)
            self.desk.settled(trial.counted)

        evaluation.on_trial = on_trial

    def queue(self) -> list[dict[str, Any]]:
        """All trials in order, with what came of those that count."""
        came = {(each.model, each.start): each.outcome for each in self.log.trials if each.counted}
        return [
            {
                "number": turn.number, "label": turn.label, "start": turn.start,
                "outcome": came.get((turn.model, turn.start)),
            }
            for turn in self.log.plan.turns
        ]  # fmt: skip


class Look:
    """The robot as it stands while somebody judges, on the thread that it belongs to, and nothing is played."""

    def __init__(self, robot: Robot, page: Page) -> None:
        self._robot, self._page, self._failed = robot, page, False

    def look(self) -> None:
        """Show it. A robot that cannot be seen now is the next trial's affair."""
        if self._failed:
            return
        began = perf_counter()
        try:
            with Asked("observe"):
                observation = self._robot.observe()
        except OffboardError:
            self._failed = True
            return
        now = perf_counter()
        self._page.seen.idled(Sample(observation, now, 0.0, 1000 * (now - began)))


@contextmanager
def trial_page(
    options: EvaluateOptions, folder: Path, log: TrialLog, mask: Callable[[str], str]
) -> Generator[TrialPage | None, None, None]:
    """The page of an evaluation in ``folder``, if it has one. ``mask``: hides the names of models.

    Raises as :func:`.run_page.paged`.
    """
    if not options.paged:
        yield None
        return
    from ..pages import TrialDesk

    page = options.page
    if page.page_starts is None:
        page = replace(page, page_starts=folder / STARTS)
    controls, judging = Controls(), options.driver == "eval_ui"
    desks: list[TrialDesk] = []

    def desk(seen: Seen, starts: Starts | None) -> TrialDesk:
        desks.append(TrialDesk(controls, told=note, starts=starts, seen=seen, mask=mask, judging=judging))
        return desks[0]

    facts = {"driver": options.driver, "task": options.task}
    with paged(page, desk, facts, None, blind=log.plan.blind) as found:
        yield TrialPage(found, desks[0], controls, log)
