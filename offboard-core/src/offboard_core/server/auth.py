"""Access to the server: by token, or, where there is none, for all but web pages of other sites.

Section 11 of the protocol.
"""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import socket
from collections.abc import Iterable

from offboard_client.errors import ConfigurationError, Forbidden, Unauthorized

_SCHEMES = ("bearer", "api-key")
Headers = Iterable[tuple[bytes, bytes]]


class Access:
    """Lets requests pass that carry the token, or all of them if there is none.

    ``hosts``: names of this server besides those that this machine knows itself by.
    """

    def __init__(self, token: str | None, hosts: Iterable[str] = ()) -> None:
        if token is not None and (not token or not all("!" <= c <= "~" for c in token)):
            raise ConfigurationError(
                "the token is empty or holds characters that no header can carry; use printable ASCII without spaces, "
                "for instance what `openssl rand -hex 24` prints"
            )
        self._token = token.encode() if token is not None else None
        self._allowed = {_name(host) for host in hosts if not _is_address(host)}
        short = socket.gethostname().lower().partition(".")[0]
        self._names = {"localhost", socket.gethostname().lower(), short, f"{short}.local", *self._allowed}
        self._looked_up: asyncio.Future[str] | None = None

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

    async def check_page(self, headers: Headers, *, upgrade: bool) -> None:
        """Raises Forbidden on a server without a token if a web page of another site may be asking.

        Browsers let any page open a WebSocket to any address, the operator's own machine included, and say in
        ``Origin`` whose page it is. A site that lets its own name point to this machine looks like the same site; only
        ``Host`` tells then. Robots send no ``Origin``, browsers cannot leave it out of an upgrade.
        """
        if self._token is not None:
            return
        headers = list(headers)
        hosts = [value.decode("latin-1") for name, value in headers if name.lower() == b"host"]
        origins = [value.decode("latin-1") for name, value in headers if name.lower() == b"origin"]
        if upgrade and not origins:
            return
        host = ", ".join(hosts)
        if hosts and not await self._ours(_name(host)):
            raise Forbidden(
                f"this server has no token, and was asked as {host[:200]!r}, as a web page could do; without one it "
                f"answers to its addresses and to {', '.join(sorted(self._names))}: start it with a token, or with "
                f"--allowed-host {_name(host)[:200]}"
            )
        for origin in origins:
            own = origin.partition("://")[2].lower()
            if own != host.lower() and _name(own) not in self._allowed:
                raise Forbidden(
                    f"a web page of {origin[:200]!r} asks, and this server has no token: start it with one, or with "
                    "--allowed-host and the page's host"
                )

    async def _ours(self, name: str) -> bool:
        """Whether no other site can have this name."""
        if _is_address(name):
            return True
        if name not in self._names:
            # Only now: it may ask a name server, and take its time.
            if self._looked_up is None:
                self._looked_up = asyncio.get_running_loop().run_in_executor(None, socket.getfqdn)
            self._names.add(_name(await asyncio.shield(self._looked_up)))
        return name in self._names


def _name(host: str) -> str:
    """The name in a ``Host``, without its port."""
    name, colon, port = host.strip().lower().rpartition(":")
    return (name if colon and port.isdecimal() else host.strip().lower()).rstrip(".")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True
