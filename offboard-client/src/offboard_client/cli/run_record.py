"""``offboard run … --output-dir DIR``: each episode into a file of its own."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..drivers import Playing
from ..errors import ConfigurationError, RecordingFailed, counted
from ..play import Bounded, Controls, Quit, RobotLimits
from ..robots import RobotSpec
from ..terminal import Line, note, program_facts

if TYPE_CHECKING:
    from ..recording import Recorded

#: Bytes of pictures, and events, that may wait for the disk; what comes then is not recorded, and the arm goes on.
WAITING, EVENTS = 256 << 20, 65536
#: Seconds that a disk has after a run for what still waits.
PATIENCE = 60.0


@dataclass(frozen=True)
class RecordingOptions:
    """What is recorded of a run, and where."""

    output_dir: Path | None = None
    """Record each episode into this folder as MCAP, which Foxglove and Rerun open: offboard-client[record]."""
    record_hz: float = 30.0
    """So often a second the robot is observed for the recording; its control period, where that is longer."""
    record_video: bool = True
    """Whether every camera frame is recorded, as video (H.264)."""
    record_sent: bool = True
    """Whether the frames that the policy is asked about are recorded as they were, without loss (PNG)."""
    require_recording: bool = False
    """End the run where the recording fails, on a full disk for example; else it goes on unrecorded."""

    def __post_init__(self) -> None:
        if not 0 < self.record_hz <= 1000:
            raise ConfigurationError(f"--record-hz is {self.record_hz:g}; expected more than 0, and 1000 at most")


@contextmanager
def recorded(
    options: RecordingOptions, facts: Mapping[str, Any], line: Line, controls: Controls
) -> Generator[tuple[Bounded, Recorded] | None, None, None]:
    """What records the run, if it is to be, on a thread of its own, and what has become of it so far; in the end it
    says what there is.

    Raises ConfigurationError without the libraries, RecordingFailed for a folder that cannot be written, and in the end
    where a recording was required and is not whole.
    """
    if options.output_dir is None:
        yield None
        return
    from ..recording import Recorder  # most runs are not recorded, and video's libraries are large

    folder = options.output_dir.expanduser()
    recorder = Recorder(
        folder, facts, sample_hz=options.record_hz, video=options.record_video, sent=options.record_sent,
        failing=(lambda error: controls.post(Quit())) if options.require_recording else None,
    )  # fmt: skip
    finish_others(folder, line)
    bounded = Bounded(recorder, EVENTS, f"the recording in {folder}", WAITING)
    recorder.loss = bounded.loss
    try:
        yield bounded, recorder.recorded
    finally:
        bounded.close(PATIENCE)
        note(_summary(folder, recorder.recorded))
    if options.require_recording and recorder.recorded.failure is not None:
        raise RecordingFailed(f"the run has ended, for a recording was required: {recorder.recorded.failure}")


def finish_others(folder: Path, line: Line) -> None:
    """What runs have left behind in this folder gets its index; what cannot have one is said, and keeps nobody."""
    from ..recording import finish_all

    line.show("looking for recordings that a run has left behind unfinished")
    for path in finish_all(folder, lambda error: note(f"{error.text}; it stays as it is")):
        note(f"{path.name} was left behind unfinished: it has its index now")


def run_facts(
    robot: RobotSpec, instruction: str | None, limits: RobotLimits, playing: Playing, driver: str
) -> dict[str, Any]:
    """What a recording says of the run that it is of, as JSON has forms for."""
    return {
        **program_facts("offboard"), "robot": robot.as_dict(), "task": instruction, "driver": driver,
        "limits": asdict(limits.limits), "limits_file": None if limits.file is None else str(limits.file),
        "playing": asdict(playing),
    }  # fmt: skip


def _summary(folder: Path, recorded: Recorded) -> str:
    said = f"recorded {counted(len(recorded.files), 'episode')} in {folder}, {recorded.size / 1e6:.1f} MB"
    if recorded.failure is not None:
        said += f"; {counted(recorded.failed, 'episode')} not to the end: {recorded.failure}"
    return said
