"""The command lines of ``run`` and ``check``: the command's own options, the robot's on top, and the policy's.

The robot and the policy decide which options there are, so their names are read first.
"""

from __future__ import annotations

import dataclasses
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Generic, Literal, TypeVar, cast

import tyro
from tyro.conf import Positional

from ..drivers import Playing, RunLength
from ..errors import ConfigurationError
from ..play import (
    PolicyEntry,
    PolicySession,
    RobotLimits,
    SafetyLimits,
    Shrinking,
    choose_policy,
    fixed_images,
    list_policies,
    open_policy,
)
from ..plugins import Chosen, UsageError, asked
from ..robots import PATIENCE, RobotEntry, check_patience, choose_robot, list_robots
from ..terminal import (
    HELP,
    LeftOver,
    Line,
    ServerOptions,
    emit_facts,
    note,
    peek,
    refuse_address_flags,
    refuse_habits,
    split_dotted,
    tell,
)
from .limit_options import LimitsFile, peek_limits, robot_limits, with_limits
from .own_options import Part, listed, parse_together, robots_part
from .positronic import REAL, from_positronic
from .run_page import PageOptions
from .run_record import RecordingOptions

T = TypeVar("T")

#: An option, or a server.
_NO_ROBOT = re.compile(r"-|.*:(//|\d+$)")
_PILLOW = "Pillow: pip install 'offboard-client[images]'"


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """Options of ``offboard run``, whatever the robot and the policy."""

    length: Annotated[RunLength, tyro.conf.arg(name="")] = field(default_factory=RunLength)
    playing: Annotated[Playing, tyro.conf.arg(name="")] = field(default_factory=Playing)
    limits_file: LimitsFile = None
    """The robot's limits (TOML); those that are given beside it may only be narrower. What is real needs one."""
    limits: SafetyLimits = field(default_factory=SafetyLimits)
    task: str | None = None
    """The instruction; without it that of the robot's own task."""
    dry_run: bool = False
    """Everything but the motors: observe, ask and check, print what would be sent, and send nothing."""
    seed: int = 0
    """Where things lie in the first episode; the next one has the next seed."""
    driver: Literal["timed", "keyboard", "eval_ui"] = "timed"
    """Who says when an episode begins and ends: the clock, or a person, at the keyboard or a page in a browser."""
    timings: Path | None = None
    """Write a line for each step into this new CSV file: network, queue, decode, infer, robot …, in ms."""
    robot_timeout: float = PATIENCE
    """Seconds that a call of the robot may take beyond its own time; ten times as many to connect and to reset."""
    shadow: str | None = None
    """Ask this server, HOST:PORT or a URL, the same: its model drives nothing, and is compared in the report."""
    recording: Annotated[RecordingOptions, tyro.conf.arg(name="")] = field(default_factory=RecordingOptions)
    page: Annotated[PageOptions, tyro.conf.arg(name="")] = field(default_factory=PageOptions)

    def __post_init__(self) -> None:
        if self.seed < 0:
            raise ConfigurationError(f"the seed is {self.seed}; expected a whole number from 0 up")
        check_patience(self.robot_timeout)


@dataclass(frozen=True, kw_only=True)
class ServersPolicy(ServerOptions):
    """A policy that a server plays."""

    server: Annotated[Positional[str], tyro.conf.arg(metavar="SERVER", help_behavior_hint="")] = ""
    """The server: HOST, HOST:PORT, or ws://HOST:PORT/api/v1/session/MODEL; or none, and --policy instead."""
    model_id: str | None = None
    """The model; without it the one in the URL, else the server's default."""
    policy: str | None = None
    """Instead of SERVER: `local:VENDOR` (offboard-core) or `openpi://HOST:PORT`; with it --help shows its options."""
    timeout: float = 60.0
    """How long to wait for one answer, in seconds."""
    resize: int | None = None
    """Pixels a side that an image is sent with at most, where the server states none; its aspect is kept."""
    images: str = "raw"
    """How images are sent: raw, jpeg, jpeg:QUALITY, or auto: as JPEG on a link so slow that it is worth lost detail."""

    def __post_init__(self) -> None:
        if not self.server:
            raise UsageError(
                "SERVER is missing: HOST:PORT right behind the robot's name, or --policy POLICY instead of a server"
            )
        Shrinking(self.resize)  # refuses what is no size

    def open(self, line: Line, **params: Any) -> PolicySession:
        """See :class:`InferenceClient`. ``line`` is told what it waits for. ``params``: the session's.

        Images are shrunk as Positronic's clients shrink them. Raises ConfigurationError for ``resize`` without Pillow.
        """
        shrinking = Shrinking(self.resize)
        if find_spec("PIL") is not None:
            session = self.client(line, shrinking, self.images).new_session(self.model_id, **params)
            if self.resize is not None and (fixed := fixed_images(session.metadata)):
                shapes = ", ".join(f"{name} as {tuple(shape)}" for name, shape in fixed.items())
                note(f"--resize is not for {shapes}: the policy takes them in no other size")
            return session
        if self.resize is not None:
            raise ConfigurationError(f"--resize needs {_PILLOW}")
        session = self.client(line, images=self.images).new_session(self.model_id, **params)
        if session.metadata.get("image_sizes"):
            note(f"images go to the server as large as they are: to shrink them here takes {_PILLOW}")
        return session


@dataclass(frozen=True, kw_only=True)
class OwnPolicy:
    """A policy that no server of ours plays."""

    policy: str
    """The policy, `NAME` or `NAME:PART`; `offboard run --help` lists them."""
    json: bool = False
    """Print one JSON object on stdout."""


@dataclass(frozen=True)
class Parsed(Generic[T]):
    """``options``: an instance of the robot's own; ``own``: of the policy's, where there is no server.

    ``limits``: the file's, if one was named, with those that were given beside it.
    """

    run: T
    robot: Chosen[RobotEntry]
    options: Any
    policy: ServersPolicy | OwnPolicy
    own: tuple[Chosen[PolicyEntry], Any] | None
    limits: RobotLimits = field(default_factory=RobotLimits)

    def open(self, line: Line) -> PolicySession:
        """The policy's session, ready. Raises what opening it raises."""
        if self.own is None:
            return cast("ServersPolicy", self.policy).open(line)
        return open_policy(*self.own, line.status)


def parse_run(arguments: Sequence[str]) -> Parsed[RunOptions] | None:
    """The command line of ``offboard run``; see :func:`parse_with_policy`."""
    return parse_with_policy("run", RunOptions, arguments, "Play a policy on a robot.")


def parse_with_policy(
    command: str,
    options: type[T],
    arguments: Sequence[str],
    summary: str,
    servers: type[ServersPolicy] = ServersPolicy,
    called: str | None = None,
) -> Parsed[T] | None:
    """The whole command line of a command about a robot and a policy; None after the help that needs no robot.

    ``options``: the command's own. ``servers``: about a server. ``called``: what its help and errors call it, where
    that is not the command and its robot. Raises UsageError, ConfigurationError.
    """
    refuse_habits(arguments)
    arguments = from_positronic(command, arguments)
    if arguments and arguments[0] in HELP:
        _print_help(command, summary)
        return None
    if not arguments or _NO_ROBOT.match(arguments[0]):
        names = "|".join(asked(found) for found in list_robots())
        raise UsageError(f"say which robot first: offboard {command} {names} HOST:PORT (or --policy POLICY)")
    if arguments[0] == REAL:
        _refuse_real(command, arguments[1:])
    robot, rest = choose_robot(arguments[0]), arguments[1:]
    robots, named = robots_part(robot), peek(rest, "policy")
    if named is None:
        refuse_address_flags(f"{command} {robot}", rest, (each.name for each in dataclasses.fields(robots[1])))
        _refuse_policies_words(rest)
    policy = None if named is None else _policy(named, f"offboard {command} {robot}")
    file = peek_limits(rest)
    # Where the policy is comes first in the help.
    parts: dict[str, Part] = {
        "source": (f"offboard {command}", servers if policy is None else OwnPolicy),
        "run": (f"offboard {command}", options if file is None else with_limits(options, file)),
        "robot": robots,
    }
    if policy is not None:
        parts["own"] = (f"the policy {policy} of {policy.provider}", policy.options())
    owners = [robot.entry.dotted, None if policy is None else policy.entry.dotted]
    rest, dotted = split_dotted(rest, filter(None, owners))
    try:
        found = parse_together(parts, rest, called or f"{command} {robot}", f"{summary} {robot.entry.summary}")
    except LeftOver as error:
        if policy is None:
            raise
        raise UsageError(f"give either the server {error.words[0]} or --policy {named}, not both") from error
    own = None if policy is None else (policy, policy.entry.with_dotted(found.own, dotted))
    options_of = robot.entry.with_dotted(found.robot, dotted)
    return Parsed(found.run, robot, options_of, found.source, own, robot_limits(found.run, file))


def _policy(named: str, command: str) -> Chosen[PolicyEntry]:
    """The policy that ``--policy`` names. Raises ConfigurationError."""
    if named.partition(":")[0] not in _policies():
        try:
            choose_policy(named)
        except ConfigurationError as error:
            raise ConfigurationError(f"{error.text}. A server stands without --policy: {command} {named}") from None
    return choose_policy(named)


def _refuse_policies_words(rest: Sequence[str]) -> None:
    """Raises UsageError where a server is asked: for a policy in its place, and for an option of a policy here."""
    name, colon, part = (rest[0] if rest else "").partition(":")
    if colon and not part.isdigit() and name in _policies():  # a host may be called so
        raise UsageError(f"{rest[0]} is a policy and no server: --policy {rest[0]}")
    if option := next((word for word in rest if word.startswith("--codec.")), None):
        raise UsageError(
            f"{option.partition('=')[0]} is for --policy local:VENDOR; of a server's codec a session's URL says it: "
            "ws://HOST:PORT/api/v1/session?codec.NAME=VALUE"
        )


def _policies() -> set[str]:
    return {found.name for found in list_policies()}


def _refuse_real(command: str, rest: Sequence[str]) -> None:
    """Raises UsageError, after the robots on stderr, unless one is called so."""
    if any(found.name == REAL for found in list_robots()):
        return
    emit_facts("robots:", [listed(found) for found in list_robots()], stderr=True)
    line = " ".join(["offboard", command, "NAME", *map(shlex.quote, rest or ["HOST:PORT"])])
    raise UsageError(f"say which robot {REAL} is, by its name: {line}")


def _print_help(command: str, summary: str) -> None:
    tell(f"usage: offboard {command} ROBOT SERVER [options]")
    tell(f"       offboard {command} ROBOT --policy POLICY [options]")
    tell("")
    tell(f"{summary} `offboard {command} ROBOT --help` shows its options.")
    emit_facts("robots:", [listed(found) for found in list_robots()])
    policies = [listed(found) for found in list_policies()]
    emit_facts(
        "policies without a server of offboard's:",
        policies or [("local:VENDOR", "is not installed: pip install offboard-core")],
    )
