"""The stand-in behaves as GR00T's own servers do, to GR00T's own clients and to who asks wrongly."""

import contextlib
import socket

import msgpack
import numpy as np
import pytest
import zmq
from gr00t_clients import N15Client, N16Client, N17Client, N17FirstClient
from gr00t_standin import ACTION, LANGUAGE, SIZE, gr00t_server, observation, write_checkpoint
from offboard_core.process import free_port
from waits import PATIENCE


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    """``started(generation, form)``: the port of a server."""
    with contextlib.ExitStack() as stack:
        ports = {}

        def start(generation, form="npy", *more, **says):
            key = (generation, form, *more, *says)
            if key not in ports:
                ports[key] = free_port()
                folder = tmp_path_factory.mktemp("run") / "checkpoint-1"
                checkpoint = write_checkpoint(folder, generation, form=form, **says)
                stack.enter_context(gr00t_server(checkpoint, ports[key], generation, *more))
            return ports[key]

        yield start


def raw(port, message):
    with zmq.Context() as context, context.socket(zmq.REQ) as asking:
        asking.linger, asking.rcvtimeo = 0, int(PATIENCE * 1e3)
        asking.connect(f"tcp://127.0.0.1:{port}")
        asking.send(message if isinstance(message, bytes) else msgpack.packb(message))
        return msgpack.unpackb(asking.recv())


@pytest.mark.parametrize(
    ("generation", "form", "client"),
    [
        ("n1.5", "npy", N15Client),
        ("n1.6", "npy", N16Client),
        ("n1.7", "numpy", N17Client),
        ("n1.7", "numpy", N17FirstClient),
        ("n1.7", "numpy-only", N17FirstClient),
    ],
)
def test_gr00ts_own_clients_are_answered(started, generation, form, client):
    with client(started(generation, form), timeout=PATIENCE) as robot:
        assert robot.ping() == {"status": "ok", "message": "Server is running"}
        configs = robot.get_modality_config()
        assert set(configs) == {"video", "state", "action", "language"}
        if client is N15Client:
            actions = robot.get_action(observation(generation))
            assert {name: steps.shape for name, steps in actions.items()} == {
                "action.ee_pose": (16, 7),
                "action.grip": (16,),
            }
            assert configs["state"]["modality_keys"] == ["state.grip", "state.ee_pose"]
        else:
            actions, info = robot.get_action(observation(generation))
            assert {name: steps.shape for name, steps in actions.items()} == {n: (1, 16, w) for n, w in ACTION.items()}
            assert (info, robot.reset()) == ({}, {})
            assert configs["state"]["modality_keys"] == ["grip", "ee_pose"]


@pytest.mark.parametrize(
    ("generation", "message", "says"),
    [
        ("n1.5", {"endpoint": "reset"}, "Unknown endpoint: reset"),
        ("n1.5", {"endpoint": "get_action", "data": {"state.grip": [1]}}, "has no attribute 'ndim'"),
        ("n1.6", {}, "missing 1 required positional argument: 'observation'"),
        ("n1.6", {"endpoint": "reset", "data": None}, "argument after ** must be a mapping"),
        ("n1.6", {"endpoint": "reset", "data": {"seed": 1}}, "unexpected keyword argument 'seed'"),
        ("n1.6", {"endpoint": "get_action", "data": {"observation": {}}}, "Observation must contain a 'video' key"),
        ("n1.6", b"\xc1", ""),
    ],
)
def test_who_asks_wrongly_is_told_as_little(started, generation, message, says):
    answer = raw(started(generation), message)
    assert says in answer["error"]
    assert says or answer["error"] == ""
    assert raw(started("n1.6"), {"endpoint": "reset"}) == {}, "without data, and it goes on"


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"state": {"grip": np.zeros((1, 1, 1)), "ee_pose": np.zeros((1, 1, 7))}}, "Got float64"),
        ({"language": {LANGUAGE: "go ahead"}}, "must have batch size 1. Got 8"),
        ({"video": {}}, "'wrist_image'"),
        (
            {"state": {"grip": np.zeros((1, 1, 1), "f4"), "ee_pose": np.zeros((1, 1, 6), "f4")}},
            "could not be broadcast",
        ),
    ],
)
def test_n1_6s_own_words(started, change, says):
    with N16Client(started("n1.6"), timeout=PATIENCE) as robot, pytest.raises(RuntimeError) as caught:
        robot.get_action({**observation("n1.6"), **change})
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"video.wrist_image": np.zeros((1, *SIZE, 3), np.uint8)[:, 1:]}, "invalid resolution"),
        ({LANGUAGE: "go"}, "index"),
        ({"state.ee_pose": np.zeros((1, 6))}, "Error applying transform 0 to data"),
    ],
)
def test_n1_5s_own_words(started, change, says):
    with N15Client(started("n1.5"), timeout=PATIENCE) as robot, pytest.raises(RuntimeError) as caught:
        robot.get_action({**observation("n1.5"), **change})
    assert says in str(caught.value)


def test_nan_goes_through_them_without_a_word(started):
    with N16Client(started("n1.6"), timeout=PATIENCE) as robot:
        actions, _ = robot.get_action(observation("n1.6", x=np.nan))
    assert np.isnan(actions["grip"]).all()


def test_simulators_have_flat_names(started):
    with N16Client(started("n1.6", "npy", "--use-sim-policy-wrapper"), timeout=PATIENCE) as robot:
        nested = observation("n1.6")
        flat = {f"{kind}.{name}": value for kind in ("video", "state") for name, value in nested[kind].items()}
        actions, _ = robot.get_action({**flat, LANGUAGE: ["go"]})
        assert set(actions) == {"action.ee_pose", "action.grip"}
        assert robot.get_modality_config()["state"]["modality_keys"] == ["grip", "ee_pose"]
        with pytest.raises(RuntimeError, match="must be a tuple or list"):
            robot.get_action({**flat, LANGUAGE: "go"})


def test_whoever_reaches_it_can_end_it(tmp_path):
    port = free_port()
    with gr00t_server(write_checkpoint(tmp_path / "checkpoint-1"), port) as server:
        with N16Client(port, timeout=PATIENCE) as robot, contextlib.suppress(TypeError):  # it answers nil
            robot.kill_server()
        assert server.wait(PATIENCE) == 0
        with socket.socket() as gone:
            assert gone.connect_ex(("127.0.0.1", port))
