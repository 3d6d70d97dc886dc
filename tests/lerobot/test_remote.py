"""Checkpoints on the Hub and in an object store are listed there; test_fetched.py loads them."""

import json
import os
import subprocess
import sys

import pytest
from lerobot_checkpoints import write_files
from object_store import upload
from offboard_client import LoadFailed
from offboard_client.errors import ConfigurationError
from offboard_core.catalog import from_flags
from offboard_core.plugins import Plugins
from offboard_process import offboard

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


def test_a_url_without_its_vendor_is_asked_for_it():
    done = offboard("serve", "--checkpoints-dir", "hf://org/cubes@main")
    assert done.returncode == 1
    assert "a URL does not tell whose checkpoints are in hf://org/cubes@main; say so with --vendor" in done.stderr


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
    upload(write_files(tmp_path / "model", kind="sarm"), bucket)
    source = from_flags(Plugins.discover(), vendor="lerobot", checkpoints_dir=bucket)
    with pytest.raises(LoadFailed, match=rf"{bucket} holds a 'sarm' policy"):
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
