"""``offboard check ROBOT SERVER``: whether a robot and a policy fit, before anything moves."""

from __future__ import annotations

import dataclasses
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from ..errors import ConfigurationError
from ..play import Fit, PolicySession, compare, pictures, suspicious
from ..robots import PATIENCE, Asked, Robot, RobotSpec, Task, connected
from ..terminal import Line, emit_json, emit_table, note, say, tell
from .contract import show_meant
from .limit_options import LimitsFile, show_limits
from .live import show_pictures
from .own_thread import on_own_thread
from .run_options import Parsed, parse_with_policy


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """Options of ``offboard check``, whatever the robot and the policy."""

    limits_file: LimitsFile = None
    """The robot's limits (TOML), which are shown; and whether they can be held for what the policy answers."""
    task: str | None = None
    """The instruction; without it that of the robot's own task."""
    live: bool = False
    """Connect the robot, and show what its cameras see; nothing moves."""


def run(arguments: list[str]) -> int:
    """Hold what a robot declares against a policy's handshake. 0 if they fit, 1 if they do not.

    Nothing is inferred, and the robot is connected for ``--live`` only. Raises UsageError, what opening the policy
    raises, and what a robot that is connected does.
    """
    parsed = parse_with_policy(
        "check", CheckOptions, arguments, "Hold a robot against a policy, before anything moves."
    )
    if parsed is None:
        return 0
    with on_own_thread(parsed.robot, parsed.options, parsed.run.task, PATIENCE) as (robot, task):
        return _check(parsed, robot, task, arguments)


def _check(parsed: Parsed[CheckOptions], robot: Robot, task: Task, arguments: list[str]) -> int:
    limits = parsed.limits
    limits.check_joints(robot.spec)
    with Line() as line, closing(parsed.open(line)) as session:
        meta = session.metadata
    fit = compare(robot.spec, meta, task.instruction)
    observation: dict[str, Any] | None = None
    if parsed.run.live:
        with connected(robot), Asked("observe"):
            observation = robot.observe()
        fit = dataclasses.replace(fit, doubts=(*fit.doubts, *suspicious(observation)))
    if fit.fits and limits.file is not None:
        limits.guard(robot, meta)  # raises for what cannot be held
    if parsed.policy.json:
        about = {"robot": str(parsed.robot), "meta": meta, "limits": limits.as_dict() if limits.file else None}
        live = None if observation is None else [dataclasses.asdict(each) for each in pictures(observation)]
        emit_json({**about, **fit.as_dict(), "live": live})
        return int(not fit.fits)
    show_mismatches(fit)
    if limits.file is not None:
        show_limits(limits, robot)
    if observation is not None:
        show_pictures(observation, meta)
    if (unheld := limits.unheld(robot, meta.get("action") or robot.actions)) is not None:
        tell(unheld)
    for doubt in fit.doubts:
        tell(f"cannot be judged: {doubt.name}: {doubt.why}")
    # The same words play it, but for what only a check knows.
    show_meant(meta, ["offboard", "run", *(word for word in arguments if word not in ("--live", "--json"))])
    if fit.fits:
        say("they fit" if not fit.doubts else "they fit, as far as can be told")
    return int(not fit.fits)


def require_fit(spec: RobotSpec, session: PolicySession, instruction: str | None) -> Fit:
    """What was found; what cannot be judged is said on stderr.

    Raises ConfigurationError, after a table there, where the two do not fit.
    """
    fit = compare(spec, session.metadata, instruction)
    for doubt in fit.doubts:
        note(f"cannot be judged beforehand: {doubt.name}: {doubt.why}")
    if not fit.fits:
        show_mismatches(fit, stderr=True)
        names = ", ".join(dict.fromkeys(each.name for each in fit.mismatches))
        raise ConfigurationError(f"the robot and the policy do not fit, and nothing has moved; see above: {names}")
    return fit


def show_mismatches(fit: Fit, *, stderr: bool = False) -> None:
    """Print what does not fit, a row each; nothing if all does."""
    if fit.mismatches:
        emit_table(
            ("what does not fit", "the robot", "the policy", "what to do"),
            [dataclasses.astuple(each) for each in fit.mismatches],
            stderr=stderr,
        )
