"""Positronic's clients against our server.

The three generations differ in what they add to an observation and in what they accept. The client of 0.4.1 is here
as its own packages ship it (transport and serialisation); the two older ones use the same encoding over
``websockets`` with its defaults.
"""

import contextlib
import sys
import types

import numpy as np
import pytest

if sys.version_info < (3, 11):
    pytest.skip("Positronic's own packages need Python 3.11", allow_module_level=True)

from offboard_core import CheckpointLoader, Chunk, CodecEntry, InferenceServer, LoaderEntry, Policy, Session, hookimpl
from offboard_core.catalog import from_flags
from offboard_core.codecs import ActionSplit, LetterboxImage, StateVector, timed
from offboard_core.plugins import Plugins
from positronic_model_server.serialization import deserialise, encode_jpeg, serialise
from positronic_wire import registry, wire
from websockets.sync.client import connect

# Their client opens sockets as websockets 17 would rather not have it.
pytestmark = pytest.mark.filterwarnings("ignore:connect.. must be used as a context manager:DeprecationWarning")

HALF = np.sqrt(0.5)
#: A quarter turn about z, as a quaternion w x y z and as a matrix row by row.
POSE = np.array([0.4, -0.1, 0.3, HALF, 0.0, 0.0, HALF])
QUARTER_TURN = [0.0, -1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]
IMAGE = np.full((48, 64, 3), 90, np.uint8)
OBSERVATION = {
    "robot_state.ee_pose": POSE,
    "robot_state.q": np.zeros(7),
    "robot_state.dq": np.zeros(7),
    "grip": 0.25,
    "image.wrist": IMAGE,
    "image.exterior": IMAGE,
    "task": "stack the cubes",
}
#: What each generation stamps on every observation.
STAMPS = {
    "the documents' time": {"__wall_time_ns__": 1, "__inference_time_ns__": 2},
    "the main branch": {"obs_time_ns": 1, "wall_time_ns": 2},
    "0.4.1": {"obs_time_ns": 1, "wall_time_ns": 2},
}
#: The processors that every generation with a client stack can build.
KNOWN_PROCESSORS = {"stop_on_fault", "chunked_schedule", "restrict_image_size"}


class StaysSession(Session):
    def infer(self, inputs, context):
        return Chunk(np.tile(inputs["state"], (3, 1)))


class StaysPolicy(Policy):
    def new_session(self, params):
        return StaysSession()


class StaysLoader(CheckpointLoader):
    def __init__(self, options):
        pass

    def load(self, checkpoint, report, place):
        return StaysPolicy()


def codec(options, checkpoint):
    return timed(
        StateVector(name="state", parts={"robot_state.ee_pose": 7, "grip": 1})
        & LetterboxImage(name="wrist", source="image.wrist", size=(224, 224))
        & LetterboxImage(name="exterior", source="image.exterior", size=(320, 180))
        & ActionSplit(parts={"target_pose": 7, "target_grip": 1}),
        15.0,
    )


@hookimpl
def offboard_codecs():
    yield CodecEntry(name="stays", summary="Two images, pose and grip.", factory=codec)


@hookimpl
def offboard_checkpoint_loaders():
    yield LoaderEntry(name="stays", summary="Stays.", factory=StaysLoader, default_codec="stays")


@pytest.fixture(scope="module")
def server():
    module = types.SimpleNamespace(
        offboard_codecs=offboard_codecs, offboard_checkpoint_loaders=offboard_checkpoint_loaders
    )
    with InferenceServer({"stays": from_flags(Plugins.of(stays=module), vendor="stays")}, port=0) as server:
        yield server


@contextlib.contextmanager
def dialled(server, generation):
    """A connection with ``send`` and ``recv``, as this generation opens it."""
    if generation == "0.4.1":
        address = wire.HostPortAddress(server.host, server.port, "/api/v1/session", "")
        with contextlib.closing(registry.client_wire("websocket").dial(address, None, 30.0)) as connection:
            yield connection
    else:
        # The defaults: compression offered, no more than 1 MiB back.
        with connect(f"ws://{server.host}:{server.port}/api/v1/session") as connection:
            yield connection


@pytest.fixture(params=STAMPS)
def robot(request, server):
    """A connection of one generation, the frame that ended the handshake, and what it stamps on observations."""
    with dialled(server, request.param) as connection:
        while (frame := received(connection))["status"] != "ready":
            assert frame["status"] in ("waiting", "loading")
        yield connection, frame, STAMPS[request.param]


def received(connection):
    message = connection.recv(timeout=600)
    assert isinstance(message, bytes), "these clients read no text"
    return deserialise(message)


def ask(connection, observation):
    connection.send(serialise(observation))
    return received(connection)


@pytest.mark.rule("P-1", "P-3", "P-5", "P-9")
def test_a_client_of_each_generation_gets_the_rows_it_plays(robot):
    connection, _, stamps = robot
    rows = ask(connection, {**OBSERVATION, **stamps})["result"]
    assert len(rows) == 3
    for i, row in enumerate(rows):
        # Another key would have no channel in the rig of 0.4.1; a list would not be a vector to the oldest.
        assert row.keys() == {"robot_command", "target_grip", "timestamp"}
        assert row["robot_command"].keys() == {"type", "pose"}
        assert row["robot_command"]["type"] == "cartesian_pos"
        pose = row["robot_command"]["pose"]
        assert isinstance(pose, np.ndarray)
        np.testing.assert_allclose(pose, [*POSE[:3], *QUARTER_TURN], atol=1e-6)
        assert type(row["target_grip"]) is float
        assert row["target_grip"] == 0.25
        assert row["timestamp"] == pytest.approx(i / 15)


@pytest.mark.parametrize("exchanges", [20, pytest.param(5000, marks=pytest.mark.slow)])
def test_every_answer_belongs_to_its_question(robot, exchanges):
    connection, _, stamps = robot
    for number in range(exchanges):
        grip = number % 64 / 64
        rows = ask(connection, {**OBSERVATION, **stamps, "grip": grip})["result"]
        assert [row["target_grip"] for row in rows] == [grip] * 3


@pytest.mark.rule("P-8", "P-9", "M-11")
def test_the_handshake_suits_every_generation(robot):
    _, frame, _ = robot
    meta = frame["meta"]
    # A version would make the client of 0.4.1 expect another protocol.
    assert "protocol_version" not in frame
    assert meta["action_fps"] == 15.0
    assert meta["image_sizes"] == {"image.wrist": [224, 224], "image.exterior": [320, 180]}
    assert meta["compress_images"] is False
    assert isinstance(meta["positronic_version"], str)
    assert {part["name"] for part in meta["local_stack"]["seq"]} == KNOWN_PROCESSORS
    assert meta["local_stack"]["seq"][-1]["args"] == {"width": 320, "height": 224}


@pytest.mark.rule("P-9")
def test_an_error_is_a_frame_with_error_and_the_session_goes_on(robot):
    connection, _, stamps = robot
    assert isinstance(ask(connection, {**stamps, "grip": 0.5})["error"], str)
    assert "result" in ask(connection, {**OBSERVATION, **stamps})


@pytest.mark.rule("E-4", "P-9")
def test_images_that_a_client_compressed_arrive(robot):
    connection, _, stamps = robot
    compressed = {name: encode_jpeg(OBSERVATION[name]) for name in ("image.wrist", "image.exterior")}
    assert "result" in ask(connection, {**OBSERVATION, **compressed, **stamps})


@pytest.mark.rule("C-9", "P-9")
def test_a_client_that_only_asks_whether_the_server_is_up_is_told_so(server):
    address = wire.HostPortAddress(server.host, server.port, "/api/v1/session", "")
    client = registry.client_wire("websocket")
    assert client.probe(address, None, 30.0) is None
    with pytest.raises(wire.KeepaliveUnsupported):
        client.keepalive(address, None, 30.0)


@pytest.mark.rule("P-10", "P-9")
@pytest.mark.parametrize("generation", STAMPS)
def test_a_model_without_a_rate_is_refused_with_the_reason(generation):
    with (
        InferenceServer({"still": lambda: lambda observation: {"target_grip": np.zeros(1)}}, port=0) as server,
        dialled(server, generation) as connection,
    ):
        while (frame := received(connection))["status"] in ("waiting", "loading"):
            pass
        assert frame["status"] == "error"
        assert "serve with --fps" in frame["error"]
