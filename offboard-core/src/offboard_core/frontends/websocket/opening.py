"""What comes before the first observation: a session, or why there is none."""

from __future__ import annotations

import logging
from collections.abc import Callable

from offboard_client.errors import OffboardError, ShuttingDown
from offboard_client.wire import CLOSE_GOING_AWAY, CLOSE_REFUSED, Status

from ...engine import PolicyService, ServiceSession
from .. import Edge, Frame, FrontendConnection

log = logging.getLogger(__name__)

#: A control frame holds 125 bytes (RFC 6455, 5.5), two of which are the close code.
REASON_BYTES = 123


async def open_session(
    service: PolicyService, connection: FrontendConnection, holder: str, tell: Callable[[Frame], None]
) -> tuple[ServiceSession, Frame | None]:
    """A session, and the frame that says so, if its protocol has one. ``tell`` gets the frames before that one."""
    session = await _find(service, connection, holder, tell)
    try:
        return session, connection.ready(session)
    except BaseException:
        session.close()  # a model's facts may have no form in this encoding
        raise


async def _find(
    service: PolicyService, connection: FrontendConnection, holder: str, tell: Callable[[Frame], None]
) -> ServiceSession:
    model_id, params, serializer = connection.model_id, connection.params, connection.serializer
    if connection.session_id is not None and (
        session := service.reclaim(connection.session_id, model_id, params, serializer)
    ):
        return session

    async def on_status(status: Status) -> None:
        if status.state == "waiting" and connection.session_id is not None:
            service.give_up(connection.session_id)
        frame = connection.status(status)
        if frame is not None:
            tell(frame)

    return await service.open(
        model_id, params, bridge=connection.bridge, serializer=serializer, holder=holder, on_status=on_status
    )


def refuse(
    holder: str, refusal: Callable[[OffboardError], Frame | None], error: OffboardError
) -> tuple[Frame | None, int, str]:
    """The last frame of a socket that gets no session, if its protocol has one, and the code and reason of its close.

    The log has the whole of the error.
    """
    shown, ref = Edge.shown(error)
    log.warning("refused a session of %s: %s%s", holder, ref, error.text)
    last = refusal(shown)
    code = CLOSE_GOING_AWAY if isinstance(error, ShuttingDown) else CLOSE_REFUSED
    return last, code, shown.code if last is not None else _cut(f"{shown.code}: {shown.text}")


def _cut(text: str) -> str:
    """As many words of a text as the reason of a close frame may hold, and that there were more."""
    said = text.encode()
    if len(said) <= REASON_BYTES:
        return text
    begins = said[: REASON_BYTES - len("…".encode())].decode(errors="ignore")
    words = begins.rpartition(" ")[0]
    # One long word, such as a path, is better cut than missing.
    return (words if 2 * len(words) > len(begins) else begins).rstrip(" ,;:(") + "…"
