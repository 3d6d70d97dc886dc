"""``offboard run``: drive a robot with a policy, that of a server or one in this process."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing, nullcontext

from ..drivers import TimedDriver
from ..errors import BY_CODE, ConnectionFailed, OffboardError, RobotFailed, ServerChanged
from ..play import PolicySession, Report, RobotLimits, RunObserver
from ..robots import DryRobot, DryTask, Robot, Task, connected
from ..terminal import Line, console, emit_json, note, require_keys
from .check import require_fit
from .contract import meant
from .limit_options import require_limits
from .own_thread import on_own_thread
from .run_display import table
from .run_dry import DryRun
from .run_keyboard import Keyboard
from .run_options import RunOptions, parse_run
from .run_page import shown
from .run_record import recorded, run_facts
from .run_shadow import shadowed
from .run_watch import interruptible, watched

#: What leaves the episodes that are left unplayed.
ENDING = (ConnectionFailed, RobotFailed, ServerChanged)


def run(arguments: list[str]) -> int:
    """Play the episodes, print what was measured.

    0 if they were played, whatever became of them; 1 without a policy, with a robot that fails, where each has failed
    and nothing was played in any, or after so many faults that the rest was not played.

    Raises UsageError, and what :func:`play` raises.
    """
    parsed = parse_run(arguments)
    if parsed is None:
        return 0
    options, limits, dry = parsed.run, parsed.limits, None
    with on_own_thread(parsed.robot, parsed.options, options.task, options.robot_timeout) as (robot, task):
        require_limits(parsed.robot, robot.spec, limits)
        if options.dry_run:
            dry, robot = DryRun(robot.spec, limits.limits), DryRobot(robot, limits.kinematics)
            task = DryTask(task, robot)
        report = play(options, robot, task, parsed.open, limits, dry)
    show(report, parsed.policy.json, "server" if parsed.own is None else "policy", dry)
    return status(report)


def status(report: Report) -> int:
    """The exit status after a run."""
    if report.interrupted:
        return 130
    return int(
        report.gave_up is not None
        or report.afterwards is not None
        or any(issubclass(BY_CODE.get(code, OffboardError), ENDING) for code in report.failures)
        or (bool(report.episodes) and not report.steps and all(episode.failure for episode in report.episodes))
    )


def play(
    options: RunOptions,
    robot: Robot,
    task: Task,
    open_policy: Callable[[Line], PolicySession],
    limits: RobotLimits | None = None,
    dry: DryRun | None = None,
) -> Report:
    """Connect, play every episode, return what was measured; Ctrl-C and SIGTERM end the run, not the report.

    ``limits``: the robot's; without them those of ``options``. ``dry``: what watches a dry run, whose robot sends
    nothing.

    Raises what connecting the robot or opening the policy raises, and ConfigurationError for a policy that does not
    fit the robot, after a table on stderr.
    """
    report, line, length = Report(), Line(), options.length
    by_keys, by_page = options.driver == "keyboard", options.driver == "eval_ui"
    facts = run_facts(
        robot.spec, task.instruction, limits or RobotLimits(options.limits), options.playing, options.driver
    )
    if by_keys:
        require_keys()
    try:
        with (
            interruptible(report) as controls,
            line,
            nullcontext(Keyboard(controls, line, robot.leader is not None) if by_keys else None) as keyboard,
            recorded(options.recording, facts, line, controls) as recording,
            shown(options, controls, task.instruction, recording) as page,
            watched(line, length, options.timings, keyboard, dry, page if by_page else None) as others,
            shadowed(options.shadow, None if recording is None else recording[0].shadow_answered) as shadow,
            connected(robot),
            closing(open_policy(line)) as session,
        ):
            line.stop()
            limits = limits or RobotLimits(options.limits)
            if (unheld := limits.unheld(robot, session.metadata.get("action") or robot.actions)) is not None:
                note(unheld)
            fit = require_fit(robot.spec, session, task.instruction)
            if (said := meant(session.metadata)) is not None and not said.followed(options.playing):
                note(f"{said.why}; so it is played with {' '.join(said.options)}")
            watching: list[RunObserver] = [*others]
            if recording is not None:
                watching.append(recording[0])
            if page is not None:
                watching += page.observers
            if shadow is not None:
                observer, report.shadow = shadow
                watching.append(observer)
            driver = TimedDriver(
                session, robot, task, limits=limits, observers=(report, *watching),
                playing=options.playing, attended=by_keys or by_page, controls=controls, fit=fit,
            )  # fmt: skip
            report.losses, report.stops = driver.losses, controls.stops
            if page is not None:
                page.live.drives(robot.spec, task.instruction)
                page.desk.opened()
            try:
                with nullcontext() if keyboard is None else keyboard.listening():
                    driver.run(length, options.seed)
            finally:
                if page is not None:
                    page.tell(report)
            report.gave_up = driver.gave_up
    except (KeyboardInterrupt, OffboardError) as error:
        if not report.episodes:
            raise
        report.interrupted |= isinstance(error, KeyboardInterrupt)
        # What ended the run is in the record of the episode that met it, unless it came after the last one.
        if isinstance(error, OffboardError) and (error.code, error.text) != report.episodes[-1].failure:
            report.afterwards = error.code, error.text
            note(f"after the last episode: {error.code}: {error.text}")
    return report


def show(report: Report, as_json: bool, whose: str = "server", dry: DryRun | None = None) -> None:
    """The table, or the JSON object, on stdout. ``whose``: as in the table. ``dry``: what a dry run has not sent."""
    if as_json:
        emit_json(report.as_dict() | ({} if dry is None else {"dry_run": dry.as_dict()}))
        return
    console().print(table(report, whose))
    if dry is not None:
        dry.show()
