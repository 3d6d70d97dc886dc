"""Each law of listeners is broken once, by the ZMQ listener of docs/how-to/write-a-frontend.md with one thing wrong."""

import asyncio
import contextlib
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import zmq
from offboard_client import wire
from offboard_client.errors import BY_CODE
from offboard_core.frontends import Admission, Peer
from offboard_core.testing import ListenerLaws

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "write-a-frontend.md"
PLUGIN = next(
    block
    for block in re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    if block.startswith("# offboard_joints.py")
)
joints = SimpleNamespace()
exec(PLUGIN, vars(joints))

QUESTION = wire.encode({"joints": np.zeros(7, np.float32)})


class TestZmq(ListenerLaws):
    kind = joints.ZmqListener
    patience = 120.0

    def listener(self):
        return self.kind(joints.ZmqOptions())

    @contextlib.contextmanager
    def client(self, host, port, token):
        with zmq.Context() as context, context.socket(zmq.REQ) as socket:
            socket.linger, socket.rcvtimeo = 0, int(1000 * self.patience)
            socket.connect(f"tcp://{host}:{port}")

            def ask():
                socket.send_multipart([token.encode(), QUESTION])
                answer = wire.decode(socket.recv())
                if "error" in answer:
                    raise BY_CODE[answer["code"]](answer["error"])
                return answer

            yield ask

    def disturb(self, host, port):
        with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
            socket.linger = 10_000
            socket.connect(f"tcp://{host}:{port}")
            for parts in ([b""], [b"x", b"", QUESTION], [b"", b"", b"\xc1"], [b"", b"", b""], [b"", b"", QUESTION[:9]]):
                socket.send_multipart(parts)


class SaysThePortThatWasAskedFor(joints.ZmqListener):
    async def start(self, service, admission, host, port):
        await super().start(service, admission, host, port)
        return port


class HasOneSessionForAll(joints.ZmqListener):
    async def receive(self, admission):
        while True:
            identity, _, token, frame = await self.socket.recv_multipart()
            peer = Peer("zmq", "everybody", token.decode(), "")
            self.sessions.submit(peer, frame, lambda reply, to=identity: self.reply(to, reply))


class LetsEverybodyIn(joints.ZmqListener):
    async def start(self, service, admission, host, port):
        return await super().start(service, Admission(service), host, port)


class DiesOfWhatItDoesNotKnow(joints.ZmqListener):
    async def receive(self, admission):
        while True:
            identity, _, token, frame = await self.socket.recv_multipart()
            peer = Peer("zmq", identity.hex(), token.decode(), "")
            self.sessions.submit(peer, frame, lambda reply, to=identity: self.reply(to, reply))


class DrainsNothing(joints.ZmqListener):
    async def drain(self):
        pass


class ClosesForEver(joints.ZmqListener):
    async def close(self):
        await super().close()
        await asyncio.Future()


@pytest.mark.parametrize(
    ("kind", "law"),
    [
        (SaysThePortThatWasAskedFor, ListenerLaws.test_it_listens_where_it_says),
        (HasOneSessionForAll, ListenerLaws.test_each_client_has_a_session),
        (LetsEverybodyIn, ListenerLaws.test_admission_is_asked),
        (DiesOfWhatItDoesNotKnow, ListenerLaws.test_who_speaks_something_else_is_nobody_elses_trouble),
        (DrainsNothing, ListenerLaws.test_it_answers_before_it_ends),
        (ClosesForEver, ListenerLaws.test_it_answers_before_it_ends),
    ],
)
def test_a_listener_that_breaks_a_law_is_found(monkeypatch, kind, law):
    monkeypatch.setattr("offboard_core.server.listeners.CLOSE", 0.2)
    laws = TestZmq()
    laws.kind, laws.patience = kind, 1.0  # which only ever makes it fail sooner: it has to
    with pytest.raises((AssertionError, zmq.Again, pytest.fail.Exception)):
        law(laws)
