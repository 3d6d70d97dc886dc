"""MolmoAct2: tokens that stand for no action, and what a checkpoint of it leaves open."""

import json
import shutil

import numpy as np
import pytest
from lerobot_checkpoints import SETTINGS, kinds, model_inputs, save_policy
from offboard_client.errors import InvalidAction, LoadFailed
from offboard_core.types import NO_CONTEXT
from offboard_lerobot.features import POSTPROCESSOR, PREPROCESSOR
from offboard_lerobot.loader import LeRobotLoader, LeRobotOptions
from offboard_lerobot.registry import LeRobotRegistry

pytestmark = [
    pytest.mark.skipif("molmoact2" not in kinds(), reason="MolmoAct2 is of LeRobot 0.6, and wants transformers"),
    pytest.mark.filterwarnings("ignore:`rope_config_validation`:FutureWarning"),
]


@pytest.fixture(scope="module")
def folder(lerobot, tmp_path_factory):
    return save_policy(tmp_path_factory.mktemp("molmoact2") / "pretrained_model", "molmoact2", 4)


@pytest.fixture
def copy(folder, tmp_path):
    return shutil.copytree(folder, tmp_path / "pretrained_model")


def load(folder):
    [checkpoint] = LeRobotRegistry(str(folder)).checkpoints()
    return LeRobotLoader(LeRobotOptions(device="cpu")).load(checkpoint, lambda _: None)


def change(folder, **config):
    described = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(described | config))


def option(folder, file, name, **options):
    described = json.loads((folder / file).read_text())
    [step] = [step for step in described["steps"] if step["registry_name"] == name]
    step["config"].update(options)
    (folder / file).write_text(json.dumps(described))


def test_tokens_are_read_as_lerobot_reads_them_and_those_that_stand_for_nothing_are_an_error(copy, monkeypatch):
    """Random weights choose nothing, so what it says is chosen here; what it means is LeRobot's."""
    import torch
    from lerobot.policies.factory import get_policy_class, make_pre_post_processors
    from lerobot.policies.utils import prepare_observation_for_inference

    change(copy, action_mode="discrete", inference_action_mode="discrete")
    kind = get_policy_class("molmoact2")
    said = torch.arange(60, 60 + 48)  # a byte for each of 6 steps of 8 numbers

    def chosen(self, output, **_):
        start, end = (getattr(self.model.config, f"action_{name}_token_id") for name in ("start", "end"))
        return torch.tensor([[start, *said.tolist(), end]]).repeat(len(output.logits), 1)

    monkeypatch.setattr(kind, "_continue_discrete_generation_from_output", chosen)
    monkeypatch.setattr(kind, "_action_token_id_to_bin", lambda self: {i: i for i in range(60, 300)})
    own = kind.from_pretrained(copy)
    preprocess, postprocess = make_pre_post_processors(own.config, pretrained_path=str(copy))
    batch = preprocess(prepare_observation_for_inference(model_inputs(1), torch.device("cpu"), task="go"))
    expected = postprocess(own.predict_action_chunk(batch))[0].numpy()
    policy = load(copy)
    session = policy.new_session(policy.params())
    assert not policy.context, "it draws nothing"
    np.testing.assert_array_equal(session.infer({**model_inputs(1), "task": "go"}, NO_CONTEXT).action, expected)
    said = said[:-1]
    with pytest.raises(InvalidAction, match="47 tokens for 47 numbers, of 48: that stands for no action, and none is"):
        session.infer({**model_inputs(1), "task": "go"}, NO_CONTEXT)
    policy.close()


@pytest.mark.parametrize("why", ["generated no tokens", "did not emit end token", "no decodable action tokens"])
def test_no_tokens_at_all_are_an_error_in_play_and_none_of_the_load(copy, monkeypatch, why):
    change(copy, action_mode="discrete", inference_action_mode="discrete")
    from lerobot.policies.factory import get_policy_class

    kind = get_policy_class("molmoact2")
    # The rest is as it is: random weights end no answer, and begin none.
    if why.startswith("generated"):
        monkeypatch.setattr(kind, "_discrete_generation_max_steps", lambda self: 0)
    if why.startswith("no decodable"):
        monkeypatch.setattr(kind, "_action_token_id_to_bin", lambda self: {-1: 0})
        nothing = {"_continue_discrete_generation_from_output": lambda self, out, **_: out.logits[:, -1:, 0].long()}
        monkeypatch.setattr(kind, *nothing.popitem())
    policy = load(copy)
    with pytest.raises(InvalidAction, match=rf"no such tokens \(.*{why}.*that stands for no action"):
        policy.new_session(policy.params()).infer({**model_inputs(1), "task": "go"}, NO_CONTEXT)
    policy.close()


def test_how_it_is_asked_is_as_it_was_trained_where_that_is_one_way(copy):
    change(copy, inference_action_mode=None)
    policy = load(copy)
    assert policy._model.config.inference_action_mode == "continuous"
    policy.close()
    change(copy, action_mode="both")
    with pytest.raises(LoadFailed, match=r'it was trained to answer both .* Write "continuous" or "discrete" there'):
        load(copy)


def test_the_steps_of_its_flow_are_its_backbones_where_it_says_none(copy):
    change(copy, num_inference_steps=None)
    policy = load(copy)
    assert policy.params().num_inference_steps == SETTINGS["molmoact2"]["num_inference_steps"]
    policy.close()


@pytest.mark.parametrize(
    ("file", "name", "options", "text"),
    [
        (PREPROCESSOR, "molmoact2_pack_inputs", {"image_keys": ["observation.images.top"]}, "trained on the cameras "),
        (PREPROCESSOR, "molmoact2_pack_inputs", {"checkpoint_force_download": True}, "False is the only one"),
        (PREPROCESSOR, "molmoact2_pack_inputs", {"checkpoint_path": "org/gone"}, "is not on this machine"),
        (PREPROCESSOR, "molmoact2_state_frame_transform", {"joint_signs": [-1.0]}, "write the same in all three"),
        (POSTPROCESSOR, "molmoact2_action_frame_transform", {"joint_offsets": [1.0]}, "write the same in all three"),
    ],
)
def test_what_would_be_taken_for_something_else_is_refused(copy, file, name, options, text):
    option(copy, file, name, **options)
    with pytest.raises(LoadFailed, match=text):
        load(copy)
