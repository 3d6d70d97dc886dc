"""Checkpoints on the Hub and in an object store, listed there and fetched when they are loaded."""

import json
import os
import shutil
import subprocess
import sys
import threading

import numpy as np
import pytest
from hub_standin import hub_standin
from lerobot_checkpoints import model_inputs, write_files
from object_store import upload
from offboard_client import InferenceClient, LoadFailed, ModelNotFound
from offboard_client.errors import ConfigurationError
from offboard_core.catalog import from_flags
from offboard_core.plugins import Plugins
from offboard_core.types import NO_CONTEXT
from offboard_lerobot.loader import LeRobotLoader, LeRobotOptions
from offboard_lerobot.registry import LeRobotRegistry
from offboard_process import offboard, serving


@pytest.fixture
def hub():
    with hub_standin("org/cubes") as hub:
        yield hub


@pytest.fixture
def bucket(store, tmp_path, monkeypatch, request):
    monkeypatch.setenv("OFFBOARD_CACHE", str(tmp_path / "cache"))
    return f"s3://bucket/{request.node.name}"


def answer_of(policy):
    try:
        return policy.new_session(policy.params()).infer(model_inputs(0), NO_CONTEXT).action
    finally:
        policy.close()


def in_process(folder):
    [checkpoint] = LeRobotRegistry(str(folder)).checkpoints()
    return answer_of(LeRobotLoader(LeRobotOptions(device="cpu")).load(checkpoint, lambda _: None))


LISTING = """
import json, sys
from offboard_core.plugins import Plugins
from offboard_core.catalog import from_flags
from offboard_client.errors import OffboardError
for url in sys.argv[1:]:
    try:
        source = from_flags(Plugins.discover(), vendor="lerobot", checkpoints_dir=url)
        found = source.registry.checkpoints()
    except OffboardError as error:
        print(json.dumps(error.text))
        continue
    said = [[c.id, c.experiment, c.location, c.extras.get("revision"), len(c.inputs), dict(c.recorded)] for c in found]
    print(json.dumps(said))
heavy = {"torch", "lerobot", "safetensors"} & sys.modules.keys()
assert not heavy, heavy
"""


def listed(hub, home, *urls, **more):
    """What each place lists. huggingface_hub reads its settings when it is imported: a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", LISTING, *urls],
        env={**os.environ, **hub.environment(home, **more)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_repositories_are_listed_as_their_folders_would_be_here(hub, tmp_path):
    one = write_files(tmp_path / "one")
    (one / "README.md").write_text("# a model")
    alone = hub.push_folder(one, "alone")
    run = tmp_path / "run"
    for step in ("002000", "10000", "9000"):
        write_files(run / step / "pretrained_model")
    (run / "10000" / "offboard.json").write_text('{"action_fps": 30}')
    cut = run / "9000" / "pretrained_model" / "model.safetensors"
    cut.write_bytes(cut.read_bytes()[:-1])
    tree = hub.push_folder(run, "tree")
    output = hub.push_folder(run, "output", under="checkpoints/")
    said = listed(
        hub,
        tmp_path / "home",
        "hf://org/cubes@alone",
        "hf://org/cubes@tree",
        "hf://org/cubes@output",
        "hf://org/cubes@output/checkpoints",
        "hf://org/cubes@tree/10000",
        "hf://org/cubes@output/checkpoints/10000/pretrained_model",
        "hf://org/cubes@tree/9000",
    )
    at_alone, at_tree, at_output = (f"hf://org/cubes@{commit}" for commit in (alone, tree, output))
    fps = {"action_fps": 30}
    assert said[0] == [["cubes", "cubes", at_alone, alone, 3, {}]]
    assert said[1] == [
        ["002000", "cubes", f"{at_tree}/002000/pretrained_model", tree, 3, {}],
        ["10000", "cubes", f"{at_tree}/10000/pretrained_model", tree, 3, fps],
    ], "by number, without the one that is cut short"
    assert [row[:3] for row in said[2]] == [
        ["002000", "cubes", f"{at_output}/checkpoints/002000/pretrained_model"],
        ["10000", "cubes", f"{at_output}/checkpoints/10000/pretrained_model"],
    ]
    assert said[3] == said[2]
    assert said[4] == [["10000", "10000", f"{at_tree}/10000/pretrained_model", tree, 3, fps]]
    assert said[5] == [["10000", "cubes", f"{at_output}/checkpoints/10000/pretrained_model", output, 3, fps]]
    assert "9000/pretrained_model is no complete checkpoint: model.safetensors has" in said[6]
    ends = {end for name, _, end in hub.asked if name.endswith("model.safetensors")}
    assert ends
    assert max(ends) <= (one / "model.safetensors").stat().st_size - 8, "of the weights only the header is read"


def test_what_was_looked_at_is_listed_offline_and_nothing_else(hub, tmp_path):
    hub.push_folder(write_files(tmp_path / "one"))
    url = "hf://org/cubes"
    assert "is not in the cache" in listed(hub, tmp_path / "home", url, HF_HUB_OFFLINE="1")[0]
    online = listed(hub, tmp_path / "home", url)
    count = len(hub.asked)
    assert listed(hub, tmp_path / "home", url, HF_HUB_OFFLINE="1") == online
    assert len(hub.asked) == count
    assert "HF_HUB_OFFLINE=1" in listed(hub, tmp_path / "home", url, HF_ENDPOINT="http://127.0.0.1:9")[0]


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


def test_a_url_without_its_vendor_is_asked_for_it():
    done = offboard("serve", "--checkpoints-dir", "hf://org/cubes@main")
    assert done.returncode == 1
    assert "a URL does not tell whose checkpoints are in hf://org/cubes@main; say so with --vendor" in done.stderr


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


def test_what_changes_in_a_store_is_seen(bucket, tmp_path):
    step = write_files(tmp_path / "run" / "100" / "pretrained_model")
    upload(tmp_path / "run", bucket)
    registry = from_flags(Plugins.discover(), vendor="lerobot", checkpoints_dir=bucket).registry
    assert registry.default().recorded == {}
    (step.parent / "offboard.json").write_text('{"action_fps": 30}')
    upload(tmp_path / "run", bucket)
    assert registry.default().recorded == {"action_fps": 30}
    write_files(tmp_path / "run" / "200" / "pretrained_model")
    upload(tmp_path / "run", bucket)
    assert registry.default().id == "200"


def test_what_cannot_be_served_is_not_fetched(bucket, tmp_path):
    upload(write_files(tmp_path / "model", kind="vqbet"), bucket)
    source = from_flags(Plugins.discover(), vendor="lerobot", checkpoints_dir=bucket)
    with pytest.raises(LoadFailed, match=rf"{bucket} holds a 'vqbet' policy"):
        source.loader.load(source.default(), lambda _: None)
    assert not (tmp_path / "cache").exists()


def test_a_store_without_checkpoints_says_what_it_holds(bucket, tmp_path):
    model = write_files(tmp_path / "logs" / "000100" / "pretrained_model")
    upload(tmp_path / "logs", f"{bucket}/logs")
    plugins = Plugins.discover()
    with pytest.raises(
        ConfigurationError, match=rf"no complete checkpoint in {bucket}: it holds logs; expected config"
    ):
        from_flags(plugins, vendor="lerobot", checkpoints_dir=bucket).default()
    (model / "policy_preprocessor.json").write_text("{")
    upload(tmp_path / "logs", f"{bucket}/logs")
    with pytest.raises(ConfigurationError, match=r"of 000100, policy_preprocessor\.json cannot be read"):
        from_flags(plugins, vendor="lerobot", checkpoints_dir=f"{bucket}/logs").default()
