"""The ZMQ listener of docs/how-to/write-a-frontend.md, as its page has it, with many clients and with hostile ones."""

import contextlib
import json
import re
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import zmq
from offboard_client.wire import decode, encode
from offboard_core import Chunk, ConfigurationError
from offboard_core.frontends import make_listeners
from offboard_core.plugins import Plugins
from offboard_core.server import InferenceServer
from offboard_process import in_process, serving
from plugin_dists import write_plugin
from puppets import PATIENCE, Door, Puppet, reached, source, until
from robots import get, get_json, robot

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "write-a-frontend.md"
PLUGIN = next(
    block
    for block in re.findall(r"^```python\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    if block.startswith("# offboard_joints.py")
)
QUESTION = encode({"joints": np.zeros(2, np.float32)})

pytestmark = pytest.mark.timeout(2 * PATIENCE)


@pytest.fixture(scope="module")
def plugins():
    module = SimpleNamespace()
    exec(PLUGIN, vars(module))
    return Plugins.of(joints=module)


def count_up(episode, inputs):
    return Chunk({"target_joints": np.full((1, 2), float(len(episode.seen)), np.float32)})


class Counting(Puppet):
    def __init__(self, **more):
        super().__init__(count_up, max_batch_size=16, **more)


@pytest.fixture
def serve(plugins):
    def make(policy=None, silence=120.0, **settings):
        listeners = make_listeners(plugins, ["joints.zmq:0"], {"joints.zmq": {"silence": silence}})
        model = {"a": lambda: policy or Counting()}
        return InferenceServer({"only": source(model)}, port=0, listeners=listeners, frontends={}, **settings)

    return make


class Client:
    """A REQ socket, or another kind."""

    def __init__(self, server, kind=zmq.REQ, context=None):
        self.context = context or zmq.Context()
        self.socket = self.context.socket(kind)
        self.socket.linger = 0
        self.socket.rcvtimeo = self.socket.sndtimeo = int(PATIENCE * 1000)
        host, port = server.listeners.addresses["joints.zmq"]
        self.socket.connect(f"tcp://{host}:{port}")

    def send(self, frame=QUESTION, token=b""):
        self.socket.send_multipart([token, frame])

    def receive(self):
        return decode(self.socket.recv())

    def ask(self, frame=QUESTION, token=b""):
        self.send(frame, token)
        return self.receive()

    def count(self):
        return int(self.ask()["target_joints"][0, 0])

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()
        self.context.term()


def works(server):
    with robot(server) as one:
        one.opened()
        assert "result" in one.ask({"joints": np.zeros(2)})
    return True


@pytest.mark.rule("T-1")
def test_many_clients_at_once_have_a_session_each(serve):
    policy, clients = Counting(), 12
    with serve(policy) as server, contextlib.ExitStack() as open_:
        all_ = [open_.enter_context(Client(server)) for _ in range(clients)]
        for number in range(1, 6):
            for one in all_:
                one.send()
            for one in all_:
                assert int(one.receive()["target_joints"][0, 0]) == number
        assert len(policy.episodes) == get_json(server, "/api/v1/status")["sessions"] == clients
        assert all_[0].ask(b"reset") == {"reset": True}
        assert [all_[0].count(), all_[1].count()] == [1, 6]
        holders = get_json(server, "/api/v1/status")["holders"]
        assert all(re.fullmatch(r"[0-9a-f]{10} \(zmq\)", holder["client"]) for holder in holders)


@pytest.mark.rule("T-2")
@pytest.mark.parametrize(
    "parts",
    [
        [b""],
        [b"", b"", b""],
        [b"x", b"", QUESTION],
        [b"", b"", QUESTION, QUESTION],
        [b""] * 1000,
    ],
    ids=["one", "empty", "no envelope", "four", "thousand"],
)
def test_who_speaks_another_protocol_is_nobody_elses_trouble(serve, parts):
    with serve() as server, Client(server, zmq.DEALER) as hostile, Client(server) as honest:
        for _ in range(50):
            hostile.socket.send_multipart(parts)
        assert [honest.count() for _ in range(20)] == list(range(1, 21))
        assert works(server)


@pytest.mark.rule("T-2")
@pytest.mark.parametrize("garbage", [b"\xc1", b"\xff" * 1000, b"\xdf\xff\xff\xff\xff", encode({"knees": 1}), b"\x00"])
def test_garbage_is_answered_with_an_error_and_the_session_goes_on(serve, garbage):
    with serve() as server, Client(server) as one:
        assert one.count() == 1
        assert one.ask(garbage)["code"] in ("bad_message", "bad_observation")
        assert one.count() == 2


@pytest.mark.rule("T-2")
def test_a_huge_message_costs_its_sender_the_connection_before_it_costs_memory(serve):
    with serve() as server, Client(server) as honest, Client(server, zmq.DEALER) as hostile:
        assert honest.count() == 1
        closed = hostile.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        closed.rcvtimeo = int(PATIENCE * 1000)
        hostile.socket.send_multipart([b"", b"", bytes(2**25 + 1)])
        closed.recv_multipart()
        hostile.socket.disable_monitor()
        closed.close()
        assert honest.count() == 2
        assert works(server)


@pytest.mark.rule("T-2")
def test_a_flood_leaves_the_others_their_turn(serve):
    over = threading.Event()
    with serve() as server, Client(server) as honest:

        def flood():
            with Client(server, zmq.DEALER) as hostile:
                while not over.is_set():
                    with contextlib.suppress(zmq.Again):
                        hostile.socket.send_multipart([b"", b"", QUESTION], zmq.DONTWAIT)

        flooding = threading.Thread(target=flood)
        flooding.start()
        try:
            assert [honest.count() for _ in range(50)] == list(range(1, 51))
            assert works(server)
        finally:
            over.set()
            flooding.join(PATIENCE)


@pytest.mark.rule("T-4")
def test_a_client_that_is_silent_or_gone_loses_its_session(serve):
    policy = Counting()
    with serve(policy, silence=0.05) as server:
        with Client(server) as one:
            while "target_joints" not in one.ask():
                pass  # the model was not there within that time
        reached(policy.episodes[0].closed)
        until(lambda: not get_json(server, "/api/v1/status")["sessions"], "it is gone")


@pytest.mark.rule("T-5")
def test_it_drains_in_mid_inference(serve):
    with Door() as door:
        server = serve(Counting(doors={1: door}), grace=PATIENCE)
        server.start()
        with Client(server) as late, Client(server) as one:
            assert late.count() == 1
            one.send()
            reached(door.entered)
            stopping = threading.Thread(target=server.stop, args=(PATIENCE,))
            stopping.start()
            until(lambda: "going away" in get(server, "/readyz")[1], "it drains")
            assert late.ask()["code"] == "shutting_down"
            with Client(server) as newcomer:
                assert newcomer.ask()["code"] == "shutting_down"
            door.open()
            assert int(one.receive()["target_joints"][0, 0]) == 1
            stopping.join(PATIENCE)
            assert not stopping.is_alive()


@pytest.mark.rule("T-3")
def test_a_wrong_token_is_refused_and_the_right_one_is_not(serve):
    policy = Counting()
    with serve(policy, auth_token="right") as server, Client(server) as one:
        for token in (b"", b"wrong", b"\xff\xfe", b"right "):
            refused = one.ask(token=token)
            assert refused["code"] == "unauthorized"
            assert "send it before the frame" in refused["error"]
        assert not policy.episodes
        assert "target_joints" in one.ask(token=b"right")


@pytest.mark.rule("T-3")
def test_the_cap_is_one_for_all_transports(serve):
    with serve(max_sessions=2) as server, robot(server) as socket, Client(server) as one, Client(server) as two:
        socket.opened()
        assert one.count() == 1
        assert two.ask()["code"] == "full"
        with pytest.raises(Exception, match="HTTP 503"), robot(server):
            pass
    with serve(max_sessions=1, quiet=1e-9) as server, robot(server) as socket, Client(server) as one:
        socket.opened()
        while one.ask().get("code") == "full":
            pass  # by the loop's clock, the robot was heard of in this very millisecond
        assert socket.closed() == 1008
        with robot(server) as newcomer:
            newcomer.opened()
            assert "result" in newcomer.ask({"joints": np.zeros(2)})


@pytest.mark.rule("T-5")
def test_a_port_that_is_taken_keeps_the_server_from_starting(serve, plugins):
    with serve() as server:
        port = server.listeners.addresses["joints.zmq"][1]
        other = InferenceServer(
            {"only": source({"a": Counting})}, port=0, listeners=make_listeners(plugins, [f"joints.zmq:{port}"])
        )
        says = f"joints.zmq cannot listen on 127.0.0.1:{port}: .*Address already in use.*--listen joints.zmq:PORT"
        with pytest.raises(ConfigurationError, match=says):
            other.start()
        with Client(server) as one:
            assert one.count() == 1
    with other:
        pass


# -- the command ---------------------------------------------------------------------------------------------------
@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    return write_plugin(tmp_path_factory.mktemp("site"), "joints", PLUGIN)


@pytest.mark.rule("T-6")
def test_the_command_lists_describes_and_starts_it(installed):
    (row,) = [
        row
        for row in json.loads(in_process("plugins", "--json", path=installed).stdout)["plugins"]
        if row["name"] == "joints"
    ]
    assert row["listeners"] == ["joints.zmq"]
    described = " ".join(in_process("serve", "--help", path=installed).stdout.split())
    assert "joints.zmq on 5600 (--joints.zmq.silence)" in described
    arguments = ("--vendor", "scripted", "--listen", "joints.zmq:0", "--joints.zmq.silence", "60")
    with serving(*arguments, path=installed) as (_, said):
        assert said["listeners"]["joints.zmq"]["host"] == "127.0.0.1"
        where = SimpleNamespace(
            listeners=SimpleNamespace(addresses={"joints.zmq": tuple(said["listeners"]["joints.zmq"].values())})
        )
        with Client(where) as one:
            assert "lacks robot_state.ee_pose" in one.ask()["error"]
    with serving("--vendor", "scripted", path=installed) as (_, said):
        assert said["listeners"] == {}


@pytest.mark.rule("T-6")
@pytest.mark.parametrize(
    ("arguments", "status", "says"),
    [
        (("--listen", "joints.zqm"), 1, "did you mean joints.zmq"),
        (("--listen", "joints.zmq:http"), 2, "--listen 'joints.zmq:http' is no listener"),
        (("--listen", "joints.zmq", "--joints.zmq.silence", "soon"), 1, "silence"),
        (("--joints.zmq.silence", "60"), 1, "joints.zmq are set, and it does not listen: --listen joints.zmq"),
    ],
)
def test_what_is_asked_for_wrongly_is_refused(installed, arguments, status, says):
    done = in_process("serve", "--vendor", "scripted", "--port", "0", *arguments, path=installed)
    assert (done.returncode, says in done.stderr) == (status, True), done.stderr


@pytest.mark.rule("T-6")
def test_a_models_toml_may_hold_the_options(installed, tmp_path):
    models = tmp_path / "models.toml"
    models.write_text('[it]\nvendor = "scripted"\n[listeners."joints.zmq"]\nsilence = 60\n')
    with serving(models, "--listen", "joints.zmq:0", path=installed) as (_, said):
        assert list(said["listeners"]) == ["joints.zmq"]
    alone = in_process("serve", models, "--port", "0", path=installed)
    assert (alone.returncode, "it does not listen: --listen joints.zmq" in alone.stderr) == (1, True)
