"""Every policy type answers what LeRobot's own loop plays, whoever else is served at the same time."""

import numpy as np
import pytest
from lerobot_checkpoints import model_inputs, save_policy
from offboard_core.types import NO_CONTEXT, InferContext, Item
from offboard_lerobot.loader import LeRobotLoader, LeRobotOptions
from offboard_lerobot.registry import LeRobotRegistry

#: Beside ACT and diffusion, of which test_policy.py has more.
KINDS = ("sac", "tdmpc", "vqbet")
#: Types whose next answer follows from more than the observation.
REMEMBER = ("tdmpc", "vqbet")


pytestmark = [
    # Of torch, about what SAC imports when it is made.
    pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning"),
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


def played(folder, kind, numbers, steps):
    """What ``select_action`` hands out for each of these observations, held for as many steps as its chunk has."""
    import torch
    from lerobot.policies.factory import get_policy_class, make_pre_post_processors
    from lerobot.policies.utils import prepare_observation_for_inference

    policy = get_policy_class(kind).from_pretrained(folder)
    preprocess, postprocess = make_pre_post_processors(policy.config, pretrained_path=str(folder))
    policy.reset()
    chunks = []
    for number in numbers:
        torch.manual_seed(number)
        queues = getattr(policy, "_queues", {})
        if "action" in queues:
            queues["action"].clear()
        actions = []
        for _ in range(steps):
            inputs = prepare_observation_for_inference(model_inputs(number, kind), torch.device("cpu"), task="")
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
        answers.append(session.infer(model_inputs(number, kind), context).action)
    return answers


def session_of(policy):
    return policy.new_session(policy.params())


def test_it_answers_what_lerobot_plays(policy, folder, kind):
    steps = 3 if kind == "tdmpc" else policy.meta["chunk_length"]  # of its plan LeRobot plays n_action_steps
    expected = played(folder, kind, (1, 2, 3), steps)
    answers = answered(session_of(policy), kind, (1, 2, 3))
    np.testing.assert_array_equal([answer[:steps] for answer in answers], expected)
    assert all(len(answer) == policy.meta["chunk_length"] for answer in answers)


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

    assert policy.context == {"seed"} | ({"history"} if kind == "vqbet" else set())
    expected = answered(session_of(policy), kind, [1])[0]
    torch.manual_seed(77)
    state = torch.get_rng_state()
    [seeded] = session_of(policy).infer(model_inputs(1, kind), InferContext(seed=1)).columns().values()
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
        Item(session, model_inputs(n, kind), InferContext(seed=seeds[n]))
        for n, session in zip(numbers, sessions, strict=True)
    ]
    together = [answer.action for answer in policy.infer_many(items)]
    np.testing.assert_allclose(together, alone, atol=1e-5)
