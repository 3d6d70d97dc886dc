"""Where a server is, and the URL of a session there."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from ..errors import BadParameter, ConfigurationError, OffboardError
from ..wire import RESERVED_PARAMS, SESSION_PATH

_SCHEMES = {"ws": False, "http": False, "wss": True, "https": True}
# What this client always asks for: its own dialect, and chunks as arrays (the rows are made here).
_FORM = (("dialect", "offboard"), ("layout", "columns"))
_NO_ADDRESS = "is not an address; write host, host:port or ws://host:port/api/v1/session"


@dataclass(frozen=True)
class Address:
    """A server, and what a session URL said beyond it.

    ``base``: a path before ``/api/v1``, as a reverse proxy may add. ``model_id``, ``query``: from a whole
    session URL; None and () otherwise.
    """

    host: str
    port: int
    secure: bool = False
    base: str = ""
    model_id: str | None = None
    query: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"{bracketed(self.host)}:{self.port}"

    @property
    def name(self) -> str:
        """The host as others know it: a zone (``%eth0``) says which of this machine's networks it is on."""
        return self.host.partition("%")[0]

    def session_url(self, model_id: str | None, params: Mapping[str, Any], session_id: str = "") -> str:
        """The WebSocket URL of a session. ``session_id``: of a lost session whose model is to be kept."""
        model_id = self.model_id if model_id is None else model_id
        if not isinstance(model_id, str | None):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise BadParameter(f"a model is asked for by its id as text, and this is {model_id!r:.40}")
        path = self.base + SESSION_PATH + (f"/{quote(model_id, safe='/')}" if model_id else "")
        pairs = {**dict(self.query), **{name: literal(value) for name, value in params.items()}}
        _check_names(pairs)
        query = [*pairs.items(), *_FORM, *([("session_id", session_id)] if session_id else [])]
        return f"{'wss' if self.secure else 'ws'}://{bracketed(self.name)}:{self.port}{path}?{urlencode(query)}"


def parse_address(host: str, port: int = 8000) -> Address:
    """``host`` as a name or number, with or without a port, or a whole ws, wss, http or https URL.

    An IPv6 address with a port stands in brackets. ``port`` applies where ``host`` has neither a port nor a scheme.
    Raises ConfigurationError.
    """
    if not isinstance(host, str):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise ConfigurationError(f"{host!r:.60} {_NO_ADDRESS}")
    text = host.strip()
    try:
        parts = urlsplit(text if "://" in text else f"//{bracketed(text) if is_numeric(text) else text}")
        found = parts.port
    except ValueError as error:
        why = "a port is a whole number from 0 to 65535" if str(error).startswith("Port") else str(error)
        raise ConfigurationError(f"{host!r} {_NO_ADDRESS}: {why}") from None
    if parts.scheme and parts.scheme not in _SCHEMES:
        raise ConfigurationError(
            f"{parts.scheme!r} in {host!r} is not a scheme of offboard; there are: {', '.join(_SCHEMES)}"
        )
    if parts.username is not None or parts.password is not None:
        raise ConfigurationError("an address holds no user or password: pass auth_token= or set OFFBOARD_AUTH_TOKEN")
    if not parts.hostname or parts.fragment or any(c.isspace() or not c.isprintable() for c in text):
        raise ConfigurationError(f"{host!r} {_NO_ADDRESS}")
    secure = _SCHEMES.get(parts.scheme, False)
    if found is None:
        found = (443 if secure else 80) if parts.scheme else _check_port(port)
    base, marker, rest = parts.path.partition(SESSION_PATH)
    if marker and rest and not rest.startswith("/"):
        base, rest = parts.path, ""
    query = tuple(parse_qsl(parts.query, keep_blank_values=True))
    if len(dict(query)) != len(query):
        raise BadParameter(f"{host!r} names a session parameter twice")
    _check_names(dict(query))
    return Address(
        parts.hostname.replace("%25", "%", 1), found, secure, base.rstrip("/"), unquote(rest.strip("/")) or None, query
    )


def listen_host(host: str) -> str:
    """Where a server is to listen: a name or a number, IPv6 with or without brackets. Raises ConfigurationError."""
    text = host.strip()
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if is_numeric(bare):
        return bare
    try:
        meant = parse_address(text)
    except OffboardError:
        meant = None
    if meant is None or text != meant.host:
        where = f": write --host {meant.host} --port {meant.port}" if meant is not None else ""
        raise ConfigurationError(
            f"{host!r} is no address to listen on; expected a name or number of this machine alone{where}"
        )
    return text


def bracketed(host: str) -> str:
    """A host as it stands before a port."""
    return f"[{host}]" if ":" in host else host


def is_numeric(host: str) -> bool:
    """Whether ``host`` is an IPv4 or IPv6 address, which needs no resolver."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def literal(value: Any) -> str:
    """A session parameter as it stands in a query: a JSON literal, else a string. Raises BadParameter."""
    try:
        if isinstance(value, str) and not _reads_as_json(value):
            return value
        return json.dumps(value, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise BadParameter(f"a session parameter cannot be {value!r:.60}: {error}") from None


def _reads_as_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _check_names(names: Iterable[str]) -> None:
    taken = sorted(RESERVED_PARAMS.intersection(names))
    if taken:
        raise BadParameter(
            f"{', '.join(taken)} cannot be chosen: this client sets {', '.join(sorted(RESERVED_PARAMS))}"
        )


def _check_port(port: Any) -> int:
    if isinstance(port, bool) or not isinstance(port, int) or not 0 < port < 65536:
        raise ConfigurationError(f"a port is a whole number from 1 to 65535, and this is {port!r:.60}")
    return port
