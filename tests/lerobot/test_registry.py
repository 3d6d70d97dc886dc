import json
import os
import shutil

import pytest
from lerobot_checkpoints import write_files, write_safetensors
from offboard_client.errors import ConfigurationError, ModelNotFound
from offboard_lerobot.registry import LeRobotRegistry, recognises


@pytest.fixture
def run(tmp_path):
    run = tmp_path / "cubes"
    for step in ("002000", "010000", "9000"):
        write_files(run / "checkpoints" / step / "pretrained_model")
    os.symlink("010000", run / "checkpoints" / "last")
    return run


def ids(place):
    return [checkpoint.id for checkpoint in LeRobotRegistry(str(place)).checkpoints()]


def test_a_run_lists_its_steps_by_number_without_the_link(run):
    assert ids(run) == ["002000", "9000", "010000"]
    assert ids(run / "checkpoints") == ["002000", "9000", "010000"]
    registry = LeRobotRegistry(str(run))
    assert registry.default().id == "010000"
    assert registry.resolve("2000").id == "002000"
    with pytest.raises(ModelNotFound, match="there are: 002000, 9000, 010000"):
        registry.resolve("first")
    with pytest.raises(ModelNotFound, match=r"^last is a link to 010000, .*: ask for 010000, or for none"):
        registry.resolve("last")


def test_where_a_checkpoint_lies_is_the_same_however_it_is_typed(run, tmp_path, monkeypatch):
    """A client takes it for a part of which model that is; other files under the same words are other ones."""
    place = run.relative_to(tmp_path)
    (tmp_path / "link").symlink_to(run)
    monkeypatch.chdir(tmp_path)
    typed = [
        str(run),
        str(place),
        f"./{place}/",
        f"{place}/../{place.name}",
        "link",
        f"{place}/checkpoints",
        f"{place}/checkpoints/last",
        f"{place}/checkpoints/010000",
        f"{place}/checkpoints/last/pretrained_model",
    ]
    said = {
        (found.id, found.location, found.experiment) for each in typed for found in [LeRobotRegistry(each).default()]
    }
    [(_, location, _)] = said
    other = shutil.copytree(tmp_path / place.parts[0], tmp_path / "bob" / place.parts[0], symlinks=True)
    monkeypatch.chdir(other.parent)
    assert LeRobotRegistry(str(place)).default().location == location.replace(str(tmp_path), str(tmp_path / "bob"), 1)


@pytest.mark.parametrize("inside", ["", "pretrained_model"])
def test_one_step_is_one_checkpoint(run, inside):
    place = run / "checkpoints" / "002000" / inside
    assert ids(place) == ["002000"]
    assert recognises(place)


def test_a_bare_folder_goes_by_its_own_name(tmp_path):
    bare = write_files(tmp_path / "my_model")
    [checkpoint] = LeRobotRegistry(str(bare)).checkpoints()
    assert (checkpoint.id, checkpoint.experiment) == ("my_model", "my_model")
    assert recognises(bare)


def test_what_the_files_say_is_read(run):
    checkpoint = LeRobotRegistry(str(run)).default()
    assert checkpoint.experiment == "cubes"
    assert checkpoint.location == str(run / "checkpoints" / "010000" / "pretrained_model")
    assert checkpoint.inputs["observation.images.left"].shape == (64, 64, 3)
    assert checkpoint.inputs["observation.images.left"].dtype == "uint8"
    assert checkpoint.inputs["observation.state"].shape == (8,)
    assert checkpoint.outputs["action"].shape == (8,)
    assert checkpoint.chunk_length == 16
    assert checkpoint.recorded == {}


def test_a_chunk_of_diffusion_is_what_it_executes(tmp_path):
    [checkpoint] = LeRobotRegistry(str(write_files(tmp_path / "m", kind="diffusion"))).checkpoints()
    assert checkpoint.chunk_length == 8


@pytest.mark.parametrize("beside", ["pretrained_model/offboard.json", "offboard.json"])
def test_what_offboard_recorded_lies_beside_the_checkpoint(run, beside):
    recorded = {"codec": "lerobot.ee", "action_fps": 30}
    (run / "checkpoints" / "002000" / beside).write_text(json.dumps(recorded))
    listed = {c.id: c.recorded for c in LeRobotRegistry(str(run)).checkpoints()}
    assert listed == {"002000": recorded, "9000": {}, "010000": {}}


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def grow(path):
    path.write_bytes(path.read_bytes() + b"x")


def forge(path, **said):
    """Another header over the same numbers."""
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:end])
    text = json.dumps({name: {**of, **said} for name, of in header.items()}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + content[end:])


STATE = "policy_preprocessor_step_0_normalizer_processor.safetensors"
DAMAGE = {
    "no config": (lambda m: (m / "config.json").unlink(), r"config\.json is missing"),
    "half a config": (lambda m: cut(m / "config.json"), r"config\.json cannot be read"),
    "a config that is a list": (lambda m: (m / "config.json").write_text("[]"), "holds no map"),
    "a config of something else": (lambda m: (m / "config.json").write_text("{}"), "has no type"),
    "no features": (lambda m: write_files(m, input_features={}), "has no input_features"),
    "a feature without a shape": (lambda m: write_files(m, output_features={"action": {}}), "without type and shape"),
    "no weights": (lambda m: (m / "model.safetensors").unlink(), r"model\.safetensors is missing"),
    "empty weights": (lambda m: (m / "model.safetensors").write_bytes(b""), "ends within its header"),
    "weights cut short": (lambda m: cut(m / "model.safetensors"), r"\d+ bytes, its header says \d+"),
    "weights too long": (lambda m: grow(m / "model.safetensors"), "its header says"),
    "a forged header": (
        lambda m: (m / "model.safetensors").write_bytes(b"\xff" * 7 + b"\x00" + b"{}"),
        "ends within its header",
    ),
    "a header that is no JSON": (
        lambda m: (m / "model.safetensors").write_bytes(b"\x02" + b"\x00" * 7 + b"{x"),
        "no safetensors header",
    ),
    "a shape that is not there": (
        lambda m: forge(m / "model.safetensors", shape=[10**9]),
        r"model\.safetensors contradicts itself: 'weight' has .*1000000000",
    ),
    "numbers of another length": (
        lambda m: forge(m / "model.safetensors", dtype="F64"),
        "contradicts itself: 'weight'",
    ),
    "one that begins elsewhere": (lambda m: forge(m / "model.safetensors", data_offsets=[-8, 8]), "contradicts itself"),
    "a shape that is none": (lambda m: forge(m / "model.safetensors", shape="x"), "contradicts itself"),
    "no postprocessor": (lambda m: (m / "policy_postprocessor.json").unlink(), "policy_postprocessor"),
    "no processors": (lambda m: [p.unlink() for p in m.glob("policy_*")], r"policy_preprocessor\.json and .* missing"),
    "no statistics": (lambda m: (m / STATE).unlink(), f"{STATE} is missing"),
    "statistics cut short": (lambda m: cut(m / STATE), f"{STATE} has"),
    "statistics elsewhere": (
        lambda m: (m / "policy_preprocessor.json").write_text('{"steps": [{"state_file": "../../x.safetensors"}]}'),
        "no file of this folder",
    ),
    "half an offboard.json": (lambda m: (m / "offboard.json").write_text('{"codec'), r"offboard\.json cannot be read"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_checkpoint_that_is_not_whole_is_not_listed(run, damage):
    harm, reason = DAMAGE[damage]
    broken = run / "checkpoints" / "010000" / "pretrained_model"
    harm(broken)
    assert ids(run) == ["002000", "9000"]
    with pytest.raises(ConfigurationError, match=rf"no complete checkpoint: .*{reason}"):
        LeRobotRegistry(str(broken)).checkpoints()
    with pytest.raises(
        ModelNotFound, match=rf"checkpoint 010000 is no complete checkpoint: .*{reason}.* wait for that"
    ):
        LeRobotRegistry(str(run)).resolve("10000")


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("action_fsp", r"no field 'action_fsp' in offboard\.json; did you mean action_fps\? .*Correct it"),
        ("foo", r"no field 'foo' in offboard\.json; there are: action_fps, codec, codec_options: Correct it"),
    ],
)
def test_what_nobody_reads_of_an_offboard_json_is_named(run, field, text):
    """A rate that is written wrongly was no rate, and the codec's own was played."""
    place = run / "checkpoints" / "010000" / "pretrained_model"
    (place / "offboard.json").write_text(json.dumps({"codec": "lerobot.joints", field: 15}))
    assert ids(run) == ["002000", "9000"]
    with pytest.raises(ModelNotFound, match=rf"010000 cannot be served: there is {text}, or take it out$"):
        LeRobotRegistry(str(run)).resolve("10000")


def test_before_0_4_there_were_no_processors_and_the_checkpoint_is_listed(run):
    old = run / "checkpoints" / "002000" / "pretrained_model"
    for path in old.glob("policy_*"):
        path.unlink()
    write_safetensors(old / "model.safetensors", **{"normalize_inputs.buffer_observation_state.mean": [0.0]})
    assert ids(run) == ["002000", "9000", "010000"]


def test_a_place_without_a_whole_checkpoint_says_what_is_there(run, tmp_path):
    for step in (run / "checkpoints").iterdir():
        if not step.is_symlink():
            (step / "pretrained_model" / "model.safetensors").unlink()
    with pytest.raises(
        ConfigurationError, match=r"002000, 9000, 010000 are incomplete.*of 010000, model.safetensors is missing"
    ):
        ids(run)
    shutil.rmtree(run / "checkpoints")
    (run / "logs").mkdir()
    with pytest.raises(ConfigurationError, match=r"it holds logs; expected folders called <number>.*pretrained_model"):
        ids(run)
    with pytest.raises(ConfigurationError, match=r"did you mean .*cubes"):
        ids(tmp_path / "cube")


def test_the_home_folder_may_be_written_short(run, monkeypatch):
    monkeypatch.setenv("HOME", str(run.parent))
    assert ids("~/cubes") == ["002000", "9000", "010000"]


def test_only_lerobots_folders_are_recognised(run, tmp_path):
    assert recognises(run)
    assert recognises(run / "checkpoints")
    assert not recognises(tmp_path)
    assert not recognises(tmp_path / "missing")
    other = tmp_path / "gr00t" / "checkpoint-1000"
    other.mkdir(parents=True)
    (other / "config.json").write_text('{"model_type": "gr00t"}')
    assert not recognises(other)
    (other / "config.json").write_text("{")
    assert not recognises(other)
    (tmp_path / "openpi" / "1000" / "params").mkdir(parents=True)
    assert not recognises(tmp_path / "openpi")
