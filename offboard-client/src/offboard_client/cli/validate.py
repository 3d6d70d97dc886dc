"""``offboard validate``: every model that a server lists, tried on a robot."""

from __future__ import annotations

from collections.abc import Sequence

from ..plugins import UsageError
from .evaluate import run
from .evaluate_options import ALL

_SUMMARY = (
    "Try every model that a server lists from the same starts, whatever becomes of one, on the robot that --robot NAME "
    "says, or else on this."
)


def validate(arguments: list[str]) -> int:
    """``offboard validate``: every model that a server lists, whatever becomes of one."""
    return run(validating(arguments), "validate", _SUMMARY)


def validating(arguments: Sequence[str]) -> list[str]:
    """What it is as an evaluation: `SERVER [ROBOT]`, `--host`, `--port` and `--output_dir` as Positronic's tool has."""
    words = list(arguments)
    host, port = _pop(words, "--host"), _pop(words, "--port")
    server = _pop(words, "--server") or (f"{host or 'localhost'}:{port}" if host or port else None)
    robot = _pop(words, "--robot") or "sim"
    if server is None and words and not words[0].startswith("-"):
        server = words.pop(0)
    if words and words[0] in ("-h", "--help"):
        return [robot, *words]
    if server is None:
        raise UsageError("say which server: offboard validate HOST:PORT --output-dir DIR")
    if not any(word.partition("=")[0] == "--models" for word in words):
        words += ["--models", ALL]
    return [robot, server, *words, "--go-on"]


def _pop(words: list[str], flag: str) -> str | None:
    for i, word in enumerate(words):
        name, equals, value = word.partition("=")
        if name == flag:
            del words[i]
            if equals:
                return value
            if i < len(words):
                return words.pop(i)
            raise UsageError(f"{flag} needs a value")
    return None
