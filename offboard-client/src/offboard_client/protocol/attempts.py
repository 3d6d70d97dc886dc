"""Which failures to open a session are worth another attempt, and when.

Worth one: timeouts, lapses of the network, refused connections, connections reset or closed before the session
was ready, HTTP 5xx and 429 (Retry-After is kept), and 403 three times, because a cold backend behind a proxy
answers 403 as well as a wrong token does. An address where nothing has answered at all is given up much sooner
than a server that is there, unless a session has been open before. Final: a certificate that does not verify,
401, 404, other 4xx, other operating system errors, and what the server itself calls an error.
"""

from __future__ import annotations

import email.utils
import errno
import json
import socket
import ssl
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, cast

from ..errors import (
    BY_CODE,
    ConnectionFailed,
    Full,
    OffboardError,
    ShuttingDown,
    Unauthorized,
    counted,
    from_code,
    one_line,
)
from ..wire import Status, decode, frame_error
from .address import Address
from .deadline import Deadline
from .settings import Settings

# Most restarts and lapses are short, and a robot stands still meanwhile.
_FIRST_DELAY_S = 0.05
_LONGEST_DELAY_S = 5.0
#: The longest where a session was open before.
_LONGEST_DELAY_AGAIN_S = 1.0
#: What is kept of the time for the last attempt.
_LAST_S = 0.5
#: A cold backend takes its time.
_FORBIDDEN_ATTEMPTS, _FORBIDDEN_DELAY_S = 3, 1.0
#: What a lapse of the network looks like: no way to the host or its network, or to a name server.
_LAPSES = {errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN, socket.EAI_AGAIN}


class AttemptFailed(Exception):
    """One attempt to open a session. ``error`` is for the user; ``again``: whether another may succeed.

    ``absent``: nothing answered at all.
    """

    def __init__(
        self, error: OffboardError, *, again: bool, after: float = 0.0, forbidden: bool = False, absent: bool = False
    ) -> None:
        super().__init__(error.text)
        self.error = error
        self.again = again
        self.after = after
        self.forbidden = forbidden
        self.absent = absent


class Attempts:
    """The attempts to open one session: exponential back-off with full jitter, within ``seconds``."""

    def __init__(self, settings: Settings, seconds: float) -> None:
        timeouts, now = settings.timeouts, settings.clock.now
        # Where a server has been, it may be restarting; where none has been, the address is likely to be wrong.
        self._again = settings.met.is_set()
        appear = max(timeouts.appear, timeouts.reopen) if self._again else timeouts.appear
        self._settings = settings
        self._seconds = seconds
        self._appear = min(appear, seconds)
        self._forbidden = 0
        self._before: AttemptFailed | None = None
        self.count = 0
        self.deadline = Deadline(now, seconds)
        self._appears = Deadline(now, self._appear)

    def delay(self, failed: AttemptFailed) -> float:
        """How long to sleep, in seconds, before the next attempt. Raises the error that ends the attempts."""
        self.count += 1
        self._forbidden += failed.forbidden
        if not failed.again or (failed.forbidden and self._forbidden >= _FORBIDDEN_ATTEMPTS):
            raise failed.error
        left = (self._appears if failed.absent else self.deadline).rest()
        if left <= max(_LAST_S, failed.after):
            # One that the end of the time has cut short tells nothing, and one before it may have been told why.
            raise self._gave_up(self._before if self._before is not None and self.deadline.rest() <= 0 else failed)
        self._before = failed
        longest = _LONGEST_DELAY_AGAIN_S if self._again else _LONGEST_DELAY_S
        ceiling = min(longest, _FIRST_DELAY_S * 2 ** min(self.count - 1, 10))
        wait = max(failed.after, min(self._settings.clock.chance() * ceiling, left - _LAST_S))
        why = failed.error.text
        soon = f"in {wait:.1f} s" if wait >= 0.05 else "at once"
        text = f"{why}; attempt {self.count + 1} {soon}, giving up in {left:.0f} s"
        self._settings.report(Status("connecting", text, phase=why))
        return wait

    def _gave_up(self, failed: AttemptFailed) -> OffboardError:
        tried = counted(self.count, "attempt")
        text = f"{failed.error.text} (gave up after {tried} within {self._seconds:g} s)"
        if failed.absent:
            text = (
                f"{failed.error.text} (gave up after {tried} within {self._appear:g} s; "
                "wait_for_server=, or --wait, waits longer for a server that is still to come)"
            )
        return type(failed.error)(text)


def from_os_error(error: OSError, address: Address, *, absent: bool = False) -> AttemptFailed:
    """A socket that could not be opened, or broke before the session was ready. ``absent``: before anything came."""
    where = str(address)
    if address.host in ("0.0.0.0", "::"):
        where += " (which from here is this machine itself; name the server's own address)"
    if isinstance(error, ssl.SSLCertVerificationError):
        text = (
            f"the certificate of {where} does not verify ({error.verify_message}): pass ssl= a context that trusts it"
        )
        return AttemptFailed(ConnectionFailed(text), again=False)
    if isinstance(error, TimeoutError):
        return AttemptFailed(
            ConnectionFailed(f"{where} does not answer in time: is the server up, the network?"),
            again=True,
            absent=absent,
        )
    if isinstance(error, ConnectionRefusedError):
        text = f"{where} refuses connections: is the server running there?"
        return AttemptFailed(ConnectionFailed(text), again=True, absent=True)
    if isinstance(error, ConnectionError | ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return AttemptFailed(ConnectionFailed(f"{where} dropped the connection ({error})"), again=True, absent=absent)
    if isinstance(error, ssl.SSLError):
        return AttemptFailed(ConnectionFailed(f"{where} does not speak TLS as expected ({error})"), again=False)
    lapsed = error.errno in _LAPSES
    return AttemptFailed(ConnectionFailed(f"cannot reach {where}: {error}"), again=lapsed, absent=lapsed)


def from_response(status: int, headers: Mapping[str, str], body: bytes, address: Address) -> AttemptFailed:
    """A server that answered the upgrade with an HTTP status of its own."""
    code, text = _error_body(body)
    said = f" ({text})" if text else ""
    if status == 401:
        text = (
            f"{address} does not accept the token, or was given none{said}: "
            "give auth_token= or OFFBOARD_AUTH_TOKEN as the server has it"
        )
        return AttemptFailed(Unauthorized(text), again=False)
    if status == 403 and code not in BY_CODE:
        text = f"{address} answers 403{said}: no policy server at this path, or a proxy refuses the token"
        return AttemptFailed(ConnectionFailed(text), again=True, after=_FORBIDDEN_DELAY_S, forbidden=True)
    again = status >= 500 or status == 429
    what = "is busy or starting" if again else "is no policy server, or not at this path"
    error = ConnectionFailed(f"{address} answers HTTP {status}{said}: it {what}")
    if code in BY_CODE:
        error = from_code(code, f"{address}: {text}")
    return AttemptFailed(error, again=again, after=_retry_after(headers) if again else 0.0)


def from_peer(error: OffboardError, address: Address) -> AttemptFailed:
    """An error frame of the handshake. Only a server without room, or about to restart, is asked again."""
    return AttemptFailed(type(error)(f"{address}: {error.text}"), again=isinstance(error, Full | ShuttingDown))


def told_error(messages: Iterable[bytes]) -> str:
    """What the error among a server's messages says, on one line and no longer than is read; empty without one."""
    for message in messages:
        with suppress(OffboardError):
            if (error := frame_error(decode(message))) is not None:
                return one_line(error.text[:300])
    return ""


def from_silence(what: str, address: Address, *, absent: bool = False) -> AttemptFailed:
    """A handshake that stalled or was closed without a word."""
    return AttemptFailed(ConnectionFailed(f"{address} {what} before the session was ready"), again=True, absent=absent)


def _retry_after(headers: Mapping[str, str]) -> float:
    """Seconds, from either form of the header; 0 without a usable one."""
    text = next((value.strip() for name, value in headers.items() if name.lower() == "retry-after"), "")
    if text.isdecimal() and len(text) < 10:
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _error_body(body: bytes) -> tuple[str, str]:
    """(code, text) of an error body, or ("", the start of what else it says)."""
    try:
        found: Any = json.loads(body[:65536])
    except (ValueError, RecursionError):
        return "", " ".join(body[:200].decode("utf-8", "replace").split())  # often a page of HTML; an error is one line
    if not isinstance(found, dict):
        return "", ""
    parts = cast("dict[str, Any]", found)
    return str(parts.get("code", "")), str(parts.get("error", parts.get("detail", "")))[:500]
