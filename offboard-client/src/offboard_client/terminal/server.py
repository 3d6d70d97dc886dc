"""How the commands reach a server: the address and the token, the same for all of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro
from tyro.conf import Positional

from ..errors import ConfigurationError
from ..plugins import UsageError
from .line import Line

if TYPE_CHECKING:
    from ..protocol import Prepare
    from ..session import InferenceClient


@dataclass(frozen=True, kw_only=True)
class ServerOptions:
    """Options of every command that talks to a server."""

    # With a default, or an option that there is not would be told as a server that is missing.
    server: Annotated[Positional[str], tyro.conf.arg(metavar="SERVER", help_behavior_hint="(required)")] = ""
    """The server: HOST, HOST:PORT, or ws://HOST:PORT/api/v1/session/MODEL."""
    auth_token_file: Path | None = None
    """A file that holds the token; without it OFFBOARD_AUTH_TOKEN counts."""
    timeout: float = 30.0
    """How long to wait for one answer, in seconds."""
    wait: float | None = None
    """Seconds to wait for a server that is still to start (else 5), and for its model and who holds it (else 900)."""
    json: bool = False
    """Print one JSON object on stdout."""

    def __post_init__(self) -> None:
        if not self.server:
            raise UsageError("SERVER is missing: HOST, HOST:PORT, or ws://HOST:PORT/api/v1/session/MODEL")

    def client(self, line: Line, prepare: Prepare | None = None, images: str = "raw") -> InferenceClient:
        """A client of this server that tells ``line`` what it waits for. ``prepare``, ``images``: the client's.

        Raises ConfigurationError for an address or token that cannot be used, UsageError for no time at all.
        """
        from ..session import InferenceClient  # the commands that only list something need none

        return InferenceClient(
            self.server,
            auth_token=token_from(self.auth_token_file),
            prepare=prepare,
            images=images,
            on_notice=line.aside,
            on_status=line.status,
            # An answer may take long; a server that is there takes a connection at once.
            connect_timeout=min(self.timeout, 10.0),
            **patience(self.timeout, self.wait),
        )


def patience(timeout: float, wait: float | None) -> dict[str, Any]:
    """The arguments of a client for ``--timeout`` and ``--wait``. Raises UsageError for no time at all."""
    for flag, value in (("--timeout", timeout), ("--wait", wait)):
        if value is not None and not 0 < value < math.inf:
            raise UsageError(f"{flag} is {value:g}; expected seconds, a number above 0")
    waits = {} if wait is None else {"connect_deadline": wait, "wait_for_server": wait}
    return {"infer_timeout": timeout, **waits}


def token_from(path: Path | None) -> str | None:
    """The token in a file, without the line's end. Raises ConfigurationError."""
    if path is None:
        return None
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the token file {path} cannot be read: {error}") from error
