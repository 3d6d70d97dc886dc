"""``offboard demo``: a server in a process of its own, and the simulated arm against it over a real socket."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import IO, Annotated

import tyro
from offboard_client.cli import RunOptions, ServersPolicy, play, show
from offboard_client.drivers import Playing, RunLength
from offboard_client.errors import BadParameter, ConfigurationError, ConnectionFailed, OffboardError
from offboard_client.plugins import UsageError
from offboard_client.robots.sim import SimOptions, StackTask
from offboard_client.terminal import TYPES, description, note, switches, terminable

from .child import start, stop
from .demo_recipe import checkpoints_of, recipe_of

#: Seconds for the server to listen.
START_TIMEOUT = 120.0
_TAIL_LINES = 20


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``offboard demo``; every other option goes to ``offboard serve``."""

    length: Annotated[RunLength, tyro.conf.arg(name="")] = field(default_factory=lambda: RunLength(episodes=5))
    task: str = StackTask().instruction
    """The instruction: `stack the COLOUR cube on the COLOUR cube`, of red, green and blue."""
    seed: int = 0
    """Where the cubes lie in the first episode; the next one has the next seed."""
    playing: Annotated[Playing, tyro.conf.arg(name="")] = field(default_factory=Playing)
    arm: Annotated[SimOptions, tyro.conf.arg(name="")] = field(default_factory=SimOptions)
    make: bool = False
    """Make the checkpoint that a vendor offers to make. Without it `--vendor lerobot` says what that takes."""
    json: bool = False
    """Print one JSON object on stdout instead of the table."""


def run(arguments: list[str]) -> int:
    """Serve, play, report. 0 if every episode succeeded, 1 if one did not.

    Raises UsageError; OffboardError if the server does not start or cannot be used.
    """
    try:
        options, for_server = _parse(arguments)
        recipe = recipe_of(for_server)
        if recipe is not None:  # what the model was made for; what is said here rules
            made_for = (f"--{name.replace('_', '-')}={value}" for name, value in recipe[1].options.items())
            options, for_server = _parse([*made_for, *arguments])
        elif options.make:
            raise UsageError("--make makes the model that a vendor offers: say --vendor, and no --checkpoints-dir")
        plan = RunOptions(length=options.length, playing=options.playing, seed=options.seed)
        sentence = StackTask.parse(options.task)
    except (BadParameter, ConfigurationError) as error:
        raise UsageError(error.text) from error
    if importlib.util.find_spec("mujoco") is None:  # before a server is started for nothing
        raise ConfigurationError("the demo needs MuJoCo: pip install 'offboard-client[sim]'")
    from offboard_client.robots.sim import Stacking, make_sim

    if recipe is not None:
        folder = checkpoints_of(*recipe, make=options.make)
        for_server = [*recipe[1].serve, *for_server, "--checkpoints-dir", str(folder)]
    robot = make_sim(options.arm)
    with terminable(), tempfile.TemporaryFile() as log:
        try:
            with _serving(_server_arguments(for_server), log) as url:
                note(f"serving at {url}")
                report = play(plan, robot, Stacking(robot, sentence), ServersPolicy(server=url).open)
        except OffboardError:
            _show_tail(log)
            raise
        show(report, options.json)
        if report.interrupted:
            return 130
        if report.successes == options.length.episodes:
            return 0
        if report.failures:
            _show_tail(log)
        return 1


def _parse(arguments: list[str]) -> tuple[Options, list[str]]:
    """This command's options, and those for the server."""
    return tyro.cli(
        Options,
        prog="offboard demo",
        description=description(
            "Serve a policy, the scripted one without options of its own, and run the simulated arm against it. "
            "Every option that is not listed here goes to `offboard serve`: --vendor, --checkpoints-dir …"
        ),
        args=switches(arguments, Options),
        config=(tyro.conf.FlagCreatePairsOff,),
        registry=TYPES,
        return_unknown_args=True,
    )


def _server_arguments(given: Sequence[str]) -> list[str]:
    """The command line of the server: the scripted vendor on a free port, quiet, unless something else is said."""
    names = {argument.partition("=")[0].replace("_", "-") for argument in given}
    chosen = names & {"--vendor", "--checkpoints-dir"} or any(name.endswith(".toml") for name in names)
    return [
        "serve",
        "--json",
        *([] if "--port" in names else ["--port", "0"]),
        *([] if "--log-level" in names else ["--log-level", "warning"]),
        *([] if chosen else ["--vendor", "scripted"]),
        *given,
    ]


@contextmanager
def _serving(arguments: Sequence[str], log: IO[bytes]) -> Generator[str, None, None]:
    """The URL of a server that lives as long as the block; its log goes to ``log``. Raises ConfigurationError."""
    with tempfile.TemporaryFile() as out:
        child = start(arguments, out, log)
        try:
            yield _url(child, out)
        except ConnectionFailed:
            if (status := child.poll()) is not None:
                raise ConfigurationError(f"the server has ended (exit status {status}); its log is above") from None
            raise
        finally:
            stop(child)


def _url(child: subprocess.Popen[bytes], out: IO[bytes]) -> str:
    """What the server says about itself as soon as it listens: one line of JSON."""
    end = time.monotonic() + START_TIMEOUT
    # Asked again and again, once in a demo: a pipe would have to be emptied for as long as the server lives.
    while b"\n" not in (said := os.pread(out.fileno(), 65536, 0)):
        if (status := child.poll()) is not None:
            raise ConfigurationError(f"the server could not start (exit status {status}); its log is above")
        if time.monotonic() > end:
            raise ConfigurationError(f"the server did not listen within {START_TIMEOUT:g} s; its log is above")
        time.sleep(0.02)
    return str(json.loads(said.partition(b"\n")[0])["url"])


def _show_tail(log: IO[bytes]) -> None:
    """The server's last words, on stderr."""
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - 20_000))
    for line in log.read().decode(errors="replace").splitlines()[-_TAIL_LINES:]:
        note(f"server: {line}")
