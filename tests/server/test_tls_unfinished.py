"""A connection is the server's to let go from the moment it is accepted, not only after its handshake of TLS."""

import asyncio
import contextlib
import gc
import json
import logging
import socket
import ssl
from types import SimpleNamespace

import pytest
import uvloop
import waits
from offboard_core.server import Acceptor, Config, HttpProtocol, InferenceServer, ServerConfig
from puppets import PATIENCE, Puppet, source
from robots import get
from scarce import LIMIT, scarce_server
from uvicorn.server import ServerState

#: What a client has sent when it sends no more, and whether its handshake is over by then.
STAGES = ["nothing", "half a hello", "handshake", "half a request"]
UPGRADE = (
    b"GET /api/v1/session HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
)
#: An observation without anything, as a masked frame.
EMPTY = b"\x82\x81\0\0\0\0\x80"


@pytest.fixture(scope="session")
def trusting(certificate):
    return ssl.create_default_context(cafile=str(certificate[0]))


def hello(trusting):
    """What a client says first."""
    sent = ssl.MemoryBIO()
    with contextlib.suppress(ssl.SSLWantReadError):
        trusting.wrap_bio(ssl.MemoryBIO(), sent, server_hostname="127.0.0.1").do_handshake()
    return sent.read()


@contextlib.contextmanager
def stuck(server, trusting, stage):
    with socket.create_connection((server.host, server.port), timeout=PATIENCE) as raw:
        if stage == "half a hello":
            raw.sendall(hello(trusting)[:100])
        if stage in STAGES[:2]:
            yield raw
            return
        with trusting.wrap_socket(raw, server_hostname="127.0.0.1") as connection:
            if stage == "half a request":
                connection.sendall(b"GET /livez HTTP/1.1\r\nX: ")
            yield connection


def rest(connection):
    """What comes until the server closes."""
    found = b""
    with contextlib.suppress(ConnectionResetError, ssl.SSLEOFError):
        while data := connection.recv(65536):
            found += data
    return found


# -- in time -------------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def hasty(certificate):
    cert, key = certificate
    models = {"only": source({"a": Puppet})}
    with InferenceServer(models, port=0, request_timeout=0.3, ssl_certfile=cert, ssl_keyfile=key) as running:
        yield running


@pytest.mark.rule("H-10")
@pytest.mark.parametrize("stage", STAGES)
def test_who_goes_on_no_more_is_let_go(hasty, trusting, stage):
    answers = []

    def let_go():
        with stuck(hasty, trusting, stage) as connection:
            answers.append(rest(connection))
        return answers[-1] or stage != "half a request"  # which on a busy machine may begin too late

    waits.until(let_go, "what has begun is answered")
    answer = answers[-1]
    if stage == "half a request":
        assert answer.startswith(b"HTTP/1.1 408")
        assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "timeout"
    else:
        assert answer == b""


def test_a_handshake_that_was_given_up_leaves_nothing_to_collect(hasty, trusting):
    """Collecting takes a tenth of a second with a model's libraries loaded, and every robot waits for it."""
    gc.collect()
    gc.disable()
    try:
        for stage in STAGES[:2] * 3:
            with stuck(hasty, trusting, stage) as connection:
                rest(connection)
        waits.until(lambda: not any(type(one) is HttpProtocol for one in gc.get_objects()), "all of them are gone")
    finally:
        gc.enable()


@pytest.mark.parametrize("stage", [STAGES[0], STAGES[2]])
def test_a_server_that_stops_waits_for_none_of_them(certificate, trusting, stage):
    cert, key = certificate
    models = {"only": source({"a": Puppet})}
    with (
        InferenceServer(models, port=0, request_timeout=600.0, ssl_certfile=cert, ssl_keyfile=key) as server,
        contextlib.ExitStack() as held,
    ):
        connections = [held.enter_context(stuck(server, trusting, stage)) for _ in range(3)]
        assert get(server, "/livez", tls=trusting)[0] == 200  # by now the others are accepted
        server.stop()
        for connection in connections:
            assert rest(connection) == b""


# -- without descriptors -------------------------------------------------------------------------------------------
@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def scarce(request, certificate):
    with scarce_server(*certificate, loop=request.param) as running:
        yield running
    assert "Traceback" not in running.log


@contextlib.contextmanager
def session(server, trusting):
    """Open, and free of threads: OpenSSL's sockets are not safe for two at once before Python 3.13."""
    with (
        socket.create_connection((server.host, server.port), timeout=PATIENCE) as raw,
        trusting.wrap_socket(raw, server_hostname="127.0.0.1") as connection,
    ):
        connection.sendall(UPGRADE)
        told(connection, b"session_id")
        yield connection


def told(connection, what):
    heard = b""
    while what not in heard:
        heard += (part := connection.recv(65536))
        assert part, heard


@pytest.mark.rule("H-12")
@pytest.mark.parametrize("stage", STAGES[:3])
def test_they_make_room(scarce, trusting, stage):
    with contextlib.ExitStack() as held, session(scarce, trusting) as one:
        for number in range(LIMIT + 40):
            held.enter_context(stuck(scarce, trusting, stage))
            if number % 40 == 0:
                assert get(scarce, "/livez", tls=trusting)[0] == 200
        assert get(scarce, "/readyz", tls=trusting)[0] == 200
        with session(scarce, trusting):
            pass
        one.sendall(EMPTY)
        told(one, b"result")


# -- accepting itself ----------------------------------------------------------------------------------------------
async def nothing(scope, receive, send):
    """An application that nobody asks."""


@contextlib.asynccontextmanager
async def accepting(listener, **bounds):
    """An acceptor, and the protocols it has made."""
    config, state, made = Config(nothing, ServerConfig(**bounds)), ServerState(), []

    def make():
        made.append(HttpProtocol(config=config, server_state=state, app_state={}))
        return made[-1]

    door = Acceptor(listener, config, make)
    try:
        yield SimpleNamespace(door=door, made=made, config=config)
    finally:
        door.close()
        await door.wait_closed()
        for protocol in made:
            protocol.make_room()


async def until(happened):
    async def turn_by_turn():
        while not happened():  # noqa: ASYNC110 (what is counted is turns)
            await asyncio.sleep(0)

    await asyncio.wait_for(turn_by_turn(), PATIENCE)


@pytest.mark.parametrize("turns", range(4))
@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_it_can_be_let_go_at_any_moment(certificate, trusting, loop, turns):
    """Right after it was accepted, too, when the loop's layers have not heard of it."""
    cert, key = certificate

    async def main():
        with socket.create_server(("127.0.0.1", 0)) as listener:
            async with accepting(listener, request_timeout=600.0, ssl_certfile=cert, ssl_keyfile=key) as here:
                raw = socket.create_connection(listener.getsockname(), timeout=PATIENCE)
                raw.sendall(hello(trusting))
                with raw:
                    await until(lambda: here.made)
                    for _ in range(turns):
                        await asyncio.sleep(0)
                    here.made[0].make_room()
                    await asyncio.to_thread(rest, raw)
                    assert not here.config.waiting
                    assert here.made[0] not in here.made[0].connections

    with contextlib.closing(loop()) as running:
        running.run_until_complete(main())
        running.run_until_complete(running.shutdown_default_executor())


@pytest.mark.rule("H-12")
def test_where_the_system_gives_none_room_is_made_and_it_is_tried_again(monkeypatch, caplog):
    monkeypatch.setattr("offboard_core.server.acceptor._PAUSE", 0.01)

    class Full(socket.socket):
        full = False

        def accept(self):
            if self.full:
                self.full = False
                raise OSError(24, "Too many open files")
            return super().accept()

    async def main():
        with Full() as listener, contextlib.ExitStack() as held:
            listener.bind(("127.0.0.1", 0))
            async with accepting(listener) as here:

                def dial():
                    held.enter_context(socket.create_connection(listener.getsockname(), timeout=PATIENCE))

                dial()
                await until(lambda: here.made)
                listener.full = True
                dial()
                await until(lambda: len(here.made) == 2)
                assert list(here.config.waiting) == here.made[1:]

    with caplog.at_level(logging.WARNING):
        asyncio.run(main())
    assert "cannot accept a connection: Too many open files" in caplog.text
