"""GR00T's wire, spoken by a client that waits for nothing without a limit.

GR00T's server is one REP socket that answers one question at a time: a ping waits behind an inference, and is not asked
here. Its own client's socket waits for ever for a server that died, and after a miss takes the late answer for the next
question's. Here each wait is a part of one call's time, who hangs up is noticed, and a connection that missed an answer
is never used again.

Each question has a number in its envelope, which a REP socket repeats (``ZMQ_REQ_CORRELATE``): what answers another one
is passed over by libzmq.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Generator, Iterator, Mapping
from typing import Any, cast

import zmq
from offboard_client.errors import BadMessage, InferTimeout, PolicyFailed, brief, told
from offboard_client.wire import WireLimits, decode, read_forms
from zmq.utils.monitor import recv_monitor_message

from .failures import failure
from .generation import Generation
from .modality import Modalities, read
from .wire import Form, are_texts, form_of, pack, read_configs

#: Replies are action chunks: kilobytes. libzmq hangs up on who says more.
_LARGEST_REPLY = 32 * 2**20
#: Seconds for a connection to a server that is there.
OPEN_TIMEOUT = 10.0
#: Seconds between two signs of life of libzmq's, which the other end's gives while its Python infers, and for one.
_BEAT, _BEAT_TIMEOUT = 5.0, 20.0
_GREETED = zmq.Event.HANDSHAKE_SUCCEEDED
_BROKEN = (
    zmq.Event.DISCONNECTED | zmq.Event.CONNECT_RETRIED | zmq.Event.CLOSED
    | zmq.Event.HANDSHAKE_FAILED_PROTOCOL | zmq.Event.HANDSHAKE_FAILED_NO_DETAIL | zmq.Event.HANDSHAKE_FAILED_AUTH
)  # fmt: skip


class Unreachable(ConnectionError):
    """Nobody answers there, or what answers is no GR00T server; the text says which."""


class Lost(ConnectionError):
    """The connection broke in the middle of an exchange."""


class Connection:
    """An open connection to a GR00T server, at ``address``, such as ``tcp://127.0.0.1:5555``.

    ``generation``: None where the server is to be asked, which :meth:`modalities` does. ``token``: what that server's
    ``api_token`` is, if it has one. For one thread, but for :meth:`close`, which ends whatever that thread waits for.
    """

    def __init__(
        self, address: str, generation: Generation | None, token: str | None = None, timeout: float = OPEN_TIMEOUT
    ) -> None:
        """Raises Unreachable within ``timeout`` seconds, or about that."""
        self._generation, self._token = generation, token
        #: How it writes arrays; None until it has shown that. Up to N1.6 all wrote and read npy files alone.
        self._form = None if generation in (None, Generation.N1_7) else Form.NPY
        self._lock = threading.Lock()
        self._closed = self._in_use = False
        #: What was asked and is not answered yet.
        self._asked: tuple[str, Any] | None = None
        deadline = time.monotonic() + timeout
        try:
            _knock(address, deadline)
        except (OSError, ValueError) as error:
            raise Unreachable(f"{address}: {told(error)}") from None
        self._woken, self._wake = socket.socketpair()
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.REQ)
        self._socket.linger = 0
        self._socket.maxmsgsize = _LARGEST_REPLY
        self._socket.req_correlate = True
        self._socket.ipv6 = address.startswith("tcp://[")
        self._socket.heartbeat_ivl, self._socket.heartbeat_timeout = int(_BEAT * 1e3), int(_BEAT_TIMEOUT * 1e3)
        self._monitor = self._socket.get_monitor_socket(_GREETED | _BROKEN)
        try:
            self._socket.connect(address)
            self._greet(deadline)
        except (OSError, zmq.ZMQError) as error:
            self.close()
            raise Unreachable(f"{address} is no GR00T server: {told(error)}") from None
        except BaseException:
            self.close()
            raise

    @property
    def generation(self) -> Generation:
        """The server's, as far as it is known. N1.6 and N1.7 have one wire."""
        return self._generation or Generation.N1_7

    @property
    def busy(self) -> bool:
        """Whether a question is not answered yet."""
        return self._asked is not None

    def usable(self) -> bool:
        """Whether the next question may go over it: False where it was hung up, or a question is not answered."""
        try:
            with self._using():
                return not self.busy and not any(event & _BROKEN for event in self._events())
        except Lost:
            return False

    def get_action(self, observation: Mapping[str, Any], timeout: float) -> Mapping[str, Any]:
        """The actions that GR00T answers, as it wrote them: group → array.

        ``observation``: as this generation takes it. Raises PolicyFailed for GR00T's own error, which says what was
        asked; InferTimeout, or Lost.
        """
        deadline = time.monotonic() + timeout
        if self._form is None:
            self.modalities(timeout)
        self.send(observation)
        reply = self.receive(deadline - time.monotonic())
        if reply is None:
            raise _late(timeout)
        return reply

    def modalities(self, timeout: float) -> Modalities:
        """What the model reads and answers, as the server says it. Raises as :meth:`get_action`."""
        self._say("get_modality_config", None, has_data=False)
        message = self._hear(time.monotonic() + timeout)
        if message is None:
            raise _late(timeout)
        said = self._checked(message)
        if self._generation is None and are_texts(said):
            self._generation = Generation.N1_5
        if self._form is None:
            self._form = Form.NPY if b"__ModalityConfig_class__" in message else Form.NUMPY
        try:
            return read(read_configs(message))
        except BadMessage as error:
            raise PolicyFailed(f"GR00T described its modalities in a way that cannot be read: {error.text}") from None

    def reset(self, timeout: float) -> None:
        """Ask for a new episode, of a server whose policy keeps something; N1.5 knows no such question."""
        if self._generation is Generation.N1_5:
            return
        self._say("reset", {"options": None})
        message = self._hear(time.monotonic() + timeout)
        if message is None:
            raise _late(timeout)
        self._checked(message)

    def send(self, observation: Mapping[str, Any]) -> None:
        """Ask for the actions to ``observation``. Raises Lost."""
        flat = self.generation is Generation.N1_5
        self._say("get_action", observation if flat else {"observation": observation, "options": None})

    def receive(self, timeout: float) -> Mapping[str, Any] | None:
        """The answer to :meth:`send`, None if it takes longer. Raises PolicyFailed or Lost."""
        message = self._hear(time.monotonic() + timeout)
        if message is None:
            return None
        raw = self._checked(message)
        try:
            reply: Any = read_forms(raw)
        except BadMessage as error:
            raise PolicyFailed(f"GR00T answered what cannot be read: {error.text}") from None
        if self.generation is Generation.N1_7:
            self._form = form_of(raw) or self._form
        if self._generation is not Generation.N1_5:
            if not isinstance(reply, list) or len(cast("list[Any]", reply)) != 2:
                raise PolicyFailed(f"GR00T answered {brief(reply, 80)}, expected a list of the actions and what else")
            reply = cast("list[Any]", reply)[0]
        if not isinstance(reply, Mapping):
            raise PolicyFailed(f"GR00T answered {brief(reply, 80)}, expected a map of groups of actions")
        return cast("Mapping[str, Any]", reply)

    def close(self) -> None:
        """Close it at once; whoever waits for an answer gets Lost."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            if self._in_use:  # a ZMQ socket is one thread's: that thread closes it
                self._wake.send(b"\0")
            else:
                self._shut()

    # -- inside ---------------------------------------------------------------------------------------------
    def _say(self, endpoint: str, data: Any, *, has_data: bool = True) -> None:
        request = {
            "endpoint": endpoint,
            **({"data": data} if has_data else {}),
            **({} if self._token is None else {"api_token": self._token}),
        }
        message = pack(request, self._form or Form.NPY)
        with self._using():
            self._asked = (endpoint, data)
            try:
                self._socket.send(message, zmq.NOBLOCK)
            except zmq.ZMQError as error:
                raise Lost(told(error)) from None

    def _hear(self, deadline: float) -> bytes | None:
        """The next answer, None at the deadline. Raises Lost."""
        with self._using():
            while True:
                try:
                    parts = self._socket.recv_multipart(zmq.NOBLOCK)
                    break
                except zmq.Again:
                    pass
                except zmq.ZMQError as error:
                    raise Lost(told(error)) from None
                if any(event & _BROKEN for event in self._events()):
                    raise Lost("it hung up without an answer, or gave no sign of life")
                left = deadline - time.monotonic()
                if left <= 0:
                    return None
                self._rest(left)
        if len(parts) != 1:
            raise PolicyFailed(f"GR00T answered in {len(parts)} parts, expected one")
        return parts[0]

    def _checked(self, message: bytes) -> Any:
        """An answer as msgpack has it. Raises PolicyFailed for one that is an error."""
        (endpoint, data), self._asked = self._asked or ("nothing", None), None
        if message == b"ERROR":
            raise PolicyFailed("this is the server of GR00T N1, which pickles: N1.5, N1.6 and N1.7 are served")
        try:
            reply = decode(message, WireLimits())
        except BadMessage as error:
            raise PolicyFailed(f"GR00T answered what cannot be read: {error.text}") from None
        if isinstance(reply, Mapping) and "error" in reply:
            raise PolicyFailed(failure(cast("Mapping[str, Any]", reply)["error"], endpoint, data))
        return cast("Any", reply)

    def _greet(self, deadline: float) -> None:
        """Wait until both ends have introduced themselves."""
        with self._using():
            while True:
                for event in self._events():
                    if event & _GREETED:
                        return
                    if event & _BROKEN:
                        raise Lost("it hung up before it had introduced itself as ZMQ does")
                left = deadline - time.monotonic()
                if left <= 0:
                    raise Lost("it did not introduce itself as ZMQ does")
                self._rest(left)

    def _rest(self, seconds: float) -> None:
        """Until something happens, at most so long. Raises Lost where that is :meth:`close`."""
        poller = zmq.Poller()
        for waited in (self._socket, self._monitor, self._woken):
            poller.register(waited, zmq.POLLIN)
        poller.poll(max(1, int(seconds * 1000)))
        if self._closed:
            raise Lost("it was closed")

    def _events(self) -> Iterator[int]:
        """What has become of the connection since the last look."""
        with contextlib.suppress(zmq.Again):
            while True:
                yield recv_monitor_message(self._monitor, zmq.NOBLOCK)["event"]

    @contextlib.contextmanager
    def _using(self) -> Generator[None]:
        """While this thread uses the socket, which nobody closes meanwhile."""
        with self._lock:
            if self._closed:
                raise Lost("it was closed")
            self._in_use = True
        try:
            yield
        finally:
            with self._lock:
                self._in_use = False
                if self._closed:
                    self._shut()

    def _shut(self) -> None:
        self._socket.disable_monitor()
        self._monitor.close(linger=0)
        self._socket.close(linger=0)
        self._context.term()
        self._woken.close()
        self._wake.close()


def _knock(address: str, deadline: float) -> None:
    """Raises OSError where nobody listens: libzmq itself tries for ever, and says nothing of why."""
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), timeout=max(0.01, deadline - time.monotonic())):
        pass


def _late(timeout: float) -> InferTimeout:
    return InferTimeout(f"GR00T did not answer within {timeout:g} s (--gr00t-timeout)")
