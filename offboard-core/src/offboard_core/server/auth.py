"""Access to the server: by token, or, where there is none, for all but web pages of other sites.

Section 11 of the protocol.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import ipaddress
import socket
from collections.abc import Iterable

from offboard_client.errors import Forbidden

from ..frontends import Admission

_SCHEMES = ("bearer", "api-key")
#: How a request says its token.
HOW = "send 'Authorization: Bearer …' (offboard's client reads OFFBOARD_AUTH_TOKEN)"
Headers = Iterable[tuple[bytes, bytes]]


class Access:
    """Lets requests pass that carry the token of ``admission``, or all of them if it asks for none.

    ``hosts``: names of this server besides those that this machine knows itself by.
    """

    def __init__(self, admission: Admission, hosts: Iterable[str] = ()) -> None:
        self._admission = admission
        self._allowed = {_name(host) for host in hosts if not _is_address(host)}
        short = socket.gethostname().lower().partition(".")[0]
        self._names = {"localhost", socket.gethostname().lower(), short, f"{short}.local", *self._allowed}
        self._looked_up: asyncio.Future[str] | None = None

    def check(self, headers: Headers) -> None:
        """Raises Unauthorized unless exactly one Authorization header carries the token."""
        self._admission.check(token_of(headers), HOW)

    async def check_page(self, headers: Headers, *, upgrade: bool) -> None:
        """Raises Forbidden on a server without a token if a web page of another site may be asking.

        Browsers let any page open a WebSocket to any address, the operator's own machine included, and say in
        ``Origin`` whose page it is. A site that lets its own name point to this machine looks like the same site; only
        ``Host`` tells then. Robots send no ``Origin``, browsers cannot leave it out of an upgrade.
        """
        if not self._admission.open:
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


def token_of(headers: Headers) -> str | None:
    """What exactly one Authorization header carries, as a token: a password's place is in the URL of any client.

    A browser keeps passwords, and would send one for the page of any site.
    """
    headers = list(headers)
    given = [value for name, value in headers if name.lower() == b"authorization"]
    scheme, _, token = given[0].decode("latin-1").partition(" ") if len(given) == 1 else ("", "", "")
    if scheme.lower() == "basic" and not any(name.lower() == b"origin" for name, _ in headers):
        try:
            _, colon, password = (
                base64.b64decode(token.strip(), validate=True).decode("utf-8", "replace").partition(":")
            )
        except (binascii.Error, ValueError):
            return None
        return password if colon else None
    return token.strip() if scheme.lower() in _SCHEMES else None


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
