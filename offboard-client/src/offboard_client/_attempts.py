"""Which failures to open a session are worth another attempt, and when.

Worth one: timeouts, refused connections, connections reset or closed before the session was ready, HTTP
5xx and 429 (Retry-After is kept), and 403 three times, because a cold backend behind a proxy answers 403
as well as a wrong token does. Final: a certificate that does not verify, 401, 404, other 4xx, other
operating system errors, and what the server itself calls an error.
"""

from __future__ import annotations

import email.utils
import json
import ssl
import time
from collections.abc import Mapping
from typing import Any, cast

from ._address import Address
from ._settings import Clock, OnStatus
from .errors import BY_CODE, ConnectionFailed, Full, OffboardError, ShuttingDown, Unauthorized, from_code
from .messages import Status

_FIRST_DELAY_S = 1.0
_LONGEST_DELAY_S = 30.0
_FORBIDDEN_ATTEMPTS = 3


class AttemptFailed(Exception):
    """One attempt to open a session. ``error`` is for the user; ``again``: whether another may succeed."""

    def __init__(self, error: OffboardError, *, again: bool, after: float = 0.0, forbidden: bool = False) -> None:
        super().__init__(error.text)
        self.error = error
        self.again = again
        self.after = after
        self.forbidden = forbidden


class Attempts:
    """The attempts to open one session: exponential back-off with full jitter, within ``seconds``."""

    def __init__(self, clock: Clock, seconds: float, report: OnStatus) -> None:
        self._clock = clock
        self._report = report
        self._seconds = seconds
        self._forbidden = 0
        self.count = 0
        self.deadline = clock.now() + seconds

    def delay(self, failed: AttemptFailed) -> float:
        """How long to sleep, in seconds, before the next attempt. Raises the error that ends the attempts."""
        self.count += 1
        self._forbidden += failed.forbidden
        if not failed.again or (failed.forbidden and self._forbidden >= _FORBIDDEN_ATTEMPTS):
            raise failed.error
        ceiling = min(_LONGEST_DELAY_S, _FIRST_DELAY_S * 2 ** min(self.count - 1, 10))
        wait = max(failed.after, self._clock.chance() * ceiling)
        if self._clock.now() + wait >= self.deadline:
            tried = f"{self.count} attempt{'s' if self.count > 1 else ''} within {self._seconds:g} s"
            raise type(failed.error)(f"{failed.error.text} (gave up after {tried})")
        why = failed.error.text
        self._report(Status("connecting", f"{why}; attempt {self.count + 1} in {wait:.1f} s", phase=why))
        return wait


def from_os_error(error: OSError, address: Address) -> AttemptFailed:
    """A socket that could not be opened, or broke before the session was ready."""
    where = str(address)
    if isinstance(error, ssl.SSLCertVerificationError):
        text = (
            f"the certificate of {where} does not verify ({error.verify_message}): pass ssl= a context that trusts it"
        )
        return AttemptFailed(ConnectionFailed(text), again=False)
    if isinstance(error, TimeoutError):
        return AttemptFailed(
            ConnectionFailed(f"{where} does not answer in time: is the server up, the network?"), again=True
        )
    if isinstance(error, ConnectionRefusedError):
        return AttemptFailed(ConnectionFailed(f"{where} refuses connections: is the server running there?"), again=True)
    if isinstance(error, ConnectionError | ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return AttemptFailed(ConnectionFailed(f"{where} dropped the connection ({error})"), again=True)
    if isinstance(error, ssl.SSLError):
        return AttemptFailed(ConnectionFailed(f"{where} does not speak TLS as expected ({error})"), again=False)
    return AttemptFailed(ConnectionFailed(f"cannot reach {where}: {error}"), again=False)


def from_response(status: int, headers: Mapping[str, str], body: bytes, address: Address) -> AttemptFailed:
    """A server that answered the upgrade with an HTTP status of its own."""
    code, text = _error_body(body)
    said = f" ({text})" if text else ""
    if status == 401:
        text = f"{address} does not accept the token{said}: give token= or OFFBOARD_AUTH_TOKEN as the server has it"
        return AttemptFailed(Unauthorized(text), again=False)
    if status == 403:
        text = f"{address} answers 403{said}: no offboard server at this path, or a proxy refuses the token"
        return AttemptFailed(ConnectionFailed(text), again=True, forbidden=True)
    again = status >= 500 or status == 429
    what = "is busy or starting" if again else "is no offboard server, or not at this path"
    error = ConnectionFailed(f"{address} answers HTTP {status}{said}: it {what}")
    if code in BY_CODE:
        error = from_code(code, f"{address}: {text}")
    return AttemptFailed(error, again=again, after=_retry_after(headers) if again else 0.0)


def from_peer(error: OffboardError, address: Address) -> AttemptFailed:
    """An error frame of the handshake. Only a server without room, or about to restart, is asked again."""
    return AttemptFailed(type(error)(f"{address}: {error.text}"), again=isinstance(error, Full | ShuttingDown))


def from_silence(what: str, address: Address) -> AttemptFailed:
    """A handshake that stalled or was closed without a word."""
    return AttemptFailed(ConnectionFailed(f"{address} {what} before the session was ready"), again=True)


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
