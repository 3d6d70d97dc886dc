"""The command line of ``offboard evaluate`` and ``offboard validate``."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl

import tyro
from tyro.conf import Positional

from ..drivers import Playing
from ..errors import ConfigurationError
from ..evaluation import Plan
from ..play import PolicySession, SafetyLimits
from ..plugins import UsageError
from ..robots import PATIENCE, check_patience
from ..terminal import Line
from .limit_options import LimitsFile
from .run_options import Parsed, ServersPolicy
from .run_page import PageOptions

#: What ``--models`` is for every model that the server lists.
ALL = "all"


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Options of ``offboard evaluate``, whatever the robot."""

    models: str = ""
    """The models, by their ids, with commas between; `ID?NAME=VALUE` with parameters; `all`: all that are listed."""
    episodes: int = 20
    """From so many starts each model is tried; the same ones for all."""
    seconds: float = 15.0
    """Seconds of one trial by the robot's clock, at most."""
    output_dir: Path | None = None
    """Where trials, recordings and the report are kept; an evaluation that stands there goes on."""
    until: Literal["planned", "decided"] = "planned"
    """When it ends: with the plan, or as soon as the evidence tells every two models apart."""
    measure: Literal["success", "score"] = "success"
    """What models are compared by: successes, or how much of the task was done."""
    level: float = 0.05
    """How likely any of the verdicts is false, at most."""
    blind: bool = False
    """Whoever sets up and judges sees A and B, until the end."""
    go_on: bool = False
    """Go on after a trial that ended by an error, with the other models too."""
    parallel: int = 1
    """So many simulated robots at the same time."""
    annul: int | None = None
    """Annul the trial of this number first: it is played again from the same start."""
    reason: str = ""
    """Why it is annulled; it is in the report."""
    record: Annotated[
        bool,
        tyro.conf.arg(
            help="Record no trial; else each is, where offboard-client[record] is installed.", help_behavior_hint=""
        ),
    ] = True
    seed: int = 0
    """The first start; the next has the next seed. The order of the models is drawn from it, too."""
    task: str | None = None
    """The instruction; without it that of the robot's own task."""
    driver: Literal["timed", "eval_ui"] = "timed"
    """Who begins and judges the trials: the clock, a person at the terminal for what is real, or a person at a page."""
    page: Annotated[PageOptions, tyro.conf.arg(name="")] = field(default_factory=PageOptions)
    robot_timeout: float = PATIENCE
    """Seconds that a call of the robot may take beyond its own time; ten times as many to connect and to reset."""
    playing: Annotated[Playing, tyro.conf.arg(name="")] = field(default_factory=Playing)
    limits_file: LimitsFile = None
    """The robot's limits (TOML); those that are given beside it may only be narrower. What is real needs one."""
    limits: SafetyLimits = field(default_factory=SafetyLimits)

    def __post_init__(self) -> None:
        for name in ("episodes", "parallel"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"--{name} is {getattr(self, name)}; expected 1 or more")
        if not 0 < self.seconds < 86400:
            raise ConfigurationError(f"--seconds is {self.seconds:g}; expected more than 0, and less than a day")
        if not 0 < self.level < 1:
            raise ConfigurationError(f"--level is {self.level:g}; expected a share between 0 and 1, such as 0.05")
        if self.seed < 0:
            raise ConfigurationError(f"--seed is {self.seed}; expected a whole number from 0 up")
        if self.parallel > 1 and self.paged:
            raise UsageError("a page shows one robot: leave --parallel away, or the page")
        check_patience(self.robot_timeout)
        if (self.annul is not None) != bool(self.reason.strip()):
            raise UsageError("--annul NUMBER and --reason TEXT go together")

    @property
    def paged(self) -> bool:
        """Whether there is a page."""
        return self.driver == "eval_ui" or self.page.show_gui

    def plan(self, models: Sequence[str]) -> Plan:
        """The plan of these models. Raises BadParameter."""
        return Plan(
            tuple(models), tuple(range(self.seed, self.seed + self.episodes)), self.seed, self.blind, self.measure,
            self.level,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ServersModels(ServersPolicy):
    """The models that a server plays."""

    server: Annotated[Positional[str], tyro.conf.arg(metavar="SERVER", help_behavior_hint="")] = ""
    """The server: HOST, or HOST:PORT."""
    model_id: tyro.conf.Suppress[str | None] = None
    policy: tyro.conf.Suppress[str | None] = None

    def open_model(self, model: str, line: Line) -> PolicySession:
        """A session with one of ``--models``: an id, with the session's parameters behind it as in a URL."""
        name, _, query = model.partition("?")
        params = {key: _value(text) for key, text in parse_qsl(query, keep_blank_values=True)}
        return replace(self, model_id=name).open(line, **params)


def as_conditions(parsed: Parsed[EvaluateOptions], policy: ServersModels) -> dict[str, Any]:
    """What has to be the same for all trials of an evaluation, as plain data of texts."""
    options = parsed.run
    return {
        "robot": str(parsed.robot), "the robot's options": repr(parsed.options),
        "task": options.task or "", "seconds": options.seconds, "playing": repr(options.playing),
        "limits": repr(parsed.limits.limits), "images": policy.images,
    }  # fmt: skip


def _value(text: str) -> Any:
    """As a session's URL is read: a number, true, false or null, and else a text."""
    try:
        return json.loads(text)
    except ValueError:
        return text


def in_front(arguments: Sequence[str]) -> list[str]:
    """The robot and the server first, also where they are said by ``--robot`` and ``--server``. Raises UsageError."""
    named: dict[str, str] = {}
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag not in ("--robot", "--server"):
            rest.append(word)
            continue
        given = value if equals else next(words, "")
        if not given or given.startswith("--"):
            raise UsageError(f"{flag} needs a value")
        if flag in named:
            raise UsageError(f"{flag} is given twice")
        named[flag] = given
    return [*(named[flag] for flag in ("--robot", "--server") if flag in named), *rest]


def write_whole(path: Path, text: str) -> None:
    """As a whole, or not at all. Raises ConfigurationError."""
    rest = path.with_name(path.name + ".new")
    try:
        try:
            rest.write_text(text, encoding="utf-8")
            rest.replace(path)
        except OSError:
            with contextlib.suppress(OSError):
                rest.unlink()
            raise
    except OSError as error:
        raise ConfigurationError(f"{path}: it cannot be written: {error.strerror}") from error
