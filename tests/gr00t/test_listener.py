"""GR00T's port, with clients of every generation."""

import contextlib
import socket
import threading
import time
from typing import Any

import gr00t_clients
import msgpack
import numpy as np
import offboard_gr00t
import pytest
import zmq
from gr00t_clients import N15Client, N16Client, N17Client, observation
from offboard_client.errors import ConfigurationError, from_code
from offboard_client.terminal import split_dotted
from offboard_core import Chunk, Field
from offboard_core.catalog import ModelSource, read_options
from offboard_core.frontends import make_listeners
from offboard_core.plugins import LISTENER, Plugins
from offboard_core.server import InferenceServer
from offboard_core.testing import ListenerLaws
from offboard_gr00t.describe import describe
from offboard_gr00t.listener import GR00TListener
from offboard_gr00t.options import GR00TListenerOptions
from puppets import PATIENCE, Door, Puppet, reached, source, until
from robots import get_json
from zmtp_bytes import HELLO, frame

pytestmark = pytest.mark.timeout(2 * PATIENCE)
PLUGINS = Plugins.of(gr00t=offboard_gr00t)
#: What a ModalityConfig has since N1.6; its clients give all of it to a dataclass.
GENUINE = {
    "delta_indices", "modality_keys", "sin_cos_embedding_keys", "mean_std_embedding_keys", "action_configs",
}  # fmt: skip
STEPS = np.arange(12, dtype=np.float32).reshape(2, 6)


class TestLaws(ListenerLaws):
    """As all listeners."""

    def listener(self):
        return GR00TListener(GR00TListenerOptions())

    @contextlib.contextmanager
    def client(self, host, port, token):
        with N16Client(port, token, PATIENCE, host) as client:

            def ask():
                try:
                    return {name: steps[0] for name, steps in client.get_action(observation(N16Client))[0].items()}
                except RuntimeError as error:
                    code, _, text = str(error).removeprefix("Server error: ").partition(": ")
                    raise from_code(code, text) from None

            yield ask

    def disturb(self, host, port):
        for junk in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" + bytes(80), b"\xff\0\0\0\0\0\0\0\x01\x7f\x03"):
            with socket.create_connection((host, port), PATIENCE) as one:
                one.sendall(junk)
        with zmq.Context() as context, context.socket(zmq.REQ) as one:
            one.linger, one.rcvtimeo = 0, int(PATIENCE * 1000)
            one.connect(f"tcp://{host}:{port}")
            one.send(b"\xc1")
            assert b"bad_message" in one.recv()


def arm(episode, inputs):
    episode.given = inputs
    return Chunk({"action.single_arm": STEPS[:, :5], "action.gripper": STEPS[:, 5:]})


class Arm(Puppet):
    """Remembers what it was given."""

    def __init__(self, **more):
        super().__init__(arm, **more)


@contextlib.contextmanager
def serving(policy=None, options=None, **settings):
    policy = policy or Arm()
    models = policy if isinstance(policy, ModelSource) else source({"a": lambda: policy})
    listeners = make_listeners(PLUGINS, ["gr00t:0"], {"gr00t": options or {}})
    with InferenceServer({"only": models}, port=0, listeners=listeners, frontends={}, **settings) as server:
        yield server, server.listeners.addresses["gr00t"][1], policy


def test_a_model_whose_id_is_a_number_is_said_as_one(tmp_path):
    """GR00T's are: on a command line, and in a file."""
    _, said = split_dotted(["--gr00t.model", "2000", "--gr00t.silence", "30"], ["gr00t"])
    (tmp_path / "models.toml").write_text("[listeners.gr00t]\nmodel = 2000\nsilence = 30\n")
    for options in (said, read_options(tmp_path / "models.toml", LISTENER)):
        listener, _ = make_listeners(PLUGINS, ["gr00t:0"], options)["gr00t"]
        assert listener.model_id == "2000"


def test_a_model_that_is_none_is_told_before_the_server_listens():
    with (
        pytest.raises(ConfigurationError, match="the model of the listener gr00t: there is no model 'b' here"),
        serving(options={"model": "b"}),
    ):
        pass


@pytest.fixture(scope="module")
def served():
    with serving() as found:
        yield found


@pytest.mark.parametrize("kind", gr00t_clients.ALL)
class TestEveryGeneration:
    def test_its_observation_reaches_the_model_and_the_actions_come_back(self, served, kind):
        _, port, policy = served
        with kind(port, timeout=PATIENCE) as client:
            answer = client.get_action(observation(kind))
            given = policy.episodes[-1].given
        assert given["video.front"].shape == (48, 64, 3)
        assert given["video.front"].dtype == np.uint8
        assert given["state.single_arm"].tolist() == [0, 1, 2, 3, 4]
        assert given["state.gripper"].tolist() == [0]
        assert given["task"] == "pick it up"
        if kind is N15Client:
            assert answer.keys() == {"action.single_arm", "action.gripper"}
            assert np.array_equal(answer["action.single_arm"], STEPS[:, :5])
            assert np.array_equal(answer["action.gripper"], STEPS[:, 5]), "its server squeezes"
        else:
            actions, info = answer
            assert info == {}
            assert np.array_equal(actions["single_arm"], STEPS[None, :, :5])
            assert np.array_equal(actions["gripper"], STEPS[None, :, 5:])
            assert actions["single_arm"].dtype == np.float32

    def test_it_pings_and_its_kill_is_refused(self, served, kind):
        _, port, policy = served
        before = len(policy.episodes)
        with kind(port, timeout=PATIENCE) as client:
            assert client.ping() == {"status": "ok", "message": "Server is running"}
            with pytest.raises(RuntimeError, match="kill is refused: the server serves others too"):
                client.kill_server()
            assert client.ping()["status"] == "ok"
        assert len(policy.episodes) == before, "no session for that"

    def test_what_is_wrong_is_told_and_the_next_question_is_answered(self, served, kind):
        _, port, _ = served
        with kind(port, timeout=PATIENCE) as client:
            with pytest.raises(RuntimeError, match=r"expected video.CAMERA and state.GROUP|is 3, expected a map"):
                client.get_action({"video": 3} if kind is not N15Client else {"a": "b"})
            assert client.get_action(observation(kind))

    def test_two_robots_have_an_episode_each(self, served, kind):
        _, port, policy = served
        with kind(port, timeout=PATIENCE) as one, kind(port, timeout=PATIENCE) as two:
            for client in (one, two, one):
                client.get_action(observation(kind))
        assert sorted(len(episode.seen) for episode in policy.episodes[-2:]) == [1, 2]


@pytest.mark.parametrize("text", [np.array(["pick\u00e9"]), np.array("pick\u00e9"), np.array([["pick\u00e9"]])])
def test_an_instruction_as_numpys_array_of_one_text_is_a_text_as_n1_5s_server_takes_it(served, text):
    _, port, policy = served
    [key] = (name for name in observation(N15Client) if name.startswith("annotation."))
    with N15Client(port, timeout=PATIENCE) as client:
        client.get_action({**observation(N15Client), key: text})
    assert policy.episodes[-1].given["task"] == "pick\u00e9"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"annotation.human.task_description": np.array(["a", "b"])}, "dtype '<U1' is refused"),
        ({"annotation.human.task_description": np.array(["a" * 5000])}, "no one text of at most 4096 characters"),
        ({"annotation.human.task_description": np.array([b"go"])}, "is refused"),
        ({"state.gripper": np.array([["a"]])}, "dtype '<U1' is refused"),
    ],
)
def test_other_arrays_of_texts_are_refused(served, change, says):
    _, port, _ = served
    with N15Client(port, timeout=PATIENCE) as client, pytest.raises(RuntimeError, match=says):
        client.get_action({**observation(N15Client), **change})


def test_an_array_of_one_text_is_refused_where_the_robots_own_server_refuses_it(served):
    _, port, _ = served
    question = observation(N16Client)
    question["language"] = {name: np.array(["go"]) for name in question["language"]}
    with N16Client(port, timeout=PATIENCE) as client, pytest.raises(RuntimeError, match="dtype '<U2' is refused"):
        client.get_action(question)


@pytest.mark.parametrize("kind", gr00t_clients.ALL[1:])
def test_a_reset_begins_an_episode(served, kind):
    _, port, policy = served
    with kind(port, timeout=PATIENCE) as client:
        client.get_action(observation(kind))
        assert client.reset() == {}
        assert not policy.episodes[-1].seen
        client.get_action(observation(kind))
        assert client.call("reset", requires_input=False) == {}
        assert not policy.episodes[-1].seen


def test_n1_5_knows_no_reset_and_none_is_refused(served):
    _, port, _ = served
    with N15Client(port, timeout=PATIENCE) as client, pytest.raises(RuntimeError, match="there is no endpoint 'jump'"):
        client.call("jump", requires_input=False)


def test_a_request_without_an_endpoint_asks_for_an_action(served):
    _, port, _ = served
    with N16Client(port, timeout=PATIENCE) as client:
        client.socket.send(msgpack.packb({"data": {"observation": observation(N16Client)}}, default=client._encode))
        assert client._checked(client.socket.recv())[1] == {}


def test_flat_names_as_the_simulators_send_them(served):
    _, port, _ = served
    nested = observation(N16Client)
    flat = {
        **{f"video.{name}": value for name, value in nested["video"].items()},
        **{f"state.{name}": value for name, value in nested["state"].items()},
        **{name: texts[0] for name, texts in nested["language"].items()},
    }
    with N17Client(port, timeout=PATIENCE) as client:
        actions, info = client.get_action(flat)
    assert info == {}
    assert np.array_equal(actions["action.single_arm"], STEPS[None, :, :5])


def test_a_step_of_a_data_set_is_a_question_as_nvidias_own_evaluation_asks_it(served):
    _, port, _ = served
    step = {**observation(N15Client), "action.single_arm": np.zeros((16, 5)), "timestamp": np.zeros(1)}
    with N15Client(port, timeout=PATIENCE) as client:
        assert np.array_equal(client.get_action(step)["action.single_arm"], STEPS[:, :5])


def test_a_ping_is_answered_while_another_robot_infers():
    door = Door()

    def stop(episode, inputs):
        door.passing()
        return arm(episode, inputs)

    with serving(Puppet(stop)) as (_, port, _), door, N16Client(port, timeout=PATIENCE) as one:
        asking = threading.Thread(target=one.get_action, args=(observation(N16Client),))
        asking.start()
        reached(door.entered)
        with N16Client(port, timeout=PATIENCE) as two:
            assert two.ping()["status"] == "ok"
        door.open()
        asking.join(PATIENCE)


def test_a_client_that_gave_up_never_hears_the_answer_that_it_did_not_wait_for():
    door, answered = Door(), []

    def stop(episode, inputs):
        if not answered:
            answered.append(1)
            door.passing()
        return Chunk({"action.arm": np.full((1, 1), inputs["state.single_arm"][0], np.float32)})

    with serving(Puppet(stop)) as (_, port, _), door, N17Client(port, timeout=0.2) as client:
        asked = observation(N17Client)
        with pytest.raises(zmq.error.Again):
            client.get_action(asked)
        door.open()
        client.socket.rcvtimeo = int(PATIENCE * 1000)
        asked["state"]["single_arm"] = asked["state"]["single_arm"] + 5
        assert client.get_action(asked)[0]["arm"].item() == 5


def test_a_robot_that_leaves_ends_its_session():
    with serving() as (server, port, _):
        with N16Client(port, timeout=PATIENCE) as client:
            client.get_action(observation(N16Client))
            assert get_json(server, "/api/v1/status")["sessions"] == 1
        until(lambda: get_json(server, "/api/v1/status")["sessions"] == 0, "its session has ended")


def test_without_the_token_nothing_is_answered():
    with serving(auth_token="secret") as (_, port, policy):
        for token in (None, "guess"):
            with N17Client(port, token, PATIENCE) as client:
                for call in (client.ping, client.kill_server, lambda: client.get_action(observation(N17Client))):
                    with pytest.raises(RuntimeError, match=r"unauthorized: .*api_token"):
                        call()
        assert not policy.episodes
        with N17Client(port, "secret", PATIENCE) as client:
            assert client.ping()["status"] == "ok"
            assert client.get_action(observation(N17Client))


INPUTS = {
    "video.front": Field(shape=(-1, -1, 3), dtype="uint8"),
    "state.single_arm": Field(shape=(5,), dtype="float32"),
    "state.gripper": Field(shape=(1,), dtype="float32"),
    "annotation.human.task_description": Field(shape=(), dtype="str"),
}
OUTPUTS = {"action.single_arm": Field(shape=(5,)), "action.gripper": Field(shape=(1,))}
KEYS = {
    "video": ["front"],
    "state": ["single_arm", "gripper"],
    "action": ["single_arm", "gripper"],
    "language": ["annotation.human.task_description"],
}


def declared(policy=None, **more):
    return source({"a": lambda: policy or Arm(meta={"chunk_length": 2})}, inputs=INPUTS, outputs=OUTPUTS, **more)


class TestModalities:
    @pytest.mark.parametrize("kind", gr00t_clients.ALL[1:])
    def test_clients_of_any_age_read_what_a_model_reads_and_answers(self, kind):
        with serving(declared()) as (_, port, _), kind(port, timeout=PATIENCE) as client:
            for _ in range(2):
                found = client.get_modality_config()
                assert {name: config["modality_keys"] for name, config in found.items()} == KEYS
                assert found["action"]["delta_indices"] == [0, 1]
                assert found["video"]["delta_indices"] == [0]
                assert found["state"].keys() == GENUINE
                client.get_action(observation(kind))

    def test_n1_5_is_told_by_its_first_observation_or_by_option(self):
        prefixed = {name: [f"{name}.{key}" for key in keys] for name, keys in KEYS.items()} | {
            "language": KEYS["language"]
        }
        with serving(declared()) as (_, port, _), N15Client(port, timeout=PATIENCE) as client:
            client.get_action(observation(N15Client))
            found = client.get_modality_config()
            assert {name: config["modality_keys"] for name, config in found.items()} == prefixed
            assert found["video"].keys() == {"delta_indices", "modality_keys"}
        with (
            serving(declared(), {"generation": "n1.5"}) as (_, port, _),
            N15Client(port, timeout=PATIENCE) as client,
        ):
            assert client.get_modality_config() == found

    def test_what_a_client_has_shown_counts_more_than_the_option(self):
        """Robots of both kinds share a port; the option is for one that has shown nothing yet."""
        with serving(declared(), {"generation": "n1.5"}) as (_, port, _):
            with N16Client(port, timeout=PATIENCE) as client:
                client.get_action(observation(N16Client))
                found = client.get_modality_config()
                assert {name: config["modality_keys"] for name, config in found.items()} == KEYS
            with N15Client(port, timeout=PATIENCE) as client:
                assert client.get_modality_config()["video"]["modality_keys"][0].startswith("video.")

    def test_of_answers_that_vary_it_is_said_how_many_steps_each_has(self):
        varying = declared(Arm(meta={"chunk_length": 5, "shortest_chunk": 2}))
        with serving(varying) as (_, port, _), N16Client(port, timeout=PATIENCE) as client:
            assert client.get_modality_config()["action"]["delta_indices"] == [0, 1]

    def test_a_model_with_a_key_for_its_instruction_has_one(self):
        read = {name: {"dtype": field.dtype} for name, field in {**INPUTS, "task": Field(dtype="str")}.items()}
        meta = {"observation": read, "action": OUTPUTS, "chunk_length": 1}
        keys = {name: config["modality_keys"] for name, config in describe(meta, prefixed=False).items()}
        assert keys == KEYS

    @pytest.mark.parametrize("own", [True, False])
    def test_what_the_numbers_are_is_said_where_they_are_the_models_own(self, own):
        """Steps are no poses to who reads it; translated ones are whatever the codec makes."""
        said = {"rep": "DELTA", "type": "NON_EEF", "format": "DEFAULT", "state_key": None}
        known = {"single_arm": said, "gripper": {**said, "rep": "ABSOLUTE"}, "unplayed": said}
        meta = {"observation": {}, "action": OUTPUTS, "chunk_length": 1, "action_configs": known}
        action = describe(meta, prefixed=False, own=own)["action"]
        assert action["action_configs"] == ([known[name] for name in KEYS["action"]] if own else None)
        assert "action_configs" not in describe(meta, prefixed=True, own=own)["action"]

    def test_a_model_that_does_not_say_how_long_its_answers_are_cannot_be_described(self, served):
        _, port, _ = served
        with N16Client(port, timeout=PATIENCE) as client, pytest.raises(RuntimeError, match="how many steps"):
            client.get_modality_config()

    def test_the_instruction_reaches_the_model_under_its_own_key(self):
        with serving(declared(policy := Arm())) as (_, port, _), N16Client(port, timeout=PATIENCE) as client:
            client.get_action(observation(N16Client))
            assert policy.episodes[-1].given["annotation.human.task_description"] == "pick it up"


def test_a_model_that_reads_other_names_refuses_gr00ts_robots_and_says_what_to_try():
    inputs = {"robot_state.q": Field(shape=(7,), dtype="float32")}
    with (
        serving(source({"a": Arm}, inputs=inputs, outputs={})) as (_, port, _),
        N16Client(port, timeout=PATIENCE) as client,
        pytest.raises(RuntimeError, match=r"dialect_unsupported: serve with --gr00t.codec, .*robot_state.q"),
    ):
        client.get_action(observation(N16Client))


def test_who_asks_faster_than_it_may_is_answered_later_and_always():
    """A REQ that hears nothing waits for ever."""
    with serving(frame_rate=100.0) as (_, port, _), N15Client(port, timeout=PATIENCE) as client:
        for _ in range(250):
            assert client.ping()["status"] == "ok"


def test_all_that_comes_at_once_is_answered():
    ping = b"\x01\0" + frame(msgpack.packb({"endpoint": "ping"}))
    with serving(frame_rate=1e6) as (_, port, _), socket.create_connection(("127.0.0.1", port), PATIENCE) as one:
        one.sendall(HELLO + ping * 1000)
        read = b""
        while read.count(b"Server is running") < 1000:
            read += one.recv(65536)


def test_of_many_that_are_refused_each_hears_so():
    with serving(auth_token="secret", frame_rate=2.0) as (_, port, _):
        for _ in range(6):
            with (
                N16Client(port, "guess", PATIENCE) as client,
                pytest.raises(RuntimeError, match=r"unauthorized|busy: the server refuses too many clients at this"),
            ):
                client.get_action(observation(N16Client))


@contextlib.contextmanager
def proxied(port):
    """The port of a proxy of ZeroMQ's before ``port``."""
    with zmq.Context() as context:
        front, back, control = (context.socket(kind) for kind in (zmq.ROUTER, zmq.DEALER, zmq.PAIR))
        other = context.socket(zmq.PAIR)
        control.bind("inproc://end")
        other.connect("inproc://end")
        own = front.bind_to_random_port("tcp://127.0.0.1")
        back.connect(f"tcp://127.0.0.1:{port}")
        between = threading.Thread(target=zmq.proxy_steerable, args=(front, back, None, control))
        between.start()
        try:
            yield own
        finally:
            other.send(b"TERMINATE")
            between.join(PATIENCE)
            for each in (front, back, control, other):
                each.close(linger=0)


def test_robots_behind_a_proxy_have_an_episode_each():
    with serving() as (server, port, policy):
        with (
            proxied(port) as own,
            N16Client(own, timeout=PATIENCE) as one,
            N17Client(own, timeout=PATIENCE) as two,
        ):
            for client in (one, two, one):
                client.get_action(observation(type(client)))
            assert sorted(len(episode.seen) for episode in policy.episodes) == [1, 2]
            two.reset()
            assert sorted(len(episode.seen) for episode in policy.episodes) == [0, 2]
        until(lambda: get_json(server, "/api/v1/status")["sessions"] == 0, "all have ended with their connection")


def test_who_has_gone_behind_a_proxy_keeps_nobody_out(monkeypatch):
    """A ROUTER calls each client that comes by a name of its own, and does not say when one has left."""
    monkeypatch.setattr("offboard_gr00t.robots._MOST", 2)
    with serving(options={"silence": 1.0}) as (server, port, _), proxied(port) as own:
        with N16Client(own, timeout=PATIENCE) as one, N16Client(own, timeout=PATIENCE) as two:
            for client in (one, two):
                client.get_action(observation(N16Client))
        with N16Client(own, timeout=PATIENCE) as pinging:
            assert pinging.ping()["status"] == "ok", "it needs no place"
        until(lambda: get_json(server, "/api/v1/status")["sessions"] == 0, "their sessions have ended")
        with N16Client(own, timeout=PATIENCE) as client:
            assert client.get_action(observation(N16Client))


BAD = {
    "two robots in one": lambda o: o["video"].update(front=np.zeros((2, 1, 4, 4, 3), np.uint8)),
    "without its axis": lambda o: o["video"].update(front=np.zeros((1, 4, 4, 3), np.uint8)),
    "no frame": lambda o: o["video"].update(front=np.zeros((1, 0, 4, 4, 3), np.uint8)),
    "a list for an array": lambda o: o["state"].update(single_arm=[[[1.0]]]),
    "a state of two axes": lambda o: o["state"].update(single_arm=np.zeros((1, 5), np.float32)),
    "an instruction that is a number": lambda o: o["language"].update({"a": [[3]]}),
    "two instructions": lambda o: o["language"].update({"a": [["other"]]}),
    "a map that is none": lambda o: o.update(video=[1]),
    "a strange name": lambda o: o["video"].update({"a" * 300: np.zeros((1, 1, 4, 4, 3), np.uint8)}),
}


@pytest.mark.parametrize("what", BAD)
def test_what_no_model_is_given_is_refused_by_name(served, what):
    _, port, _ = served
    asked: dict[str, Any] = observation(N16Client)
    BAD[what](asked)
    with N16Client(port, timeout=PATIENCE) as client:
        with pytest.raises(RuntimeError, match=r"bad_(observation|message): "):
            client.get_action(asked)
        assert client.get_action(observation(N16Client))


@pytest.mark.parametrize(
    "data",
    [
        None,
        3,
        [],
        {},
        {"observation": 3},
        {"observation": {}, "more": 1},
        {"observation": {}, "options": {"a": 1}},
        {"observation": {}, "more": 1, b"more": 1},
    ],
)
def test_what_is_no_question_is_refused(served, data):
    _, port, _ = served
    with N16Client(port, timeout=PATIENCE) as client, pytest.raises(RuntimeError, match=r"bad_(observation|message): "):
        client.call("get_action", data)


def test_a_message_that_is_too_long_is_told_and_not_kept(served):
    _, port, _ = served
    with N16Client(port, timeout=PATIENCE) as client:
        with pytest.raises(RuntimeError, match="bad_message: a message is at most 33,554,432 bytes"):
            client.call("get_action", {"observation": b"a" * (33 * 2**20)})
        assert client.get_action(observation(N16Client))


def send_for_ever(one, data, pause=0.0):
    while True:
        one.sendall(data)
        time.sleep(pause)


#: What does not fit into what the kernel keeps for a connection.
LONG = Puppet(lambda *_: Chunk({"action.a": np.zeros((4000, 800), np.float32)}))


def asks_for_a_long_answer(one, port):
    """Until it begins to come; the rest of it waits in the server."""
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    one.settimeout(PATIENCE)
    one.connect(("127.0.0.1", port))
    asked = msgpack.packb({"data": {"observation": observation(N16Client)}}, default=N16Client._encode)
    one.sendall(HELLO + b"\x01\0" + frame(asked))
    read = 0
    while read < 1000:
        read += len(one.recv(1000))


class TestHostile:
    """Raw connections; those of robots go on."""

    @pytest.fixture(autouse=True)
    def small(self, monkeypatch):
        monkeypatch.setattr("offboard_gr00t.listener._REST", 0.2)
        monkeypatch.setattr("offboard_gr00t.listener._MOST_CONNECTIONS", 3)
        monkeypatch.setattr("offboard_gr00t.listener._LARGEST_BACKLOG", 1000)

    @pytest.fixture
    def impatient(self, monkeypatch):
        """A robot's own message may not have come whole so soon either, on a busy machine: `hear` asks again."""
        monkeypatch.setattr("offboard_gr00t.listener._PATIENCE", 0.2)

    @pytest.fixture
    def port(self, monkeypatch):
        with serving() as (_, port, _), N16Client(port) as robot:
            self.hear(robot, lambda: robot.get_action(observation(N16Client)))
            yield port
            robot.socket.rcvtimeo = int(PATIENCE * 1000)
            monkeypatch.setattr("offboard_gr00t.listener._PATIENCE", PATIENCE)
            assert robot.get_action(observation(N16Client)), "its connection rested longer than a message may take"

    def hear(self, robot, ask):
        """An answer: a REQ whose connection was ended waits for ever, so that GR00T's client makes another."""
        robot.socket.rcvtimeo = 2000
        while True:
            try:
                return ask()
            except zmq.Again:
                robot.socket.close(linger=0)
                robot._init_socket()
                robot.socket.rcvtimeo = 2000

    def ended(self, one):
        one.settimeout(PATIENCE)
        with contextlib.suppress(ConnectionError):
            while one.recv(65536):
                pass

    @pytest.mark.parametrize(
        "begun", [b"", HELLO[:9], HELLO, HELLO + b"\x01\0\x02" + (10**6).to_bytes(8, "big") + b"a"]
    )
    def test_who_begins_and_does_not_go_on_is_let_go(self, impatient, port, begun):
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as one:
            one.sendall(begun)
            self.ended(one)

    def test_who_asks_and_then_rests_without_a_session_is_let_go_and_taken_in_again(self, impatient, port):
        with N16Client(port) as one:
            assert self.hear(one, one.ping)
            with one.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED) as monitor:
                until(lambda: monitor.poll(100), "it is let go")
            one.socket.disable_monitor()
            assert self.hear(one, one.ping)

    def test_who_asks_now_and_then_is_not_let_go_when_its_next_question_may_be_on_its_way(
        self, impatient, port, monkeypatch
    ):
        monkeypatch.setattr("offboard_gr00t.listener._REST", PATIENCE)
        with N16Client(port) as one:
            self.hear(one, one.ping)
            one.socket.rcvtimeo = int(PATIENCE * 1000)
            with one.socket.get_monitor_socket(zmq.EVENT_DISCONNECTED) as monitor:
                with socket.create_connection(("127.0.0.1", port), PATIENCE) as other:
                    self.ended(other)  # what began has not come whole in as long as that
                assert one.ping()
                assert not monitor.poll(0)

    def test_who_goes_on_too_slowly_is_let_go(self, impatient, port):
        """A byte now and then would hold a connection, and what it has sent, for ever."""
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as one:
            one.sendall(HELLO + b"\x01\0\x02" + (10**6).to_bytes(8, "big"))
            with pytest.raises(ConnectionError):
                send_for_ever(one, b"a", pause=0.01)

    def test_messages_that_are_not_whole_take_a_bounded_place_together(self, port, monkeypatch):
        monkeypatch.setattr("offboard_gr00t.listener._MOST_HELD", 3 * 2**20)
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as one:
            one.sendall(HELLO + b"\x01\0\x02" + (2**24).to_bytes(8, "big"))
            with contextlib.suppress(ConnectionError):
                one.sendall(bytes(2**24 - 1))
            self.ended(one)

    def test_who_does_not_read_keeps_no_server_from_ending(self, monkeypatch):
        monkeypatch.setattr("offboard_gr00t.listener._LARGEST_BACKLOG", 2**30)
        monkeypatch.setattr("offboard_gr00t.listener._PARTING", 0.05)
        with socket.socket() as one:
            with serving(LONG) as (_, port, _):
                asks_for_a_long_answer(one, port)
            with contextlib.suppress(ConnectionError):
                while one.recv(2**16):
                    pass

    def test_who_has_rested_the_longest_makes_room_for_one_too_many(self, port, monkeypatch):
        monkeypatch.setattr("offboard_gr00t.listener._REST", PATIENCE)
        with contextlib.ExitStack() as stack:
            first, second = (
                stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE)) for _ in range(2)
            )
            for one in (first, second):
                one.sendall(HELLO)
                assert one.recv(1000)
            with N16Client(port, timeout=PATIENCE) as one:
                assert one.ping()
                self.ended(first)
                second.sendall(b"\x01\0" + frame(msgpack.packb({"endpoint": "ping"})))
                while b"Server is running" not in second.recv(1000):
                    pass

    def test_where_all_have_sessions_one_too_many_is_turned_away(self, port):
        with contextlib.ExitStack() as stack:
            for _ in range(2):
                stack.enter_context(N16Client(port, timeout=PATIENCE)).get_action(observation(N16Client))
            self.ended(stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE)))

    def test_who_holds_most_is_let_go_and_not_who_comes_next(self, port, monkeypatch):
        monkeypatch.setattr("offboard_gr00t.listener._MOST_HELD", 5 * 2**20)
        with contextlib.ExitStack() as stack:
            small, large = (
                stack.enter_context(socket.create_connection(("127.0.0.1", port), PATIENCE)) for _ in range(2)
            )
            for one, size in ((small, 1_500_000), (large, 2**24)):
                one.sendall(HELLO + b"\x01\0\x02" + size.to_bytes(8, "big"))
                assert one.recv(1000)
            small.sendall(bytes(1_400_000))
            with contextlib.suppress(ConnectionError):
                large.sendall(bytes(2**24 - 1))
            self.ended(large)
            small.sendall(bytes(100_000))
            while b"bad_message" not in small.recv(1000):
                pass

    def test_what_is_kept_for_the_next_messages_is_bounded(self, monkeypatch):
        monkeypatch.setattr("offboard_gr00t.listener._MOST_KEPT", 5 * 2**20)
        monkeypatch.setattr("offboard_gr00t.listener._MOST_CONNECTIONS", 9)
        listener = GR00TListener(GR00TListenerOptions())
        models = {"only": source({"a": Arm})}
        with InferenceServer(models, port=0, listeners={"gr00t": (listener, 0)}, frontends={}) as server:
            port = server.listeners.addresses["gr00t"][1]
            with contextlib.ExitStack() as stack:
                clients = [stack.enter_context(N16Client(port, timeout=PATIENCE)) for _ in range(4)]
                for _ in range(2):
                    for client in clients:
                        client.get_action(observation(N16Client, size=(700, 900)))
                kept = [each.kept for each in listener.connections]
        assert len(kept) == 4
        assert 2**21 <= sum(kept) <= 5 * 2**20

    def test_who_does_not_read_is_let_go(self):
        with serving(LONG) as (_, port, _), socket.socket() as one:
            asks_for_a_long_answer(one, port)
            with pytest.raises(ConnectionError):
                send_for_ever(one, b"\x01\0" + frame(msgpack.packb({"endpoint": "ping"})), pause=0.001)
