"""``offboard export --to FORM``: one data set of whole attempts, in a form that a package brings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import RecordingFailed, counted
from ..exports import ExportEntry, make_data_set
from ..plugins import Chosen
from ..terminal import Line, unbroken
from .export import Exported, clock_of, failed, kept, say_unfinished

if TYPE_CHECKING:
    from ..exports import Attempt


def export_set(
    attempts: Sequence[Attempt], folder: Path, chosen: Chosen[ExportEntry], options: Any, found: Exported, line: Line
) -> None:
    """Write them into one data set; ``found`` says what became of each.

    What was written until an interruption is kept. Raises ConfigurationError, and OSError, where it cannot go on:
    then the data set is as it was.
    """
    from ..recording import Episode  # video's libraries are large

    line.show(f"the form {chosen} is made ready")
    data = make_data_set(chosen, options, folder)
    clock = clock_of(attempts, line)
    found.more = {"frames": 0, "led": 0, "left_out": 0}
    try:
        for number, attempt in enumerate(attempts):
            if data.has(attempt):
                found.skipped.append(attempt.name)
                clock.skip(number)
                continue
            clock.show(number, 0.0)
            try:
                with Episode(attempt.path) as episode:
                    say_unfinished(episode, line)
                    added = data.add(episode, attempt, lambda share, number=number: clock.show(number, share))
                line.show(f"{attempt} is put into the data set", number + 1, len(attempts))
                with unbroken():
                    data.commit()
                    found.written.append(attempt.name)
                    for name in found.more:
                        found.more[name] += getattr(added, name)
            except RecordingFailed as error:
                found.failures[attempt.name] = failed(error)
                line.aside(f"{attempt} is left out: {error.text}")
    except KeyboardInterrupt:
        _keep(data, found, line)
        raise
    except BaseException:
        found.written.clear()
        data.discard()
        raise
    _keep(data, found, line)


def _keep(data: Any, found: Exported, line: Line) -> None:
    if not found.written:
        data.discard()
        return
    line.show("the data set is finished")
    with unbroken():
        found.more["use"] = data.finish()


def said(folder: Path, found: Exported, chosen: int) -> Iterator[str]:
    """What became of it, a line each."""
    frames, led, left_out = (found.more.get(name, 0) for name in ("frames", "led", "left_out"))
    yield (
        f"{counted(len(found.written), 'attempt')} of {chosen} written into {folder}: {counted(frames, 'frame')}"
        + (f", {led} of them led by a person" if led else "")
    )
    if left_out:
        yield f"{counted(left_out, 'frame')} left out, at which nothing was commanded"
    if found.skipped:
        yield f"{kept(len(found.skipped), 'attempt')}"
    if use := found.more.get("use"):
        yield use
