"""pi0.5 and pi0-FAST read the state as words, and are shown it as the LeRobot that trained them showed it."""

import json
import shutil

import numpy as np
import pytest
from lerobot_checkpoints import kinds, model_inputs, save_policy, write_files
from lerobot_loop import played
from offboard_client.errors import LoadFailed
from offboard_core.checkpoints import LocalPlace
from offboard_core.types import NO_CONTEXT, Checkpoint
from offboard_lerobot import prompts
from offboard_lerobot.files import read
from offboard_lerobot.loader import LeRobotLoader, LeRobotOptions
from offboard_lerobot.registry import LeRobotRegistry
from offboard_lerobot.versions import installed, releases
from offboard_lerobot.words import STATE_IN_PROMPT

OLD, NEW = releases()
BEFORE = "policy_preprocessor.json"
TYPES = sorted(STATE_IN_PROMPT)
#: What lerobot-train of 0.4 keeps of how it was told to train, and what that of 0.5 and newer does.
BY_0_4, BY_0_5 = {"steps": 100000}, {"steps": 100000, "cudnn_deterministic": False}


def change(path, edit):
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def written(folder, kind, train_config=None, options=None, **config):
    """The files of such a policy: as 0.4 and 0.5.0 write them, unless ``config`` says something newer."""
    write_files(folder, kind=kind, chunk_size=16, n_action_steps=16, **config)
    step = {"registry_name": STATE_IN_PROMPT[kind], "config": options or {}}
    change(folder / BEFORE, lambda content: content["steps"].append(step))
    if train_config is not None:
        (folder / "train_config.json").write_text(json.dumps(train_config))
    return folder


def fill(folder, said=None):
    return prompts.decided(read(LocalPlace(folder)), said).fill


@pytest.mark.parametrize("kind", TYPES)
def test_its_files_say_what_trained_it(kind, tmp_path):
    trained_by_0_4 = written(tmp_path / "a", kind, BY_0_4)
    assert fill(trained_by_0_4) == 32
    assert fill(written(tmp_path / "b", kind, BY_0_5)) == 0
    # From 0.5.1 on its config says it, with what trained it or without.
    assert fill(written(tmp_path / "c", kind, use_relative_actions=False)) == 0
    assert fill(written(tmp_path / "d", kind, BY_0_5, pretrained_revision=None)) == 0
    assert fill(write_files(tmp_path / "e", kind=kind)) is None, "no step puts the state into its prompt"
    assert fill(write_files(tmp_path / "f", kind="act")) is None
    # Whoever serves it knows better.
    assert fill(trained_by_0_4, "bare") == 0
    assert "train_config.json" in read(LocalPlace(trained_by_0_4)).names, "a copy of it says the same"


@pytest.mark.parametrize("kind", TYPES)
def test_what_its_files_do_not_say_is_asked_for(kind, tmp_path):
    folder = written(tmp_path / "m", kind)
    for ask in (LeRobotLoader.check, LeRobotLoader.environment):
        with pytest.raises(LoadFailed) as raised:
            ask(LeRobotLoader(LeRobotOptions()), Checkpoint(id="m", location=str(folder)))
        assert f"{folder} does not say how its '{kind}' policy was shown the state in its prompt" in raised.value.text
        assert "serve it with --lerobot.state-in-prompt filled; if openpi did" in raised.value.text
    assert [fill(folder, said) for said in ("filled", "bare")] == [32, 0]
    loader = LeRobotLoader(LeRobotOptions(state_in_prompt="filled"))
    assert loader.environment(Checkpoint(id="m", location=str(folder))) == "lerobot-0.6"


def test_how_far_it_was_filled_up_is_the_same_wherever_it_is_said(tmp_path):
    assert fill(written(tmp_path / "a", "pi05", BY_0_4, {"max_state_dim": 12}, max_state_dim=12)) == 12
    for name, options in (("b", {}), ("c", {"max_state_dim": "12"})):
        folder = written(tmp_path / name, "pi05", BY_0_4, options, max_state_dim=12)
        with pytest.raises(LoadFailed, match=r"says max_state_dim \(12\) in config.json, and the step .* Write into"):
            fill(folder)
        assert fill(folder, "bare") == 0


@pytest.mark.parametrize("kind", TYPES)
def test_either_lerobot_is_shown_both(kind, lerobot):
    import torch
    from lerobot.policies.factory import get_policy_class
    from lerobot.processor import ProcessorStepRegistry, TransitionKey
    from offboard_lerobot.worded import Worded

    get_policy_class(kind)  # which registers it
    make = ProcessorStepRegistry.get(STATE_IN_PROMPT[kind])
    state = torch.tensor([[-1.0, -0.5, 0.0, 0.5, 0.999], [0.1, 0.2, 0.3, 0.4, 0.5]])

    def told(step):
        data = {"task": ["pick_up\n", "go"]}
        given = {TransitionKey.OBSERVATION: {"observation.state": state}, TransitionKey.COMPLEMENTARY_DATA: data}
        got = step(given)
        assert got[TransitionKey.OBSERVATION]["observation.state"] is state, "the model itself sees it as it is"
        return got[TransitionKey.COMPLEMENTARY_DATA]["task"]

    begun = ["Task: pick up, State: 0 64 128 192 255", "Task: go, State: 140 153 166 179 192"]
    end = ";\nAction: " if kind == "pi05" else ";\n"
    bare, filled = ([f"{text}{more}{end}" for text in begun] for more in ("", " 128" * 27))
    assert told(Worded(make(), 0)) == told(Worded(make(), 3)) == bare
    assert told(Worded(make(), 32)) == filled
    assert told(make()) == (filled if installed() is OLD else bare)


def as_0_4_wrote(folder):
    """A checkpoint of 0.6 without what 0.4 does not know."""
    kind = json.loads((folder / "config.json").read_text())["type"]

    def config(content):
        for name in content.keys() - OLD.types[kind].keys():
            del content[name]

    def steps(content):
        content["steps"] = [step for step in content["steps"] if step["registry_name"] in OLD.steps]

    change(folder / "config.json", config)
    for name in (BEFORE, "policy_postprocessor.json"):
        change(folder / name, steps)
    return folder


@pytest.mark.skipif(not {*TYPES} <= {*kinds()}, reason="they are of LeRobot 0.6, and want transformers")
@pytest.mark.parametrize("kind", TYPES)
def test_what_0_4_trained_answers_to_the_prompt_that_it_was_trained_on(lerobot, tmp_path, monkeypatch, kind):
    import torch
    from lerobot.policies.factory import get_policy_class
    from lerobot.processor import ProcessorStepRegistry, TransitionKey

    folder = save_policy(tmp_path / "new" / "pretrained_model", kind, 4)
    old = as_0_4_wrote(shutil.copytree(folder, tmp_path / "old" / "pretrained_model"))
    (old / "train_config.json").write_text(json.dumps(BY_0_4))
    answers = {}
    for of, shown in ((folder, "bare"), (old, "filled up to 32")):
        [checkpoint] = LeRobotRegistry(str(of)).checkpoints()
        policy = LeRobotLoader(LeRobotOptions(device="cpu")).load(checkpoint, lambda _: None)
        assert policy.meta["state_in_prompt"] == shown
        torch.manual_seed(1)
        session = policy.new_session(policy.params())
        answers[shown] = session.infer({**model_inputs(1), "task": "stack"}, NO_CONTEXT).action
        policy.close()
    own = get_policy_class(kind).from_pretrained(folder)
    rows = own.config.n_action_steps
    np.testing.assert_array_equal(answers["bare"][:rows], played(own, folder, kind, [1])[0])
    # LeRobot's own loop, with the one line that 0.4 has more.
    step = ProcessorStepRegistry.get(STATE_IN_PROMPT[kind])
    call = step.__call__

    def padded(self, transition):
        seen = transition[TransitionKey.OBSERVATION]
        state = torch.nn.functional.pad(seen["observation.state"], (0, 32 - 8))
        return call(self, {**transition, TransitionKey.OBSERVATION: {**seen, "observation.state": state}})

    monkeypatch.setattr(step, "__call__", padded)
    wanted = played(own, folder, kind, [1])[0]
    np.testing.assert_array_equal(answers["filled up to 32"][:rows], wanted)
    assert not np.array_equal(answers["bare"], answers["filled up to 32"])
