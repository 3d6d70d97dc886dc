"""``offboard export --to csv|mp4|rerun``: files of each recording."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from ..errors import ConfigurationError, RecordingFailed, told
from ..terminal import Line
from .export import Exported, clock_of, failed, say_unfinished

if TYPE_CHECKING:
    from ..exports import Attempt
    from ..recording import Episode

#: Seconds that Rerun may take for one recording, and beside them one for so many bytes of it; it takes 20 MB or more.
_PATIENCE, _SLOWEST = 60.0, 1e6
#: Seconds from one look to the next whether it is done.
_LOOK = 1.0
#: What it logs, with its status 0, where it could not read something.
_ERROR = re.compile(rb"\[\S+ ERROR ")
_RERUN = "pip install 'rerun-sdk>=0.28' (where LeRobot asks for an older one: uv tool install rerun-sdk)"

Progress = Callable[[float], None]
#: Told what is waited for.
Said = Callable[[str], None]
#: Its name's end, and what writes it.
Job = tuple[str, Callable[[Path, Progress], Any]]


def export_files(attempts: Sequence[Attempt], folder: Path, form: str, found: Exported, line: Line) -> None:
    """Write the files of each; ``found`` says what became of them. Raises ConfigurationError."""
    from ..recording import Episode  # video's libraries are large

    converter = _rerun() if form == "rerun" else ""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(f"no folder can be made at {folder}: {error.strerror or told(error)}") from error
    clock = clock_of(attempts, line)
    for number, attempt in enumerate(attempts):
        clock.show(number, 0.0)
        try:
            with Episode(attempt.path) as episode:
                say_unfinished(episode, line)
                jobs = _jobs(episode, form, converter, None if attempt.clip is None else attempt.clip.at, line.show)
                for place, (name, write) in enumerate(jobs):
                    target = folder / f"{_stem(attempt)}{name}"
                    if target.exists():
                        found.skipped.append(str(target))
                        continue
                    share = 1 / len(jobs)
                    with _whole(target) as temporary:
                        write(temporary, lambda done, n=number, p=place, s=share: clock.show(n, (p + done) * s))
                    found.written.append(str(target))
        except (RecordingFailed, OSError) as error:
            name = attempt.path.name if attempt.clip is None else attempt.name
            found.failures[name] = failed(error)
            line.aside(f"{attempt} is left out: {found.failures[name]}")


def _stem(attempt: Attempt) -> str:
    """A range is called by its times, as on the page: what it is called in a review is no name of a file."""
    if attempt.clip is None:
        return attempt.path.stem
    return "{}_{:.3f}-{:.3f}s".format(attempt.path.stem, *attempt.clip.seconds)


def _jobs(episode: Episode, form: str, converter: str, within: tuple[int, int] | None, said: Said) -> list[Job]:
    from ..recording import write_csv

    if form == "csv":
        return [(".csv", lambda path, progress: write_csv(episode, path, progress, within))]
    if form == "rerun":
        return [(".rrd", lambda path, progress: _convert(converter, episode, path, progress, said))]
    cameras = [topic for topic in episode.topics if topic.startswith("/video/")]
    if not cameras:
        raise RecordingFailed(
            f"{episode.path.name} has no video: the robot has no camera, or --no-record-video was said"
        )
    return [
        (f"-{topic.removeprefix('/video/').replace('/', '.')}.mp4", _video(episode, topic, within)) for topic in cameras
    ]


def _video(episode: Episode, topic: str, within: tuple[int, int] | None) -> Callable[[Path, Progress], Any]:
    from ..recording import write_mp4

    return lambda path, progress: write_mp4(episode, topic, path, progress, within)


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


def _convert(converter: str, episode: Episode, target: Path, progress: Progress, said: Said) -> None:
    from ..recording import check_intact, finish

    with tempfile.TemporaryDirectory(prefix=f".{target.stem}-", dir=target.parent) as folder:
        source = episode.path
        if not episode.finished:
            # Rerun wants the index, and the recording itself stays as it is.
            source = Path(shutil.copy(source, folder))
            finish(source, quiet=0.0)
        # Rerun leaves out a block that is damaged, with a line in its log, or reads it for ever.
        check_intact(source, lambda share: progress(share / 2))
        _run_converter(converter, source, target, said)


def _run_converter(converter: str, source: Path, target: Path, said: Said) -> None:
    target.unlink()  # which it would ask about
    patience = _PATIENCE + source.stat().st_size / _SLOWEST
    began, log = time.monotonic(), _Log()
    with subprocess.Popen(
        [converter, "mcap", "convert", str(source.resolve()), "-o", str(target.resolve())],
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as done:  # fmt: skip
        reader = threading.Thread(target=log.read, args=(done.stdout,), name="offboard-rerun", daemon=True)
        reader.start()
        try:
            while not _is_over(done):
                if (passed := time.monotonic() - began) > patience:
                    raise RecordingFailed(
                        f"Rerun's converter was not done with {source.name} after {passed:.0f} s, and such a file has "
                        f"{patience:.0f} s. {_said(log.last)}"
                    )
                said(f"Rerun's converter reads {source.name}: {passed:.0f} s, of {patience:.0f} s at most")
        finally:
            done.kill()
            reader.join(_LOOK)
    if done.returncode or not target.exists():
        raise RecordingFailed(
            f"Rerun's converter ({converter}) failed with status {done.returncode}; one that knows MCAP is "
            f"needed: {_RERUN}. {_said(log.last)}"
        )
    if log.errors:
        raise RecordingFailed(f"Rerun's converter has left something out. {_said(log.errors)}")


def _is_over(process: subprocess.Popen[bytes]) -> bool:
    try:
        process.wait(_LOOK)
    except subprocess.TimeoutExpired:
        return False
    return True


class _Log:
    """What the converter says, of which there may be no end: the last lines, and the first that are errors."""

    def __init__(self) -> None:
        self.last, self.errors = deque[bytes](maxlen=50), list[bytes]()

    def read(self, out: IO[bytes]) -> None:
        """To its end."""
        with suppress(ValueError):  # it was closed
            while line := out.readline(1000):
                self.last.append(line)
                if _ERROR.match(line) and len(self.errors) < 5:
                    self.errors.append(line)


def _said(lines: Iterable[bytes]) -> str:
    text = b"".join(lines).decode("utf-8", "replace").strip()[-1000:]
    return f"It said: {text}" if text else "It said nothing"
