"""Served numbers are LeRobot's own, whoever else is served at the same time."""

import numpy as np
import pytest
from lerobot_checkpoints import model_inputs
from offboard_client.errors import BadObservation, PolicyFailed
from offboard_core.types import NO_CONTEXT, Chunk, InferContext, Item
from offboard_lerobot.loader import LeRobotLoader, LeRobotOptions
from offboard_lerobot.registry import LeRobotRegistry


def load(folder):
    [checkpoint] = LeRobotRegistry(str(folder)).checkpoints()
    return LeRobotLoader(LeRobotOptions(device="cpu")).load(checkpoint, lambda _: None)


@pytest.fixture(scope="module")
def act_policy(act):
    policy = load(act)
    yield policy
    policy.close()


@pytest.fixture(scope="module")
def diffusion_policy(diffusion):
    policy = load(diffusion)
    yield policy
    policy.close()


class InProcess:
    """The checkpoint used as LeRobot's own scripts use it, one action at a time."""

    def __init__(self, folder, kind):
        from lerobot.policies.factory import get_policy_class, make_pre_post_processors

        self.policy = get_policy_class(kind).from_pretrained(folder)
        self.preprocess, self.postprocess = make_pre_post_processors(self.policy.config, pretrained_path=str(folder))
        self.policy.reset()

    def batch(self, inputs):
        import torch
        from lerobot.policies.utils import prepare_observation_for_inference

        prepared = prepare_observation_for_inference(dict(inputs), torch.device("cpu"), task="")
        return self.preprocess(prepared)

    def steps(self, inputs, count):
        """``count`` calls of ``select_action``, the queue of actions filled by the first."""
        return np.stack(
            [self.postprocess(self.policy.select_action(self.batch(inputs)))[0].numpy() for _ in range(count)]
        )


def seed(number=0):
    import torch

    torch.manual_seed(number)


def session_of(policy):
    return policy.new_session(policy.params())


def test_act_answers_what_lerobot_answers(act, act_policy):
    expected = InProcess(act, "act").steps(model_inputs(1), 16)
    answer = session_of(act_policy).infer(model_inputs(1), NO_CONTEXT)
    np.testing.assert_array_equal(answer.action, expected)
    assert answer.action.dtype == np.float32


def test_diffusion_answers_what_lerobot_answers(diffusion, diffusion_policy):
    reference = InProcess(diffusion, "diffusion")
    seed()
    expected = reference.steps(model_inputs(1), 8)
    seed()
    np.testing.assert_array_equal(session_of(diffusion_policy).infer(model_inputs(1), NO_CONTEXT).action, expected)


def test_diffusion_looks_back_at_its_own_episode(diffusion, diffusion_policy):
    from lerobot.policies.utils import populate_queues

    reference = InProcess(diffusion, "diffusion")
    for number in (1, 2):
        batch = reference.batch(model_inputs(number))
        batch.pop("action")
        import torch

        batch["observation.images"] = torch.stack([batch[k] for k in reference.policy.config.image_features], dim=-4)
        populate_queues(reference.policy._queues, batch)
    seed()
    expected = reference.postprocess(reference.policy.predict_action_chunk(batch))[0].numpy()

    session = session_of(diffusion_policy)
    session.infer(model_inputs(1), NO_CONTEXT)
    seed()
    np.testing.assert_array_equal(session.infer(model_inputs(2), NO_CONTEXT).action, expected)


def episode(session, numbers):
    answers = []
    for number in numbers:
        seed(number)
        answers.append(session.infer(model_inputs(number), NO_CONTEXT).action)
    return answers


def test_two_diffusion_episodes_do_not_share_what_they_saw(diffusion_policy):
    alone = [episode(session_of(diffusion_policy), (1, 2, 3)), episode(session_of(diffusion_policy), (4, 5, 6))]
    a, b = session_of(diffusion_policy), session_of(diffusion_policy)
    together = [[], []]
    for pair in zip((1, 2, 3), (4, 5, 6), strict=True):
        for answers, session, number in zip(together, (a, b), pair, strict=True):
            answers += episode(session, [number])
    np.testing.assert_array_equal(together, alone)


def test_a_session_chooses_in_how_many_steps_it_is_sampled(diffusion_policy, monkeypatch):
    params, sampler, taken = diffusion_policy.params, diffusion_policy._model.diffusion, []
    assert params().num_inference_steps == sampler.num_inference_steps == 4
    real = sampler.noise_scheduler.set_timesteps
    monkeypatch.setattr(sampler.noise_scheduler, "set_timesteps", lambda steps: [taken.append(steps), real(steps)])
    quick, usual = diffusion_policy.new_session(params(num_inference_steps=2)), session_of(diffusion_policy)
    for session in (quick, usual, quick):
        assert np.isfinite(session.infer(model_inputs(1), NO_CONTEXT).action).all()
    quick.params = params(num_inference_steps=1)
    for session in (usual, quick):
        session.infer(model_inputs(2), NO_CONTEXT)
    assert taken == [2, 4, 2, 4, 1]
    for steps in (0, 5, -1):
        with pytest.raises(ValueError, match=f"num_inference_steps is {steps}, expected 1 to 4"):
            params(num_inference_steps=steps)


def test_reset_forgets_the_episode(diffusion_policy):
    fresh = episode(session_of(diffusion_policy), [2])
    session = session_of(diffusion_policy)
    after_another = episode(session, [1, 2])[1:]
    assert not np.array_equal(after_another, fresh), "the history matters at all"
    session.reset()
    np.testing.assert_array_equal(episode(session, [2]), fresh)


def test_a_failed_inference_leaves_the_episode_and_the_others_as_they_were(diffusion_policy, monkeypatch):
    session, other = session_of(diffusion_policy), session_of(diffusion_policy)
    expected = episode(session_of(diffusion_policy), [1, 2])
    first = episode(session, [1])
    episode(other, [4])

    def fail(*_, **__):
        raise RuntimeError("out of memory")

    with monkeypatch.context() as broken:
        broken.setattr(diffusion_policy._model.diffusion, "generate_actions", fail)
        with pytest.raises(PolicyFailed, match="the policy raised RuntimeError: out of memory"):
            session.infer(model_inputs(9), NO_CONTEXT)
    np.testing.assert_array_equal([*first, *episode(session, [2])], expected)


def test_a_seed_makes_diffusion_answer_as_lerobot_does_with_it(diffusion_policy):
    assert diffusion_policy.context == {"seed", "history"}

    def answer(seed):
        return session_of(diffusion_policy).infer(model_inputs(1), InferContext(seed=seed)).action

    seed(7)
    expected = session_of(diffusion_policy).infer(model_inputs(1), NO_CONTEXT).action
    np.testing.assert_array_equal(answer(7), expected)
    np.testing.assert_array_equal(answer(7), expected)
    assert not np.array_equal(answer(8), expected)
    assert not np.array_equal(answer(2**63 - 1), expected)


def test_a_seed_is_one_robots_and_nobody_elses(diffusion_policy):
    import torch

    session = session_of(diffusion_policy)
    before = torch.get_rng_state()
    session.infer(model_inputs(1), InferContext(seed=7))
    torch.testing.assert_close(torch.get_rng_state(), before, rtol=0, atol=0)
    seed(3)
    unseeded = episode(session_of(diffusion_policy), [1])
    items = [Item(session_of(diffusion_policy), model_inputs(1), InferContext(seed=s)) for s in (7, None, 8, 7)]
    seed(1)  # as episode does for what it asks about 1
    answers = [result.action for result in diffusion_policy.infer_many(items)]
    np.testing.assert_allclose(answers[0], answers[3], atol=1e-5)
    assert not np.allclose(answers[0], answers[2], atol=1e-2)
    np.testing.assert_allclose(answers[1], unseeded[0], atol=1e-5)


def test_a_seeded_inference_that_fails_leaves_the_next_one_unseeded(diffusion_policy, monkeypatch):
    def fail(*_, **__):
        raise RuntimeError("out of memory")

    with monkeypatch.context() as broken:
        broken.setattr(diffusion_policy._model.diffusion.unet, "forward", fail)
        with pytest.raises(PolicyFailed, match="out of memory"):
            session_of(diffusion_policy).infer(model_inputs(1), InferContext(seed=7))
    one, other = (session_of(diffusion_policy).infer(model_inputs(1), NO_CONTEXT).action for _ in range(2))
    assert not np.array_equal(one, other)


def test_act_has_nothing_to_seed(act_policy):
    assert act_policy.context == frozenset()


def test_a_closed_session_is_not_served(diffusion_policy):
    session = session_of(diffusion_policy)
    session.close()
    with pytest.raises(PolicyFailed, match="closed"):
        session.infer(model_inputs(1), NO_CONTEXT)


def test_a_batch_answers_what_each_would_get_alone(act_policy):
    numbers = range(5)
    alone = [session_of(act_policy).infer(model_inputs(n), NO_CONTEXT).action for n in numbers]
    together = act_policy.infer_many([Item(session_of(act_policy), model_inputs(n)) for n in numbers])
    assert all(isinstance(answer, Chunk) for answer in together)
    np.testing.assert_allclose([answer.action for answer in together], alone, atol=1e-5)


@pytest.mark.parametrize("policy", ["act_policy", "diffusion_policy"])
def test_one_bad_input_fails_one_robot(policy, request):
    policy = request.getfixturevalue(policy)
    bad = {**model_inputs(1), "observation.state": np.full(8, np.nan, np.float32)}
    items = [Item(session_of(policy), inputs) for inputs in (model_inputs(0), bad, model_inputs(2), {})]
    answers = policy.infer_many(items)
    assert [type(answer) for answer in answers] == [Chunk, BadObservation, Chunk, BadObservation]
    assert policy.infer_many([]) == []


def test_an_input_that_breaks_the_batch_is_found(act_policy, monkeypatch):
    predict = act_policy._model.predict_action_chunk
    poison = model_inputs(1)["observation.state"]

    def fail_on_poison(batch):
        mean, std = (act_policy._preprocess.steps[-1]._tensor_stats["observation.state"][k] for k in ("mean", "std"))
        states = (batch["observation.state"] * std + mean).numpy()
        if np.isclose(states, poison, atol=1e-4).all(axis=1).any():
            raise ValueError("poison")
        return predict(batch)

    monkeypatch.setattr(act_policy._model, "predict_action_chunk", fail_on_poison)
    answers = act_policy.infer_many([Item(session_of(act_policy), model_inputs(n)) for n in range(3)])
    assert [type(answer) for answer in answers] == [Chunk, PolicyFailed, Chunk]


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("observation.state", np.zeros(7, np.float32), r"\(7,\) float32, expected \(8,\) float32"),
        ("observation.state", np.zeros(8), r"\(8,\) float64"),
        ("observation.state", [0.0] * 8, r"list, expected"),
        ("observation.state", np.full(8, np.inf, np.float32), "not finite"),
        ("observation.images.left", np.zeros((32, 32, 3), np.uint8), r"\(32, 32, 3\) uint8"),
        ("observation.images.left", np.zeros((64, 64, 3), np.float32), r"float32, expected \(64, 64, 3\) uint8"),
    ],
)
def test_inputs_are_checked_before_the_model_sees_them(act_policy, name, value, found):
    with pytest.raises(BadObservation, match=f"input {name} is .*{found}"):
        session_of(act_policy).infer({**model_inputs(0), name: value}, NO_CONTEXT)


def test_a_read_only_input_is_read(act_policy):
    inputs = model_inputs(0)
    for array in inputs.values():
        array.flags.writeable = False
    assert session_of(act_policy).infer(inputs, NO_CONTEXT) is not None
