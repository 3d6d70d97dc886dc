"""A device that has gone wrong for the whole process, as CUDA does after a failed assertion in a kernel.

The device "meta" stands for it: it is one of torch's own, and nothing can be read from it.
"""

import numpy as np
import pytest
from lerobot_checkpoints import model_inputs
from offboard_client.errors import LoadFailed, ModelLost, PolicyFailed
from offboard_core import Health, Item, Placement
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


def test_a_device_that_is_full_is_not_broken(torch, broken, monkeypatch):
    monkeypatch.setattr(torch, "ones", raising(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 MiB")))
    assert broken(torch.device("cpu")) is None


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
