"""``offboard export DIR --to csv|mp4|rerun``: recordings as other programs want them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro
from tyro.conf import Positional

from ..errors import ConfigurationError, RecordingFailed, counted, told
from ..plugins import UsageError
from ..terminal import Line, emit_json, note, parse, tell, terminable

if TYPE_CHECKING:
    from ..recording import Episode

#: Seconds that Rerun may take for one recording.
_PATIENCE = 3600.0
_RERUN = "pip install 'rerun-sdk>=0.28' (where LeRobot asks for an older one: uv tool install rerun-sdk)"

Progress = Callable[[float], None]
#: Its name's end, and what writes it.
Job = tuple[str, Callable[[Path, Progress], Any]]


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``offboard export``."""

    source: Annotated[Positional[str], tyro.conf.arg(metavar="DIR", help_behavior_hint="(required)")] = ""
    """A folder of recordings, or one of them."""
    to: Literal["csv", "mp4", "rerun"] | None = None
    """What it becomes: a table of commands, a video of each camera, or a recording of Rerun's (.rrd)."""
    output_dir: Path | None = None
    """Where; without it a folder beside the recordings that is called as the form. It is made."""
    json: bool = False
    """Print one JSON object on stdout."""

    def __post_init__(self) -> None:
        if not self.source:
            raise UsageError("say which recordings: offboard export DIR --to csv")
        if self.to is None:
            raise UsageError("say what they shall become: --to csv, --to mp4 or --to rerun")


@dataclass
class _Exported:
    """``skipped``: files that were there already. ``failures``: by recording."""

    written: list[str] = field(default_factory=list[str])
    skipped: list[str] = field(default_factory=list[str])
    failures: dict[str, str] = field(default_factory=dict[str, str])


def run(arguments: list[str]) -> int:
    """Write each recording in the other form. Nothing that is there is written over, and nothing stays half written.

    0 if all are there, 1 if one could not be. After Ctrl-C what was written is said before it is raised; the same
    command goes on.
    """
    summary = "Write recordings as tables (csv), as videos (mp4) or for Rerun (rerun)."
    options = parse(Options, arguments, "export", summary)
    source = Path(options.source).expanduser()
    paths = _recordings(source)
    folder = options.output_dir or (source if source.is_dir() else source.parent) / str(options.to)
    converter = _rerun() if options.to == "rerun" else ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"no folder can be made at {folder}: {error.strerror or told(error)}") from error
    found, interrupted = _Exported(), False
    try:
        with terminable(), Line() as line:
            _export(paths, folder, options, converter, found, line)
    except KeyboardInterrupt:
        interrupted = True
    if options.json:
        emit_json({
            "folder": str(folder), "written": found.written, "skipped": found.skipped, "failures": found.failures,
            "interrupted": interrupted,
        })  # fmt: skip
    else:
        tell(f"{counted(len(found.written), 'file')} of {counted(len(paths), 'recording')} written into {folder}")
        if found.skipped:
            tell(f"{counted(len(found.skipped), 'file')} was there already and is as it was")
    if interrupted:
        note("this was interrupted; the same command goes on from here")
        raise KeyboardInterrupt
    return int(bool(found.failures))


def _recordings(source: Path) -> list[Path]:
    """Raises ConfigurationError where there is none."""
    if source.is_file():
        return [source]
    if not source.is_dir():
        raise ConfigurationError(f"{source} is neither a folder of recordings nor one of them")
    if not (paths := sorted(source.glob("*.mcap"))):
        raise ConfigurationError(f"{source} has no recording: `offboard run --output-dir` makes them, NAME.mcap")
    return paths


def _export(paths: list[Path], folder: Path, options: Options, converter: str, found: _Exported, line: Line) -> None:
    from ..recording import Episode  # video's libraries are large

    sizes = [path.stat().st_size for path in paths]
    total, began = max(sum(sizes), 1), monotonic()
    for number, path in enumerate(paths):
        before = sum(sizes[:number])

        def shown(share: float, number: int = number, before: int = before) -> None:
            done = before + share * sizes[number]
            line.show(paths[number].name, done, total, f"{number + 1} of {len(paths)}{_left(done / total, began)}")

        shown(0.0)
        try:
            with Episode(path) as episode:
                jobs = _jobs(episode, options, converter)
                for place, (name, write) in enumerate(jobs):
                    target = folder / f"{path.stem}{name}"
                    if target.exists():
                        found.skipped.append(str(target))
                        continue
                    with _whole(target) as temporary:
                        write(temporary, lambda share, place=place, jobs=jobs: shown((place + share) / len(jobs)))
                    found.written.append(str(target))
        except (RecordingFailed, OSError) as error:
            text = error.text if isinstance(error, RecordingFailed) else f"it cannot be written: {told(error)}"
            found.failures[path.name] = text
            line.aside(f"{path.name} is left out: {text}")


def _jobs(episode: Episode, options: Options, converter: str) -> list[Job]:
    from ..recording import write_csv

    if options.to == "csv":
        return [(".csv", lambda path, progress: write_csv(episode, path, progress))]
    if options.to == "rerun":
        return [(".rrd", lambda path, progress: _convert(converter, episode.path, path))]
    cameras = [topic for topic in episode.topics if topic.startswith("/video/")]
    if not cameras:
        raise RecordingFailed(
            f"{episode.path.name} has no video: the robot has no camera, or --no-record-video was said"
        )
    return [(f"-{topic.removeprefix('/video/').replace('/', '.')}.mp4", _video(episode, topic)) for topic in cameras]


def _video(episode: Episode, topic: str) -> Callable[[Path, Progress], Any]:
    from ..recording import write_mp4

    return lambda path, progress: write_mp4(episode, topic, path, progress)


@contextmanager
def _whole(target: Path) -> Generator[Path, None, None]:
    """A path to write to; it becomes ``target`` once that is done, and goes if it is not. Raises OSError."""
    number, name = tempfile.mkstemp(prefix=f".{target.stem}-", suffix=target.suffix, dir=target.parent)
    os.close(number)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        try:
            os.link(temporary, target)  # which never replaces another
        except FileExistsError:
            raise
        except OSError:  # a file system without links
            if target.exists():
                raise FileExistsError(f"{target} is there by now") from None
            temporary.rename(target)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def _rerun() -> str:
    """Rerun's program. Raises ConfigurationError where there is none."""
    beside = str(Path(sys.executable).parent)
    found = shutil.which("rerun", path=os.pathsep.join([beside, os.environ.get("PATH", os.defpath)]))
    if found is None:
        raise ConfigurationError(f"--to rerun takes Rerun's own converter, which is not installed: {_RERUN}")
    return found


def _convert(converter: str, source: Path, target: Path) -> None:
    target.unlink()  # which it would ask about
    try:
        done = subprocess.run(
            [converter, "mcap", "convert", str(source.resolve()), "-o", str(target.resolve())],
            stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise RecordingFailed(f"Rerun's converter was not done with {source.name} after {_PATIENCE:g} s") from error
    if done.returncode or not target.exists():
        said = (done.stderr or done.stdout).decode("utf-8", "replace").strip()[-1000:]
        raise RecordingFailed(
            f"Rerun's converter ({converter}) failed with status {done.returncode}; one that knows MCAP is "
            f"needed: {_RERUN}. It said: {said}"
        )


def _left(share: float, began: float) -> str:
    passed = monotonic() - began
    if share < 0.01 or passed < 1.0:
        return ""
    seconds = passed * (1 - share) / share
    return f", about {seconds:.0f} s left" if seconds < 90 else f", about {seconds / 60:.0f} min left"
