"""Who may see pages: with a token whoever has it, without one only this machine, and no page of another site."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import secrets
import socket
from collections import OrderedDict
from collections.abc import Iterable
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl

from ..errors import ConfigurationError, Forbidden, Unauthorized
from .http import Request, Response

#: Browsers that are logged in at once; the first of them is logged out by one more.
_MOST = 1000
#: Seconds that a wrong token costs whoever tries one.
_PENALTY = 0.5
#: What a browser that is logged in shows.
_COOKIE = "offboard_pages"


class Access:
    """``token``: what everybody has to bring, once, at a form; None: nobody has to, and requests are taken only by
    names that no other site can have: addresses, this machine's names, and ``hosts``.

    Raises ConfigurationError for a token that nobody can send.
    """

    def __init__(self, token: str | None = None, hosts: Iterable[str] = ()) -> None:
        if token is not None and (not token or not all("!" <= each <= "~" for each in token)):
            raise ConfigurationError(
                "the token is empty or holds characters that no header can carry; use printable ASCII without spaces"
            )
        self._token = token
        self._names = {"localhost", socket.gethostname().lower(), *(host.lower() for host in hosts)}
        self._known: OrderedDict[str, None] = OrderedDict()

    def check(self, request: Request) -> None:
        """Raises Unauthorized without the token, and Forbidden if a page of another site may be asking.

        A site that lets its name point to this machine is told by ``Host``, any other that asks for a change by
        ``Origin``, which browsers then send.
        """
        host = request.headers.get("host", "").lower()
        if self._token is None and not self._ours(host):
            raise Forbidden(
                f"these pages have no token, and were asked for as {host[:200]!r}, as a page of another site could do; "
                f"without one they are there under this machine's addresses and {', '.join(sorted(self._names))}"
            )
        origin = request.headers.get("origin")
        if origin is not None and origin.partition("://")[2].lower() != host:
            raise Forbidden(f"a page of {origin[:200]!r} asks, and these pages are their own")
        if self._token is not None and request.path != "/login" and not self._let_in(request):
            raise Unauthorized("these pages have a token: open / and give it, or send 'Authorization: Bearer …'")

    async def login(self, request: Request) -> Response:
        """What a form has sent: the way in, or the form once more."""
        given = dict(parse_qsl(request.body.decode("latin-1"))).get("token", "")
        if self._token is None or not hmac.compare_digest(given.encode("latin-1"), self._token.encode()):
            await asyncio.sleep(_PENALTY)
            return Response(status=303, headers={"location": "./?wrong"})
        name = secrets.token_urlsafe(32)
        self._known[name] = None
        if len(self._known) > _MOST:
            self._known.popitem(last=False)
        return Response(
            status=303, headers={"location": "./", "set-cookie": f"{_COOKIE}={name}; HttpOnly; SameSite=Strict; Path=/"}
        )

    def _let_in(self, request: Request) -> bool:
        scheme, _, given = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return hmac.compare_digest(given.strip().encode("latin-1"), (self._token or "").encode())
        try:
            cookie = SimpleCookie(request.headers.get("cookie", "")).get(_COOKIE)
        except CookieError:
            return False
        return cookie is not None and cookie.value in self._known

    def _ours(self, host: str) -> bool:
        name, colon, port = host.rpartition(":")
        name = name if colon and port.isdecimal() else host
        return is_address(name) or name.rstrip(".") in self._names


def is_address(host: str) -> bool:
    """Whether it is an IP address, in brackets or without: no other site can have it as its name."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens there."""
    return host == "localhost" or (is_address(host) and ipaddress.ip_address(host.strip("[]")).is_loopback)
