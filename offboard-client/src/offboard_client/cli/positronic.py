"""Positronic's command lines, as its documents write them, in ours.

Its grammar is ``--OWNER.OPTION=VALUE``, with ``.NAME`` or ``@module.path.NAME`` where something is chosen. Names are
looked up in the tables below; what they name is never imported.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Mapping, Sequence

from ..errors import unknown
from ..plugins import UsageError
from ..protocol import bracketed, is_numeric
from ..terminal import peek

#: What Positronic calls whatever robot is plugged in.
REAL = "real"
_CHOSEN = re.compile(r"(?:@positronic(?:\.\w+)*)?\.(\w+)")
#: A policy of theirs → its options, and what they are here; a server is an argument without a flag.
_POLICIES: dict[str, dict[str, str]] = {
    "remote": {
        "host": "SERVER",
        "port": "SERVER",
        "model_id": "--model-id",
        "resize": "--resize",
        "horizon_sec": "--horizon-sec",
    },
    "act_absolute": {
        "base.checkpoints_dir": "--checkpoints-dir",
        "base.checkpoint": "--checkpoint",
        "base.device": "--device",
        "codec": "--codec",
    },
}
_DRIVERS = ("timed", "keyboard", "eval_ui")
_DRIVER_OPTIONS = {
    "simulation_time": "--seconds",
    "num_iterations": "--episodes",
    "task": "--task",
    "show_gui": "--show-gui",
    "ui_scale": "--page-scale",
}


def from_positronic(command: str, arguments: Sequence[str]) -> list[str]:
    """The arguments of ``offboard COMMAND``, with what is Positronic's in our words, and all else as it was.

    Raises UsageError for what there is not here.
    """
    kept, theirs = _apart(arguments)
    if not theirs or not kept or kept[0].startswith("-"):  # without a robot there is more wrong than a spelling
        return list(arguments)
    robot, *kept = kept
    driver = _of(theirs, "driver")
    if driver and command != "run":
        flags = ", ".join(f"--{name}" for name in theirs if name.partition(".")[0] == "driver")
        raise UsageError(f"offboard {command} plays nothing: leave {flags} away")
    return [robot, *_policy(_of(theirs, "policy"), kept), *kept, *_driver(driver)]


def _apart(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """What is not Positronic's; and what is: ``policy``, ``policy.host`` … → its value."""
    kept: list[str] = []
    theirs: dict[str, str] = {}
    queue = deque(arguments)
    while queue:
        words = [queue.popleft()]
        flag, equals, value = words[0].partition("=")
        name = flag[2:].replace("-", "_")
        if not flag.startswith("--") or name.partition(".")[0] not in ("policy", "driver"):
            kept += words
            continue
        if not equals and queue and not queue[0].startswith("--"):
            value = queue.popleft()
            words.append(value)
        if "." not in name and not _CHOSEN.fullmatch(value):
            kept += words
            continue
        if not equals and len(words) == 1 and name != "driver.show_gui":
            raise UsageError(f"{flag} needs a value")
        if name in theirs:
            raise UsageError(f"{flag} is given twice")
        theirs[name] = value
    return kept, theirs


def _of(theirs: Mapping[str, str], owner: str) -> dict[str, str]:
    """What is said of this owner: "" → what was chosen, an option → its value."""
    return {name.partition(".")[2]: value for name, value in theirs.items() if name.partition(".")[0] == owner}


def _policy(said: dict[str, str], kept: Sequence[str]) -> list[str]:
    if not said:
        return []
    if (ours := peek(kept, "policy")) is not None:
        flag = "--policy" + "".join(f".{name}" for name in list(said)[:1] if name)
        raise UsageError(f"{flag} is about a policy of Positronic's, and --policy {ours} is one of ours: give either")
    chosen = said.pop("", None)
    kind = "remote" if chosen is None else _chosen("policy", chosen, _POLICIES)
    known = _POLICIES[kind]
    for name in said:
        if name not in known:
            raise UsageError(unknown("option", name, known, f"of Positronic's policy .{kind}"))
    said = {name: value for name, value in said.items() if value != "None"}
    if kind == "act_absolute":
        said = {"codec": "ee", **said}
        return ["--policy=local:lerobot", *(f"{known[name]}={value}" for name, value in said.items())]
    host, port = said.pop("host", None), said.pop("port", None)
    options = [f"{known[name]}={value}" for name, value in said.items()]
    if kept and not kept[0].startswith("-"):
        if host is not None or port is not None:
            raise UsageError(f"the server is given twice: leave {kept[0]} away, or --policy.host and --policy.port")
        return options
    if host is None and port is None and chosen is None:
        return options
    return [_server(host or "localhost", port), *options]


def _server(host: str, port: str | None) -> str:
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if port is None:
        return host
    if is_numeric(bare) or ":" not in bare:
        return f"{bracketed(bare)}:{port}"
    raise UsageError(f"--policy.host={host} says a port or a scheme already: leave --policy.port away")


def _driver(said: dict[str, str]) -> list[str]:
    chosen = said.pop("", None)
    words = [] if chosen is None else [f"--driver={_chosen('driver', chosen, _DRIVERS)}"]
    for name, value in said.items():
        if name not in _DRIVER_OPTIONS:
            raise UsageError(unknown("option", name, _DRIVER_OPTIONS, "of Positronic's drivers"))
        if name == "show_gui":
            words += [_DRIVER_OPTIONS[name]] * (value.lower() not in ("false", "none", "0"))
        elif value != "None":
            words.append(f"{_DRIVER_OPTIONS[name]}={value}")
    return words


def _chosen(what: str, name: str, known: Sequence[str] | Mapping[str, object]) -> str:
    match = _CHOSEN.fullmatch(name)
    if match is None or match[1] not in known:
        raise UsageError(unknown(what, name, (f".{each}" for each in known), "of Positronic's here"))
    return match[1]
