"""Real-time chunking with a flow of a few numbers: how what a robot has left becomes what LeRobot's guidance takes."""

from types import SimpleNamespace

import numpy as np
import pytest
from offboard_client.errors import BadObservation
from offboard_core.types import Chunk, Field, InferContext, Item

CHUNK, WIDTH = 8, 3
#: The last number of an action was the same in all of training.
MEAN, STD = [0.5, -2.0, 4.0], [0.25, 3.0, 0.0]


@pytest.fixture(scope="module")
def flow(lerobot):
    """Makes one: always the same weights."""
    import torch
    from lerobot.policies.rtc.configuration_rtc import RTCConfig
    from lerobot.policies.rtc.modeling_rtc import RTCProcessor

    class Flow(torch.nn.Module):
        def __init__(self, **config):
            super().__init__()
            self.config = SimpleNamespace(
                chunk_size=CHUNK, n_obs_steps=1, num_steps=3, use_amp=False, rtc_config=None, **config
            )
            generator = torch.Generator().manual_seed(3)
            self.weights = torch.nn.Parameter(torch.randn(WIDTH + 2, WIDTH, generator=generator))

        def supports_rtc(self):
            return True

        def init_rtc_processor(self):
            self.rtc_processor = RTCProcessor(self.config.rtc_config)

        @torch.no_grad()
        def predict_action_chunk(self, batch, **told):
            state = batch["observation.state"]
            x = torch.randn(len(state), CHUNK, WIDTH)
            rows = state[:, None].expand(-1, CHUNK, -1)
            for step in range(self.config.num_steps):

                def velocity(at):
                    return torch.tanh(torch.cat([at, rows], -1) @ self.weights)

                time = 1 - step / self.config.num_steps
                if self.config.rtc_config is None:
                    v = velocity(x)
                else:
                    v = self.rtc_processor.denoise_step(
                        x_t=x, time=time, original_denoise_step_partial=velocity,
                        prev_chunk_left_over=told.get("prev_chunk_left_over"),
                        inference_delay=told.get("inference_delay"), execution_horizon=told.get("execution_horizon"),
                    )  # fmt: skip
                x = x - v / self.config.num_steps
            return x

    def made(rtc=None, **config):
        model = Flow(**config)
        if rtc is not None:
            model.config.rtc_config = RTCConfig(enabled=True, **rtc)
            model.init_rtc_processor()
        return model

    return made


@pytest.fixture(scope="module")
def served(lerobot):
    """Makes a served policy of a flow."""
    import torch
    from lerobot.configs.types import FeatureType, NormalizationMode, PolicyFeature
    from lerobot.processor import (
        AddBatchDimensionProcessorStep,
        NormalizerProcessorStep,
        PolicyProcessorPipeline,
        UnnormalizerProcessorStep,
    )
    from lerobot.processor.converters import policy_action_to_transition, transition_to_policy_action
    from offboard_lerobot.policy import LeRobotPolicy

    features = {
        "observation.state": PolicyFeature(FeatureType.STATE, (2,)),
        "action": PolicyFeature(FeatureType.ACTION, (WIDTH,)),
    }
    modes = dict.fromkeys(FeatureType, NormalizationMode.MEAN_STD)

    def policy(model, after=(), std=STD):
        stats = {
            "observation.state": {"mean": torch.zeros(2), "std": torch.ones(2)},
            "action": {"mean": torch.tensor(MEAN), "std": torch.tensor(std)},
        }
        said = {"features": features, "norm_map": modes, "stats": stats}
        before = PolicyProcessorPipeline([AddBatchDimensionProcessorStep(), NormalizerProcessorStep(**said)])
        last = PolicyProcessorPipeline(
            [UnnormalizerProcessorStep(**said), *after],
            to_transition=policy_action_to_transition,
            to_output=transition_to_policy_action,
        )
        files = SimpleNamespace(
            type="smolvla",
            inputs={"observation.state": Field(shape=(2,), dtype="float32")},
            outputs={"action": Field(shape=(WIDTH,))},
            steps={"policy_preprocessor.json": []},
            checkpoint=lambda *_: SimpleNamespace(chunk_length=CHUNK),
            fill=None,
        )
        return LeRobotPolicy(model, before, last, files, torch.device("cpu"), 16)

    return policy


STATE = np.array([0.3, -0.7], np.float32)


def item(policy, seed=5, state=STATE, **context):
    params = policy.params(**context.pop("params", {}))
    return Item(policy.new_session(params), {"observation.state": state}, InferContext(seed=seed, **context))


def answered(policy, *items):
    return [answer.action for answer in policy.infer_many(items)]


def expected(model, seed=5, state=STATE, **told):
    """What the model answers, in the robot's terms; what is left over in its own."""
    import torch

    torch.manual_seed(seed)
    if "prev_chunk_left_over" in told:
        told["prev_chunk_left_over"] = torch.from_numpy(told["prev_chunk_left_over"])
    said = model.predict_action_chunk({"observation.state": torch.from_numpy(state)[None]}, **told)[0].numpy()
    return said * np.array(STD, np.float32) + np.array(MEAN, np.float32)


def left(steps, seed=1):
    """So many steps in the model's terms, and in the robot's."""
    made = np.random.default_rng(seed).normal(0, 1, (steps, WIDTH)).astype(np.float32)
    made[:, STD.index(0.0)] = 0  # as all of training has it
    return made, Chunk(made * np.array(STD, np.float32) + np.array(MEAN, np.float32))


@pytest.mark.parametrize(
    ("steps", "delay", "params", "horizon"),
    [
        (6, 2, {"execution_horizon": 4}, 4),
        (6, 2, {}, 6),
        (3, 1, {}, 3),
        # A step that will have been played is kept, beyond the horizon, too; and there may be fewer than the delay.
        (6, 5, {"execution_horizon": 4}, 5),
        (2, 5, {"execution_horizon": 4}, 2),
        (20, 3, {"execution_horizon": 30}, CHUNK),
        (6, 2, {"max_guidance_weight": 2.0}, 6),
    ],
)
def test_what_is_left_over_reaches_the_model_in_its_own_terms(flow, served, steps, delay, params, horizon):
    made, prefix = left(steps)
    rtc = {"max_guidance_weight": params["max_guidance_weight"]} if "max_guidance_weight" in params else {}
    told = {"inference_delay": min(delay, steps), "execution_horizon": horizon}
    wanted = expected(flow(rtc), prev_chunk_left_over=made[:CHUNK], **told)
    policy = served(flow())
    [answer] = answered(policy, item(policy, prefix=prefix, delay_steps=delay, params=params))
    np.testing.assert_allclose(answer, wanted, rtol=0, atol=1e-5)
    assert np.abs(answer - expected(flow())).max() > 0.1


def test_who_leaves_nothing_over_is_answered_as_ever(flow, served):
    policy = served(flow())
    [answer, late] = answered(policy, item(policy), item(policy, delay_steps=3))
    np.testing.assert_array_equal(answer, expected(flow()))
    np.testing.assert_array_equal(late, answer)
    assert policy.context == {"seed", "prefix", "delay_steps"}


def test_a_number_that_never_changed_in_training_is_not_what_a_robots_rounding_makes_of_it(flow, served):
    _, exact = left(6)
    policy = served(flow())
    rounded = Chunk(exact.action + np.array([0, 0, 1e-3], np.float32))
    [one], [other] = (answered(policy, item(policy, prefix=prefix)) for prefix in (exact, rounded))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("std", [0.0, 1e-5, 2e-5])
def test_a_robot_that_stands_next_to_where_a_joint_hardly_moved_is_followed(flow, served, std):
    """In the model's terms that is hundreds; in the robot's it is nothing."""
    policy = served(flow(), std=[0.3, 0.5, std])
    rows = np.tile(np.array(MEAN, np.float32), (6, 1))
    [there] = answered(policy, item(policy, prefix=Chunk(rows)))
    for off in (-0.02, 0.028):  # of 0.03
        [answer] = answered(policy, item(policy, prefix=Chunk(rows + np.array([0, 0, off], np.float32))))
        np.testing.assert_allclose(answer, there, rtol=0, atol=1e-4)


#: The spreads of three numbers in training, and what is left over of the last one, away from its middle there.
ELSEWHERE = [
    ([0.3, 0.5, 1e-5], 0.04),
    ([0.3, 0.5, 1e-4], 0.04),
    ([0.3, 0.5, 1e-4], 30),
    ([30, 30, 0.3], 31),  # degrees: it was answered as if it stood at its middle, and jumped there
    ([30, 30, 0.3], 100),
    ([30, 30, 0.01], 1.1),  # a gripper's metres
    ([30, 30, 0.01], 40),  # and somebody's millimetres
    ([0.3, 30, 1e-4], 0.04),  # radians, and a gripper's per cent: the smaller unit counts
    ([0.3, 1e-4, 1e-4], 0.04),  # most joints stood still
    ([1e-5, 1e-5, 1e-5], 0.002),
    ([0.3, 0.5, 0.0], 0.04),  # not at all
    ([0.3, 0.5, 0.0], 1e32),
]


@pytest.mark.parametrize(("std", "off"), ELSEWHERE)
def test_a_robot_that_stands_elsewhere_is_told_so(flow, served, std, off):
    """What the answer says of the delay would be another number than the robot plays."""
    policy = served(flow(), std=std)
    rows = np.tile(np.array(MEAN, np.float32), (6, 1)) + np.array([0, 0, off], np.float32)
    [refused] = policy.infer_many([item(policy, prefix=Chunk(rows))])
    assert isinstance(refused, BadObservation)
    assert "the number 2 of a step is" in refused.text or off > 1e30


#: The spreads of an arm's joints and gripper; what was sent back was the answer itself, one tick of an encoder away.
TREMBLING = [[20, 20, 20, 0.03, 0, 30], [20, 20, 20, 5, 0, 0.4], [20, 20, 20, 5, 5e-4, 0.4]]


@pytest.mark.parametrize("spreads", TREMBLING)
def test_a_gripper_or_a_joint_that_trembled_does_not_say_what_is_near(flow, spreads):
    import torch
    from offboard_lerobot.guidance import Guidance

    back = torch.linspace(-1, 1, 4)[:, None].expand(4, 6)
    scale = torch.tensor(spreads).clamp_min(1e-8)
    guidance = Guidance(flow(), back * scale, back, 1 / scale)
    tick = torch.tensor([0, 0, 0, 0, 0.088, 0]) / scale
    assert guidance.arguments(tick.reshape(1, 1, 6), 1, guidance.params()())
    with pytest.raises(BadObservation, match="the number 4"):
        guidance.arguments(25 * tick.reshape(1, 1, 6), 1, guidance.params()())


def test_joints_that_all_but_stood_still_leave_the_others_a_robots_rounding(flow, served):
    """An arm that was parked: of most of its joints nothing but noise was recorded."""
    policy = served(flow(), std=[0.3, 1e-5, 1e-5])
    rows = np.tile(np.array(MEAN, np.float32), (6, 1))
    [there] = answered(policy, item(policy, prefix=Chunk(rows)))
    [answer] = answered(policy, item(policy, prefix=Chunk(rows + np.array([0, 2e-3, -2e-3], np.float32))))
    np.testing.assert_allclose(answer, there, rtol=0, atol=1e-4)


@pytest.mark.parametrize("far", [1e6, -1e10, 1e30])
def test_a_prefix_far_from_all_that_the_model_knows_is_refused_and_no_other_robot_pays(flow, served, caplog, far):
    """It was followed: a chunk of 1e30 was sent."""
    policy = served(flow())
    made, good = left(6)
    rows = good.action.copy()
    rows[3, 1] = far
    other = item(policy, prefix=good)
    [refused, answer] = policy.infer_many([item(policy, prefix=Chunk(rows)), other])
    assert isinstance(refused, BadObservation)
    assert "no continuation of what the model answers" in refused.text
    assert "at most 100 is followed" in refused.text
    np.testing.assert_allclose(answer.action, answered(policy, other)[0], rtol=0, atol=1e-6)
    assert "Traceback" not in caplog.text, "what a client sends is no fault of the server's"
    # What a robot made of it near the edge of what the model knows is its own affair.
    made[3, 1] = 99
    [near] = answered(policy, item(policy, prefix=Chunk(made * np.array(STD, np.float32) + np.array(MEAN, np.float32))))
    assert np.isfinite(near).all()


def test_robots_share_a_call_where_they_have_as_much_left_and_as_much_delay(flow, served):
    policy = served(flow())
    items = [item(policy, seed, STATE * seed, prefix=left(6, seed)[1], delay_steps=2) for seed in (1, 2, 3)]
    items += [item(policy, 4, prefix=left(6)[1], delay_steps=1), item(policy, 5, prefix=left(5)[1]), item(policy, 6)]
    assert len({policy.batch_key(each) for each in items}) == 4
    alone = [answered(policy, each)[0] for each in items]
    np.testing.assert_allclose(answered(policy, *items), alone, rtol=0, atol=1e-5)


def test_where_it_cannot_be_told_the_robots_actions_it_does_not_say_that_it_can(flow, served, caplog):
    from lerobot.processor import ProcessorStep

    class Halves(ProcessorStep):
        """A step that has no way back."""

        def __call__(self, transition):
            return {**transition, "action": transition["action"] / 2}

        def transform_features(self, features):
            return features

    assert served(flow(), [Halves()]).context == {"seed"}
    assert "do not turn actions back" in caplog.text
    assert served(flow(adapt_to_pi_aloha=True)).context == {"seed"}


def test_a_model_that_was_trained_for_delays_states_the_longest(flow, served, monkeypatch):
    from dataclasses import dataclass

    from lerobot.policies.rtc.configuration_rtc import RTCConfig
    from offboard_lerobot import guidance

    @dataclass
    class Newer(RTCConfig):
        """As LeRobot's newest writes it."""

        mode: str = "guided"

    assert served(flow(rtc_training_max_delay=4)).max_delay_steps is None, "an older LeRobot guides it"
    monkeypatch.setattr(guidance, "RTCConfig", Newer)
    model = flow(rtc_training_max_delay=4)
    assert served(model).max_delay_steps == 4
    assert model.config.rtc_config.mode == "trained"
    assert served(flow()).max_delay_steps is None
