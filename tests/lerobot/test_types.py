"""Every policy type answers what LeRobot's own loop plays, whoever else is served at the same time."""

import importlib.util
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from lerobot_checkpoints import NAME_OTHERS, SETTINGS, kinds, model_inputs, save_policy, spread
from offboard_core.types import NO_CONTEXT, InferContext, Item
from offboard_lerobot import words
from offboard_lerobot.loader import LeRobotLoader, LeRobotOptions
from offboard_lerobot.registry import LeRobotRegistry

#: Beside ACT and diffusion, of which test_policy.py has more.
KINDS = [kind for kind in kinds() if kind not in ("act", "diffusion")]
PAGE = Path(__file__).parents[2] / "docs/how-to/serve-lerobot.md"
#: Types whose next answer follows from more than the observation.
REMEMBER = ("multi_task_dit", "tdmpc", "vqbet")
#: And those that draw no numbers.
CERTAIN = ("pi0_fast",)
#: Those that compute in bfloat16, whatever their checkpoint says: sums in another order differ by what that rounds.
COARSE = ("wall_x",)
#: Texts of several lengths, which a batch has to pad.
TASK = "{0:0>{0}}"

pytestmark = [
    # Of torch, about what SAC imports when it is made.
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
    # Of transformers, about LeRobot's MolmoAct2.
    pytest.mark.filterwarnings("ignore:`rope_config_validation`:FutureWarning"),
    # Of FastWAM: how diffusers reads its VAE, and that there is no CUDA.
    pytest.mark.filterwarnings("ignore:The `local_dir_use_symlinks` argument:UserWarning"),
    pytest.mark.filterwarnings("ignore:CUDA is not available or torch_xla:UserWarning"),
    # The codebook of VQ-BeT is as random as the rest of it.
    pytest.mark.filterwarnings("ignore:To evaluate in the environment:UserWarning"),
]


@pytest.fixture(scope="module", params=KINDS)
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def folder(kind, lerobot, tmp_path_factory):
    return save_policy(tmp_path_factory.mktemp(kind) / "pretrained_model", kind, 4)


@pytest.fixture(scope="module")
def policy(folder):
    [checkpoint] = LeRobotRegistry(str(folder)).checkpoints()
    policy = LeRobotLoader(LeRobotOptions(device="cpu")).load(checkpoint, lambda _: None)
    assert policy.meta["chunk_length"] == checkpoint.chunk_length
    yield policy
    policy.close()


def played(folder, kind, numbers, steps, **changed):
    """What ``select_action`` hands out for each of these observations, held for as many steps as its chunk has.

    ``changed``: other values for fields of the config.
    """
    import torch
    from lerobot.configs.policies import PreTrainedConfig
    from lerobot.policies.factory import get_policy_class, make_pre_post_processors
    from lerobot.policies.utils import prepare_observation_for_inference

    config = PreTrainedConfig.from_pretrained(folder)
    for name, value in changed.items():
        setattr(config, name, value)
    policy = get_policy_class(kind).from_pretrained(folder, config=config)
    preprocess, postprocess = make_pre_post_processors(policy.config, pretrained_path=str(folder))
    policy.reset()
    chunks = []
    for number in numbers:
        torch.manual_seed(number)
        queues = getattr(policy, "_queues", {})
        for queue in (queues.get("action", []), getattr(policy, "_action_queue", [])):
            queue.clear()
        actions = []
        for _ in range(steps):
            inputs = prepare_observation_for_inference(
                model_inputs(number, kind), torch.device("cpu"), task=TASK.format(number)
            )
            before = {name: queue.copy() for name, queue in queues.items() if name != "action"}
            actions.append(postprocess(policy.select_action(preprocess(inputs)))[0].numpy())
            # The robot asks once for a chunk, and looks once.
            queues.update(before) if actions[1:] else None
        chunks.append(np.stack(actions))
    return chunks


def answered(session, kind, numbers, seeds=None):
    import torch

    answers = []
    for number in numbers:
        torch.manual_seed(number)
        context = NO_CONTEXT if seeds is None else InferContext(seed=seeds[number])
        answers.append(session.infer(observed(number, kind), context).action)
    return answers


def observed(number, kind):
    return {**model_inputs(number, kind), "task": TASK.format(number)}


def session_of(policy):
    return policy.new_session(policy.params())


def test_it_answers_what_lerobot_plays(policy, folder, kind):
    # Of its chunk LeRobot plays this many.
    steps = SETTINGS[kind].get("n_action_steps", policy.meta["chunk_length"])
    expected = played(folder, kind, (1, 2, 3), steps)
    answers = answered(session_of(policy), kind, (1, 2, 3))
    np.testing.assert_array_equal([answer[:steps] for answer in answers], expected)
    assert all(len(answer) == policy.meta["chunk_length"] for answer in answers)


def test_what_is_compared_hangs_on_all_that_is_observed(policy, kind):
    if kind not in NAME_OTHERS:
        return
    first, other = observed(1, kind), observed(2, kind)

    def answer(observation):
        context = InferContext(seed=1) if kind not in CERTAIN else NO_CONTEXT
        return session_of(policy).infer(observation, context).action

    usual = answer(first)
    for name, value in other.items():
        assert np.abs(answer({**first, name: value}) - usual).max() > 1e-5, name


def test_a_session_says_in_how_many_steps(policy, folder, kind):
    named = [name for name, word in words.listed().items() if word == "default" and hasattr(policy._model.config, name)]
    if not (named and policy._family.steps):
        assert not hasattr(policy.params(), "num_inference_steps")
        return
    [name] = named
    usual = policy.params().num_inference_steps
    if (said := getattr(policy._model.config, name)) is not None:  # else as many as it was trained with
        assert usual == said
    steps = SETTINGS[kind].get("n_action_steps", policy.meta["chunk_length"])
    for count in (usual - 1, usual):
        session = policy.new_session(policy.params(num_inference_steps=count))
        [answer] = answered(session, kind, [1])
        np.testing.assert_array_equal([answer[:steps]], played(folder, kind, [1], steps, **{name: count}))


def test_weights_in_several_files_are_the_same_policy(policy, folder, kind, tmp_path):
    several = spread(shutil.copytree(folder, tmp_path / "pretrained_model"))
    assert not (several / "model.safetensors").exists()
    [checkpoint] = LeRobotRegistry(str(several)).checkpoints()
    other = LeRobotLoader(LeRobotOptions(device="cpu")).load(checkpoint, lambda _: None)
    answers = [answered(session_of(each), kind, (1, 2)) for each in (policy, other)]
    np.testing.assert_array_equal(*answers)
    other.close()


def test_two_episodes_do_not_share_what_they_saw(policy, kind):
    alone = [answered(session_of(policy), kind, (1, 2, 3)), answered(session_of(policy), kind, (4, 5, 6))]
    a, b = session_of(policy), session_of(policy)
    together = [[], []]
    for pair in zip((1, 2, 3), (4, 5, 6), strict=True):
        for answers, session, number in zip(together, (a, b), pair, strict=True):
            answers += answered(session, kind, [number])
    np.testing.assert_array_equal(together, alone)


def test_an_episode_that_was_reset_begins_anew(policy, kind):
    fresh = answered(session_of(policy), kind, [2])
    session = session_of(policy)
    after_another = answered(session, kind, [1, 2])[1:]
    assert np.array_equal(after_another, fresh) == (kind not in REMEMBER)
    session.reset()
    np.testing.assert_array_equal(answered(session, kind, [2]), fresh)


def test_a_seed_is_one_robots_and_decides_all_that_is_drawn(policy, kind):
    import torch

    if kind in CERTAIN:
        assert not policy.context
        return
    expected = {"seed"} | ({"history"} if policy.meta["n_obs_steps"] > 1 else set())
    assert policy.context - {"prefix", "delay_steps"} == expected
    expected = answered(session_of(policy), kind, [1])[0]
    torch.manual_seed(77)
    state = torch.get_rng_state()
    [seeded] = session_of(policy).infer(observed(1, kind), InferContext(seed=1)).columns().values()
    np.testing.assert_array_equal(seeded, expected)
    assert torch.equal(torch.get_rng_state(), state), "torch's own generator is everybody's"
    other = answered(session_of(policy), kind, [1], {1: 9})[0]
    assert not np.array_equal(other, expected)


def test_a_batch_answers_what_each_would_get_alone(policy, kind):
    numbers = range(1, 5)
    seeds = {number: 50 + number for number in numbers}
    alone = [answered(session_of(policy), kind, (0, n), {0: 7, **seeds})[1] for n in numbers]
    sessions = [session_of(policy) for _ in numbers]
    for session in sessions:
        answered(session, kind, [0], {0: 7})
    items = [
        Item(session, observed(n, kind), InferContext(seed=seeds[n]))
        for n, session in zip(numbers, sessions, strict=True)
    ]
    together = [answer.action for answer in policy.infer_many(items)]
    np.testing.assert_allclose(together, alone, atol=5e-3 if kind in COARSE else 1e-5)


def test_the_page_says_which_types_are_compared_here():
    from offboard_lerobot.versions import installed, releases

    rows = [line.split("|")[1:-1] for line in PAGE.read_text().splitlines() if line.startswith("| `")]
    column = 1 + releases().index(installed())
    said = {kind for row in rows if row[column].strip() == "to the bit" for kind in re.findall(r"`(\w+)`", row[0])}
    # With LeRobot 0.4 no one transformers makes all.
    elsewhere = NAME_OTHERS - set(kinds()) if column == 1 or not importlib.util.find_spec("transformers") else set()
    assert said - elsewhere == set(kinds())
