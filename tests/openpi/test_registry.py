import json
import os
import shutil
import time

import pytest
from object_store import upload
from offboard_client.errors import ConfigurationError, ModelNotFound
from offboard_core.catalog import from_flags
from offboard_core.plugins import Plugins
from offboard_core.types import NO_CONTEXT
from offboard_openpi.registry import OpenPIRegistry
from openpi_standin import options, robot, write_run, write_step


@pytest.fixture
def run(tmp_path):
    run = tmp_path / "pi05_positronic_lowmem" / "exp"
    write_run(run, {999: 0.1, 5000: 0.2, 10000: 0.3})
    # What training leaves beside and between the steps.
    shutil.copytree(run / "10000", run / "11000.orbax-checkpoint-tmp-0")
    (run / "wandb_id.txt").write_text("abc")
    return run


def ids(place):
    return [checkpoint.id for checkpoint in OpenPIRegistry(str(place)).checkpoints()]


def test_steps_are_listed_by_number(run):
    registry = OpenPIRegistry(str(run))
    assert ids(run) == ["999", "5000", "10000"]
    assert registry.default().id == "10000"
    assert registry.resolve("05000").id == "5000"
    with pytest.raises(ModelNotFound, match="999, 5000, 10000"):
        registry.resolve("11000")
    newest = registry.default()
    assert newest.experiment == "exp"
    assert newest.extras == {"format": "jax", "asset_ids": ["lerobot"]}


def test_where_a_checkpoint_lies_is_the_same_however_it_is_typed(run, tmp_path, monkeypatch):
    """A client takes it for a part of which model that is; other files under the same words are other ones."""
    place = run.relative_to(tmp_path)
    (tmp_path / "link").symlink_to(run)
    monkeypatch.chdir(tmp_path)
    typed = [str(run), str(place), f"./{place}/", f"{place}/../{place.name}", "link", f"{place}/10000", "link/10000"]
    said = {
        (found.id, found.location, found.experiment) for each in typed for found in [OpenPIRegistry(each).default()]
    }
    [(_, location, _)] = said
    other = shutil.copytree(tmp_path / place.parts[0], tmp_path / "bob" / place.parts[0], symlinks=True)
    monkeypatch.chdir(other.parent)
    assert OpenPIRegistry(str(place)).default().location == location.replace(str(tmp_path), str(tmp_path / "bob"), 1)


@pytest.mark.parametrize("half", ["params/d/0123abcd", "params/_METADATA", "assets/lerobot/norm_stats.json"])
def test_a_step_without_one_of_its_parts_is_not_listed(run, half):
    os.remove(run / "10000" / half)
    assert ids(run) == ["999", "5000"]


def test_pytorch_weights_count_when_they_are_whole(run):
    step = write_step(run / "20000", pytorch=True)
    assert ids(run)[-1] == "20000"
    assert OpenPIRegistry(str(run)).default().extras["format"] == "pytorch"
    weights = step / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    assert ids(run)[-1] == "10000"
    weights.write_bytes(b"123")
    assert ids(run)[-1] == "10000"


def test_asset_ids_may_have_slashes(tmp_path):
    step = write_step(tmp_path / "30000", "physical-intelligence/libero")
    (step / "assets" / "trossen").mkdir()
    (step / "assets" / "trossen" / "norm_stats.json").write_text("{}")
    [checkpoint] = OpenPIRegistry(str(step)).checkpoints()
    assert checkpoint.extras["asset_ids"] == ["physical-intelligence/libero", "trossen"]
    assert checkpoint.id == "30000"


def test_places_that_hold_no_checkpoint_say_what_they_hold(tmp_path, run):
    with pytest.raises(ConfigurationError, match="does not exist"):
        OpenPIRegistry(str(tmp_path / "none")).checkpoints()
    with pytest.raises(ConfigurationError, match=r"no complete checkpoint in .*pi05_positronic_lowmem: it holds exp"):
        OpenPIRegistry(str(run.parent)).checkpoints()
    shutil.rmtree(run / "999" / "assets")
    with pytest.raises(ConfigurationError, match=r"999 is no complete checkpoint: assets/ holds no norm_stats\.json"):
        OpenPIRegistry(str(run / "999")).checkpoints()


def test_a_step_that_lacks_something_says_what_and_whether_to_wait(run):
    step = run / "10000"
    shutil.rmtree(step / "assets")
    lacks = r"assets/ holds no norm_stats\.json; "
    with pytest.raises(ConfigurationError, match=lacks + r"it was written to \d+ s ago: .* wait for that$"):
        OpenPIRegistry(str(step)).checkpoints()
    for path in (step, *step.rglob("*")):
        os.utime(path, (0, time.time() - 7200))
    for other in ("999", "5000", "11000.orbax-checkpoint-tmp-0"):
        shutil.rmtree(run / other)
    for place in (step, run):
        with pytest.raises(ConfigurationError, match=lacks + "nothing .* for 2 hours: save or copy it again$"):
            OpenPIRegistry(str(place)).checkpoints()


@pytest.mark.parametrize("name", ["params/d/0123abcd", "params/_METADATA", "assets/lerobot/norm_stats.json"])
def test_a_pointer_of_git_lfs_is_named(run, name):
    (run / "10000" / name).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n")
    with pytest.raises(ConfigurationError, match=rf"{name} is a Git LFS pointer.*: run git lfs pull in .*/10000$"):
        OpenPIRegistry(str(run / "10000")).checkpoints()
    assert ids(run) == ["999", "5000"]


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (
            ["model.safetensors.index.json", "model-00001-of-00002.safetensors"],
            r"join them into one model\.safetensors",
        ),
        (["adapter_config.json", "adapter_model.safetensors"], "a PEFT adapter, .*: merge it"),
        (["config.json", "pytorch_model.bin"], "--vendor lerobot"),
        (["manifest.ocdbt", "_METADATA"], "give the folder above it"),
    ],
)
@pytest.mark.parametrize("itself", [True, False])
def test_what_will_never_be_a_step_is_told_by_its_cause(tmp_path, files, says, itself):
    step = tmp_path / "run" / "7"
    step.mkdir(parents=True)
    for name in files:
        (step / name).write_text("{}")
    with pytest.raises(ConfigurationError, match=says) as raised:
        OpenPIRegistry(str(step if itself else step.parent)).checkpoints()
    assert "wait" not in str(raised.value)


def test_a_file_of_another_framework_beside_the_steps_is_passed_over(run):
    (run / "config.json").write_text("{}")
    assert ids(run) == ["999", "5000", "10000"]


def test_a_converted_step_without_statistics_says_where_they_are(tmp_path):
    step = write_step(tmp_path / "7", pytorch=True)
    (step / "assets" / "lerobot" / "norm_stats.json").unlink()
    with pytest.raises(ConfigurationError, match=r"copies none: copy assets/ of the JAX step"):
        OpenPIRegistry(str(step)).checkpoints()


def test_the_folder_above_the_experiment_is_told_where_the_steps_are(run):
    with pytest.raises(ConfigurationError, match=rf"it holds exp; .*; did you mean {run}\?"):
        OpenPIRegistry(str(run.parent)).checkpoints()


def test_a_repository_of_the_hub_is_no_folder():
    with pytest.raises(ConfigurationError, match=r"org/pi05 does not exist; a repository .* is written hf://org/pi05"):
        OpenPIRegistry("org/pi05").checkpoints()


def test_the_vendor_is_recognised_by_its_files(run, tmp_path):
    plugins = Plugins.discover()
    assert from_flags(plugins, checkpoints_dir=str(run)).vendor == "openpi"
    assert from_flags(plugins, checkpoints_dir=str(run / "999")).vendor == "openpi"
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigurationError, match="no installed vendor recognises"):
        from_flags(plugins, checkpoints_dir=str(tmp_path / "empty"))


def test_what_training_recorded_rules(run):
    (run / "offboard.json").write_text(json.dumps({"codec": "openpi.joints_traj", "action_fps": 10}))
    plugins = Plugins.discover()
    source = from_flags(plugins, checkpoints_dir=str(run), loader_options=options())
    resolved = source.codec.resolve(source.default(), {})
    assert (resolved.name, resolved.source, resolved.meta.action_fps) == ("openpi.joints_traj", "checkpoint", 10)
    contradicting = from_flags(plugins, checkpoints_dir=str(run), codec="ee", loader_options=options())
    with pytest.raises(ConfigurationError, match=r"asks for openpi\.ee, .* trained with openpi\.joints_traj"):
        contradicting.codec.resolve(contradicting.default(), {})
    (run / "offboard.json").write_text("{")
    with pytest.raises(ConfigurationError, match=r"offboard\.json is not JSON"):
        OpenPIRegistry(str(run)).checkpoints()
    (run / "offboard.json").write_text(json.dumps({"config": "pi05_positronic_lowmem"}))
    with pytest.raises(ConfigurationError, match=r"there is no field 'config' in .*; did you mean config_name\?"):
        OpenPIRegistry(str(run)).checkpoints()


@pytest.fixture
def bucket(store, request):
    return f"s3://runs/{request.node.name}"


@pytest.fixture
def stored(bucket, run, tmp_path, monkeypatch):
    monkeypatch.setenv("OFFBOARD_CACHE", str(tmp_path / "cache"))
    (run / "offboard.json").write_text(json.dumps({"codec": "openpi.ee", "action_fps": 15}))
    upload(run, f"{bucket}/pi05_positronic_lowmem/exp")
    return f"{bucket}/pi05_positronic_lowmem/exp"


def test_checkpoints_in_an_object_store_are_listed_there_and_fetched_when_loaded(stored, tmp_path):
    source = from_flags(Plugins.discover(), vendor="openpi", checkpoints_dir=stored, loader_options=options())
    found = source.registry.checkpoints()
    assert [checkpoint.id for checkpoint in found] == ["999", "5000", "10000"]
    assert found[0].experiment == "exp"
    assert found[0].recorded == {"codec": "openpi.ee", "action_fps": 15}
    assert found[0].location == f"{stored}/999"
    assert not (tmp_path / "cache").exists(), "listing fetches nothing"
    said: list[str] = []
    policy = source.loader.load(source.registry.resolve("999"), said.append)
    try:
        assert any(line.startswith("fetching 999: ") for line in said)
        codec = source.codec.resolve(found[0], {})
        [session] = [policy.new_session(policy.params())]
        assert session.infer(codec.encode(robot()), NO_CONTEXT).action[0, 1] == 0.1
    finally:
        policy.close()
    fetched = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert not [path for path in fetched if "train_state" in path.parts], "what only training needs stays there"
    [one] = OpenPIRegistry(f"{stored}/5000").checkpoints()
    assert one.id == "5000"


def test_a_store_without_whole_checkpoints_says_what_each_lacks(bucket, run):
    (run / "10000" / "params" / "_METADATA").unlink()
    upload(run / "10000", f"{bucket}/10000")
    with pytest.raises(ConfigurationError, match=r"it holds 10000; .*; of 10000, neither params/_METADATA nor"):
        OpenPIRegistry(bucket).checkpoints()


def test_a_store_that_holds_another_kind_of_weights_says_so(bucket, tmp_path):
    (tmp_path / "lora").mkdir()
    (tmp_path / "lora" / "adapter_config.json").write_text("{}")
    upload(tmp_path / "lora", bucket)
    with pytest.raises(ConfigurationError, match=r"it holds adapter_config\.json; .*; it is a PEFT adapter"):
        OpenPIRegistry(bucket).checkpoints()


def test_a_store_without_checkpoints_says_what_it_holds(stored, bucket):
    with pytest.raises(
        ConfigurationError, match=f"no complete checkpoint in {bucket}: it holds pi05_positronic_lowmem"
    ):
        OpenPIRegistry(bucket).checkpoints()
    with pytest.raises(ConfigurationError, match=f"{bucket}/nothing"):
        OpenPIRegistry(f"{bucket}/nothing").checkpoints()
