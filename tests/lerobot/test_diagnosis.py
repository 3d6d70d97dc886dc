"""What will never be a whole checkpoint is told its own cause and next step, and never to wait."""

import json
import os
import shutil
import time

import pytest
from lerobot_checkpoints import write_files
from object_store import upload
from offboard_client.errors import ConfigurationError, ModelNotFound
from offboard_core.catalog import from_flags
from offboard_core.plugins import Plugins
from offboard_lerobot.registry import LeRobotRegistry, recognises
from offboard_process import offboard

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{0:064d}\nsize 206701072\n"


def adapter(model):
    (model / "model.safetensors").rename(model / "adapter_model.safetensors")
    (model / "adapter_config.json").write_text('{"peft_type": "LORA"}')


def adapter_alone(model):
    adapter(model)
    for path in (*model.glob("policy_*"), model / "config.json"):
        path.unlink()


def channels_last(model):
    image = {"type": "VISUAL", "shape": [480, 640, 3]}
    write_files(model, input_features={"observation.images.front": image})


def of_2024(model):
    (model / "config.json").write_text(json.dumps({"chunk_size": 100, "input_shapes": {"observation.state": [14]}}))


NEVER = {
    "a pointer": (
        lambda m: (m / "model.safetensors").write_text(POINTER),
        r"model\.safetensors is a Git LFS pointer, not the file itself: run git lfs pull in .*pretrained_model$",
    ),
    "a pointer for the numbers of a step": (
        lambda m: next(m.glob("policy_*.safetensors")).write_text(POINTER),
        r"normalizer_processor\.safetensors is a Git LFS pointer.*: run git lfs pull",
    ),
    "a pointer for the config": (
        lambda m: (m / "config.json").write_text(POINTER),
        r"config\.json is a Git LFS pointer",
    ),
    "an adapter": (adapter, "it is a PEFT adapter, and there is no config.json that says so .*: save beside it what"),
    "an adapter by itself": (adapter_alone, "it is a PEFT adapter"),
    "a pickle": (
        lambda m: (m / "model.safetensors").rename(m / "pytorch_model.bin"),
        r"its weights are a pickle \(pytorch_model\.bin\), which may run code",
    ),
    "channels last": (
        channels_last,
        r"describes observation\.images\.front as \[480, 640, 3\], its channels last.*: write \[3, 480, 640\] there",
    ),
    "a config of 2024": (
        of_2024,
        r"LeRobot from before 2025, which described a policy by its input_shapes: .*, "
        r"then migrate it \(python -m lerobot\.\S+ --pretrained-path /\S+\), or train it",
    ),
}


@pytest.fixture
def run(tmp_path):
    """A training run of one step."""
    write_files(tmp_path / "cubes" / "checkpoints" / "000100" / "pretrained_model")
    return tmp_path / "cubes"


@pytest.mark.parametrize("kind", NEVER)
def test_nobody_is_told_to_wait_for_what_never_comes(run, kind):
    make, text = NEVER[kind]
    model = run / "checkpoints" / "000100" / "pretrained_model"
    make(model)
    for ask in (LeRobotRegistry(str(model)).checkpoints, LeRobotRegistry(str(run)).checkpoints):
        with pytest.raises(ConfigurationError, match=text) as raised:
            ask()
        assert "wait for" not in raised.value.text
    write_files(run / "checkpoints" / "000050" / "pretrained_model")
    with pytest.raises(ModelNotFound, match=rf"the checkpoint 000100 cannot be served: .*{text}"):
        LeRobotRegistry(str(run)).resolve("100")
    assert [c.id for c in LeRobotRegistry(str(run)).checkpoints()] == ["000050"]


@pytest.mark.parametrize("kind", ["a pointer", "an adapter by itself", "channels last"])
def test_nor_in_a_store(run, kind, store, request):
    make, text = NEVER[kind]
    model = run / "checkpoints" / "000100" / "pretrained_model"
    make(model)
    text = "upload the file that it stands for" if kind == "a pointer" else text
    bucket = f"s3://bucket/{request.node.name}"
    for place, url in ((model, f"{bucket}/model"), (run, f"{bucket}/run")):
        upload(place, url)
        with pytest.raises(ConfigurationError, match=text):
            from_flags(Plugins.discover(), vendor="lerobot", checkpoints_dir=url).default()


def age(place, seconds):
    for path in (place, *place.rglob("*")):
        os.utime(path, (0, time.time() - seconds))


def test_processors_that_were_never_saved_are_told_how(run):
    model = run / "checkpoints" / "000100" / "pretrained_model"
    for path in model.glob("policy_*"):
        path.unlink()
    missing = r"policy_preprocessor\.json and policy_postprocessor\.json are missing; "
    with pytest.raises(ConfigurationError, match=missing + "it was written to .* wait for that$"):
        LeRobotRegistry(str(model)).checkpoints()
    age(model, 3 * 3600)
    for place in (model, run):
        with pytest.raises(ConfigurationError, match=missing + "nothing .* for 3 hours: .* save both processors there"):
            LeRobotRegistry(str(place)).checkpoints()


def test_a_copy_that_broke_off_long_ago_is_not_waited_for(run):
    weights = run / "checkpoints" / "000100" / "pretrained_model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])
    age(run, 86400 * 3)
    with pytest.raises(
        ConfigurationError, match=r"its header says .*; nothing has been .* for 3 days: save or copy it again"
    ):
        LeRobotRegistry(str(run)).checkpoints()


def test_a_run_of_links_alone_is_recognised_and_told_what_to_copy(run):
    shutil.rmtree(run / "checkpoints" / "000100")
    (run / "checkpoints" / "last").symlink_to("000100")
    assert recognises(run)
    with pytest.raises(ConfigurationError, match="last is a link to 000100, which is not there: copy that folder, too"):
        LeRobotRegistry(str(run)).checkpoints()
    write_files(run / "checkpoints" / "best" / "pretrained_model")
    (run / "checkpoints" / "last").unlink()
    assert recognises(run)
    with pytest.raises(ConfigurationError, match=r"best is a whole checkpoint: to serve that one, give .*/best"):
        LeRobotRegistry(str(run)).checkpoints()
    [best] = LeRobotRegistry(str(run / "checkpoints" / "best")).checkpoints()
    assert best.id == "best"


def test_weights_that_an_adapter_changes_are_not_served_without_it(tmp_path):
    source = from_flags(Plugins.discover(), checkpoints_dir=str(write_files(tmp_path / "m", use_peft=True)))
    with pytest.raises(ConfigurationError, match=r"no complete checkpoint: adapter_config\.json is missing"):
        source.default()


def test_a_repository_of_the_hub_is_no_folder_of_this_machine():
    done = offboard("serve", "--vendor", "lerobot", "--checkpoints-dir", "lerobot/act_aloha", "--port", "0")
    assert done.returncode == 1
    assert (
        "lerobot/act_aloha does not exist; a repository on the Hugging Face Hub is written hf://lerobot/act_aloha"
        in (done.stderr)
    )


@pytest.mark.parametrize(
    ("page", "written"),
    [
        ("https://huggingface.co/lerobot/act", "hf://lerobot/act$"),
        ("https://hf.co/lerobot/act/tree/v1.0/checkpoints/000100/", "hf://lerobot/act@v1.0/checkpoints/000100$"),
        ("https://example.org/act", "use one of s3, gs, hf"),
    ],
)
def test_a_web_page_is_no_place_either(page, written):
    with pytest.raises(ConfigurationError, match=f"a web page cannot be listed; .*{written}"):
        from_flags(Plugins.discover(), vendor="lerobot", checkpoints_dir=page)
