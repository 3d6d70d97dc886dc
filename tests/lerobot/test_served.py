"""Real checkpoints through a real socket."""

import json
import shutil

import numpy as np
import pytest
from golden_codecs import observation
from lerobot_checkpoints import model_inputs, write_files
from offboard_client import BadObservation, BadParameter, InferenceClient, LoadFailed, ModelNotFound
from offboard_core import InferenceServer
from offboard_core.catalog import from_flags
from offboard_core.plugins import Plugins
from offboard_core.types import NO_CONTEXT
from offboard_lerobot import codecs
from offboard_lerobot.codecs import ArmOptions
from offboard_lerobot.loader import LeRobotLoader, LeRobotOptions
from offboard_lerobot.registry import LeRobotRegistry


def serve(place, **flags):
    source = from_flags(Plugins.discover(), checkpoints_dir=str(place), loader_options={"device": "cpu"}, **flags)
    return InferenceServer({"": source}, port=0)


@pytest.fixture(scope="module")
def client_of_run(run):
    with serve(run) as server, InferenceClient(server.host, server.port) as client:
        yield client


def in_process(folder):
    [checkpoint] = LeRobotRegistry(str(folder)).checkpoints()
    return checkpoint, LeRobotLoader(LeRobotOptions(device="cpu")).load(checkpoint, lambda _: None)


def actions(rows):
    return np.stack([row["action"]["action"] for row in rows])


def seed(number):
    import torch

    torch.manual_seed(number)


def test_native_serves_the_models_own_numbers(client_of_run, act):
    _, policy = in_process(act)
    with client_of_run.new_session("000100") as session:
        meta = session.metadata
        rows = [session.infer({**model_inputs(n), "task": "stack"}) for n in range(3)]
    for n, served in enumerate(rows):
        expected = policy.new_session(policy.params()).infer(model_inputs(n), NO_CONTEXT).action
        np.testing.assert_array_equal(actions(served), expected)
        assert "timestamp" not in served[0], "nothing says at which rate"
    assert meta["codec"] == "lerobot.native"
    assert meta["codec_source"] == "default"
    assert meta["type"] == "lerobot"
    assert meta["device"] == "cpu"
    assert meta["experiment_name"] == "cubes"
    assert meta["action_fps"] is None
    assert meta["chunk_length"] == meta["n_action_steps"] == 16
    assert meta["image_sizes"] == [64, 64]
    policy.close()


def test_a_named_codec_serves_a_robot(act):
    checkpoint, policy = in_process(act)
    codec = codecs.joints_traj(ArmOptions(fps=10.0), checkpoint)
    answer = policy.new_session(policy.params()).infer(codec.encode(observation()), NO_CONTEXT)
    expected = codec.decode(answer, observation())
    with (
        serve(act, codec="joints_traj", fps=10.0) as server,
        InferenceClient(server.host, server.port) as client,
        client.new_session() as session,
    ):
        rows = session.infer(observation())
        assert session.metadata["conventions"]["quaternion"] == "w x y z"
        assert session.metadata["codec_source"] == "option"
        with pytest.raises(BadObservation, match=r"grip is \[2\.0\]"):
            session.infer(observation() | {"grip": 2.0})
        assert session.infer(observation()) is not None, "the session goes on"
    assert len(rows) == len(expected) == 10
    for i, row in enumerate(rows):
        assert row["timestamp"] == pytest.approx(i / 10)
        for name, column in expected.columns().items():
            np.testing.assert_array_equal(row["action"][name], column[i])
    policy.close()


def test_switching_between_checkpoints_gives_each_its_own_numbers(client_of_run):
    answers = {}
    for model_id in ("000100", "000200", "100", None):
        with client_of_run.new_session(model_id) as session:
            answers[model_id] = actions(session.infer(model_inputs(0)))
            assert session.metadata["checkpoint_id"] == ("000100" if model_id in ("000100", "100") else "000200")
    np.testing.assert_array_equal(answers["000100"], answers["100"])
    np.testing.assert_array_equal(answers["000200"], answers[None])
    assert not np.allclose(answers["000100"], answers["000200"])


def test_the_list_holds_what_is_complete(client_of_run, run):
    half = run / "checkpoints" / "000300" / "pretrained_model"
    shutil.copytree(run / "checkpoints" / "000200" / "pretrained_model", half)
    (half / "model.safetensors").write_bytes((half / "model.safetensors").read_bytes()[:1000])
    try:
        assert client_of_run.list_models() == ["000100", "000200"]
        with pytest.raises(ModelNotFound, match=r"000300 is no complete checkpoint: model\.safetensors"):
            client_of_run.new_session("300")
    finally:
        shutil.rmtree(half.parent)
    with pytest.raises(ModelNotFound):
        client_of_run.new_session("last")


def test_two_diffusion_sessions_do_not_share_what_they_saw(diffusion):
    def step(session, number):
        seed(number)
        return actions(session.infer(model_inputs(number)))

    _, policy = in_process(diffusion)
    expected = {}
    for numbers in ((1, 2), (4, 5)):
        episode = policy.new_session(policy.params())
        for number in numbers:
            seed(number)
            expected[number] = episode.infer(model_inputs(number), NO_CONTEXT).action
    policy.close()
    with (
        serve(diffusion, fps=10.0) as server,
        InferenceClient(server.host, server.port) as client,
        client.new_session() as a,
        client.new_session() as b,
    ):
        for session, number in ((a, 1), (b, 4), (a, 2), (b, 5)):
            np.testing.assert_array_equal(step(session, number), expected[number])
        a.reset()
        np.testing.assert_array_equal(step(a, 1), expected[1])


def test_what_was_recorded_beside_the_checkpoint_rules(act, tmp_path):
    folder = shutil.copytree(act, tmp_path / "recorded")
    (folder / "offboard.json").write_text(json.dumps({"codec": "lerobot.ee", "action_fps": 30}))
    with serve(folder) as server, InferenceClient(server.host, server.port) as client, client.new_session() as session:
        assert session.metadata["codec"] == "lerobot.ee"
        assert session.metadata["codec_source"] == "checkpoint"
        assert session.metadata["action_fps"] == 30
        rows = session.infer(observation())
        assert rows[1]["timestamp"] == pytest.approx(1 / 30)
        assert set(rows[0]["action"]) == {"target_pose", "target_grip"}


def test_a_session_may_rename_a_camera(client_of_run):
    names = {"image.wrist": "left", "image.exterior": "side", "robot_state.q": "state", "grip": "state"}
    with client_of_run.new_session(**{"codec.map": names}) as session:
        assert session.infer(observation()) is not None
    with pytest.raises(BadParameter, match="no input 'front' of the model"):
        client_of_run.new_session(**{"codec.map": {"image.exterior": "front"}})


def test_bad_observations_leave_the_session_open(client_of_run):
    with client_of_run.new_session() as session:
        bad = {**model_inputs(0), "observation.state": np.full(8, np.nan, np.float32)}
        with pytest.raises(BadObservation, match="not finite"):
            session.infer(bad)
        assert session.infer(model_inputs(0)) is not None


def test_a_checkpoint_that_cannot_be_loaded_says_why_and_the_server_lives(run):
    broken = run / "checkpoints" / "000050" / "pretrained_model"
    write_files(broken, kind="sarm")
    try:
        with serve(run) as server, InferenceClient(server.host, server.port) as client:
            assert client.list_models() == ["000050", "000100", "000200"]
            with pytest.raises(LoadFailed, match="'sarm' policy, which drives nothing"):
                client.new_session("50")
            with client.new_session("100") as session:
                assert session.infer(model_inputs(0)) is not None
    finally:
        shutil.rmtree(broken.parent)


@pytest.mark.rule("L-33")
def test_the_steps_of_diffusion_may_change_in_mid_episode(diffusion):
    sent = {**model_inputs(1), "offboard.seed": 5}
    with (
        serve(diffusion) as server,
        InferenceClient(server.host, server.port) as client,
        client.new_session(num_inference_steps=4) as session,
    ):
        four = actions(session.infer(sent))
        assert session.configure(num_inference_steps=1) == {"num_inference_steps": {"old": 4, "new": 1}}
        session.reset()
        one = actions(session.infer(sent))
        with pytest.raises(BadParameter, match="num_inference_steps is 5, expected 1 to 4"):
            session.configure(num_inference_steps=5)
        session.configure(num_inference_steps=4)
        session.reset()
        np.testing.assert_array_equal(actions(session.infer(sent)), four)
        assert np.abs(one - four).max() > 1e-3
