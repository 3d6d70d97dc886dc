"""``offboard run``: drive a robot with a policy that a server plays. There is one robot so far, ``sim``."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import tyro

from ..drivers import RunLength, TimedDriver
from ..errors import BY_CODE, BadParameter, ConfigurationError, ConnectionFailed, OffboardError, RobotFailed
from ..play import Report, SafetyLimits
from ..plugins import UsageError
from ..robots import connected
from ..robots.sim import RendererName, StackTask
from ..terminal import Line, ServerOptions, console, emit_json, parse, refuse_address_flags, refuse_habits
from .run_display import table
from .run_watch import interruptible, watched

#: The robots there are, and what each is.
ROBOTS = {"sim": "Play a policy on the simulated arm (offboard-client[sim]), unattended, and report what was measured."}
#: What leaves the episodes that are left unplayed.
ENDING = (ConnectionFailed, RobotFailed)


@dataclass(frozen=True, kw_only=True)
class Options(ServerOptions):
    """Options of ``offboard run sim``."""

    model_id: str | None = None
    """The model to play; without it the one in the URL, else the server's default."""
    length: Annotated[RunLength, tyro.conf.arg(name="")] = field(default_factory=RunLength)
    limits: SafetyLimits = field(default_factory=SafetyLimits)
    task: str = StackTask().instruction
    """The instruction. The simulation judges `stack the COLOUR cube on the COLOUR cube`: red, green, blue."""
    seed: int = 0
    """Where the cubes lie in the first episode; the next one has the next seed."""
    renderer: RendererName = "rays"
    """How camera pictures are made: by casting rays (needs no OpenGL), or by MuJoCo's OpenGL renderer."""
    timings: Path | None = None
    """Write a line for each step into this new CSV file: network, queue, decode, infer, robot …, in ms."""
    timeout: float = 60.0
    """How long to wait for one chunk, in seconds."""

    def __post_init__(self) -> None:
        StackTask.parse(self.task)
        if self.seed < 0:
            raise ConfigurationError(f"the seed is {self.seed}; expected a whole number from 0 up")


def run(arguments: list[str]) -> int:
    """Play the episodes, print what was measured.

    0 if they were played, whatever became of them; 1 without a server, or with a robot that fails.

    Raises UsageError, and what :func:`play` raises.
    """
    refuse_habits(arguments)
    robot, rest = (arguments[0], arguments[1:]) if arguments else ("", [])
    if robot not in (*ROBOTS, "-h", "--help"):
        raise UsageError(f"say which robot first: offboard run {'|'.join(ROBOTS)} HOST:PORT")
    refuse_address_flags(f"run {robot}", rest)
    try:
        options = parse(Options, rest if robot in ROBOTS else arguments, "run sim", ROBOTS["sim"])
    except (BadParameter, ConfigurationError) as error:
        raise UsageError(error.text) from error
    report = play(options)
    show(report, options.json)
    if report.interrupted:
        return 130
    return int(any(issubclass(BY_CODE.get(code, OffboardError), ENDING) for code in report.failures))


def play(options: Options) -> Report:
    """Connect, play every episode, return what was measured; Ctrl-C and SIGTERM end the run, not the report.

    Raises what opening the session raises, and ConfigurationError for a policy that the robot cannot play.
    """
    from ..robots.sim import SimRobot, Stacking  # MuJoCo is loaded only where it is needed

    report, line = Report(), Line()
    robot = SimRobot(options.renderer)
    task = Stacking(robot, StackTask.parse(options.task))
    try:
        client = options.client(line)
        with (
            interruptible(report) as controls,
            line,
            watched(line, options.length, options.timings) as others,
            connected(robot),
            client.new_session(options.model_id) as session,
        ):
            driver = TimedDriver(
                session, robot, task, limits=options.limits, observers=(report, *others), controls=controls
            )
            report.losses = driver.losses
            driver.run(options.length, options.seed)
    except (KeyboardInterrupt, *ENDING) as error:
        if not report.episodes:
            raise
        # What else ended the run is in the record of the episode that met it.
        report.interrupted |= isinstance(error, KeyboardInterrupt)
    return report


def show(report: Report, as_json: bool) -> None:
    """The table, or the JSON object, on stdout."""
    if as_json:
        emit_json(report.as_dict())
    else:
        console().print(table(report))
