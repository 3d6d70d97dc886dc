"""The port for robots that run LeRobot's ``robot_client``: gRPC's service ``transport.AsyncInference``.

LeRobot's own server has one policy, and one place for an observation, for all clients. Here each connection has a
session of its own on whichever model it names.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import contextmanager
from functools import partial
from typing import Any

import grpc
import grpc.aio
from offboard_client.errors import (
    BadMessage,
    Busy,
    ConfigurationError,
    DialectUnsupported,
    InferTimeout,
    ModelNotFound,
    OffboardError,
)
from offboard_client.wire import WireLimits
from offboard_core.engine import PolicyService
from offboard_core.frontends import Admission, Listener, Peer, PeerSessions, Sparing

from .messages import BEGIN, EMPTY, END, MIDDLE, SERVICE, read_data, read_piece, write_data
from .options import RobotClientOptions
from .payloads import read_instructions
from .robot import DEFAULT, OPEN, LeRobotRobot, read_reply
from .statuses import status_of
from .waiting import Crowd, Robot

log = logging.getLogger(__name__)
#: What one call sends.
Messages = AsyncIterator[bytes]

#: How a client says a token; LeRobot's own does not.
HOW = (
    "LeRobot's robot_client has no way to send one, so it drives a server without a token; a client of one's own sends "
    "the metadata `authorization: Bearer TOKEN`"
)
#: Seconds in which an observation that began has come whole; for which a robot that asks waits for an answer before it
#: is told that there is none yet (LeRobot's server waits as long); in which the last answers go out at the end; and
#: after which one is told that it has to begin anew: LeRobot's client asks again at once, and for ever.
_PATIENCE, _WAIT, _PARTING, _SLOWLY = 60.0, 2.0, 0.5, 1.0
#: Seconds in which a call whose stream has ended is cancelled, if that is why.
_LEAVING = 0.2
#: Bytes of one message, of which LeRobot's client sends two million at most; of what a robot asks for in the beginning.
_LARGEST_PIECE, _LARGEST_SETUP = 4 * 2**20, 2**18
_MOST_CONNECTIONS = 512
#: Of one connection at a time: LeRobot's client has two. grpcio 1.73, which LeRobot 0.4 insists on, goes on counting
#: some that have been answered, and with 8 refused one that came next.
_MOST_CALLS = 4 if tuple(map(int, grpc.__version__.split(".")[:2])) >= (1, 85) else 16
#: What gRPC keeps to before anything of a client is seen here.
_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", _LARGEST_PIECE),
    ("grpc.max_concurrent_streams", _MOST_CALLS),
    # gRPC takes more and more ahead of who reads, the faster it comes, and without an end: so this much of each call,
    # an observation with one camera, and no more.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 2**20),
    ("grpc.max_allowed_incoming_connections", _MOST_CONNECTIONS),
    ("grpc.max_metadata_size", 8 * 2**10),
    ("grpc.absolute_max_metadata_size", 16 * 2**10),
    # Nothing compressed: what a few bytes become would be known only when they have.
    ("grpc.compression_enabled_algorithms_bitset", 1),
    ("grpc.server_handshake_timeout_ms", 20_000),
    # Who is gone without a word is noticed: after so long nothing came, and then no answer to a ping.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_connection_idle_ms", 600_000),
]
_AN_ID = (
    f"pretrained_name_or_path is the id of one of these, or {DEFAULT} for the one that the server would choose; it is "
    "no path, and nothing is fetched by it"
)


class LeRobotListener(Listener):
    """Sessions of LeRobot's clients, by connection."""

    def __init__(self, options: RobotClientOptions) -> None:
        self._options = options
        self._server: Any = None
        self._sessions: PeerSessions | None = None
        self._crowd = Crowd(options.silence)
        self._sparing = Sparing()

    async def start(self, service: PolicyService, admission: Admission, host: str, port: int) -> int:
        """See :meth:`Listener.start`."""
        self._admission = admission
        if not admission.open:
            log.warning("LeRobot's robots are refused, for this server wants a token: %s", HOW)
        self._crowd = Crowd(self._options.silence)
        self._sessions = PeerSessions(service, admission, self._connect, silence=self._options.silence)
        self._crowd.on_gone = self._sessions.end
        self._server = server = grpc.aio.server(options=_OPTIONS)
        # All as streams: gRPC reads a message when it is asked for the next one, and here nobody waits for it for ever.
        calls = {
            "Ready": self._ready,
            "SendPolicyInstructions": self._instruct,
            "SendObservations": self._observe,
            "GetActions": self._get_actions,
        }
        methods: dict[str, Any] = {
            name: grpc.stream_unary_rpc_method_handler(partial(self._answer, call)) for name, call in calls.items()
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
        try:
            found = server.add_insecure_port(f"{f'[{host}]' if ':' in host else host}:{port}")
        except RuntimeError as error:
            raise ConfigurationError(f"the port is in use, or not this machine's to give ({error})") from None
        await server.start()
        return int(found)

    async def drain(self) -> None:
        """See :meth:`Listener.drain`."""
        if self._sessions is not None:
            await self._sessions.drain()
            await self._crowd.fetched(_WAIT)

    async def close(self) -> None:
        """See :meth:`Listener.close`."""
        sessions, self._sessions = self._sessions, None
        server, self._server = self._server, None
        if sessions is not None:
            await sessions.close()
        self._crowd.close()
        if server is not None:
            await server.stop(_PARTING)

    # -- what a client asks -----------------------------------------------------------------------------------------
    async def _ready(self, peer: Peer, _: Messages) -> bytes:
        """A client begins: whatever its connection had is over, unless somebody drives with it."""
        with self._refusing(peer):
            await self._crowd.free(peer.identity)
        return EMPTY

    async def _instruct(self, peer: Peer, messages: Messages) -> bytes:
        """Which model it wants. Answered when that is loaded."""
        with self._refusing(peer):
            message = await self._in_time(anext(messages, EMPTY), "instructions")
            asked = read_instructions(read_data(message, _LARGEST_SETUP))
            await self._crowd.free(peer.identity)
            robot = self._crowd.begin(peer.identity, asked)
        with robot.calling():
            found = await self._open(peer)
        if isinstance(found, OffboardError):
            self._crowd.leave(peer.identity)
            raise ModelNotFound(f"{found.text}. {_AN_ID}") if isinstance(found, ModelNotFound) else found
        if self._sparing.may(f"{peer} begins"):
            log.info(
                "LeRobot's robot %s drives %s (%s), %d actions each time; the device that it names, %s, says nothing",
                peer, asked.model[:200], asked.policy_type[:60], asked.actions_per_chunk, asked.device[:40],
            )  # fmt: skip
        return EMPTY

    async def _observe(self, peer: Peer, messages: Messages) -> bytes:
        """What it sees, in pieces. Answered when it has come; what becomes of it is what :meth:`_get_actions` says."""
        with (await self._robot(peer)).calling() as robot:
            if robot.sending:
                raise BadMessage("an observation is being sent already; send the next one when it has come")
            robot.sending = True
            try:
                frame = await self._in_time(self._collect(messages), "an observation")
            except OffboardError as error:
                self._log(peer, error.code, error.text)
                raise
            except asyncio.CancelledError:
                self._log(peer, "cancelled", "its client gave it up, or went, before it had come whole")
                raise
            finally:
                robot.sending = False
            robot.sees(frame, partial(self._submit, peer))
        return EMPTY

    async def _get_actions(self, peer: Peer, _: Messages) -> bytes:
        """What the model answered last, as soon as there is something new; nothing after two seconds without."""
        with (await self._robot(peer)).calling() as robot:
            reply = await robot.answered(_WAIT)
        if isinstance(reply, OffboardError):
            raise reply
        return write_data(reply)

    # -- inside -----------------------------------------------------------------------------------------------------
    def _connect(self, peer: Peer) -> LeRobotRobot:
        return LeRobotRobot(self._crowd.of(peer.identity).asked, self._options, str(peer), self._sparing)

    async def _open(self, peer: Peer) -> bytes | OffboardError:
        sessions = self._sessions
        assert sessions is not None
        while True:
            reply = await sessions.ask(peer, OPEN)
            found = _crowded() if reply is None else read_reply(reply)
            # A model may take longer to load than a robot may be silent, and this one is not: it waits here.
            if not isinstance(found, InferTimeout) or peer.identity not in sessions:
                return found

    async def _robot(self, peer: Peer) -> Robot:
        try:
            with self._refusing(peer):
                return self._crowd.of(peer.identity)
        except DialectUnsupported:
            await asyncio.sleep(_SLOWLY)
            raise

    def _submit(self, peer: Peer, frame: bytes, robot: Robot) -> None:
        if self._sessions is not None:
            self._sessions.submit(peer, frame, lambda reply: self._deliver(peer, robot, reply))

    def _deliver(self, peer: Peer, robot: Robot, reply: Any) -> None:
        found = _crowded() if reply is None else read_reply(reply)
        robot.hears(found, partial(self._submit, peer))

    @contextmanager
    def _refusing(self, peer: Peer) -> Generator[None]:
        """Before it has a session: what is wrong is counted and logged as a refusal."""
        try:
            yield
        except OffboardError as error:
            self._admission.refused(peer, error)
            raise

    def _log(self, peer: Peer, code: str, why: str) -> None:
        if self._sparing.may(f"{peer}: {code}"):
            log.warning("an observation of LeRobot's robot %s was not answered: %s: %s", peer, code, why)

    @staticmethod
    async def _in_time(coming: Awaitable[bytes], what: str) -> bytes:
        try:
            return await asyncio.wait_for(coming, _PATIENCE)
        except asyncio.TimeoutError:
            raise BadMessage(f"{what} that began {_PATIENCE:g} s ago did not come whole") from None

    async def _collect(self, messages: Messages) -> bytes:
        """The observation that these pieces make. Raises BadMessage."""
        largest, pieces, size, began = WireLimits().message_bytes, list[bytes](), 0, False
        held = self._crowd.held
        try:
            async for message in messages:
                state, data = read_piece(message)
                # A short one has one piece, its last.
                if state not in ((MIDDLE, END) if began else (BEGIN, END)):
                    raise BadMessage("the pieces of an observation are not in order")
                began = True
                pieces.append(data)
                size += len(data)
                held.take(len(data))
                if size > largest:
                    raise BadMessage(f"an observation has {largest:,} bytes at most; send smaller images")
                if not data:
                    raise BadMessage("a piece of an observation is empty")
                if state == END:
                    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
        finally:
            held.give_back(size)
        # Who cancels a call seems to end its stream first, and is no more there to hear what is wrong with it.
        await asyncio.sleep(_LEAVING)
        raise BadMessage("an observation ended before its last piece")

    async def _answer(
        self, call: Callable[[Peer, Messages], Awaitable[bytes]], messages: Messages, context: Any
    ) -> bytes:
        """Every call: in its turn, and with its error told as gRPC does, which LeRobot's client logs."""
        peer = Peer("lerobot", context.peer(), _token_of(context), HOW)
        await self._admission.turn()
        try:
            with self._refusing(peer):
                self._admission.check(peer.token, peer.how)
            with self._crowd.calling(peer.identity):
                return await call(peer, messages)
        except OffboardError as error:
            code, details = status_of(error)
        except Exception:
            log.exception("what LeRobot's robot %s asked could not be answered", peer)
            code, details = grpc.StatusCode.INTERNAL, "internal: it could not be answered; the server's log says why"
        await context.abort(code, details)
        return EMPTY  # abort() has raised


def _crowded() -> OffboardError:
    return Busy("the server refuses too many clients at this moment to say why; ask again")


def _token_of(context: Any) -> str | None:
    given = [value for key, value in context.invocation_metadata() or () if key == "authorization"]
    scheme, _, token = given[0].partition(" ") if len(given) == 1 and isinstance(given[0], str) else ("", "", "")
    return token.strip() if scheme.lower() == "bearer" else None
