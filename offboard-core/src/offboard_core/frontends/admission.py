"""Who may begin a session, whatever the transport: a token, a place, file descriptors, a turn of the event loop."""

from __future__ import annotations

import contextlib
import hmac
import logging
from collections.abc import Generator
from dataclasses import dataclass

from offboard_client.errors import ConfigurationError, Full, OffboardError, ShuttingDown, Unauthorized, printable

from ..engine import PolicyService
from .descriptors import scarce
from .sparing import Sparing
from .turns import Turns

log = logging.getLogger(__name__)

#: How many sessions there are at most; for how many seconds one must have been silent to make room for another; and how
#: many messages a second a client may send that wait for no answer.
MAX_SESSIONS, QUIET, MESSAGE_RATE = 256, 60.0, 2000.0


@dataclass(frozen=True)
class Peer:
    """Who asks to be let in.

    ``transport``: what it came by (``"websocket"``). ``identity``: which of that transport's clients it is; logs and
    the status name it. ``token``: the one that it brought. ``how``: how this transport's clients say a token, for one
    that brought none. ``scarce``: whether its connection took one of the last file descriptors; None where the
    transport cannot tell.
    """

    transport: str
    identity: str
    token: str | None = None
    how: str = ""
    scarce: bool | None = None

    def __str__(self) -> str:
        return printable(f"{self.identity} ({self.transport})")


class Admission:
    """Lets clients begin sessions on ``service``, or says why not; one for a server, for all transports together.

    ``token``: what every client has to bring; None lets everybody in. Beyond ``max_sessions`` a client gets the place
    of the session that was silent the longest, if that is ``quiet`` seconds or more. ``message_rate``: how many
    messages a second a client may send that wait for no answer.
    Raises ConfigurationError for a token that no client can send.
    """

    def __init__(
        self, service: PolicyService, *, token: str | None = None, max_sessions: float = MAX_SESSIONS,
        quiet: float = QUIET, message_rate: float = MESSAGE_RATE,
    ) -> None:  # fmt: skip
        if token is not None and (not token or not all("!" <= c <= "~" for c in token)):
            raise ConfigurationError(
                "the token is empty or holds characters that no header can carry; use printable ASCII without spaces, "
                "for instance what `openssl rand -hex 24` prints"
            )
        self._service, self._token = service, token
        self._max_sessions, self._quiet = max_sessions, quiet
        self.message_rate = message_rate
        self._inside = 0
        self._draining = False
        self._turns = Turns()
        self._sparing = Sparing()

    @property
    def open(self) -> bool:
        """Whether no token is asked for."""
        return self._token is None

    def check(self, token: str | None, how: str = "") -> None:
        """Raises Unauthorized unless ``token`` is the server's, or it has none. ``how``: as a :class:`Peer`'s."""
        # The comparison takes as long for a wrong token as for the right one.
        if self._token is None or (
            token is not None
            and hmac.compare_digest(token.encode("utf-8", "surrogatepass"), self._token.encode("ascii"))
        ):
            return
        said = "this server wants a token" if token is None else "this is not the token that this server wants"
        raise Unauthorized(said + (how and f": {how}"))

    async def turn(self) -> None:
        """Return when it is the caller's turn to begin something: what comes at once leaves robots room between."""
        await self._turns.mine()

    @contextlib.contextmanager
    def enter(self, peer: Peer) -> Generator[None]:
        """A place for one session. Raises Unauthorized, ShuttingDown, or Full where there is none."""
        self.check(peer.token, peer.how)
        if self._draining:
            raise ShuttingDown("the server is going away; try again when it is back")
        if scarce() if peer.scarce is None else peer.scarce:
            raise Full("the server has no file descriptors left (ulimit -n); try again when others have gone")
        if self._inside >= self._max_sessions and not self._service.make_room(self._quiet):
            raise Full(
                f"the server has {self._inside} sessions, as many as it takes (--max-sessions), and none of them has "
                f"been quiet for {self._quiet:g} s; try again later"
            )
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    def refused(self, peer: Peer, error: OffboardError, cause: Exception | None = None) -> None:
        """Count that ``peer`` got no session, for whichever reason, and log it, though no flood of them.

        ``cause``: what failed in us, whose traceback the log has.
        """
        self._service.stats.refused[error.code] += 1
        if self._sparing.may(f"{peer}: {error.code}"):
            log.warning("refused a session of %s: %s", peer, error.text, exc_info=cause)

    def drain(self) -> None:
        """Let nobody in any more, and say so where health is asked for."""
        self._draining = True
        self._service.slot.drain()
