"""A WebSocket server that does, connection by connection, exactly what a test says; and both clients behind one face.

A *visit* is a function of one :class:`Peer`; each connection takes the next visit. What a visit raises, and a
connection that no visit expects, fail the test when the server ends.
"""

import asyncio
import contextlib
import socket
import struct
import threading
from collections import deque
from dataclasses import replace

from offboard_client import AsyncInferenceClient, InferenceClient
from offboard_client.protocol import Clock
from offboard_client.wire import decode, encode
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.server import ServerProtocol

#: A bound for a test that hangs; no test passes or fails by it otherwise.
PATIENCE_S = 120
#: A foreign server's, which echoes no ``offboard.seq`` and owes no pong.
META = {"type": "scripted", "checkpoint_id": "10000", "action_fps": 10.0}
#: offboard's own.
OFFBOARD = {**META, "offboard_version": "0.1.0"}


class Gone(Exception):
    """The client has closed the connection."""


class Peer:
    """The server's end of one connection."""

    def __init__(self, raw, done):
        self.raw = raw
        self.done = done
        self.request = None
        self.close_received = None
        self.pongs = []
        #: How many pings came, each of which was answered.
        self.pings = 0
        #: The ``offboard.seq`` of the last observation.
        self.seq = None
        self._protocol = ServerProtocol(max_size=2**26)
        self._messages = deque()

    # -- HTTP ------------------------------------------------------------------------------------------
    def read_request(self):
        while self.request is None:
            self._pump()
        return self.request

    def respond(self, status, headers=(), body=b""):
        """Refuse the upgrade."""
        self.read_request()
        lines = [f"HTTP/1.1 {status} Scripted", f"Content-Length: {len(body)}", *headers, "", ""]
        self.raw.sendall("\r\n".join(lines).encode() + body)

    def upgrade(self):
        request = self.read_request()
        self._protocol.send_response(self._protocol.accept(request))
        self._flush()
        return self

    # -- frames ----------------------------------------------------------------------------------------
    def ready(self, meta=META, session_id="s-1"):
        self.upgrade()
        self.send({"status": "ready", "meta": meta, "session_id": session_id})
        return self

    def send(self, value):
        self.send_bytes(encode(value))

    def send_bytes(self, data):
        self._protocol.send_binary(data)
        self._flush()

    def send_text(self, text):
        self._protocol.send_text(text.encode())
        self._flush()

    def send_fragments(self, *parts):
        for i, part in enumerate(parts):
            frame = Frame(Opcode.CONT if i else Opcode.BINARY, part, fin=i == len(parts) - 1)
            self.raw.sendall(frame.serialize(mask=False, extensions=[]))

    def receive(self):
        """The next message of the client, decoded, its ``offboard.seq`` laid aside. Raises Gone."""
        while not self._messages:
            self._pump()
        message = decode(self._messages.popleft())
        self.seq = message.pop("offboard.seq", None)
        return message

    def answer(self, result=None, **more):
        """Take one observation and answer it."""
        observation = self.receive()
        self.send({"result": result, "timing": {"infer_ms": 1.0, "total_ms": 2.0}, "offboard.seq": self.seq, **more})
        return observation

    def ping_pong(self):
        """Send a ping and wait for its pong."""
        count = len(self.pongs)
        self._protocol.send_ping(b"alive?")
        self._flush()
        while len(self.pongs) == count:
            self._pump()

    def wait_for_pings(self, count):
        """Answer so many pings before anything else is done."""
        until = self.pings + count
        while self.pings < until:
            self._pump()

    def flood(self, frame, times=4096):
        """Send raw bytes over and over, and read nothing, until the client is gone."""
        with contextlib.suppress(OSError):
            while True:
                self.raw.sendall(frame * times)

    def close(self, code=1000, reason=""):
        self._protocol.send_close(code, reason)
        self._flush()

    def wait_for_close(self):
        """Until the client is gone; how it closed is in ``close_received``."""
        with contextlib.suppress(Gone, OSError):
            while True:
                self._pump()

    def reset(self):
        """End the connection as a dying network does: without a close frame, by a TCP reset."""
        self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.raw.close()

    def hold(self):
        """Say nothing until the test is over."""
        self.done.wait(PATIENCE_S)

    # -- inside ----------------------------------------------------------------------------------------
    def _flush(self):
        data = b"".join(self._protocol.data_to_send())
        if data:
            self.raw.sendall(data)

    def _pump(self):
        data = self.raw.recv(65536)
        if not data:
            raise Gone
        self._protocol.receive_data(data)
        for event in self._protocol.events_received():
            if isinstance(event, Request):
                self.request = event
            elif event.opcode is Opcode.BINARY:
                self._messages.append(event.data)
            elif event.opcode is Opcode.PING:
                self.pings += 1
            elif event.opcode is Opcode.PONG:
                self.pongs.append(bytes(event.data))
            elif event.opcode is Opcode.CLOSE:
                self.close_received = self._protocol.close_rcvd
        self._flush()
        if self.close_received is not None:
            raise Gone


def good(peer):
    """A visit: one observation is answered, and the client leaves."""
    peer.ready()
    peer.answer([])
    peer.wait_for_close()


def patient(client):
    """For what follows: ``client``, or its session, waits as long as a busy machine takes."""
    settings = client._settings
    seconds = dict.fromkeys(("connect", "status", "infer", "silence"), PATIENCE_S)
    object.__setattr__(settings, "timeouts", replace(settings.timeouts, **seconds))


class ScriptedServer:
    """Plays its visits, one for each connection, each on a thread of its own.

    ``hasty``: a client with so little time that on a busy machine it may give up before it comes, or come again: what
    is left of the visits is no fault.
    """

    def __init__(self, *visits, tls=None, hasty=False):
        self._visits = deque(visits)
        self._tls = tls
        self._hasty = hasty
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.peers = []
        self.faults = []
        self.done = threading.Event()
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self):
        self._threads[0].start()
        return self

    def __exit__(self, kind, error, at):
        self.done.set()
        # Closing a listener does not wake its accept(); a last connection does.
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE_S).close()
        self._threads[0].join(PATIENCE_S)
        self._listener.close()
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()
        if kind is None:
            assert self.faults == [], self.faults
            assert self._hasty or not self._visits, "the client made fewer connections than the test expects"

    def _accept(self):
        while True:
            raw, _ = self._listener.accept()
            if self.done.is_set():
                raw.close()
                return
            raw.settimeout(PATIENCE_S)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if not self._visits:
                self.faults.append("a connection that nobody expected")
                raw.close()
                continue
            thread = threading.Thread(target=self._play, args=(self._visits.popleft(), raw))
            self._threads.append(thread)
            thread.start()

    def _play(self, visit, raw):
        try:
            with raw:
                if self._tls is not None:
                    raw = self._tls.wrap_socket(raw, server_side=True)
                peer = Peer(raw, self.done)
                self.peers.append(peer)
                visit(peer)
                with contextlib.suppress(OSError):
                    raw.close()
        except (Gone, ConnectionError):
            pass  # the client left; a test that minds looks at what it got
        except BaseException as error:
            if self._tls is None or not isinstance(error, OSError):
                self.faults.append(error)


class RecordingClock(Clock):
    """Real time, but sleeping takes none: it is written down, and moves the clock; alone does, where it ``stands``."""

    def __new__(cls, *args, **kwargs):
        return super().__new__(cls)

    def __init__(self, chance=1.0, *, asynchronous=False, stands=False):
        slept = []
        real = (lambda: 0.0) if stands else Clock().now

        def sleep(seconds):
            slept.append(seconds)

        async def sleep_async(seconds):
            slept.append(seconds)

        super().__init__(
            now=lambda: real() + sum(slept), sleep=sleep_async if asynchronous else sleep, chance=lambda: chance
        )
        object.__setattr__(self, "slept", slept)


class Both:
    """One face for both clients: calls return when they are done, whichever client makes them."""

    def __init__(self, kind):
        self.kind = kind
        self._loop = None
        self._opened = []

    def __enter__(self):
        if self.kind == "async":
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(target=self._loop.run_forever)
            self._thread.start()
        return self

    def __exit__(self, kind, error, at):
        for client in self._opened:
            self.wait(client.close())
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(PATIENCE_S)
            self._loop.close()

    def wait(self, made):
        """The result of a call."""
        if self._loop is None:
            return made
        return asyncio.run_coroutine_threadsafe(self._finish(made), self._loop).result(PATIENCE_S)

    @staticmethod
    async def _finish(made):
        return await made

    def clock(self, chance=1.0, stands=False):
        return RecordingClock(chance, asynchronous=self.kind == "async", stands=stands)

    def client(self, host, port=8000, **settings):
        settings.setdefault("on_status", lambda status: None)
        made = (AsyncInferenceClient if self.kind == "async" else InferenceClient)(host, port, **settings)
        self._opened.append(made)
        return made

    def session(self, host, port=8000, model_id=None, overrides=None, **settings):
        return self.wait(self.client(host, port, **settings).new_session(model_id, **(overrides or {})))
