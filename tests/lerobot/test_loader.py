import gc
import json
import os
import shutil
import sys
import tempfile
import weakref

import numpy as np
import pytest
from lerobot_checkpoints import change_weights, model_inputs, write_files, write_safetensors
from offboard_client.errors import ConfigurationError, LoadFailed
from offboard_client.plugins import build
from offboard_core.types import NO_CONTEXT, Checkpoint
from offboard_lerobot.loader import LeRobotLoader, LeRobotOptions
from offboard_lerobot.registry import LeRobotRegistry


def load(folder, **options):
    [checkpoint] = LeRobotRegistry(str(folder)).checkpoints()
    said = []
    policy = LeRobotLoader(LeRobotOptions(**options)).load(checkpoint, said.append)
    return policy, said


@pytest.fixture
def copy(act, tmp_path):
    """A checkpoint of one's own, to break."""
    return shutil.copytree(act, tmp_path / "copy")


def change_json(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("kind", ["act", "diffusion"])
def test_a_loaded_policy_is_warm_and_says_what_it_is(kind, request):
    policy, said = load(request.getfixturevalue(kind), device="cpu")
    assert said == ["importing LeRobot", "reading the weights onto cpu", "warming up on cpu"]
    steps, looks_at = (16, 1) if kind == "act" else (8, 2)
    said = {"device": "cpu", "policy_type": kind, "chunk_length": steps, "n_obs_steps": looks_at}
    assert policy.meta == said | ({"context_absent": policy.meta["context_absent"]} if looks_at > 1 else {})
    assert policy.max_batch_size == 16
    chunk = policy.new_session(policy.params()).infer(model_inputs(0), NO_CONTEXT)
    assert chunk.action.shape == (steps, 8)
    policy.close()


@pytest.mark.parametrize("kind", ["act", "diffusion"])
def test_unloading_frees_the_weights(kind, request):
    policy, _ = load(request.getfixturevalue(kind))
    session = policy.new_session(policy.params())
    session.infer(model_inputs(0), NO_CONTEXT)
    weights = weakref.ref(next(policy._model.parameters()))
    assert weights() is not None
    session.close()
    policy.close()
    assert weights() is None


def count_policies():
    gc.collect()
    return sum(type(each).__name__ == "ACTPolicy" for each in gc.get_objects())


def test_a_failed_load_keeps_nothing_in_memory(copy):
    before = count_policies()
    change_weights(copy / "model.safetensors", lambda t: t["model.action_head.bias"].fill_(float("nan")))
    with pytest.raises(LoadFailed, match="answers a blank observation with numbers that are not finite") as raised:
        load(copy)
    assert raised.value.__traceback__ is not None, "the error itself may live on"
    assert count_policies() == before


def test_pretrained_backbones_are_not_fetched(copy, monkeypatch):
    import torch.hub

    def refuse(*_, **__):
        raise AssertionError("something was about to be downloaded")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    change_json(copy / "config.json", lambda c: c.update(pretrained_backbone_weights="ResNet18_Weights.IMAGENET1K_V1"))
    policy, _ = load(copy)
    policy.close()


def moved_to_cuda(processor):
    for step in processor["steps"]:
        if step["registry_name"] == "device_processor":
            step["config"]["device"] = "cuda"


def test_a_checkpoint_trained_on_another_device_runs_here(copy):
    for name in ("policy_preprocessor.json", "policy_postprocessor.json"):
        change_json(
            copy / name,
            lambda c: [
                s["config"].update(device="cuda") for s in c["steps"] if s["registry_name"] == "device_processor"
            ],
        )
    policy, _ = load(copy, device="cpu")
    assert np.isfinite(policy.new_session(None).infer(model_inputs(0), NO_CONTEXT).action).all()
    policy.close()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t.pop("model.action_head.bias"), r"lacks model\.action_head\.bias, and has nothing"),
        (lambda t: t.update(extra=t["model.action_head.bias"].clone()), "lacks nothing, and has extra"),
        (
            lambda t: t.update({"model.action_head.bias": t["model.action_head.bias"][:3]}),
            r"/model\.safetensors does not fit its config: model\.action_head\.bias is \[3\] there, and .* it \[8\]$",
        ),
        (
            lambda t: t.update({"model.action_head.bias": t["model.action_head.bias"].char()}),
            r"model\.action_head\.bias is torch\.int8 there, and the policy has torch\.float32$",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused(copy, change, reason):
    change_weights(copy / "model.safetensors", change)
    with pytest.raises(LoadFailed, match=reason):
        load(copy)


@pytest.mark.parametrize(
    ("name", "feature"), [("policy_preprocessor", "observation.state"), ("policy_postprocessor", "action")]
)
def test_normalised_numbers_never_reach_a_robot(copy, name, feature):
    """LeRobot lets pass what it has no statistics for; an action would leave in standard deviations."""
    [state] = copy.glob(f"{name}_step_*.safetensors")
    change_weights(state, lambda t: [t.pop(key) for key in list(t) if key.startswith(f"{feature}.")])
    with pytest.raises(
        LoadFailed, match=rf"no statistics \(mean and std\) of {feature}, which it normalises by MEAN_STD"
    ):
        load(copy)


@pytest.mark.parametrize("kind", ["reward_classifier", "sarm", "made_up"])
def test_a_policy_that_is_not_served_names_those_that_are(tmp_path, kind):
    with pytest.raises(LoadFailed, match=f"'{kind}' policy.*; these LeRobot policies are served: act, diffusion"):
        load(write_files(tmp_path / "m", kind=kind))


def test_a_checkpoint_from_before_0_4_names_the_migration(tmp_path):
    old = write_files(tmp_path / "m")
    for path in old.glob("policy_*"):
        path.unlink()
    write_safetensors(old / "model.safetensors", **{"unnormalize_outputs.buffer_action.mean": [0.0]})
    command = f"python -m lerobot.processor.migrate_policy_normalization --pretrained-path {old}"
    with pytest.raises(LoadFailed) as raised:
        load(old)
    assert command in raised.value.text


def test_a_step_that_would_import_a_class_is_refused(copy):
    change_json(copy / "policy_preprocessor.json", lambda c: c["steps"].insert(0, {"class": "os.path.join"}))
    with pytest.raises(LoadFailed, match=r"not in LeRobot's registry \('os\.path\.join'\)"):
        load(copy)


def test_a_policy_that_answers_something_else_is_refused(tmp_path):
    two = {name: {"type": "ACTION", "shape": [2]} for name in ("arm", "base")}
    with pytest.raises(LoadFailed, match="answers arm, base; only policies that answer 'action'"):
        load(write_files(tmp_path / "m", output_features=two))


def test_what_was_damaged_after_it_was_listed_is_refused(copy):
    [checkpoint] = LeRobotRegistry(str(copy)).checkpoints()
    (copy / "model.safetensors").write_bytes(b"")
    with pytest.raises(LoadFailed, match=r"no complete checkpoint: model\.safetensors ends"):
        LeRobotLoader(LeRobotOptions()).load(checkpoint, print)
    with pytest.raises(LoadFailed, match=r"config\.json is missing"):
        LeRobotLoader(LeRobotOptions()).load(Checkpoint(id="x", location=str(copy / "gone")), print)


def test_a_device_that_is_not_there_names_those_that_are(act):
    with pytest.raises(LoadFailed, match=r"no device 'cuda:9' here; there are: .*cpu") as caught:
        load(act, device="cuda:9")
    assert caught.value.permanent


def test_a_library_that_is_not_there_is_named(act, monkeypatch):
    monkeypatch.setitem(sys.modules, "offboard_lerobot.build", None)
    with pytest.raises(
        LoadFailed, match=r"LeRobot is not wholly installed .*: pip install 'offboard-lerobot\[lerobot\]'"
    ) as caught:
        load(act)
    assert caught.value.permanent


@pytest.mark.parametrize(("cores", "threads"), [(4, 3), (2, 1), (1, 1)])
def test_an_inference_on_the_cpu_leaves_a_core_to_the_network(act, monkeypatch, caplog, cores, threads):
    import torch
    from offboard_lerobot import build as build_module

    before = torch.get_num_threads()
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)), raising=False)
    torch.set_num_threads(8)
    try:
        monkeypatch.setenv("OMP_NUM_THREADS", "8")
        build_module._leave_a_core(1)
        assert torch.get_num_threads() == 8, "who names a number gets it"
        monkeypatch.delenv("OMP_NUM_THREADS")
        with caplog.at_level("INFO"):
            policy, _ = load(act, device="cpu")
        policy.close()
        assert torch.get_num_threads() == threads
        assert f"inference takes {threads} of {cores} cores (OMP_NUM_THREADS sets another number)" in caplog.messages
        build_module._leave_a_core(2)
        assert torch.get_num_threads() == max(1, threads // 2), "replicas share them"
    finally:
        torch.set_num_threads(before)


def test_the_batch_size_is_at_least_one():
    with pytest.raises(ConfigurationError, match="max_batch_size is 0"):
        build(LeRobotOptions, {"max_batch_size": 0}, "the vendor lerobot", ConfigurationError)


def test_a_load_leaves_nothing_in_the_machines_temporary_files(act, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    policy, _ = load(act, device="cpu")
    policy.close()
    assert list(tmp_path.iterdir()) == []
