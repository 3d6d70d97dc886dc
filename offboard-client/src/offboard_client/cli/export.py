"""``offboard export DIR --to …``: recordings as other programs want them, and as training data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from tyro.conf import Positional

from ..errors import ConfigurationError, RecordingFailed, counted, told, unknown
from ..exports import ExportEntry, choose_export, list_exports
from ..plugins import Chosen, UsageError
from ..terminal import Clock, Line, emit_json, note, parse, peek, tell, terminable
from .own_options import Part, parse_together

if TYPE_CHECKING:
    from ..exports import Attempt
    from ..recording import Episode

#: Forms that each recording becomes a file of.
FILES = ("csv", "mp4", "rerun")
_SUMMARY = "Write recordings as tables (csv), as videos (mp4), for Rerun (rerun), or as training data."


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``offboard export``."""

    source: Annotated[Positional[str], tyro.conf.arg(metavar="DIR", help_behavior_hint="(required)")] = ""
    """A folder of recordings or of an evaluation, or one recording."""
    to: str | None = None
    """What it becomes: csv (a table of commands), mp4 (a video of each camera), rerun (.rrd), or a data set's form."""
    output_dir: Path | None = None
    """Where; without it a folder beside the recordings that is called as the form. It is made."""
    score: tuple[str, ...] = ()
    """Only attempts that came out so: success, partial, fail, stall, unsafe."""
    clips: bool = False
    """Only the ranges that were cut out in `offboard replay`, each by itself; not for rerun."""
    json: bool = False
    """Print one JSON object on stdout."""

    def __post_init__(self) -> None:
        if not self.source:
            raise UsageError("say which recordings: offboard export DIR --to csv")
        if self.to is None:
            raise UsageError(f"say what they shall become: {_offered()}")
        if self.clips and self.to == "rerun":
            raise UsageError(
                "--clips is not for --to rerun, whose converter takes whole recordings; csv and mp4 take it"
            )

    def folder(self, source: Path) -> Path:
        """Where it is written."""
        return self.output_dir or (source if source.is_dir() else source.parent) / str(self.to)


@dataclass
class Exported:
    """``skipped``: what was there already. ``failures``: by recording. ``more``: of a data set."""

    written: list[str] = field(default_factory=list[str])
    skipped: list[str] = field(default_factory=list[str])
    failures: dict[str, str] = field(default_factory=dict[str, str])
    more: dict[str, Any] = field(default_factory=dict[str, Any])


def run(arguments: Sequence[str]) -> int:
    """Write each recording in the other form. Nothing that is there is written over, and nothing stays half written.

    0 if all are there, 1 if one could not be. After Ctrl-C what was written is said before it is raised; the same
    command goes on.
    """
    form = peek(arguments, "to")
    if form is None or form in FILES:
        return _run(parse(Options, arguments, "export", f"{_SUMMARY}{_forms()}"), None)
    chosen = choose_export(form, FILES)
    parts: dict[str, Part] = {
        "source": ("offboard export", Options),
        "form": (f"the form {chosen} of {chosen.provider}", chosen.options()),
    }
    found = parse_together(parts, arguments, "export", f"{_SUMMARY} {form}: {chosen.entry.summary}")
    return _run(found.source, (chosen, found.form))


def _run(options: Options, form: tuple[Chosen[ExportEntry], Any] | None) -> int:
    from ..evaluation import Review
    from ..exports import Attempt, choose_attempts, recordings_in  # video's libraries are large
    from .export_files import export_files
    from .export_sets import export_set

    source = Path(options.source).expanduser()
    paths = recordings_in(source)
    _check_outcomes(options.score)
    found, interrupted, broken = Exported(), False, dict[str, str]()
    if options.score or options.clips or form is not None:
        chosen, broken = choose_attempts(paths, options.score, options.clips, note)
    else:  # one that cannot be read says so where it is written
        chosen = [Attempt(path, Review()) for path in paths]
    for name, why in broken.items():
        found.failures[name] = why
        note(f"{name} is left out: {why}")
    if not chosen:
        raise ConfigurationError(_nothing(source, len(paths), options.score, options.clips, broken))
    folder = options.folder(source)
    try:
        with terminable(), Line() as line:
            if form is None:
                export_files(chosen, folder, str(options.to), found, line)
            else:
                export_set(chosen, folder, *form, found, line)
    except KeyboardInterrupt:
        interrupted = True
    _say(options, folder, found, len(chosen), form is not None, interrupted)
    if interrupted:
        note("this was interrupted; the same command goes on from here")
        raise KeyboardInterrupt
    return int(bool(found.failures))


def _say(options: Options, folder: Path, found: Exported, chosen: int, is_set: bool, interrupted: bool) -> None:
    if options.json:
        emit_json({
            "folder": str(folder), "written": found.written, "skipped": found.skipped, "failures": found.failures,
            "interrupted": interrupted, **found.more,
        })  # fmt: skip
        return
    if is_set:
        from .export_sets import said

        for line in said(folder, found, chosen):
            tell(line)
        return
    of_what = counted(chosen, "range" if options.clips else "recording")
    tell(f"{counted(len(found.written), 'file')} of {of_what} written into {folder}")
    if found.skipped:
        tell(f"{kept(len(found.skipped), 'file')}")


def kept(count: int, what: str) -> str:
    """Of what was there before, in words."""
    was, are = ("was", "is") if count == 1 else ("were", "are")
    return f"{counted(count, what)} {was} there already and {are} as before"


def failed(error: Exception) -> str:
    """Why a recording is left out."""
    return error.text if isinstance(error, RecordingFailed) else f"it cannot be written: {told(error)}"


def clock_of(attempts: Sequence[Attempt], line: Line) -> Clock:
    """How far the work is, by the bytes of the recordings."""
    paths = [attempt.path for attempt in attempts]
    return Clock(line, [path.name for path in paths], [path.stat().st_size if path.exists() else 0 for path in paths])


def say_unfinished(episode: Episode, line: Line) -> None:
    """What is exported of it is what it has by now."""
    from ..exports import unfinished

    if why := unfinished(episode):
        line.aside(why)


def _check_outcomes(score: Sequence[str]) -> None:
    from ..evaluation import COUNTED

    for name in score:
        if name not in COUNTED:
            raise UsageError(f"--score: {unknown('outcome', name, COUNTED)}")


def _nothing(source: Path, paths: int, score: Sequence[str], clips: bool, broken: Mapping[str, str]) -> str:
    if broken:
        return f"nothing is left of {counted(paths, 'recording')} in {source}: {next(iter(broken.values()))}"
    came = f" came out as {' or '.join(score)}" if score else ""
    if clips:
        which = f" that{came}" if came else ""
        return f"no recording in {source}{which} has a clip: `offboard replay {source}` cuts them out"
    return (
        f"none of {counted(paths, 'recording')} in {source}{came}: `offboard replay {source}` shows what came of each, "
        "and scores it"
    )


def _offered() -> str:
    there = [*FILES, *(found.name for found in list_exports() if found.entry)]
    return f"{', '.join(f'--to {name}' for name in there[:-1])} or --to {there[-1]}"


def _forms() -> str:
    said = [f"{found.name} ({found.entry.summary})" for found in list_exports() if found.entry]
    return f" Forms of data sets: {'; '.join(said)} `offboard export DIR --to FORM --help` shows one's own options."
