"""``InferenceServer`` as part of a program: starting, ending, and who is told when it ends by itself."""

import asyncio
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest
from offboard_core import ConfigurationError
from offboard_core.frontends import Frontend
from offboard_core.server import InferenceServer, log
from puppets import PATIENCE, Puppet, reached, source
from robots import Robot, connect_to, robot
from service_bed import Growing, growing
from websockets.exceptions import WebSocketException


class Stops(Frontend):
    """What a plugin can do to a server."""

    def connect(self, scope):
        asyncio.get_running_loop().stop()
        raise ConfigurationError("no")


def one(**more):
    return InferenceServer({"only": source({"a": Puppet})}, port=0, frontends={"/stop": Stops()}, **more)


def breaks(server):
    """Make it end by itself."""
    with pytest.raises((WebSocketException, OSError)), connect_to(f"ws://127.0.0.1:{server.port}/stop") as connection:
        connection.recv(timeout=PATIENCE)


def works(server):
    with robot(server) as one:
        one.opened()
        assert "result" in one.ask({"x": 1})


def threads():
    return [thread for thread in threading.enumerate() if thread.name == "offboard-server"]


def test_a_start_that_failed_says_nothing_about_the_next():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = InferenceServer({"only": source({"a": Puppet})}, port=taken.getsockname()[1])
        for _ in range(2):
            with pytest.raises(ConfigurationError, match="Another server may run there already"):
                server.start()
    with server:
        works(server)
    server.stop()


@pytest.mark.parametrize("first", ["start", "serve"])
@pytest.mark.parametrize("second", ["start", "serve"])
def test_one_that_runs_is_not_started_again(first, second):
    server, listens = one(), threading.Event()

    class Heard(logging.Handler):
        def emit(self, record):
            if "listening on" in record.getMessage():
                listens.set()

    if first == "start":
        server.start()
    else:
        handler, level = Heard(), log.level
        log.addHandler(handler)
        log.setLevel(logging.INFO)
        serving = threading.Thread(target=server.serve)
        serving.start()
        reached(listens)
        log.removeHandler(handler)
        log.setLevel(level)
    try:
        with pytest.raises(ConfigurationError, match=f"runs already, on 127.0.0.1:{server.port}; stop"):
            getattr(server, second)()
        works(server)
    finally:
        server.stop()
    if first == "serve":
        serving.join(PATIENCE)
        assert not serving.is_alive(), "stop() ends serve() too"


def test_it_can_be_stopped_twice_and_started_again():
    server = one()
    server.stop()
    for _ in range(2):
        server.start()
        works(server)
        server.stop()
        server.stop()
        assert threads() == []
        assert server.wait()


def test_it_runs_from_any_thread():
    server = one()
    starting = threading.Thread(target=server.start)
    starting.start()
    starting.join(PATIENCE)
    works(server)
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    stopping.join(PATIENCE)
    assert threads() == []


@pytest.mark.parametrize("ask", ["stop", "wait"])
def test_who_asks_a_server_that_ended_by_itself_is_told_why(ask, caplog):
    server = one().start()
    assert not server.wait(0)
    breaks(server)
    with pytest.raises(RuntimeError, match="Event loop stopped"):
        getattr(server, ask)()
    assert [r.getMessage() for r in caplog.records if r.levelname == "ERROR"] == [
        f"the server on 127.0.0.1:{server.port} has ended by itself"
    ]
    assert caplog.records[-1].exc_info
    server.stop()
    with server:
        works(server)
        port = server.port
    # Another process may have the port by now.
    ours = psutil.Process().net_connections()
    assert port not in [one.laddr.port for one in ours if one.status == psutil.CONN_LISTEN]


def test_the_end_of_the_block_tells_too_but_hides_no_error_of_the_block():
    with pytest.raises(RuntimeError, match="Event loop stopped"), one() as server:
        breaks(server)
    with pytest.raises(KeyError), one() as server:  # noqa: PT012
        breaks(server)
        raise KeyError("mine")


def test_robots_are_told_when_it_ends_by_itself():
    with pytest.raises(RuntimeError), one() as server, robot(server) as here:  # noqa: PT012
        here.opened()
        breaks(server)
        assert here.closed() == 1012


class Asleep(Growing):
    """A place of models that does not answer until it is told to."""

    def __init__(self):
        super().__init__("a")
        self.asked, self.answer = threading.Event(), threading.Event()

    def checkpoints(self):
        self.asked.set()
        assert self.answer.wait(PATIENCE)
        return super().checkpoints()


@pytest.fixture
def asleep():
    place = Asleep()
    yield place
    place.answer.set()


def test_a_start_that_takes_too_long_leaves_nothing_behind(asleep):
    server = InferenceServer({"only": growing(asleep)}, port=0)
    with pytest.raises(TimeoutError, match=r"did not listen within 0\.01 s"):
        server.start(timeout=0.01)
    assert threads() == []
    asleep.answer.set()
    with server:
        works(server)


def test_ctrl_c_while_it_starts_leaves_nothing_behind(asleep):
    server = InferenceServer({"only": growing(asleep)}, port=0)

    def interrupt():
        reached(asleep.asked)
        os.kill(os.getpid(), signal.SIGINT)

    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    with pytest.raises(KeyboardInterrupt):
        server.start()
    interrupting.join(PATIENCE)
    assert threads() == []


def test_ctrl_c_before_its_thread_is_known_to_run_leaves_nothing_behind(asleep, monkeypatch):
    server, start = InferenceServer({"only": growing(asleep)}, port=0), threading.Thread.start

    def interrupted(thread):
        start(thread)
        if thread in threads():
            reached(asleep.asked)
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            server.start()
    assert threads() == []
    asleep.answer.set()
    with server:
        works(server)


def test_a_process_that_can_have_no_more_threads_may_try_again(monkeypatch):
    server = one()

    def refused(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refused)
        with pytest.raises(RuntimeError, match="can't start new thread"):
            server.start()
    with server:
        works(server)


def test_one_that_is_stopped_while_it_starts_does_not_pass_for_one_that_runs(asleep):
    server = InferenceServer({"only": growing(asleep)}, port=0)

    def stop():
        reached(asleep.asked)
        server.stop()

    stopping = threading.Thread(target=stop)
    stopping.start()
    with pytest.raises(ConfigurationError, match="stopped before it listened"):
        server.start()
    stopping.join(PATIENCE)


#: The model's thread hangs, and a thread that translates for another robot meanwhile.
PROGRAM = """
import logging, sys, threading, time
from offboard_core import Codec, CodecEntry, CodecMeta, InferenceServer, hookimpl
from offboard_core.engine import ServiceTimeouts
from puppets import Puppet, source

class Hangs(Codec):
    def encode(self, observation):
        if "hang" in observation:
            print("hangs in", threading.current_thread().name, flush=True)
            threading.Event().wait()
        return dict(observation)

    def decode(self, chunk, observation):
        return chunk

class Plugin:
    @hookimpl
    def offboard_codecs(self):
        yield CodecEntry(name="hangs", summary="", factory=lambda options, checkpoint: Hangs())

def infer(episode, inputs):
    time.sleep(0.005)  # long enough that others are translated for meanwhile
    if "wait" in inputs:
        print("waits", flush=True)
        threading.Event().wait()

logging.basicConfig(level="INFO", format="%(message)s", stream=sys.stdout)
model = source({"a": lambda: Puppet(infer)}, codec="hangs", plugin=Plugin())
InferenceServer({"a": model}, port=0, grace=0.1, limits=ServiceTimeouts(close=0.1)).serve()
print("goes on", flush=True)
sys.exit(3)
"""


EARLY = """
import os, signal, sys
from offboard_core import InferenceServer
from service_bed import Growing, growing

class Signals(Growing):
    def checkpoints(self):
        os.kill(os.getpid(), getattr(signal, sys.argv[1]))
        return super().checkpoints()

try:
    InferenceServer({"only": growing(Signals("a"))}, port=0).serve()
except KeyboardInterrupt:
    print("Ctrl-C")
    sys.exit(130)
print("goes on")
"""


@pytest.mark.parametrize(("number", "ends"), [("SIGTERM", (0, "goes on\n")), ("SIGINT", (130, "Ctrl-C\n"))])
def test_a_signal_before_it_listens_ends_it_and_not_the_program(number, ends):
    """SIGTERM as later on; Ctrl-C is the program's own."""
    support = str(Path(__file__).parents[1] / "support")
    done = subprocess.run(
        [sys.executable, "-c", EARLY, number], env={**os.environ, "PYTHONPATH": support},
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == ends, done.stderr


def test_a_program_ends_with_its_own_status_whatever_hangs():
    support = str(Path(__file__).parents[1] / "support")
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": support}
    ) as process:

        def until(text):
            while text not in (line := process.stdout.readline()):
                assert line, "it has left"
            return line

        try:
            address = until("listening on").split()[-1]
            with connect_to(f"ws://{address}/api/v1/session") as a, connect_to(f"ws://{address}/api/v1/session") as b:
                first, second = Robot(a), Robot(b)
                first.opened()
                second.opened()
                first.ask({"x": 1})
                first.send({"wait": 1})
                until("waits")
                second.send({"hang": 1})
                assert "translate" in until("hangs in")
                process.send_signal(signal.SIGTERM)
                until("goes on")
                assert process.wait(PATIENCE) == 3
        finally:
            process.kill()
