"""Weights in several files, with an index of them, are the weights that they were in one; or are refused by name."""

import json
import shutil

import numpy as np
import pytest
from lerobot_checkpoints import model_inputs, spread, write_files, write_safetensors
from object_store import upload
from offboard_client.errors import ConfigurationError, LoadFailed, ModelNotFound
from offboard_core.catalog import from_flags
from offboard_core.plugins import Plugins
from offboard_core.types import NO_CONTEXT
from offboard_lerobot.registry import LeRobotRegistry, recognises
from offboard_process import offboard

INDEX = "model.safetensors.index.json"
FIRST, SECOND = (f"model-0000{n}-of-00002.safetensors" for n in (1, 2))


def answer(place):
    source = from_flags(
        Plugins.discover(), vendor="lerobot", checkpoints_dir=str(place), loader_options={"device": "cpu"}
    )
    policy = source.loader.load(source.default(), lambda _: None)
    try:
        return policy.new_session(policy.params()).infer(model_inputs(1), NO_CONTEXT).action
    finally:
        policy.close()


@pytest.fixture(scope="module")
def whole(act):
    return answer(act)


@pytest.fixture
def several(act, tmp_path):
    return spread(shutil.copytree(act, tmp_path / "cubes" / "000100" / "pretrained_model"))


def test_they_answer_what_one_file_answers(several, whole):
    assert len([*several.glob("model-*.safetensors")]) > 2
    assert not (several / "model.safetensors").exists()
    np.testing.assert_array_equal(answer(several), whole)


def test_a_set_of_one_file_is_served_too(act, whole, tmp_path):
    several = spread(shutil.copytree(act, tmp_path / "m"), 1)
    (several / "model.safetensors").rename(several / "all.safetensors")
    with (several / "all.safetensors").open("rb") as file:
        names = json.loads(file.read(int.from_bytes(file.read(8), "little"))).keys() - {"__metadata__"}
    (several / INDEX).write_text(json.dumps({"weight_map": dict.fromkeys(names, "all.safetensors")}))
    np.testing.assert_array_equal(answer(several), whole)


def test_all_of_them_are_fetched_from_a_store(several, whole, bucket, tmp_path):
    (several / "README.md").write_text("# a model")
    upload(several, bucket)
    np.testing.assert_array_equal(answer(bucket), whole)
    fetched = {path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()}
    assert {path.name for path in several.iterdir()} - fetched == {"README.md"}


def test_the_policy_says_what_several_files_lack(several):
    [*_, last] = sorted(several.glob("model-*.safetensors"))
    content = json.loads((several / INDEX).read_text())
    lost = sorted(name for name, file in content["weight_map"].items() if file == last.name)
    for name in lost:
        del content["weight_map"][name]
    (several / INDEX).write_text(json.dumps(content))
    last.unlink()
    with pytest.raises(LoadFailed, match=rf"/{INDEX} does not fit its config: it lacks {lost[0]}, .*and has nothing"):
        answer(several)


@pytest.fixture
def cubes(tmp_path):
    """Files alone: two tensors, each in a file of its own; and a step of one file."""
    write_files(tmp_path / "cubes" / "checkpoints" / "000050" / "pretrained_model")
    model = write_files(tmp_path / "cubes" / "checkpoints" / "000100" / "pretrained_model")
    (model / "model.safetensors").unlink()
    write_safetensors(model / FIRST, a=[1.0])
    write_safetensors(model / SECOND, b=[2.0, 3.0])
    index(model, a=FIRST, b=SECOND)
    return tmp_path / "cubes"


def index(model, **weight_map):
    (model / INDEX).write_text(json.dumps({"metadata": {"total_size": 12}, "weight_map": weight_map}))


def test_such_a_folder_is_listed_and_recognised(cubes):
    assert [checkpoint.id for checkpoint in LeRobotRegistry(str(cubes)).checkpoints()] == ["000050", "000100"]
    assert recognises(cubes / "checkpoints" / "000100" / "pretrained_model")


WRONG = {
    "half a set": (lambda m: (m / SECOND).unlink(), rf"it lacks {SECOND}, of 2 files with weights that {INDEX} names"),
    "none of the set": (lambda m: [(m / n).unlink() for n in (FIRST, SECOND)], rf"it lacks {FIRST}, {SECOND}, of 2"),
    "a file cut short": (lambda m: (m / SECOND).write_bytes((m / SECOND).read_bytes()[:-1]), rf"{SECOND} has .* bytes"),
    "no index": (lambda m: (m / INDEX).write_text("{}"), f"{INDEX} has no weight_map"),
    "an empty index": (index, f"{INDEX} has no weight_map"),
    "half an index": (lambda m: (m / INDEX).write_text('{"weight_map": {'), f"{INDEX} cannot be read"),
    "a path": (lambda m: index(m, a=FIRST, b=f"../pretrained_model/{SECOND}"), r"names '\.\./pretrained_model/model-"),
    "a path from the root": (lambda m: index(m, a=FIRST, b=str(m / SECOND)), r"names '/.*which is no safetensors file"),
    "the folder above": (lambda m: index(m, a=FIRST, b=".."), r"names '\.\.', which is no safetensors file"),
    "another kind of file": (lambda m: index(m, a=FIRST, b="config.json"), "names 'config.json', which is no"),
    "no name": (lambda m: index(m, a=FIRST, b=2), "names 2, which is no safetensors file of this folder"),
    "a tensor that is elsewhere": (
        lambda m: index(m, a=SECOND, b=FIRST),
        f"does not fit {FIRST}, which has not b, and has besides a",
    ),
    "a tensor that is not there": (
        lambda m: index(m, a=FIRST, b=SECOND, c=SECOND),
        f"does not fit {SECOND}, which has not c, and has besides nothing",
    ),
    "a tensor twice": (
        lambda m: write_safetensors(m / SECOND, a=[9.0], b=[2.0, 3.0]),
        f"does not fit {SECOND}, which has not nothing, and has besides a",
    ),
}


@pytest.mark.parametrize("why", WRONG)
def test_what_is_no_whole_set_is_refused_by_name(cubes, why):
    harm, text = WRONG[why]
    model = cubes / "checkpoints" / "000100" / "pretrained_model"
    harm(model)
    with pytest.raises(ConfigurationError, match=rf"is no complete checkpoint: .*{text}"):
        LeRobotRegistry(str(model)).checkpoints()
    with pytest.raises(ModelNotFound, match=rf"000100 is no complete checkpoint: .*{text}"):
        LeRobotRegistry(str(cubes)).resolve("100")


def test_nor_is_it_in_a_store(cubes, bucket):
    model = cubes / "checkpoints" / "000100" / "pretrained_model"
    (model / SECOND).unlink()
    upload(model, bucket)
    with pytest.raises(ConfigurationError, match=f"is no complete checkpoint: it lacks {SECOND}"):
        from_flags(Plugins.discover(), vendor="lerobot", checkpoints_dir=bucket).default()


def test_the_server_ends_before_it_listens(cubes):
    model = cubes / "checkpoints" / "000100" / "pretrained_model"
    (model / FIRST).unlink()
    done = offboard("serve", "--checkpoints-dir", str(model), "--port", "0", "--json")
    assert done.returncode == 1
    assert f"it lacks {FIRST}, of 2 files with weights" in done.stderr
    assert not done.stdout
