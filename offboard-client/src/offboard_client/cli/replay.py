"""``offboard replay DIR``."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro
from tyro.conf import Positional

from ..errors import counted
from ..plugins import UsageError
from ..protocol import TOKEN_VARIABLE
from ..terminal import emit_json, note, parse, terminable, token_from

#: How Positronic's server calls the folder.
_THEIRS = "--dataset.path"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``offboard replay``."""

    directory: Annotated[Positional[Path | None], tyro.conf.arg(metavar="DIR", help_behavior_hint="(required)")] = None
    """The folder that `offboard run --output-dir` recorded into; also --dataset.path=DIR."""
    host: str = "127.0.0.1"
    """Where to listen. 0.0.0.0 is every interface of this machine, and takes a token."""
    port: int = 5001
    """Where to listen. 0 takes a free port."""
    auth_token_file: Path | None = None
    """A file that holds the token to be given in the browser; without it OFFBOARD_AUTH_TOKEN counts, if it is set."""
    json: bool = False
    """Print one JSON object on stdout: url, folder, episodes."""


def run(arguments: list[str]) -> int:
    """Serve the page until Ctrl-C. Raises UsageError, ConfigurationError."""
    options = parse(Options, _ours(arguments), "replay", "Look at recorded episodes in a browser, and score them.")
    if options.directory is None:
        raise UsageError("DIR is missing: the folder that `offboard run --output-dir DIR` recorded into")
    from ..pages import PageServer, Replay, pages_app  # help needs no libraries of video

    token = token_from(options.auth_token_file) or os.environ.get(TOKEN_VARIABLE) or None
    replay = Replay(options.directory)
    try:
        with PageServer(pages_app(replay, token), options.host, options.port, token=token) as server:
            rows = replay.library.rows()
            with terminable(server.stop):  # before anybody is told that it can be stopped
                if options.json:
                    emit_json({"url": server.url, "folder": str(options.directory), "episodes": len(rows)})
                note(f"{counted(len(rows), 'episode')} of {options.directory} at {server.url}; Ctrl-C ends it")
                server.serve()
    finally:
        replay.close()
    return 0


def _ours(arguments: list[str]) -> list[str]:
    """With Positronic's flag for the folder as the argument that it is here. Raises UsageError."""
    kept, folders, words = list[str](), list[str](), iter(arguments)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag != _THEIRS:
            kept.append(word)
            continue
        if not equals and not (value := next(words, "")):
            raise UsageError(f"{_THEIRS} needs a value: the folder with the recordings")
        folders.append(value)
    if len(folders) > 1 or (folders and kept and not kept[0].startswith("-")):
        raise UsageError(f"the folder is given twice: leave {_THEIRS} away, or the argument")
    return [*folders, *kept]
