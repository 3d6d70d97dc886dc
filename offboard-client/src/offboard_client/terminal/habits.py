"""Flags that other projects have taught people, and what they are here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..plugins import UsageError

_FOLDER = "here the server takes it: offboard serve --checkpoints-dir FOLDER"
_ROBOT = "a robot is a client here and is told nothing but where the server is: offboard run sim HOST:PORT"
#: A flag of theirs → the project that has it, and what to do here.
HABITS = {
    "--policy.path": ("LeRobot", _FOLDER),
    "--pretrained-policy-name-or-path": ("LeRobot", _FOLDER),
    "--policy-type": ("LeRobot", "here the checkpoint says its type; leave it away"),
    "--policy.type": ("LeRobot", "here the checkpoint says its type; leave it away"),
    "--policy.device": ("LeRobot", "here the server takes it: offboard serve --device DEVICE"),
    "--robot.type": ("LeRobot", _ROBOT),
    "--server-address": ("LeRobot", "here the server is an argument: offboard run sim HOST:PORT"),
    "--simulate-timeout": ("Positronic", "here thinking costs simulated time with --clock real"),
    "--policy.dir": ("openpi", _FOLDER),
    "--policy.config": ("openpi", "here the server takes it: offboard serve --vendor openpi --config-name NAME"),
    "policy:checkpoint": ("openpi", _FOLDER),
    "--model-path": ("GR00T", _FOLDER),
}


#: How people say where a server is, where it is the first argument.
_ADDRESS = ("--host", "--port", "--server", "--url", "--address", "--uri", "--policy.host", "--policy.port")


def refuse_address_flags(command: str, arguments: Sequence[str], own: Iterable[str] = ()) -> None:
    """Raises UsageError for an address that is given by flags, or as a host and a port apart.

    ``own``: options that mean something else here, as the port that an arm is plugged into.
    """
    flags = {*_ADDRESS} - {f"--{name}" for name in own}
    here = "the server is one argument: offboard"
    for argument in arguments:
        if (name := argument.partition("=")[0]) in flags:
            raise UsageError(f"there is no {name}; {here} {command} HOST:PORT")
    if len(arguments) > 1 and not arguments[0].startswith("-") and arguments[1].isdecimal():
        raise UsageError(f"{' '.join(arguments[:2])}: {here} {command} {':'.join(arguments[:2])}")


def refuse_habits(arguments: Sequence[str]) -> None:
    """Raises UsageError for a flag of another project, with what it is here."""
    for argument in arguments:
        name = argument.partition("=")[0]
        if found := HABITS.get(name.replace("_", "-")):
            raise UsageError(f"{name} is a flag of {found[0]}; {found[1]}")
