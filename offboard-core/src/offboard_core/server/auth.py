"""The one token that opens the server (section 11 of the protocol)."""

from __future__ import annotations

import hmac
from collections.abc import Iterable

from offboard_client.errors import ConfigurationError, Unauthorized

_SCHEMES = ("bearer", "api-key")
Headers = Iterable[tuple[bytes, bytes]]


class Gate:
    """Lets requests pass that carry the token, or all of them if there is none."""

    def __init__(self, token: str | None) -> None:
        if token is not None and (not token or not all("!" <= c <= "~" for c in token)):
            raise ConfigurationError(
                "the token is empty or holds characters that no header can carry; use printable ASCII without spaces, "
                "for instance what `openssl rand -hex 24` prints"
            )
        self._token = token.encode() if token is not None else None

    def check(self, headers: Headers) -> None:
        """Raises Unauthorized unless exactly one Authorization header carries the token."""
        if self._token is None:
            return
        given = [value for name, value in headers if name.lower() == b"authorization"]
        if len(given) == 1:
            scheme, _, token = given[0].partition(b" ")
            # The comparison takes as long for a wrong token as for the right one, whatever the scheme.
            right = hmac.compare_digest(token.strip(), self._token)
            if right and scheme.decode("latin-1").lower() in _SCHEMES:
                return
        raise Unauthorized(
            "this server wants a token: send 'Authorization: Bearer …' (offboard's client reads OFFBOARD_AUTH_TOKEN)"
        )

    def foreign_page(self, headers: Headers) -> bool:
        """Whether a web page of another site asks, on a server without a token.

        Browsers let any page open a WebSocket to any address, the operator's own machine included, and say in the
        header Origin whose page it is. Robots send none.
        """
        found = {name.lower(): value for name, value in headers}
        origin = found.get(b"origin")
        if self._token is not None or origin is None:
            return False
        return origin.partition(b"://")[2].lower() != found.get(b"host", b"").lower()
