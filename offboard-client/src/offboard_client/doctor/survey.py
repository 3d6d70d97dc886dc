"""What is measured of a server and the way to it, in the order in which it is; what it means is said elsewhere."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, cast

from ..errors import InferTimeout, OffboardError, Unauthorized
from ..session import Link, LinkClient, Steps
from ..wire import STATUS_PATH, Ready, decode, decode_text, read_handshake
from .memory import SharedMemory, try_memory
from .tcp import Connection, look_at_connection

#: Round trips of a ping, and seconds between two of them.
TRIPS, PAUSE_S = 100, 0.02
#: What is sent, in bytes: two images of 224x224 and two of 480x640, both with a state. How often at once and after a
#: rest: all of it together is less than the 16 MiB that some servers take of one message.
SIZES: Mapping[str, int] = {"two 224x224": 301_229, "two 480x640": 1_843_373}
COLD, WARM, RESTED = 1, {"two 224x224": 5, "two 480x640": 3}, {"two 224x224": 4, "two 480x640": 3}
REST_S = 1.0
#: A name that takes longer is looked up again with each new connection.
SLOW_NAME_S = 0.1
#: No round trip is begun after so many seconds of them, and no size after so many of sending: what a slow link still
#: owes is not worth the wait, and the model is held meanwhile.
ENOUGH_TRIPS_S, ENOUGH_S = 10.0, 20.0


@dataclass
class Sent:
    """Seconds until the server had read so many bytes: ``warm`` one after the other, ``rested`` after a second each."""

    size: int
    warm: list[float] = field(default_factory=list[float])
    rested: list[float] = field(default_factory=list[float])


@dataclass
class Survey:
    """All that was measured; filled while it goes on, so that one that is cut short has what came before.

    ``kind``: ``offboard``, ``websocket`` (another's server), or nothing where it is neither, or not known for want of a
    token: ``why_not`` says it then. ``ahead_s``: by how much the server's clock is ahead of this one, to a second;
    None: not told. ``why_not``: why the way was not, or not wholly, measured. ``failed``: whether an error ended it.
    ``stuck``: whether something that was sent did not arrive while the connection lived. ``memory``: whether it takes
    memory of a robot on its own machine; None: it is on another one, or no session was opened.
    """

    server: str
    kind: str = ""
    steps: Steps | None = None
    status: Mapping[str, Any] = field(default_factory=dict[str, Any])
    ahead_s: float | None = None
    compresses: bool | None = None
    meta: Mapping[str, Any] = field(default_factory=dict[str, Any])
    trips: list[float] = field(default_factory=list[float])
    sent: dict[str, Sent] = field(default_factory=dict[str, Sent])
    connection: Connection | None = None
    memory: SharedMemory | None = None
    why_not: str = ""
    failed: bool = False
    stuck: bool = False


def survey(
    client: LinkClient, found: Survey, show: Callable[[str], object] = lambda text: None, model_id: str | None = None
) -> None:
    """Fill ``found``. ``show``: told what is being done. ``model_id``: whose session is opened; else the loaded one's.

    Raises ConnectionFailed where nobody takes a connection.
    """
    show("connecting")
    found.steps = client.connect()
    if found.steps.resolve_s > SLOW_NAME_S:
        # The first one loads what names need, and may have waited for the processor: neither is paid for again.
        with suppress(OffboardError):
            found.steps = min(found.steps, client.connect(), key=lambda steps: steps.resolve_s)
    try:
        _ask_status(client, found)
        link = _open(client, found, model_id)
        if link is None:
            return
        with link:
            try:
                _measure(link, found, show)
                if (ready := _ready(link.messages)) is not None:
                    found.memory = try_memory(link.socket, ready.memory)
            finally:
                ready = _ready(link.messages)
                found.meta = ready.meta if ready is not None else {}
                with suppress(OSError):
                    found.connection = look_at_connection(link.socket)
    except OffboardError as error:
        found.why_not, found.failed, found.stuck = error.text, True, isinstance(error, InferTimeout)


def _ask_status(client: LinkClient, found: Survey) -> None:
    try:
        answer = client.get(STATUS_PATH)
    except OffboardError as error:
        found.why_not = error.text
        return
    found.ahead_s = ahead(answer.headers, time.time())
    with suppress(OffboardError):
        said: Any = decode_text(answer.body.decode("utf-8", "replace"))
        if isinstance(said, dict) and "holders" in said:
            found.kind, found.status = "offboard", cast("dict[str, Any]", said)
    if answer.status == 401:
        raise Unauthorized(
            f"{client.server} does not accept the token, or was given none: give --auth-token-file or "
            "OFFBOARD_AUTH_TOKEN as the server has it"
        )


def ahead(headers: Mapping[str, str], now: float) -> float | None:
    """By how many seconds the clock of who sent these headers is ahead of ``now``; it tells whole seconds."""
    text = next((value for name, value in headers.items() if name.lower() == "date"), None)
    if text is None:
        return None
    try:
        return email.utils.parsedate_to_datetime(text).timestamp() + 0.5 - now
    except (TypeError, ValueError, OverflowError):
        return None


def _open(client: LinkClient, found: Survey, model_id: str | None) -> Link | None:
    """A WebSocket there. With an offboard server a session, but unasked none that is at anybody's cost.

    One more takes a place, which may be that of a robot that stands still or is about to come back, or loads a model.
    """
    named = client.named or model_id is not None
    if found.kind != "offboard":
        link = client.session(model_id, ends_message=False) if named else client.root()
        found.kind, found.why_not = "websocket", ""
        return link
    if named:
        return client.session(model_id)
    if found.status.get("holders") or found.status.get("waiting"):
        found.why_not = (
            "robots are with the server, or wait for it, and one may lose its place to this: look again when none is, "
            "or name its model with --model-id to measure all the same"
        )
        return None
    loaded = found.status.get("loaded")
    model = cast("dict[str, Any]", loaded).get("model") if isinstance(loaded, dict) else None
    if not isinstance(model, str):
        found.why_not = "no model is loaded, and none is for this alone: --model-id names one"
        return None
    return client.session(model)


def _measure(link: Link, found: Survey, show: Callable[[str], object]) -> None:
    found.compresses = link.compresses
    for n in range(TRIPS):
        if sum(found.trips) > ENOUGH_TRIPS_S:
            break
        show(f"round trip {n + 1} of {TRIPS}")
        found.trips.append(link.trip())
        link.rest(PAUSE_S)
    spent = 0.0
    for name, size in SIZES.items():
        sent = found.sent[name] = Sent(size)
        for kind, times in (("", COLD), ("warm", WARM[name]), ("rested", RESTED[name])):
            for _ in range(times):
                if spent > ENOUGH_S:
                    found.why_not = f"after {spent:.0f} s of sending it was enough"
                    return
                show(f"sending {name}, {size / 1000:,.0f} KB{', after a rest' if kind == 'rested' else ''}")
                if kind == "rested":
                    link.rest(REST_S)
                took = link.trip(size)
                spent += took
                if kind:
                    getattr(sent, kind).append(took)


def _ready(messages: list[bytes]) -> Ready | None:
    """The handshake among the first messages, if one is."""
    for message in messages:
        with suppress(OffboardError):
            said = read_handshake(decode(message))
            if isinstance(said, Ready):
                return said
    return None
