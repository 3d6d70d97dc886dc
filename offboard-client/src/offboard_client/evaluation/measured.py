"""What a run has measured of one episode, as a trial."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import BadParameter, InvalidAction, PolicyFailed, counted
from ..play import Episode, Report, percentiles
from .trials import Trial, TrialOutcome

#: Codes of what ends an episode by the model's own fault.
ITS_OWN = (InvalidAction.code, PolicyFailed.code)


def measured_trial(
    report: Report,
    model: str,
    start: int,
    *,
    outcome: TrialOutcome | None = None,
    score: float | None = None,
    tags: Sequence[str] = (),
    note: str = "",
    at: float | None = None,
    recording: str = "",
    items: int | None = None,
    items_total: int | None = None,
) -> Trial:
    """The trial of a run of one episode, with its times.

    ``outcome``: what a person says of it; None: what the task and the run say. Then an episode that ended by an error
    is ``error``, and a ``fail`` with that error's code as a tag where the model had answered before and failed itself:
    it raised, or commanded what no robot may be sent. All else: as :class:`.trials.Trial` has it.

    Raises BadParameter where the report has not one episode, or nobody can tell what came of it.
    """
    if len(report.episodes) != 1:
        raise BadParameter(f"a trial is one episode, and this run had {counted(len(report.episodes), 'episode')}")
    [episode] = report.episodes
    if outcome is None:
        outcome, found = _outcome(episode)
        tags = (*tags, *found)
        note = note or ("" if episode.failure is None else f"{episode.failure[0]}: {episode.failure[1]}")
    stages = {"round_trip": report.round_trips_ms, **report.server_ms}
    times = {stage: percentiles(values) for stage, values in stages.items() if values}
    return Trial(
        model=model,
        start=start,
        outcome=outcome,
        score=score,
        tags=tuple(tags),
        note=note,
        at=at,
        seconds=episode.seconds,
        steps=episode.steps,
        stages_ms={stage: (each["p50"] or 0.0, each["p99"] or 0.0) for stage, each in times.items()},
        rungs_s=dict(report.rungs),
        recording=recording,
        items=items,
        items_total=items_total,
    )


def _outcome(episode: Episode) -> tuple[TrialOutcome, tuple[str, ...]]:
    if episode.failure is not None:
        its_own = episode.failure[0] in ITS_OWN and episode.exchanges
        return ("fail", (episode.failure[0],)) if its_own else ("error", ())
    if episode.success is None:
        raise BadParameter("nobody can tell whether this episode was a success; say what came of it")
    return "success" if episode.success else "fail", ()
