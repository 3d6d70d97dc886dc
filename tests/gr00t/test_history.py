"""A model that looks at what was seen two steps ago, too: from a robot that tells it, and from one that does not."""

import contextlib

import numpy as np
import pytest
from gr00t_clients import N15Client, N16Client, N17Client
from gr00t_standin import LANGUAGE, STATE, VIDEO, options, write_checkpoint
from offboard_client import InferenceClient, LoadFailed
from offboard_core import Chunk, Field, InferenceServer
from offboard_core.catalog import from_flags
from offboard_core.frontends import make_listeners
from offboard_core.plugins import Plugins
from puppets import Puppet, source
from waits import PATIENCE


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("groot") / "checkpoint-1", "n1.7", frames=(-2, 0), horizon=20)


@contextlib.contextmanager
def served(folder, fps):
    source = from_flags(
        Plugins.discover(), vendor="gr00t", checkpoints_dir=str(folder), codec="native", fps=fps,
        loader_options=options("n1.7"),
    )  # fmt: skip
    listeners = make_listeners(Plugins.discover(), ["gr00t:0"], {})
    with InferenceServer({"": source}, port=0, listeners=listeners) as server:
        yield server


@pytest.fixture(scope="module")
def server(folder):
    with served(folder, 10.0) as server:
        yield server


@pytest.fixture
def client(server):
    with InferenceClient(server.host, server.port) as client:
        yield client


def seen(bright):
    """Without the instruction: what a moment of the history holds."""
    video = {f"video.{name}": np.full((24, 32, 3), bright, np.uint8) for name in VIDEO}
    return {**video, **{f"state.{name}": np.zeros(width, np.float32) for name, width in STATE.items()}}


def looked_at(session, bright, **more):
    """How bright the frames were that the model was given."""
    rows = session.infer({**seen(bright), "task": "frames", **more})
    assert len(rows) == 20
    return rows[0]["action"]["action.ee_pose"][:2].tolist()


def test_the_handshake_says_what_to_send_and_what_becomes_of_a_robot_that_does_not(client):
    with client.new_session() as session:
        meta = session.metadata
    assert meta["context"] == ["history"]
    assert meta["history"] == {"offsets_sec": [-0.2], "observation": list(seen(0))}
    assert "what this session observed nearest to each moment" in meta["context_absent"]["history"]
    assert meta["frames"] == {"video": [-2, 0], "state": [0]}
    assert (meta["generation"], meta["embodiment_tag"], meta["chunk_length"]) == ("n1.7", "new_embodiment", 20)
    assert (meta["cameras"], meta["state_groups"]) == (list(VIDEO), list(STATE))


def test_a_robot_tells_what_it_saw(client):
    with client.new_session() as session:
        assert looked_at(session, 9, **{"offboard.history": [seen(4)]}) == [4, 9]


def test_of_a_robot_that_does_not_the_server_keeps_what_it_saw_by_the_robots_own_clock(client):
    with client.new_session() as session:
        asked = [looked_at(session, step, obs_time=step * 100_000_000) for step in range(5)]
        assert asked == [[0, 0], [0, 1], [0, 2], [1, 3], [2, 4]]
        session.reset()
        assert looked_at(session, 7, obs_time=500_000_000) == [7, 7]
    with client.new_session() as another:
        assert looked_at(another, 8, obs_time=600_000_000) == [8, 8], "no session sees what another one saw"


def test_without_a_rate_nobody_knows_when_that_was_and_no_session_begins(folder):
    why = (
        "no session can be answered without a history.* 2 steps ago, and nothing says how many are a second: set --fps"
    )
    with (
        served(folder, None) as server,
        InferenceClient(server.host, server.port) as client,
        N17Client(server.listeners.addresses["gr00t"][1], timeout=PATIENCE) as other,
    ):
        with pytest.raises(LoadFailed, match=why):
            client.new_session()
        with pytest.raises(RuntimeError, match=why):
            other.get_modality_config()


# -- GR00T's clients, which have frames where others have moments ----------------------------------------------------
def frames(kind, *bright, states=None, more=()):
    """What a GR00T client sends that saw frames as bright as these, in two more axes or one."""
    batch = () if kind is N15Client else (None,)
    video = {
        name: np.stack([np.full((24, 32, 3), each, np.uint8) for each in bright])[batch] for name in (*VIDEO, *more)
    }
    state = {name: np.zeros((states or 1, width), np.float32)[batch] for name, width in STATE.items()}
    if kind is N15Client:
        flat = {f"video.{name}": value for name, value in video.items()}
        return {**flat, **{f"state.{name}": value for name, value in state.items()}, LANGUAGE: ["frames"]}
    return {"video": video, "state": state, "language": {LANGUAGE: [["frames"]]}}


@pytest.fixture
def port(server):
    return server.listeners.addresses["gr00t"][1]


def answered(client, *bright, **more):
    """How bright the frames were that the model was given."""
    answer = client.get_action(frames(type(client), *bright, **more))
    first = answer[0]["ee_pose"][0] if isinstance(answer, tuple) else answer["action.ee_pose"]
    return first[0, :2].tolist()


@pytest.mark.parametrize("kind", [N15Client, N16Client, N17Client])
def test_gr00ts_clients_are_told_which_frames_and_send_them(port, kind):
    with kind(port, timeout=PATIENCE) as client:
        assert answered(client, 4, 9) == [4, 9]
        assert answered(client, 5, 8, more=["side"]) == [5, 8], "and a camera that the model does not know"
        said = client.get_modality_config()
        assert said["video"]["delta_indices"] == [-2, 0]
        assert said["state"]["delta_indices"] == [0]
        with pytest.raises(
            RuntimeError,
            match=r"image has 3 frames; of its video the model wants 2, .* -2, 0 \(0",
        ):
            answered(client, 1, 2, 3)
        with pytest.raises(RuntimeError, match=r"grip has 2 frames; of its state the model wants one, that of now"):
            answered(client, 4, 9, states=2)


def test_of_a_gr00t_client_that_sends_one_frame_the_server_keeps_it(port):
    with N17Client(port, timeout=PATIENCE) as client:
        assert answered(client, 5) == [5, 5]


def test_a_model_whose_state_looks_back_is_told_no_state_that_nobody_sent():
    heard = []

    class Looks(Puppet):
        context = frozenset({"history"})
        history_sec = (-0.3, -0.1)
        meta = {"chunk_length": 1}

        def infer_many(self, batch):
            heard.extend(item.context.history for item in batch)
            return super().infer_many(batch)

    inputs = {f"video.{name}": Field(shape=(-1, -1, 3), dtype="uint8") for name in VIDEO}
    inputs |= {f"state.{name}": Field(shape=(width,), dtype="float32") for name, width in STATE.items()}
    model = source({"a": lambda: Looks(lambda episode, given: Chunk({"action.a": np.zeros((1, 2))}))}, inputs=inputs)
    listeners = make_listeners(Plugins.discover(), ["gr00t:0"], {})
    with (
        InferenceServer({"": model}, port=0, listeners=listeners) as server,
        N16Client(server.listeners.addresses["gr00t"][1], timeout=PATIENCE) as client,
    ):
        client.get_action(frames(N16Client, 1, 2, 3, states=3))
        with pytest.raises(RuntimeError, match=r"grip has 1 frame; of its state the model wants 3, .* -2, -1, 0 \("):
            client.get_action(frames(N16Client, 1, 2, 3))
        client.get_action(frames(N16Client, 1))
    assert [[int(moment["video.wrist_image"].max()) for moment in each] for each in heard] == [[1, 2], []]
    assert heard[0][0]["state.ee_pose"].shape == (7,)


def test_a_model_that_declares_nothing_is_given_the_frames_as_they_come():
    given = []
    model = source(
        {"a": lambda: Puppet(lambda _, inputs: given.append(inputs) or Chunk({"action.a": np.zeros((1, 2))}))}
    )
    listeners = make_listeners(Plugins.discover(), ["gr00t:0"], {})
    with (
        InferenceServer({"": model}, port=0, listeners=listeners) as server,
        N16Client(server.listeners.addresses["gr00t"][1], timeout=PATIENCE) as client,
    ):
        client.get_action(frames(N16Client, 1, 2))
    assert given[0]["video.wrist_image"].shape == (2, 24, 32, 3)
