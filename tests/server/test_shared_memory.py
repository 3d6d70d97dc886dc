"""Memory that a client shares with a server on its machine: what a client of ours does, and what a hostile one may."""

import array
import contextlib
import errno
import fcntl
import gc
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pkgutil import resolve_name

import numpy as np
import pytest
from fault_proxy import FaultProxy
from offboard_client import InferenceClient, wire
from offboard_client.errors import BadMessage, ConnectionLost, Unauthorized
from offboard_client.memory import (
    Incoming,
    MemoryOffer,
    Outgoing,
    on_one_machine,
    read_offer,
    reference,
    referred,
    same_user,
)
from offboard_core import Chunk, InferenceServer
from puppets import PATIENCE, Puppet, source
from robots import robot
from scripted_server import OFFBOARD, Both, ScriptedServer
from waits import until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux's memory")
OURS = "dialect=offboard"
Copying = resolve_name("offboard_core.server.door:Copying")
MIB = 1 << 20
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
#: More than is sent by the socket.
X = np.arange(8192, dtype=np.float32)


def told_sum(episode, inputs):
    """The sum of what came, so that each answer says what it answers."""
    return Chunk(np.full((2, 3), float(np.sum(inputs["x"], dtype=np.float64))))


@pytest.fixture(scope="module")
def server():
    with InferenceServer({"only": source({"a": lambda: Puppet(told_sum)})}, port=0) as server:
        yield server


def summed(reply):
    return float(reply["result"][0]["action"][0])


def memory(size=MIB, seals=SEALS, name="x"):
    fd = os.memfd_create(name, os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


def huge():
    try:
        fd = os.memfd_create("x", os.MFD_ALLOW_SEALING | os.MFD_HUGETLB)
    except OSError as error:
        pytest.skip(f"no huge pages: {error}")
    os.ftruncate(fd, 1 << 30)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, SEALS)
    return fd


def at_the_door(offer, data, *fds):
    """Knock, say it, pass these; what is answered."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.settimeout(PATIENCE)
        sock.connect(b"\0" + offer["door"].encode())
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        sock.sendmsg([data], rights)
        return sock.recv(200)


@contextlib.contextmanager
def sharing(server, size=MIB, query=OURS):
    """A raw client whose memory the server has; and where to write."""
    with robot(server, query=query) as one:
        offer = one.opened()["memory"]
        fd = memory(size)
        try:
            assert at_the_door(offer, offer["key"].encode(), fd) == b"taken"
            yield one, fd, offer
        finally:
            os.close(fd)


def descriptors():
    return len(os.listdir("/proc/self/fd"))


def open_memory(name="offboard"):
    """Descriptors of memory that this process has, of this name."""
    found = []
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.append(os.readlink(f"/proc/self/fd/{fd}"))
    return sum(each.startswith(f"/memfd:{name} ") for each in found)


def no_memory_is_open():
    """What sessions of other tests had is gone, which is so a moment after they have ended."""
    until(lambda: gc.collect() >= 0 and open_memory() == 0, "what others had is gone")


def at_doors():
    """The threads at the doors of all servers."""
    return {thread for thread in threading.enumerate() if thread.name == "offboard-door"}


class NoMore(socket.socket):
    """A listener, for whose visitors the system has no descriptor ``fails`` times."""

    fails = 0

    def accept(self):
        if self.fails > 0:
            self.fails -= 1
            raise OSError(errno.EMFILE, "Too many open files")
        return super().accept()


# -- a client of ours -----------------------------------------------------------------------------------------------
@pytest.mark.rule("Y-7")
@pytest.mark.parametrize("how", ["blocking", "async"])
@pytest.mark.parametrize("shared", [True, False])
def test_answers_are_the_same_with_memory_and_without(server, how, shared):
    with Both(how) as clients:
        session = clients.session("127.0.0.1", server.port, shared_memory=shared)
        for i in range(5):
            rows = clients.wait(session.infer({"x": X + i, "task": "a" * (20000 * (i % 2))}))
            assert rows[0]["action"]["action"][0] == float(np.sum(X + i, dtype=np.float64))
        assert session.shared_memory is shared
        clients.wait(session.close())


def test_most_of_an_observation_does_not_go_by_the_socket(server):
    with FaultProxy(server.port) as link:
        passed = {}
        for shared in (True, False):
            with (
                InferenceClient("127.0.0.1", link.port, shared_memory=shared) as client,
                client.new_session() as session,
            ):
                before = link.passed
                for _ in range(10):
                    session.infer({"x": X})
                passed[shared] = link.passed - before
    assert passed[True] < 10 * 2000
    assert passed[False] > 10 * X.nbytes


def test_memory_is_shared_over_tls_with_a_token_and_after_a_reconnect(certificate):
    cert, key = certificate
    trusted = ssl.create_default_context(cafile=cert)
    model = {"only": source({"a": lambda: Puppet(told_sum)})}
    with InferenceServer(model, port=0, ssl_certfile=cert, ssl_keyfile=key, auth_token="t") as server:
        url = f"wss://127.0.0.1:{server.port}"
        with pytest.raises(Unauthorized):
            InferenceClient(url, ssl=trusted).new_session()
        with InferenceClient(url, ssl=trusted, auth_token="t") as client, client.new_session() as session:
            for _ in range(2):
                assert session.infer({"x": X})[0]["action"]["action"][0] == float(np.sum(X))
                assert session.shared_memory
                session._connection.interrupt()
                with pytest.raises(ConnectionLost):
                    session.infer({"x": X})


def test_who_seems_to_be_here_and_is_not_goes_on_by_the_socket(server, monkeypatch):
    """As at the other end of a tunnel, where nobody listens under that name."""
    offered = MemoryOffer("offboard-" + "0" * 32, "0" * 32)
    monkeypatch.setattr("offboard_client.wire.messages.read_offer", lambda found: offered)
    with InferenceClient("127.0.0.1", server.port) as client, client.new_session() as session:
        assert session.infer({"x": X})[0]["action"]["action"][0] == float(np.sum(X))
        assert not session.shared_memory


def test_a_door_that_never_answers_costs_a_second_and_nothing_else(server, monkeypatch):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as hung:
        name = "offboard-" + os.urandom(16).hex()
        hung.bind(b"\0" + name.encode())
        hung.listen(1)
        offered = MemoryOffer(name, "0" * 32)
        with InferenceClient("127.0.0.1", server.port) as client, client.new_session() as session:
            assert session.infer({"x": X})  # what is opened at first use is open now
        monkeypatch.setattr("offboard_client.wire.messages.read_offer", lambda found: offered)
        before = descriptors()
        with InferenceClient("127.0.0.1", server.port) as client, client.new_session() as session:
            assert session.infer({"x": X})[0]["action"]["action"][0] == float(np.sum(X))
            assert not session.shared_memory
        gc.collect()
        until(lambda: descriptors() <= before, "nothing of it is left open")


@pytest.mark.parametrize(
    "said",
    [
        None, [], "offboard", {}, {"door": "offboard-" + "0" * 32}, {"door": "/tmp/.X11-unix/X0", "key": "0" * 32},
        {"door": "offboard-" + "0" * 31, "key": "0" * 32}, {"door": "offboard-" + "0" * 32 + "\n", "key": "0" * 32},
        {"door": b"offboard-" + b"0" * 32, "key": "0" * 32}, {"door": "offboard-" + "0" * 32, "key": "0" * 33},
        {"door": "offboard-" + "0" * 32, "key": 7}, {"door": "offboard-" + "٣" * 32, "key": "0" * 32},
    ],
)  # fmt: skip
def test_an_offer_of_any_other_form_is_none_so_that_no_server_leads_a_client_to_anothers_socket(said):
    assert read_offer(said) is None


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("127.0.0.1", "127.0.0.1", True), ("127.0.0.1", "127.0.0.2", True), ("::1", "127.0.0.1", True),
        ("192.0.2.7", "192.0.2.7", True), ("192.0.2.7", "192.0.2.8", False), ("127.0.0.1", "192.0.2.8", False),
        ("", "127.0.0.1", False), ("a", "b", False), ("fe80::1%eth0", "fe80::2%eth0", False),
    ],
)  # fmt: skip
def test_who_is_on_one_machine_is_told_by_the_addresses(one, other, same):
    assert on_one_machine(one, other) is same


def test_references_are_nine_bytes_with_which_no_message_begins():
    assert referred(reference(2**40)) == 2**40
    assert referred(memoryview(reference(0))) == 0
    for other in (b"", b"\xc1", b"\xc1" * 8, b"\xc1" * 10, b"\x80" + b"0" * 8):
        assert referred(other) is None
    with pytest.raises(BadMessage, match="lies in shared memory"):
        wire.decode(reference(5))


@pytest.mark.rule("Y-7")
@pytest.mark.parametrize("said", [b"no", b"taken twice", b""])
def test_only_who_says_taken_is_believed_to_have_it(server, monkeypatch, said):
    monkeypatch.setattr("offboard_core.server.door.Door._taken", lambda *_: said)
    with InferenceClient("127.0.0.1", server.port) as client, client.new_session() as session:
        assert session.infer({"x": X})
        assert not session.shared_memory


@pytest.mark.parametrize("asked", ["memory.handing.same_user", "session.shared.on_one_machine"])
def test_nothing_is_handed_to_another_user_or_machine(server, monkeypatch, asked):
    monkeypatch.setattr(f"offboard_client.{asked}", lambda *_: False)
    with InferenceClient("127.0.0.1", server.port) as client, client.new_session() as session:
        assert session.infer({"x": X})
        assert not session.shared_memory


@pytest.mark.parametrize("how", ["blocking", "async"])
def test_memory_takes_one_descriptor_at_each_end_which_is_what_was_reckoned_with(how):
    """Python keeps one for what it maps; neither the one that was passed nor the one that came is kept beside it."""
    model = {"only": source({"a": lambda: Puppet(told_sum)})}
    with InferenceServer(model, port=0) as server, Both(how) as clients:
        no_memory_is_open()
        session = clients.session("127.0.0.1", server.port)
        assert clients.wait(session.infer({"x": X}))
        assert session.shared_memory
        assert open_memory() == 2
        clients.wait(session.close())


def test_what_is_small_goes_by_the_socket(server):
    with InferenceClient("127.0.0.1", server.port) as client, client.new_session() as session:
        lay = session._connection.protocol.websocket.lay
        assert lay([b"x" * 16383]) == [b"x" * 16383]
        assert lay([b"x" * 16000, b"x" * 384]) == (reference(16384),)
        assert lay([b"x" * MIB] * 3) == (reference(3 * MIB),)


@pytest.mark.parametrize("how", ["blocking", "async"])
def test_a_server_that_is_gone_when_it_has_said_ready_is_a_lost_connection(how, monkeypatch):
    gone = threading.Event()

    def reset(peer):
        peer.ready(OFFBOARD)
        peer.reset()
        gone.set()

    def offered(found):
        assert gone.wait(PATIENCE)
        return MemoryOffer("offboard-" + "0" * 32, "0" * 32)

    monkeypatch.setattr("offboard_client.wire.messages.read_offer", offered)
    with ScriptedServer(reset) as scripted, Both(how) as clients, pytest.raises(ConnectionLost):
        clients.wait(clients.session("127.0.0.1", scripted.port).infer({"x": X}))


def test_a_loop_whose_threads_are_all_taken_opens_its_session_without_memory(server, monkeypatch):
    """The door is asked on a thread, of which there may never be one."""
    over = threading.Event()
    monkeypatch.setattr("offboard_client.session.streams.share", lambda *_: over.wait(PATIENCE))
    monkeypatch.setattr("offboard_client.session.streams.LONGEST", 0.01)
    with Both("async") as clients:
        try:
            session = clients.session("127.0.0.1", server.port)
            assert clients.wait(session.infer({"x": X}))
            assert not session.shared_memory
            assert not over.is_set()
            clients.wait(session.close())
        finally:
            over.set()


# -- the offer ------------------------------------------------------------------------------------------------------
@pytest.mark.rule("Y-1")
@pytest.mark.parametrize(
    ("query", "offered"),
    [(OURS, True), ("", False), ("dialect=positronic", False), (OURS + "&encoding=json", False)],
)
def test_memory_is_offered_to_who_knows_of_it(query, offered):
    model = {"only": source({"a": lambda: Puppet(told_sum)}, fps=10.0)}
    with InferenceServer(model, port=0) as server, robot(server, query=query) as one:
        assert ("memory" in one.opened()) is offered


@pytest.mark.rule("Y-1")
def test_memory_is_not_offered_where_the_server_was_told_so():
    with InferenceServer({"only": source({"a": lambda: Puppet(told_sum)})}, port=0, shared_memory=False) as server:
        with robot(server, query=OURS) as one:
            assert "memory" not in one.opened()
        with InferenceClient("127.0.0.1", server.port) as client, client.new_session() as session:
            assert session.infer({"x": X})
            assert not session.shared_memory


@pytest.mark.rule("Y-1")
def test_memory_is_not_offered_to_who_comes_from_elsewhere(server, monkeypatch):
    monkeypatch.setattr("offboard_core.server.door.on_one_machine", lambda one, other: False)
    with robot(server, query=OURS) as one:
        assert "memory" not in one.opened()


@pytest.mark.rule("Y-1")
def test_no_memory_is_taken_where_the_system_cannot_seal_it(monkeypatch):
    monkeypatch.setattr("offboard_core.server.door.SEALED", False)
    model = {"only": source({"a": lambda: Puppet(told_sum)})}
    with InferenceServer(model, port=0) as server, robot(server, query=OURS) as one:
        assert "memory" not in one.opened()


# -- the door -------------------------------------------------------------------------------------------------------
@pytest.mark.rule("Y-2")
@pytest.mark.parametrize(
    ("make", "why"),
    [
        (list, b"exactly one"),
        (lambda: [memory(), memory()], b"exactly one"),
        (lambda: [memory() for _ in range(20)], b"exactly one"),
        (lambda: [memory(seals=0)], b"not sealed"),
        (lambda: [memory(seals=fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)], b"not sealed"),
        (lambda: [memory(seals=SEALS & ~fcntl.F_SEAL_SEAL)], b"not sealed"),
        (lambda: [memory(size=0)], b"0 bytes"),
        (lambda: [memory(size=1 << 31)], b"2,147,483,648 bytes"),
        (lambda: [os.open("/dev/zero", os.O_RDONLY)], b"no memory"),
        (lambda: [os.open(__file__, os.O_RDONLY)], b"no memory"),
        (lambda: list(os.pipe()[:1]), b"no memory"),
        (lambda: [socket.socket().detach()], b"no memory"),
        (lambda: [os.open(__file__, os.O_PATH)], b"no memory"),
        (lambda: [huge()], b"huge pages"),
    ],
)
def test_what_is_no_memory_of_a_size_that_stays_is_not_taken_and_the_session_goes_on(server, make, why):
    before = descriptors()
    with robot(server, query=OURS) as one:
        offer = one.opened()["memory"]
        fds = make()
        try:
            assert why in at_the_door(offer, offer["key"].encode(), *fds)
        finally:
            for fd in fds:
                os.close(fd)
        assert one.ask(reference(100))["code"] == "bad_message"
        assert summed(one.ask({"x": X})) == float(np.sum(X))
        fd = memory()  # the key is good still
        assert at_the_door(offer, offer["key"].encode(), fd) == b"taken"
        assert b"no session" in at_the_door(offer, offer["key"].encode(), fd)  # once
        os.close(fd)
    until(lambda: descriptors() <= before + 2, "nothing that was passed stays open")  # pipe()'s other end among them


@pytest.mark.rule("Y-2")
@pytest.mark.parametrize("said", [b"0" * 32, b"\xff" * 32, b"x", b"0" * 65536])
def test_a_key_that_is_none_opens_nothing(server, said):
    with robot(server, query=OURS) as one:
        offer = one.opened()["memory"]
        fd = memory()
        try:
            assert b"no session" in at_the_door(offer, said, fd)
        finally:
            os.close(fd)


@pytest.mark.rule("Y-2")
def test_the_key_of_a_session_that_has_ended_opens_nothing(server):
    with robot(server, query=OURS) as one:
        offer = one.opened()["memory"]
    fd = memory()
    try:
        until(lambda: b"no session" in at_the_door(offer, offer["key"].encode(), fd), "the key is forgotten")
    finally:
        os.close(fd)


@pytest.mark.rule("Y-2")
def test_of_two_who_come_with_one_key_at_once_one_is_heard(server, monkeypatch):
    both = threading.Barrier(2)

    class Together(Incoming):
        def take(self, fd):
            both.wait(PATIENCE)
            super().take(fd)

    monkeypatch.setattr("offboard_core.server.door.Incoming", Together)
    with robot(server, query=OURS) as one, ThreadPoolExecutor(2) as pool:
        offer = one.opened()["memory"]
        fds = [memory(), memory()]
        try:
            said = sorted(pool.map(lambda fd: at_the_door(offer, offer["key"].encode(), fd), fds))
        finally:
            for fd in fds:
                os.close(fd)
        assert b"no session" in said[0]
        assert said[1] == b"taken"
        assert summed(one.ask({"x": X})) == float(np.sum(X))


@pytest.mark.rule("Y-2")
def test_memory_that_arrives_when_its_session_has_just_ended_is_not_kept(server, monkeypatch):
    come, ended = threading.Event(), threading.Event()

    class Late(Incoming):
        def take(self, fd):
            come.set()
            assert ended.wait(PATIENCE)
            super().take(fd)

    monkeypatch.setattr("offboard_core.server.door.Incoming", Late)
    with ThreadPoolExecutor(1) as pool:
        with robot(server, query=OURS) as one:
            offer, fd = one.opened()["memory"], memory(name="late")
            said = pool.submit(at_the_door, offer, offer["key"].encode(), fd)
            assert come.wait(PATIENCE)
        until(lambda: b"no session" in at_the_door(offer, offer["key"].encode()), "its session has ended")
        ended.set()
        assert b"no session" in said.result(PATIENCE)
        os.close(fd)
    until(lambda: open_memory("late") == 0, "it is let go")


@pytest.mark.rule("Y-2")
@pytest.mark.parametrize("count", [1, 2, 20])
def test_what_is_passed_is_closed_in_any_case_and_no_program_that_is_started_meanwhile_gets_it(
    server, monkeypatch, count
):
    seen = []

    class Looks(Incoming):
        def take(self, fd):
            seen.append(os.get_inheritable(fd))
            super().take(fd)

    monkeypatch.setattr("offboard_core.server.door.Incoming", Looks)
    name = f"passed {count}"
    with robot(server, query=OURS) as one:
        offer, fds = one.opened()["memory"], [memory(name=name) for _ in range(count)]
        said = at_the_door(offer, offer["key"].encode(), *fds)
        assert (said == b"taken") is (count == 1)
        for fd in fds:
            os.close(fd)
        kept = count == 1  # Python's own, for what it maps
        until(lambda: open_memory(name) == kept, "what was passed is closed")
    assert seen == [False] * kept


@pytest.mark.rule("Y-6")
def test_who_only_stands_there_is_shut_out_and_keeps_nobody_out_for_long(server):
    with robot(server, query=OURS) as one, contextlib.ExitStack() as stack:
        offer = one.opened()["memory"]
        standing = []
        for _ in range(40):
            sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))  # waits in line
            sock.connect(b"\0" + offer["door"].encode())
            sock.settimeout(PATIENCE)
            standing.append(sock)
        assert [sock.recv(1) for sock in standing] == [b""] * 40
        fd = memory()
        try:
            assert at_the_door(offer, offer["key"].encode(), fd) == b"taken"
        finally:
            os.close(fd)


@contextlib.contextmanager
def lingering():
    """A socket that is closed when what it has sent is read, however long that takes."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        sock = stack.enter_context(socket.create_connection(listener.getsockname()))
        stack.enter_context(listener.accept()[0])
        sock.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                sock.send(b"x" * 65536)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 3600))
        yield sock


@pytest.mark.rule("Y-6")
@pytest.mark.parametrize("heard", [True, False])
def test_what_takes_for_ever_to_be_closed_stops_nobody(server, monkeypatch, heard):
    """The last descriptor of it is the server's, whether it reads it or hangs up."""
    sent = threading.Event()
    monkeypatch.setattr("offboard_core.server.door.same_user", lambda sock: sent.wait(PATIENCE) and heard)
    with robot(server, query=OURS) as one, contextlib.ExitStack() as stack:
        offer = one.opened()["memory"]
        for _ in range(3):
            linger = stack.enter_context(lingering())
            sock = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            sock.connect(b"\0" + offer["door"].encode())
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [linger.fileno()]))]
            sock.sendmsg([offer["key"].encode()], rights)
            linger.close()
        sent.set()
        for _ in range(20):
            assert summed(one.ask({"x": X})) == float(np.sum(X))


@pytest.mark.rule("Y-6")
def test_a_server_ends_with_people_at_its_door(monkeypatch):
    monkeypatch.setattr("offboard_core.server.door._WAIT", 10 * PATIENCE)
    model = {"only": source({"a": lambda: Puppet(told_sum)})}
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.settimeout(PATIENCE)
        with InferenceServer(model, port=0) as server, robot(server, query=OURS) as one:
            name = b"\0" + one.opened()["memory"]["door"].encode()
            sock.connect(name)
        assert sock.recv(1) == b""

    def listens():
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            return sock.connect_ex(name) == 0

    until(lambda: not listens(), "nobody listens there any more")


@pytest.mark.rule("Y-6")
def test_a_door_that_is_closed_hears_nobody_who_came_a_moment_before(monkeypatch):
    """Who is not yet known to stand there is not told that it closes, and would be waited for."""
    arrived, closed = threading.Event(), threading.Event()

    def comes(sock):
        arrived.set()
        return closed.wait(PATIENCE)

    monkeypatch.setattr("offboard_core.server.door._WAIT", 10 * PATIENCE)
    monkeypatch.setattr("offboard_core.server.door.same_user", comes)
    before = at_doors()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        sock.settimeout(PATIENCE)
        model = {"only": source({"a": lambda: Puppet(told_sum)})}
        with InferenceServer(model, port=0) as server, robot(server, query=OURS) as one:
            sock.connect(b"\0" + one.opened()["memory"]["door"].encode())
            assert arrived.wait(PATIENCE)
        closed.set()
        assert sock.recv(1) == b""
        until(lambda: not at_doors() - before, "its thread has gone")


def test_a_door_opens_again_after_more_visitors_than_there_is_room_for_could_not_be_let_in(monkeypatch, caplog):
    monkeypatch.setattr("offboard_core.server.door._PAUSE", 0.0)
    monkeypatch.setattr(NoMore, "fails", 20)
    monkeypatch.setattr(
        "offboard_core.server.door.unshared",
        lambda sock: NoMore(sock.family, sock.type, fileno=sock.detach()),
    )
    model = {"only": source({"a": lambda: Puppet(told_sum)})}
    with InferenceServer(model, port=0) as server, sharing(server) as (one, _, _):
        assert summed(one.ask({"x": X})) == float(np.sum(X))
    assert caplog.text.count("nobody can hand over memory: [Errno 24] Too many open files; trying again") == 20


@pytest.mark.rule("Y-6")
def test_a_server_ends_with_a_door_where_nobody_moves_any_more(monkeypatch):
    """Who stands there does so for ever, and there is room for nobody else."""
    arrived, sent = threading.Event(), threading.Event()

    def comes(sock):
        arrived.set()
        return not sent.wait(PATIENCE)

    monkeypatch.setattr("offboard_core.server.door._MOST", 1)
    monkeypatch.setattr("offboard_core.server.door.same_user", comes)
    before = at_doors()
    with lingering() as linger, socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
        with InferenceServer({"only": source({"a": lambda: Puppet(told_sum)})}, port=0) as server:
            with robot(server, query=OURS) as one:
                sock.connect(b"\0" + one.opened()["memory"]["door"].encode())
                rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [linger.fileno()]))]
                sock.sendmsg([b"x"], rights)
                linger.close()
                assert arrived.wait(PATIENCE)
                sent.set()
            assert len(at_doors() - before) == 2
        until(lambda: len(at_doors() - before) <= 1, "who opens the door has gone")
    until(lambda: not at_doors() - before, "and who stood there")


STRANGER = """
import os, socket, sys
os.setgid(65534); os.setuid(65534)
sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
sock.settimeout(30)
sock.connect(b"\\0" + sys.argv[1].encode())
try:
    sock.send(sys.argv[2].encode())
    print(sock.recv(200))
except (BrokenPipeError, ConnectionResetError):
    print(b"")
"""


@pytest.mark.rule("Y-6")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_user_is_not_heard_at_the_door(server):
    with robot(server, query=OURS) as one:
        offer = one.opened()["memory"]
        command = [sys.executable, "-c", STRANGER, offer["door"], offer["key"]]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        assert done.stdout == "b''\n"
        fd = memory()
        try:
            assert at_the_door(offer, offer["key"].encode(), fd) == b"taken"  # the key is still good
        finally:
            os.close(fd)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_our_client_hands_nothing_to_another_user(server, monkeypatch):
    monkeypatch.setattr("offboard_client.memory.handing.os.geteuid", lambda: 65534)
    with InferenceClient("127.0.0.1", server.port) as client, client.new_session() as session:
        assert not session.shared_memory


# -- messages -------------------------------------------------------------------------------------------------------
@pytest.mark.rule("Y-3")
def test_what_lies_there_is_the_message_with_all_that_holds_of_one(server):
    with sharing(server) as (one, fd, _):
        for seq, value in enumerate((X, X + 1, X[:3]), start=1):
            data = wire.encode({"x": value, "offboard.seq": seq})
            os.pwrite(fd, data, 0)
            reply = one.ask(reference(len(data)))
            assert (summed(reply), reply["offboard.seq"]) == (float(np.sum(value, dtype=np.float64)), seq)
        assert summed(one.ask({"x": X})) == float(np.sum(X))  # by the socket, as before
        control = wire.encode({"type": "ping"})
        os.pwrite(fd, control, 0)
        assert "model_ms" in one.ask(reference(len(control)))


@pytest.mark.rule("Y-3")
@pytest.mark.parametrize(
    "data",
    [b"", b"\xc1", b"\x80\x80", wire.encode({"x": np.full(3, np.nan)}), os.urandom(5000), b"\xdf" * 5000],
)
def test_what_is_refused_of_a_message_is_refused_of_one_that_lies_there(server, data):
    with sharing(server) as (one, fd, _):
        sent = one.ask(data)
        os.pwrite(fd, data, 0)
        laid = one.ask(reference(len(data)))
        assert (laid.get("code"), laid.get("error")) == (sent.get("code"), sent.get("error"))
        assert summed(one.ask({"x": X})) == float(np.sum(X))


@pytest.mark.rule("Y-4")
@pytest.mark.parametrize("size", [MIB + 1, 2**31, 2**32 + 5, 2**63, 2**64 - 1])
def test_more_than_was_handed_over_is_no_message(server, size):
    with sharing(server) as (one, _, _):
        reply = one.ask(struct.pack("<BQ", 0xC1, size))
        assert reply["code"] == "bad_message"
        assert "shared memory" in reply["error"]
        assert summed(one.ask({"x": X})) == float(np.sum(X))


@pytest.mark.rule("Y-4")
def test_more_than_a_message_may_have_is_none_though_it_lies_there(server):
    with sharing(server, size=64 * MIB) as (one, _, _):
        assert one.ask(reference(32 * MIB + 1))["code"] == "bad_message"
        assert summed(one.ask({"x": X})) == float(np.sum(X))


@pytest.mark.rule("Y-4")
def test_who_handed_nothing_over_refers_to_nothing(server):
    with robot(server, query=OURS) as one:
        one.opened()
        assert one.ask(reference(5))["code"] == "bad_message"
        assert summed(one.ask({"x": X})) == float(np.sum(X))


@pytest.mark.rule("Y-3")
def test_what_is_referred_to_before_the_last_answer_is_not_read(door):
    """Nine bytes cost who sends them nothing, and reading 32 MiB costs everybody a while."""
    model = {"only": source({"a": lambda: Puppet(told_sum, doors={0: door})})}
    with InferenceServer(model, port=0) as server, sharing(server) as (one, fd, _):
        one.send({"x": X})
        assert door.entered.wait(PATIENCE)
        for _ in range(5):
            one.send(reference(MIB))
        assert one.connection.ping().wait(PATIENCE)  # so that they have been read
        door.open()
        assert summed(one.receive()) == float(np.sum(X))
        assert [one.receive()["code"] for _ in range(5)] == ["busy"] * 5
        assert os.fstat(fd).st_blocks == 0  # a page that is read is there
        data = wire.encode({"x": X})
        os.pwrite(fd, data, 0)
        assert summed(one.ask(reference(len(data)))) == float(np.sum(X))


#: What is copied in several turns of the event loop, as it lies there.
LARGE = wire.encode({"x": np.ones(2 << 20, np.float32), "offboard.seq": 7})


@pytest.fixture
def held(monkeypatch):
    """A large message is not whole before this is set; ``held.begun``: its copy is under way."""
    whole = threading.Event()
    whole.begun = threading.Event()

    class Held(Copying):
        def go_on(self):
            whole.begun.set()
            return super().go_on() if whole.is_set() else None

    monkeypatch.setattr("offboard_core.server.door.Copying", Held)
    yield whole
    whole.set()


@pytest.mark.rule("Y-3")
def test_a_large_message_is_copied_in_pieces_and_is_the_message(server, monkeypatch):
    pieces = []

    class Counted(Copying):
        def go_on(self):
            pieces.append(1)
            return super().go_on()

    monkeypatch.setattr("offboard_core.server.door.Copying", Counted)
    with sharing(server, size=16 * MIB) as (one, fd, _):
        os.pwrite(fd, LARGE, 0)
        for _ in range(2):
            reply = one.ask(reference(len(LARGE)))
            assert (summed(reply), reply["offboard.seq"]) == (float(2 << 20), 7)
        assert len(pieces) == 2 * (len(LARGE) // MIB + 1)
        assert summed(one.ask({"x": X})) == float(np.sum(X))


def test_others_are_answered_while_a_large_message_is_copied(server, held):
    with sharing(server, size=16 * MIB) as (one, fd, _), robot(server, query=OURS) as other:
        other.opened()
        os.pwrite(fd, LARGE, 0)
        one.send(reference(len(LARGE)))
        assert held.begun.wait(PATIENCE)
        for _ in range(3):
            assert summed(other.ask({"x": X})) == float(np.sum(X))
        held.set()
        assert summed(one.receive()) == float(2 << 20)


@pytest.mark.rule("Y-4")
def test_what_is_sent_behind_a_large_message_is_answered_behind_it(server, held):
    with sharing(server, size=16 * MIB) as (one, fd, _):
        os.pwrite(fd, LARGE, 0)
        one.send(reference(len(LARGE)))
        assert held.begun.wait(PATIENCE)
        one.send({"type": "ping"})
        one.send({"x": X, "offboard.seq": 8})
        one.send(reference(5))
        until(lambda: behind() == 3, "they have come")
        held.set()
        first, *rest = [one.receive() for _ in range(4)]
        assert summed(first) == float(2 << 20)
        assert "model_ms" in rest[0]
        assert [each.get("code") for each in rest[1:]] == ["busy", "busy"]
        assert rest[1]["offboard.seq"] == 8
        assert summed(one.ask({"x": X})) == float(np.sum(X))


def behind():
    """How many messages wait for one that is copied."""
    found = [each for each in gc.get_objects() if type(each).__name__ == "WebSocketProtocol"]
    return sum(len(each._behind) for each in found)


def test_who_leaves_while_a_message_is_copied_leaves_nothing(server, held):
    with sharing(server, size=16 * MIB) as (one, fd, _):
        os.pwrite(fd, LARGE, 0)
        one.send(reference(len(LARGE)))
        assert held.begun.wait(PATIENCE)
        one.send({"x": X})
        until(lambda: behind() == 1, "it has come")
        one.vanish()
    until(lambda: gc.collect() >= 0 and copies() == 0, "nothing is copied any more, though it was not whole")


def copies():
    return sum(type(each).__name__ == "Held" for each in gc.get_objects())


@pytest.mark.parametrize("what", [{"type": "ping"}, {"x": np.zeros(9 << 20, np.uint8)}], ids=["many", "much"])
def test_who_sends_on_and_on_behind_a_large_message_is_shut_out(server, held, what):
    with sharing(server, size=16 * MIB) as (one, fd, _):
        os.pwrite(fd, LARGE, 0)
        one.send(reference(len(LARGE)))
        assert held.begun.wait(PATIENCE)
        with contextlib.suppress(OSError):
            for _ in range(65 if "type" in what else 4):
                one.send(what)
        assert one.closed() == wire.CLOSE_REFUSED
        assert one.reason == "too many frames without waiting for replies"


@pytest.mark.rule("Y-5")
def test_what_is_written_there_after_it_was_read_is_in_no_answer(door):
    model = {"only": source({"a": lambda: Puppet(told_sum, doors={0: door})})}
    with InferenceServer(model, port=0) as server, sharing(server) as (one, fd, _):
        data = wire.encode({"x": X})
        os.pwrite(fd, data, 0)
        one.send(reference(len(data)))
        assert door.entered.wait(PATIENCE)
        os.pwrite(fd, b"\xff" * len(data), 0)
        door.open()
        assert summed(one.receive()) == float(np.sum(X))


@pytest.mark.rule("Y-5")
def test_who_writes_while_it_is_read_disturbs_only_himself(server):
    """Each answer is of some mixture of what lay there, or bad_message; another robot's are its own."""
    stop = threading.Event()
    data = [wire.encode({"x": np.full(8192, value, np.float32)}) for value in (1.0, 2.0)]
    with sharing(server) as (one, fd, _), robot(server, query=OURS) as other:
        other.opened()

        def write():
            while not stop.is_set():
                for each in data:
                    os.pwrite(fd, each, 0)
                os.pwrite(fd, b"\xff" * 64, 0)

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for _ in range(200):
                reply = one.ask(reference(len(data[0])))
                assert reply.get("code") in (None, "bad_message", "bad_observation"), reply
                if "code" not in reply:
                    assert 8192.0 <= summed(reply) <= 16384.0
                assert summed(other.ask({"x": X})) == float(np.sum(X))
        finally:
            stop.set()
            writer.join()


def test_memory_with_holes_and_of_who_has_gone_is_harmless(server):
    with sharing(server) as (one, fd, _):
        os.set_blocking(fd, False)
        with pytest.raises(PermissionError):
            os.ftruncate(fd, 10)  # it is sealed
        assert one.ask(reference(MIB))["code"] == "bad_message"  # nothing was ever written there
        one.send(reference(MIB))
        one.vanish()
    with robot(server, query=OURS) as other:
        other.opened()
        assert summed(other.ask({"x": X})) == float(np.sum(X))


def test_memory_ends_with_its_session_and_with_the_client():
    def mapped():
        with open("/proc/self/maps") as maps:
            return sum("memfd:offboard" in line for line in maps)

    with InferenceServer({"only": source({"a": lambda: Puppet(told_sum)})}, port=0) as server:
        before = mapped()
        with InferenceClient("127.0.0.1", server.port) as client:
            with client.new_session() as session:
                assert session.infer({"x": X})  # what is opened at first use is open now
            del session
            gc.collect()
            until(lambda: mapped() == before, "no memory is mapped any more")
            open_before = descriptors()
            for _ in range(5):
                with client.new_session() as session:
                    assert session.infer({"x": X})
                    assert session.shared_memory
                    assert mapped() >= before + 2  # the client's and the server's
        del session
        gc.collect()
        until(lambda: mapped() == before, "no memory is mapped any more")
        until(lambda: descriptors() <= open_before, "no descriptor is left")


def test_nothing_is_kept_of_a_session_that_has_ended_whether_it_handed_memory_over_or_not():
    def places(door):
        found = [each for each in gc.get_objects() if type(each).__name__ == "Place"]
        return sum(each._door.name == door for each in found)

    model = {"only": source({"a": lambda: Puppet(told_sum)})}
    with InferenceServer(model, port=0) as server:
        for _ in range(5):
            with sharing(server) as (_, _, offer), robot(server, query=OURS) as other:
                other.opened()
                assert places(offer["door"]) >= 2
        until(lambda: gc.collect() >= 0 and places(offer["door"]) <= 1, "of all but the last nothing is kept")


@pytest.mark.rule("Y-3")
def test_a_reference_to_a_reference_is_no_message(server):
    with sharing(server) as (one, fd, _):
        os.pwrite(fd, reference(9), 0)
        assert one.ask(reference(9))["code"] == "bad_message"
        assert summed(one.ask({"x": X})) == float(np.sum(X))


def test_memory_takes_no_descriptor_that_a_session_may_need(server, monkeypatch):
    monkeypatch.setattr("offboard_core.server.door.lacking", lambda newest: newest > server.config.max_sessions)
    with InferenceClient("127.0.0.1", server.port) as client, client.new_session() as session:
        assert session.infer({"x": X})
        assert not session.shared_memory


def test_an_image_that_lies_askew_in_its_array_arrives_as_it_is(server):
    grid = np.arange(4 * 8192, dtype=np.float32).reshape(8192, 4)
    with InferenceClient("127.0.0.1", server.port) as client, client.new_session() as session:
        for view in (grid[:, 1], grid[::-1, 2], grid.T, grid[::2], grid.astype(">f4"), grid.astype(np.float16)[:, :3]):
            found = session.infer({"x": view})[0]["action"]["action"][0]
            assert found == float(np.sum(view, dtype=np.float64))


def test_what_is_too_large_for_the_memory_is_said_as_ever(server):
    with InferenceClient("127.0.0.1", server.port) as client, client.new_session() as session:
        assert session.infer({"x": X})
        with pytest.raises(BadMessage, match="smaller"):
            session.infer({"x": np.zeros(34 * MIB, np.uint8)})


def test_outgoing_memory_is_as_large_as_it_was_reserved_and_taken_as_it_is_written():
    out = Outgoing()
    out.reserve(32 * MIB)
    try:
        assert os.fstat(out.fresh).st_blocks == 0
        out.lay([b"abc", memoryview(b"defg")])
        assert os.pread(out.fresh, 8, 0) == b"abcdefg\0"
        assert os.fstat(out.fresh).st_blocks * 512 <= 2 * MIB
    finally:
        out.drop()


@pytest.mark.rule("Y-5")
def test_memory_that_came_cannot_be_written_to():
    came = Incoming()
    came.take(memory())
    with pytest.raises(TypeError):
        came.map[0:1] = b"x"


@pytest.mark.rule("Y-6")
@pytest.mark.parametrize(("user", "same"), [(0, True), (1, False)])
def test_a_process_of_the_same_group_alone_is_another_users(user, same):
    class Peer:
        def getsockopt(self, level, option, size):
            assert (level, option, size) == (socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
            return struct.pack("3i", os.getpid(), os.geteuid() + user, os.geteuid())

    assert same_user(Peer()) is same


def test_outgoing_memory_is_nobody_elses_and_one_piece_at_a_time():
    no_memory_is_open()
    out = Outgoing()
    try:
        for size in (MIB, 2 * MIB, 4 * MIB):
            out.reserve(size)
            assert not os.get_inheritable(out.fresh)
            assert open_memory() == 2  # the one to be handed over, and Python's of what it maps
        with pytest.raises(ValueError, match="at most"):
            out.reserve((1 << 30) + 1)
    finally:
        out.drop()
    assert open_memory() == 0


@pytest.mark.parametrize("fails", ["mmap.mmap", "os.ftruncate", "fcntl.fcntl"])
def test_what_the_system_refuses_on_the_way_to_memory_is_closed(monkeypatch, fails):
    def refuse(*_, **__):
        raise OSError(errno.ENOMEM, "no more")

    no_memory_is_open()
    with monkeypatch.context() as patch:
        patch.setattr(f"offboard_client.memory.mapped.{fails}", refuse)
        with pytest.raises(OSError, match="no more"):
            Outgoing().reserve(MIB)
    assert open_memory() == 0


def test_a_door_that_cannot_be_opened_leaves_nothing(monkeypatch):
    class Never(threading.Thread):
        def start(self):
            raise RuntimeError("no more threads")

    door, before = resolve_name("offboard_core.server.door:Door"), descriptors()
    with monkeypatch.context() as patch:
        patch.setattr("offboard_core.server.door.threading.Thread", Never)
        with pytest.raises(RuntimeError, match="no more threads"):
            door(1)
    until(lambda: descriptors() <= before, "its socket is closed")
