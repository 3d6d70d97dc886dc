"""What a person sees of a run: a live line while it goes on, and a table at its end."""

from __future__ import annotations

from rich.table import Table

from ..errors import counted, printable
from ..play import RUNGS, Answer, EpisodeInfo, Outcome, Report, Tick, percentiles, suspicious
from ..terminal import Line, note
from .compare_show import without_rows, words

#: What a reader calls what is measured of the reply before.
_STAGES = {"prev_encode": "encode"}


class Display:
    """Watches a run: moves the line, and prints one for each episode that has ended."""

    def __init__(self, line: Line, episodes: int, seconds: float) -> None:
        """``episodes``: how many there will be; 0: nobody knows. ``seconds``: of one of them."""
        self._line, self._count, self._seconds = line, episodes, seconds
        # Its own: the run's may be further on.
        self._seen = Report()
        self._looked = False
        # Of an exchange: what is still to be said, and what was said last.
        self._failed: tuple[str, str] | None = None
        self._told: tuple[str, str] | None = None

    @property
    def _which(self) -> str:
        number = len(self._seen.episodes)
        return f"{number}/{self._count}" if self._count else str(number)

    def started(self, episode: EpisodeInfo) -> None:
        """Nothing to show yet."""
        self._seen.started(episode)
        self._failed = self._told = None

    def answered(self, answer: Answer) -> None:
        """Prints a line where the policy has begun anew, and for the first answer that is too late.

        And one for each image of the run's first observation that may show nothing. The live one has the round trip
        with the next step.
        """
        if not self._looked:
            self._looked = True
            for doubt in suspicious(answer.observation):
                note(f"see whether this is right: {doubt.name} {doubt.why}")
        self._seen.answered(answer)
        self._failed = answer.failure
        if answer.failure is None:
            self._told = None
        if answer.anew:
            note(f"episode {self._which}: the policy began a new episode: its session was lost")
        if answer.dropped is not None and self._seen.unplayed == 1:
            note(f"episode {self._which}: nothing of a chunk is played: {printable(answer.dropped)}")

    def ticked(self, tick: Tick) -> None:
        """Moves the line, where the arm is on another rung by that one; one more for an exchange that has failed."""
        seen = self._seen
        seen.ticked(tick)
        self._went_on()
        episode = seen.episodes[-1]
        text = f"episode {self._which}, {seen.successes} done"
        if tick.rung != "playing":
            text += f", {tick.rung.replace('_', ' ')}"
        elif seen.round_trips_ms:  # an answer may have been missed
            text += f", round trip {seen.round_trips_ms[-1]:.1f} ms"
        self._line.show(text, episode.seconds, self._seconds, f"{episode.seconds:.1f} s")

    def _said(self) -> str | None:
        """What came of an episode that a person has ended, in that person's word; None: nobody has said."""
        return None

    def _went_on(self) -> None:
        """Says what has failed and ended nothing; once, where it fails again and again."""
        if self._failed is not None and self._failed != self._told:
            self._told = self._failed
            note(f"episode {self._which}: {self._failed[0]}: {self._failed[1]}")
        self._failed = None

    def ended(self, outcome: Outcome) -> None:
        """Prints what became of the episode."""
        self._seen.ended(outcome)
        episode = self._seen.episodes[-1]
        became = "failed" if episode.failure else {True: "success", False: "not done", None: "over"}[episode.success]
        if not outcome.kept:
            became = "thrown away"
        elif outcome.stopped:
            became = self._said() or "stopped"
        note(
            f"episode {self._which} (seed {episode.seed}): {became} after "
            f"{episode.seconds:.1f} s, {counted(episode.steps, 'step')} in {counted(episode.exchanges, 'chunk')}"
            + (f": {episode.failure[0]}: {episode.failure[1]}" if episode.failure else "")
        )
        if len(self._seen.episodes) < self._count:
            self._line.show(f"episode {self._which} is over, {self._seen.successes} done")


def table(report: Report, whose: str = "server") -> Table:
    """The closing table. ``whose``: who took the time between an observation and its answer."""
    result = Table(title="interrupted" if report.interrupted else None, show_header=False)
    result.add_column(style="bold")
    result.add_column()
    result.add_row("success", _judged(report))
    for name, value in report.scores.items():
        result.add_row(printable(name.replace("_", " ")), f"{value:.4g} on average")
    for code, count in report.failures.items():
        result.add_row("failed", f"{count} x {code}")
    if report.gave_up:
        result.add_row("given up", report.gave_up)
    if report.afterwards:
        result.add_row("afterwards", printable(": ".join(report.afterwards)))
    for code, count in report.lost_answers.items():
        result.add_row("answers lost", f"{count} x {code}; the run went on")
    if report.reconnects:
        result.add_row("sessions lost", f"{report.reconnects}; the policy began a new episode each time")
    result.add_row("steps", f"{report.steps} in {counted(len(report.round_trips_ms), 'chunk')}")
    if report.unplayed_why is not None:
        result.add_row("not played", f"{counted(report.unplayed, 'chunk')}: {printable(report.unplayed_why)}")
    result.add_row("round trip", _milliseconds(report.round_trips_ms))
    for stage, values in report.server_ms.items():
        result.add_row(f"  {whose}: {_STAGES.get(stage) or printable(stage)}", _milliseconds(values))
    if report.episodes:
        over = f"(a round trip over {report.deadline_ms:.1f} ms)"
        result.add_row("missed deadlines", f"{report.missed_deadlines} of {len(report.round_trips_ms)} {over}")
    spent = report.wall_s
    result.add_row(
        "wall time",
        f"observing {spent['observe']:.1f} s, round trips {spent['infer']:.1f} s, playing {spent['apply']:.1f} s",
    )
    if report.rungs:
        on = sorted(report.rungs.items(), key=lambda rung: RUNGS.index(rung[0]))
        result.add_row("the arm", ", ".join(f"{rung.replace('_', ' ')} {seconds:.1f} s" for rung, seconds in on))
    if report.stops:
        slowest = 1000 * max(report.stops)
        result.add_row("stops", f"{len(report.stops)}; it was told and stood still in {slowest:.2f} ms at most")
    if report.shadow is not None:
        result.add_row("the shadow", f"of {counted(report.shadow.compared, 'answer')}: {words(report.shadow)}")
        for name, each in report.shadow.names.items():
            differs = f"largest difference {each.largest:.3g}, mean {each.mean:.3g}"
            formed = f"; another form in {each.form}: {each.forms}" if each.form else ""
            result.add_row(f"  {printable(name)}", f"{each.exact} of {each.exchanges} the same bits; {differs}{formed}")
        for line in without_rows(report.shadow, ("the policy", "the shadow")):
            result.add_row("  without rows", line)
    for loss in filter(None, report.losses):
        lost = [f"missed {counted(loss.dropped, 'event')}"] if loss.dropped else []
        lost += [f"failed {counted(loss.failed, 'time')}, first with {loss.failure}"] if loss.failed else []
        result.add_row(printable(loss.observer), printable(", ".join(lost)))
    return result


def _judged(report: Report) -> str:
    unjudged = sum(episode.success is None and episode.kept for episode in report.episodes)
    dropped = sum(not episode.kept for episode in report.episodes)
    return (
        f"{report.successes} of {len(report.episodes)} episodes"
        + (f", {unjudged} not judged" if unjudged else "")
        + (f", {dropped} thrown away" if dropped else "")
    )


def _milliseconds(values: list[float]) -> str:
    ranks = percentiles(values)
    if ranks["p50"] is None:
        return "nothing measured"
    return "  ".join(f"{name} {value:.2f}" for name, value in ranks.items()) + " ms"
