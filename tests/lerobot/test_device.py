"""A device that has gone wrong for the whole process, as CUDA does after a failed assertion in a kernel.

The device "meta" stands for it: it is one of torch's own, and nothing can be read from it.
"""

from types import SimpleNamespace

import numpy as np
import pytest
from lerobot_checkpoints import kinds, model_inputs, save_policy
from offboard_client.errors import LoadFailed, ModelLost, PolicyFailed
from offboard_core import Health, Item, Placement
from offboard_core.checkpoints import LocalPlace
from offboard_core.types import Field
from offboard_lerobot.files import read
from offboard_lerobot.loader import LeRobotLoader, LeRobotOptions
from offboard_lerobot.registry import LeRobotRegistry


@pytest.fixture
def torch():
    import torch

    return torch


@pytest.fixture
def build():
    from offboard_lerobot import build

    return build


@pytest.fixture
def broken():
    from offboard_lerobot.device import broken

    return broken


def load(folder, device="cpu"):
    [checkpoint] = LeRobotRegistry(str(folder)).checkpoints()
    return LeRobotLoader(LeRobotOptions(device=device)).load(checkpoint, lambda _: None)


def raising(error):
    def fail(*_, **__):
        raise error

    return fail


def test_an_image_is_what_lerobot_makes_of_it_on_every_device_that_is_here(act, torch):
    """Each of a byte's values: of 255 a GPU's reciprocal makes 126 otherwise."""
    from lerobot.policies.utils import prepare_observation_for_inference

    inputs = model_inputs(0)
    image = np.resize(np.arange(256, dtype=np.uint8), inputs["observation.images.left"].shape)
    inputs["observation.images.left"] = image
    for device in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
        policy = load(act, device)
        expected = prepare_observation_for_inference(dict(inputs), torch.device(device))["observation.images.left"]
        made = policy._tensors([inputs])["observation.images.left"]
        policy.close()
        assert made.device == expected.device
        assert torch.equal(made, expected)


@pytest.mark.parametrize("kind", ["act", "diffusion"])
def test_a_broken_device_is_a_lost_model_for_everybody(kind, torch, request, caplog):
    policy = load(request.getfixturevalue(kind))
    try:
        inputs = model_inputs(0)
        batch = [Item(policy.new_session(None), inputs) for _ in range(3)]
        bad = Item(policy.new_session(None), {})
        policy._predict = raising(RuntimeError("an error of one observation"))
        assert [type(answer) for answer in policy.infer_many(batch)] == [PolicyFailed] * 3
        assert policy.health() == Health()
        policy._predict = raising(RuntimeError("CUDA error: device-side assert triggered"))
        policy._device = torch.device("meta")
        answers = policy.infer_many([*batch, bad])
        assert [type(answer) for answer in answers[:3]] == [ModelLost] * 3
        assert type(answers[3]) is not ModelLost, "what was refused before it came near the device"
        assert policy.health().state == "failed"
        assert policy.health().reason == answers[0].text
        assert answers[0].text.startswith("meta fails at whatever this process asks of it (")
        assert answers[0].text.endswith("Restart the server")
        assert "device-side assert" in caplog.text
    finally:
        policy.close()


def test_nothing_is_loaded_onto_it(act, torch, build, monkeypatch):
    monkeypatch.setattr(build, "pick_device", lambda asked, place: torch.device("meta"))
    with pytest.raises(LoadFailed, match=r"meta fails at whatever.*Restart the server") as caught:
        load(act)
    assert caught.value.permanent


@pytest.mark.parametrize("said", ["CUDA out of memory. Tried to allocate 2 MiB", "CUDA error: out of memory\nSearch"])
def test_a_device_that_is_full_is_not_broken(torch, broken, monkeypatch, said):
    """The second where another program left no room for CUDA itself."""
    monkeypatch.setattr(torch, "ones", raising(RuntimeError(said)))
    assert broken(torch.device("cpu")) is None


FULL = [
    ("CUDA out of memory. Tried to allocate 2 MiB. GPU 0 has a total capacity of 79 GiB", "nvidia-smi"),
    ("CUDA error: out of memory", "nvidia-smi"),
    ("DefaultCPUAllocator: can't allocate memory", "end what holds it"),
]


@pytest.mark.parametrize("at", ["reading", "first inference"])
@pytest.mark.parametrize(("text", "step"), FULL)
def test_a_device_without_room_is_told_with_what_to_do_and_asked_again(act, build, monkeypatch, at, text, step):
    error = RuntimeError(text)
    if at == "reading":
        monkeypatch.setattr(build, "read_weights", raising(error))
    else:
        monkeypatch.setattr(build.LeRobotPolicy, "_predict", raising(error))
    with pytest.raises(LoadFailed, match=rf"{text}.*{step}.*; the next session has the load tried again$") as caught:
        load(act)
    assert not caught.value.permanent


def test_what_has_nothing_to_do_with_room_is_told_as_it_is(act, build, monkeypatch):
    monkeypatch.setattr(build, "read_weights", raising(RuntimeError("shapes differ")))
    with pytest.raises(LoadFailed, match=r"cannot be loaded: .*shapes differ$"):
        load(act)


def on_meta(torch, kind, **options):
    """A policy for another device, of which no model is asked."""
    from offboard_lerobot.policy import LeRobotPolicy

    named = ("eo1_conversation_template_processor", "eo1_qwen_processor", "device_processor")
    steps = [{"registry_name": name, "config": options} for name in named if kind == "eo1" or "eo1" not in name]
    files = SimpleNamespace(
        type=kind,
        inputs={name: Field(shape=value.shape, dtype=value.dtype.name) for name, value in model_inputs(0).items()},
        outputs={"action": Field(shape=(8,))},
        steps={"policy_preprocessor.json": steps},
        checkpoint=lambda *_: SimpleNamespace(chunk_length=6),
        fill=None,
    )
    config = SimpleNamespace(n_obs_steps=1, use_amp=False, num_denoise_steps=3, robot_state_feature=True)
    return LeRobotPolicy(SimpleNamespace(config=config), None, None, files, torch.device("meta"), 1)


@pytest.mark.parametrize(
    ("kind", "options", "first"),
    [
        ("act", {}, "meta"),
        ("eo1", {}, "cpu"),
        ("eo1", {"use_fast_processor": False}, "cpu"),
        ("eo1", {"use_fast_processor": True}, "meta"),
    ],
)
def test_what_numpy_reads_before_it_is_moved_begins_on_the_cpu(torch, kind, options, first):
    """Of pictures on a GPU transformers' slow processor raised a TypeError at the first inference."""
    made = on_meta(torch, kind, **options)._tensors([model_inputs(0)])
    assert {value.device.type for value in made.values() if isinstance(value, torch.Tensor)} == {first}


@pytest.mark.skipif("eo1" not in kinds(), reason="it wants LeRobot 0.6 and transformers")
def test_pictures_reach_another_device_as_eo1s_own_processor_makes_them(lerobot, torch, tmp_path, monkeypatch):
    from lerobot.policies.factory import make_pre_post_processors
    from offboard_lerobot.policy import LeRobotPolicy

    folder = save_policy(tmp_path / "m", "eo1", 4)
    loaded = load(folder)
    [wanted] = [loaded._ready([{**model_inputs(1), "task": "stack"}])[0]]
    moves = {"device_processor": {"device": "meta"}}
    before, after = make_pre_post_processors(
        loaded._model.config, pretrained_path=str(folder), preprocessor_overrides=moves
    )
    there = LeRobotPolicy(loaded._model, before, after, read(LocalPlace(folder)), torch.device("meta"), 1)
    ready, _ = there._ready([{**model_inputs(1), "task": "stack"}])
    loaded.close()
    shapes = [{n: (v.shape, v.dtype) for n, v in each.items() if torch.is_tensor(v)} for each in (ready, wanted)]
    assert shapes[0] == shapes[1]
    assert {value.device.type for value in ready.values() if torch.is_tensor(value)} == {"meta"}


def test_the_cpu_is_not_broken(torch, broken):
    assert broken(torch.device("cpu")) is None


def test_replicas_take_turns_on_the_gpus_unless_one_is_named(torch, build, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    places = [Placement(number, 3) for number in range(3)]
    for asked in (None, "cuda"):
        assert [str(build.pick_device(asked, place)) for place in places] == ["cuda:0", "cuda:1", "cuda:0"]
        assert str(build.pick_device(asked)) == "cuda", "a replica that is alone goes where it always went"
    assert {str(build.pick_device("cuda:1", place)) for place in places} == {"cuda:1"}
    assert {str(build.pick_device("cpu", place)) for place in places} == {"cpu"}
