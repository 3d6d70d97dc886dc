"""openpi's protocol at the level of frames, for what its own client never does."""

import contextlib
import io
import re

import numpy as np
import pytest
from flow import JOINTS, SCALE, FlowPlugin, FlowPolicy
from genuine_client import speaking
from offboard_client import wire
from offboard_openpi.frontend import OpenPIConnection
from offboard_openpi.options import OpenPIFrontendOptions
from puppets import PATIENCE, Puppet, arm, source
from robots import connect_to
from websockets.exceptions import ConnectionClosedError

POSE = np.array([0.5, 0.0, 0.25, 0.0, 1.0, 0.0, 0.0], np.float32)


@pytest.fixture
def puppet():
    return Puppet()


@pytest.fixture
def server(puppet):
    with speaking(source({"it": lambda: puppet}), arm()) as server:
        yield server


class Socket:
    """An open socket whose metadata has come."""

    def __init__(self, connection):
        self.connection = connection
        self.metadata = self.receive()

    def receive(self):
        frame = self.connection.recv(timeout=PATIENCE)
        return frame if isinstance(frame, str) else wire.decode(frame)

    def ask(self, frame):
        self.connection.send(frame if isinstance(frame, (str, bytes)) else wire.encode(frame))
        return self.receive()


@contextlib.contextmanager
def opened(server, query=""):
    with connect_to(f"ws://{server.host}:{server.port}/{query}") as connection:
        yield Socket(connection)


@pytest.fixture
def socket(server):
    with opened(server) as found:
        yield found


def test_a_reset_begins_a_new_episode(socket):
    assert socket.ask({"x": 1})["actions"][0, 0] == 1
    assert socket.ask({"endpoint": "infer", "x": 1})["actions"][0, 0] == 2
    assert socket.ask({"endpoint": "reset"}) == {"status": "reset successful"}
    assert socket.ask({"x": 1})["actions"][0, 0] == 1


def test_a_frame_that_is_too_long_for_a_reset_is_not_looked_through():
    class Large(bytes):
        def __contains__(self, _: object) -> bool:
            raise AssertionError("it is searched")

    frame = Large(wire.encode({"endpoint": "reset", "x": bytes(2**20)}))
    assert not OpenPIConnection(None, OpenPIFrontendOptions(), None, []).is_control(frame)


def test_a_reset_is_read_without_what_it_carries(socket, monkeypatch):
    monkeypatch.setattr("offboard_client.wire.images.decode_image", lambda *_: pytest.fail("an image was decoded"))
    jpeg = {b"__jpeg__": True, b"frames": [b"\xff\xd8\xff" + b"x" * 99], b"ndim": 3}
    assert socket.ask({"endpoint": "reset", "x": jpeg}) == {"status": "reset successful"}


@pytest.mark.rule("O-12")
def test_a_list_of_numbers_is_an_array_that_nobody_can_write_into(socket, puppet):
    socket.ask({"x": [1, 2.5]})
    ((seen,),) = [episode.seen for episode in puppet.episodes]
    assert not seen["x"].flags.writeable


@pytest.mark.rule("O-13")
def test_what_a_model_does_not_take_is_refused_here_as_well(socket, puppet):
    told = socket.ask({"x": 1, "offboard.seed": 3})
    assert told.startswith("bad_observation: the observation brings offboard.seed, and this model does not take it")
    assert puppet.episodes[0].seen == []
    assert socket.ask({"x": 1})["actions"][0, 0] == 1


@pytest.mark.rule("O-13", "O-14", "O-16")
def test_an_openpi_client_may_bring_what_the_model_takes():
    policy = FlowPolicy()
    models = source({"flow": lambda: policy}, codec="scaled", plugin=FlowPlugin())
    with speaking(models, arm()) as server, opened(server) as socket:
        assert socket.metadata["context"] == ["delay_steps", "history", "prefix", "seed"]
        seen = {"robot_state.q": np.zeros(JOINTS)}
        first, again = (socket.ask({**seen, "offboard.seed": 3})["actions"] for _ in range(2))
        np.testing.assert_array_equal(first, again)
        answer = socket.ask({**seen, "offboard.prefix": {"actions": first[4:]}, "offboard.delay_steps": 2})["actions"]
        np.testing.assert_allclose(answer[:2], first[4:6])
    np.testing.assert_allclose(policy.told[-1].prefix.action, first[4:] * SCALE)


def test_the_model_sees_no_endpoint(socket, puppet):
    socket.ask({"endpoint": "infer", "session_id": "a", "x": [1, 2.5]})
    ((seen,),) = [episode.seen for episode in puppet.episodes]
    assert seen.keys() == {"session_id", "x"}
    np.testing.assert_array_equal(seen["x"], [1, 2.5])


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        ("{}", "bad_message: a text frame"),
        (b"\xc1", "bad_message: "),
        (wire.encode([1, 2]), "bad_message: an observation is a map"),
        (wire.encode({b"x": 1}), "bad_message: an observation is a map"),
        (wire.encode({"offboard.deadline_ms": "soon"}), "bad_message: offboard.deadline_ms"),
        (wire.encode({"task": "a", "prompt": "b"}), "prompt and task all mean task"),
    ],
)
def test_what_is_no_observation_costs_one_reply(socket, frame, says):
    assert says in socket.ask(frame)
    assert socket.ask({"x": 1})["actions"].shape == (2, 3)


def test_arrays_whose_markers_are_texts_are_read_too(server):
    pose = {"__ndarray__": True, "data": POSE.tobytes(), "dtype": "<f4", "shape": [7]}
    with opened(server, "?model=m1") as socket:
        assert socket.ask({"robot_state.ee_pose": pose})["actions"].shape == (3, 8)


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return {"__ndarray_class__": True, "as_npy": file.getvalue()}


def msgpack_numpy(array, kind=b""):
    return {b"nd": True, b"type": array.dtype.str, b"kind": kind, b"shape": array.shape, b"data": array.tobytes()}


@pytest.mark.rule("O-12")
@pytest.mark.parametrize("form", [npy, msgpack_numpy])
def test_arrays_in_the_forms_of_gr00t_and_msgpack_numpy_are_read(socket, puppet, form):
    assert socket.ask({"endpoint": "infer", "pose": form(POSE)})["actions"].shape == (2, 3)
    ((seen,),) = [episode.seen for episode in puppet.episodes]
    np.testing.assert_array_equal(seen["pose"], POSE)
    assert not seen["pose"].flags.writeable


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (msgpack_numpy(POSE, b"O"), "bad_message: pose: an array of kind 'O' is refused: its data is a pickle"),
        (npy(np.array([None])), r"bad_message: pose: an array of dtype '\|O' is refused"),
        ({"__ModalityConfig__": True, "as_json": "{}"}, "bad_message: pose: it comes in GR00T's form of a ModalityC"),
    ],
)
def test_what_of_them_is_not_read_is_named(socket, value, says):
    assert re.match(says, socket.ask({"pose": value}))
    assert socket.ask({"x": 1})["actions"].shape == (2, 3)


@pytest.mark.parametrize(("horizon", "enough"), [(2, True), (3, False)])
def test_an_answer_has_the_steps_that_the_robot_is_known_to_play(puppet, horizon, enough):
    with speaking(source({"it": lambda: puppet}), action_horizon=horizon) as server, opened(server) as socket:
        answer = socket.ask({"x": 1})
        assert answer["actions"].shape == (2, 3) if enough else "answered 2 steps" in answer


def test_metadata_is_equal_on_every_connection(server, socket):
    with opened(server) as again:
        assert again.metadata == socket.metadata
        assert "controls" not in socket.metadata, "this protocol has no such frames"


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("model=m0&model=m1", "bad_parameter: name one model in the URL: it was given twice"),
        ("speed=1", "bad_parameter: "),
        ("model=m7", "model_not_found: "),
    ],
)
def test_a_query_that_makes_no_sense_is_refused(server, query, says):
    with pytest.raises(ConnectionClosedError, match=f"1008 .* {says}"), opened(server, f"?{query}"):
        pass
