"""GR00T's processors normalise by themselves: what LeRobot lets pass of them is refused, the rest answered as there."""

import json
import shutil

import numpy as np
import pytest
from lerobot_checkpoints import kinds, model_inputs, save_policy
from offboard_client.errors import LoadFailed
from offboard_core.types import InferContext, Item
from offboard_lerobot.features import POSTPROCESSOR, PREPROCESSOR
from offboard_lerobot.loader import LeRobotLoader, LeRobotOptions
from offboard_lerobot.registry import LeRobotRegistry

pytestmark = pytest.mark.skipif("groot" not in kinds(), reason="GR00T N1.7 is of LeRobot 0.6, and wants transformers")


@pytest.fixture(scope="module")
def folder(lerobot, tmp_path_factory):
    return save_policy(tmp_path_factory.mktemp("groot") / "pretrained_model", "groot", 4)


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "pretrained_model")


def load(folder):
    [checkpoint] = LeRobotRegistry(str(folder)).checkpoints()
    return LeRobotLoader(LeRobotOptions(device="cpu")).load(checkpoint, lambda _: None)


@pytest.fixture
def loaded(request):
    def load_it(folder):
        policy = load(folder)
        request.addfinalizer(policy.close)
        return policy

    return load_it


def item(policy, number, task="go"):
    inputs = {**model_inputs(number), "task": task}
    return Item(policy.new_session(policy.params()), inputs, InferContext(seed=number))


def change(folder, file, name, **options):
    described = json.loads((folder / file).read_text())
    [step] = [step for step in described["steps"] if step["registry_name"] == name]
    step["config"].update(options)
    (folder / file).write_text(json.dumps(described))


def test_robots_share_a_call_with_those_that_have_the_same_task(folder, loaded, monkeypatch):
    policy = loaded(folder)
    alone = [policy.infer_many([item(policy, n, task)])[0].action for n, task in ((1, "go"), (2, "go"), (3, "stop"))]
    calls, chunk = [], policy._family.chunk

    def counted(ready, *rest, **more):
        calls.append(len(ready["state"]))
        return chunk(ready, *rest, **more)

    monkeypatch.setattr(policy._family, "chunk", counted)
    answers = policy.infer_many([item(policy, 1), item(policy, 3, "stop"), item(policy, 2)])
    assert sorted(calls) == [1, 2]
    np.testing.assert_allclose([answers[i].action for i in (0, 2, 1)], alone, atol=1e-5)


def relative(folder):
    """The same model with the processors of a native checkpoint, whose arm moves relative to where it is."""
    from lerobot.policies.factory import make_pre_post_processors
    from lerobot.policies.groot.configuration_groot import GrootConfig
    from lerobot.policies.groot.processor_groot import GrootN17ActionDecodeStep, GrootN17PackInputsStep

    def stats(low, high):
        return {"min": low, "max": high, "mean": [0.0] * len(low), "std": [1.0] * len(low)}

    arm, gripper = stats([-0.5] * 7, [1.5] * 7), stats([0.0], [2.0])
    moves = {name: [values] * 6 for name, values in stats([-0.2] * 7, [0.1] * 7).items()}
    raw = {"state": {"arm": arm, "gripper": gripper}, "action": {"arm": arm, "gripper": gripper}}
    raw["relative_action"] = {"arm": moves}
    named, plain = {"modality_keys": ["arm", "gripper"]}, {"type": "NON_EEF", "format": "DEFAULT", "state_key": None}
    modality = {
        "state": named,
        "action": {
            **named, "action_configs": [{**plain, "rep": "RELATIVE"}, {**plain, "rep": "ABSOLUTE"}],
            "delta_indices": list(range(5)),
        },
    }  # fmt: skip
    both = {"raw_stats": raw, "modality_config": modality}
    flat = {"observation.state": stats([-0.5] * 7 + [0.0], [1.5] * 7 + [2.0])}
    pack = GrootN17PackInputsStep(
        action_horizon=6, valid_action_horizon=6, max_state_dim=12, max_action_dim=12, stats=flat,
        video_modality_keys=["side", "left"], **both,
    )  # fmt: skip
    decode = GrootN17ActionDecodeStep(env_action_dim=8, use_relative_action=True, pack_step=pack, **both)
    processors = make_pre_post_processors(GrootConfig(), pretrained_path=str(folder))
    for processor, ours, name in zip(processors, (pack, decode), ("PackInputsStep", "UnnormalizeStep"), strict=True):
        processor.steps = [ours if type(step).__name__.endswith(name) else step for step in processor.steps]
        processor.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"use_relative_actions": True, "n_action_steps": 6}))


def test_relative_actions_start_where_each_robot_is(copy, loaded):
    import torch
    from lerobot.policies.factory import get_policy_class, make_pre_post_processors
    from lerobot.policies.utils import prepare_observation_for_inference

    relative(copy)
    own = get_policy_class("groot").from_pretrained(copy)
    preprocess, postprocess = make_pre_post_processors(own.config, pretrained_path=str(copy))
    expected = []
    for number in (1, 2):
        batch = preprocess(prepare_observation_for_inference(model_inputs(number), torch.device("cpu"), task="go"))
        torch.manual_seed(number)
        expected.append(postprocess(own.predict_action_chunk(batch))[0].numpy())
    policy = loaded(copy)
    assert policy.meta["chunk_length"] == 5, "one less than its config says is decoded"
    np.testing.assert_array_equal([policy.infer_many([item(policy, n)])[0].action for n in (1, 2)], expected)
    together = policy.infer_many([item(policy, n) for n in (1, 2)])
    np.testing.assert_allclose([answer.action for answer in together], expected, atol=1e-5)
    for number, rows in zip((1, 2), expected, strict=True):
        moved = rows[:, :7] - model_inputs(number)["observation.state"][:7]
        assert moved.min() > -0.21
        assert moved.max() < 0.11


PACK, DECODE = "groot_n1_7_pack_inputs_v1", "groot_n1_7_action_decode_v1"


@pytest.mark.parametrize(
    ("change_of", "text"),
    [
        (
            {"embodiment_tag": "mine"},
            "does not have it: the model would take it for the robot 0. Known are: .*libero_sim",
        ),
        ({"video_modality_keys": ["left"]}, "trained on the cameras left .*, and has left, side"),
        ({"video_modality_keys": ["left", "top"]}, "trained on the cameras left, top .*, and has left, side"),
        ({"language_key": "words"}, "'task' is the only one"),
        ({"model_name": "org/gone"}, "is not on this machine"),
    ],
)
def test_what_would_be_taken_for_something_else_is_refused(copy, change_of, text):
    name = "groot_n1_7_vlm_encode_v1" if "model_name" in change_of else PACK
    change(copy, PREPROCESSOR, name, **change_of)
    with pytest.raises(LoadFailed, match=text):
        load(copy)


@pytest.mark.parametrize("lacking", ["raw_stats", "modality_config"])
def test_numbers_that_would_stay_normalised_are_refused(copy, lacking):
    relative(copy)
    change(copy, POSTPROCESSOR, DECODE, **{lacking: None})
    with pytest.raises(LoadFailed, match=f"no {lacking} in the step .*: a robot would be sent normalised numbers"):
        load(copy)


@pytest.mark.parametrize(("file", "name"), [(PREPROCESSOR, "observation.state"), (POSTPROCESSOR, "action")])
def test_statistics_of_other_widths_are_refused(copy, file, name):
    from safetensors.numpy import load_file, save_file

    [states] = [
        copy / step["state_file"] for step in json.loads((copy / file).read_text())["steps"] if "state_file" in step
    ]
    stats = load_file(states)
    save_file({key: value[:7] if key.startswith(f"{name}.") else value for key, value in stats.items()}, states)
    with pytest.raises(LoadFailed, match=rf"has no min and max of all 8 numbers of {name}"):
        load(copy)
