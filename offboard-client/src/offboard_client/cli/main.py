"""The command ``offboard``: finds the commands that installed packages contribute, and runs one.

Help costs nothing: only the light modules that declare commands are imported for it.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import sys
import threading
import traceback
from collections.abc import Sequence
from importlib.metadata import EntryPoint

from ..errors import ConfigurationError, OffboardError, log_to_stderr, printable, wrapped
from ..plugins import Command, UsageError, discover, load, only, points

#: The entry-point groups of commands, and of plugins for vendors, codecs and protocols.
GROUP, PLUGINS = "offboard.commands", "offboard"
DEBUG_VARIABLE = "OFFBOARD_DEBUG"

#: Commands that another package of the project brings.
_ELSEWHERE: dict[str, str] = dict.fromkeys(
    ("serve", "plugins", "codecs", "envs", "convert", "stats", "train", "demo"), "offboard-core"
)
#: Modules that an extra of this package brings.
_EXTRAS = {
    "tyro": "offboard-client[cli]",
    "rich": "offboard-client[cli]",
    "PIL": "offboard-client[images]",
    "mujoco": "offboard-client[sim]",
    "uvicorn": "offboard-client[pages]",
}


#: Set where something is left behind that would keep the process: a robot's call that does not come back.
AT_ONCE = threading.Event()


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``offboard`` with these arguments. The exit status: 0, 1 for a failure, 2 for wrong usage, 130 for Ctrl-C.

    Without ``argv``, as the process itself, it ends here where :data:`AT_ONCE` is set.
    """
    status = _run(argv)
    if argv is None and AT_ONCE.is_set():
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(status)
    return status


def _run(argv: Sequence[str] | None) -> int:
    arguments = list(sys.argv[1:] if argv is None else argv)
    debug = bool(os.environ.get(DEBUG_VARIABLE)) or "--debug" in arguments
    log_to_stderr("warning", times=False, debug=debug)
    try:
        status = _dispatch([argument for argument in arguments if argument != "--debug"])
        sys.stdout.flush()
        return status
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else int(leaving.code is not None)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone. The interpreter would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except UsageError as error:
        return _fail(str(error), 2, debug)
    except OffboardError as error:
        return _fail(error.text, 1, debug)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            return _fail(f"{error}", 1, debug)
        return _fail(f"this needs {error.name}, which is not installed: pip install '{extra}'", 1, debug)
    except Exception as error:
        text = f"{type(error).__name__}: {error}"
        return _fail(text if debug else f"{text} (this is a fault of offboard; --debug shows where)", 1, debug)


def _fail(text: str, status: int, debug: bool) -> int:
    if debug:
        traceback.print_exc()
    # What follows the first line, the end of a child's log, is set apart: it cannot pass for a line of ours.
    lines = printable(text, lines=True).replace("\n", "\n  ")
    sys.stderr.write(wrapped(f"offboard: {lines}", sys.stderr, "  ") + "\n")
    return status


def _dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        _print_help()
        return 0
    if arguments[0] == "--version":
        _print_versions(points(GROUP))
        return 0
    name, rest = arguments[0], arguments[1:]
    if name.startswith("-"):
        raise UsageError(f"there is no option {name}; options come after a command, see offboard --help")
    try:
        point = only(name, GROUP, "command", _elsewhere)
    except ConfigurationError as error:
        raise UsageError(error.text) from None
    return load(point, Command).load()(rest)


def _elsewhere(name: str) -> str | None:
    if name == "status":  # which no command says, and `stats` is about something else
        return (
            "there is no command status: open the server's address in a browser (http://HOST:PORT/), or ask it for "
            "/api/v1/status; offboard probe HOST:PORT shows whether it answers"
        )
    package = _ELSEWHERE.get(name)
    return package and f"the command {name} is not installed: pip install {package}"


def _print_help() -> None:
    lines = [
        "usage: offboard COMMAND [options]",
        "",
        "Serve robot policies, and drive robots with them.",
        "",
        "commands:",
    ]
    for found in discover(GROUP, Command):
        broken = f"cannot be used ({found.provider}): {found.cause}"
        lines.append(f"  {found.name:<10} {found.entry.summary if found.entry else broken}")
    lines += [
        "",
        "options:",
        "  --help     this text; offboard COMMAND --help for a command's own",
        "  --version  the versions of what is installed",
        f"  --debug    show tracebacks (or set {DEBUG_VARIABLE})",
    ]
    sys.stdout.write("\n".join(lines) + "\n")


def _print_versions(commands: Sequence[EntryPoint]) -> None:
    plugins = importlib.metadata.entry_points(group=PLUGINS)
    versions = {"offboard-client": importlib.metadata.version("offboard-client")}
    versions.update({point.dist.name: point.dist.version for point in (*commands, *plugins) if point.dist})
    for name, version in sorted(versions.items()):
        # Not imported: a plugin that is broken is listed like any other, and `offboard plugins` says what is wrong.
        brings = sorted(point.name for point in plugins if point.dist and point.dist.name == name)
        sys.stdout.write(f"{name} {version}" + f" (plugin {', '.join(brings)})" * bool(brings) + "\n")
