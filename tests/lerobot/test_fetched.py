"""Checkpoints on the Hub and in an object store that are loaded, which fetches them."""

import shutil
import threading

import numpy as np
import pytest
from lerobot_checkpoints import model_inputs
from object_store import upload
from offboard_client import InferenceClient, LoadFailed, ModelNotFound
from offboard_core.catalog import from_flags
from offboard_core.plugins import Plugins
from offboard_core.types import NO_CONTEXT
from offboard_lerobot.loader import LeRobotLoader, LeRobotOptions
from offboard_lerobot.registry import LeRobotRegistry
from offboard_process import serving


def answer_of(policy):
    try:
        return policy.new_session(policy.params()).infer(model_inputs(0), NO_CONTEXT).action
    finally:
        policy.close()


def in_process(folder):
    [checkpoint] = LeRobotRegistry(str(folder)).checkpoints()
    return answer_of(LeRobotLoader(LeRobotOptions(device="cpu")).load(checkpoint, lambda _: None))


def served(client):
    with client.new_session() as session:
        return session.metadata, np.stack([row["action"]["action"] for row in session.infer(model_inputs(0))])


SERVED = ("--vendor", "lerobot", "--device", "cpu", "--checkpoints-dir", "hf://org/cubes@main")


@pytest.mark.slow  # From a store, below, it is in every run, and resuming in tests/remote.
def test_a_repository_is_served_through_a_socket_and_resumed(hub, act, tmp_path):
    commit = hub.push_folder(act)
    expected = in_process(act)
    hub.breaks_at = 20_000_000
    with serving(*SERVED, **hub.environment(tmp_path)) as (_, listening):
        said: list[str] = []
        told = threading.Event()

        def hear(status):
            said.append(status.message)
            if "fetching cubes: " in status.message:
                told.set()

        address = ("127.0.0.1", listening["port"])
        with InferenceClient(*address, on_status=hear) as client:
            assert client.list_models() == ["cubes"]
            with pytest.raises(LoadFailed, match="cannot be read"):
                client.new_session()
            hub.breaks_at, count = None, len(hub.asked)
            hub.push({"config.json": b"{}"})  # the branch moves while this server runs
            hub.held["model.safetensors"] = told  # what is fetched at once between two statuses would be in none
            meta, actions = served(client)
    np.testing.assert_array_equal(actions, expected)
    assert (meta["revision"], meta["checkpoint_id"]) == (commit, "cubes")
    assert meta["checkpoint_path"] == f"hf://org/cubes@{commit}"
    fetched = [start for name, start, _ in hub.asked[count:] if name == "model.safetensors"]
    assert fetched
    assert min(fetched) >= 16 * 2**20, "what was there already is not fetched again"
    assert told.is_set(), said


@pytest.mark.slow  # Listed offline, above, and fetched offline, in tests/remote/test_hub.py, it is in every run.
def test_what_was_served_is_served_offline(hub, act, tmp_path):
    hub.push_folder(act)
    nobody = hub.environment(tmp_path, HF_HUB_OFFLINE="1", HF_ENDPOINT="http://127.0.0.1:9")
    said = []
    for environment in (hub.environment(tmp_path), nobody):
        with serving(*SERVED, **environment) as (_, at), InferenceClient("127.0.0.1", at["port"]) as client:
            said.append(served(client))
    (meta, actions), (again, offline) = said
    np.testing.assert_array_equal(actions, in_process(act))
    np.testing.assert_array_equal(offline, actions)
    assert again["spec_hash"] == meta["spec_hash"]


def test_a_run_in_an_object_store_is_listed_there_and_fetched_when_loaded(bucket, run, act, tmp_path):
    upload(run, bucket)
    half = tmp_path / "half"
    shutil.copytree(act, half / "checkpoints" / "000300" / "pretrained_model")
    (half / "checkpoints" / "000300" / "pretrained_model" / "model.safetensors").unlink()
    upload(half, bucket)
    source = from_flags(Plugins.discover(), vendor="lerobot", checkpoints_dir=bucket, loader_options={"device": "cpu"})
    found = source.registry.checkpoints()
    assert [checkpoint.id for checkpoint in found] == ["000100", "000200"]
    assert found[0].location == f"{bucket}/checkpoints/000100/pretrained_model"
    assert found[0].experiment == bucket.rpartition("/")[2]
    assert found[0].inputs["observation.images.left"].shape == (64, 64, 3)
    assert source.codec.resolve(found[0], {}).name == "lerobot.native"
    with pytest.raises(ModelNotFound, match=r"000300 is no complete checkpoint: model\.safetensors is missing"):
        source.registry.resolve("300")
    assert not (tmp_path / "cache").exists(), "listing fetches nothing"
    said: list[str] = []
    policy = source.loader.load(source.registry.resolve("100"), said.append)
    np.testing.assert_array_equal(answer_of(policy), in_process(act))
    assert any(line.startswith("fetching pretrained_model: ") for line in said)


def test_what_is_recorded_beside_a_remote_checkpoint_does_not_keep_it_from_being_loaded(bucket, act, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(act, run / "checkpoints" / "000100" / "pretrained_model")
    (run / "offboard.json").write_text('{"action_fps": 30}')
    upload(run, bucket)
    source = from_flags(Plugins.discover(), vendor="lerobot", checkpoints_dir=bucket, loader_options={"device": "cpu"})
    assert source.default().recorded == {"action_fps": 30}
    source.loader.load(source.default(), lambda _: None).close()
