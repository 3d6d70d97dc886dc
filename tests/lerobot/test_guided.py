"""Real-time chunking: what a flow policy answers to what is not played yet is what LeRobot's own guidance answers."""

from importlib.metadata import version

import numpy as np
import pytest
from lerobot_checkpoints import model_inputs, save_policy
from offboard_client import BadObservation, BadParameter, InferenceClient
from offboard_client.wire import CONTEXT, columns
from offboard_core import InferenceServer
from offboard_core.catalog import from_flags
from offboard_core.plugins import Plugins
from offboard_core.types import Chunk, InferContext, Item
from offboard_lerobot.loader import LeRobotLoader, LeRobotOptions
from offboard_lerobot.registry import LeRobotRegistry

# Of transformers, about LeRobot's MolmoAct2.
pytestmark = pytest.mark.filterwarnings("ignore:`rope_config_validation`:FutureWarning")

FPS, DELAY = 10.0, 2
#: What LeRobot guides; which of them can be made depends on the LeRobot, and on whether transformers is there.
GUIDED = ("smolvla", "pi0", "pi05", "evo1", "molmoact2")


@pytest.fixture(scope="module", params=GUIDED)
def kind(request, lerobot, tmp_path_factory):
    pytest.importorskip("transformers")
    if request.param != "smolvla" and version("lerobot").startswith("0.4."):
        pytest.skip("LeRobot 0.4 lacks this type, or wants a transformers of its own for it")
    from lerobot_backbones import fill, in_use

    cache = tmp_path_factory.mktemp("hub")
    fill(cache)
    with in_use(cache):
        yield request.param


@pytest.fixture(scope="module")
def folder(kind, tmp_path_factory):
    return save_policy(tmp_path_factory.mktemp(kind) / "pretrained_model", kind, 4)


@pytest.fixture(scope="module")
def client(folder):
    source = from_flags(Plugins.discover(), checkpoints_dir=str(folder), loader_options={"device": "cpu"}, fps=FPS)
    with InferenceServer({"": source}, port=0) as server, InferenceClient("127.0.0.1", server.port) as client:
        # What is loaded meanwhile draws from torch's own numbers, as LeRobot does that it is compared with.
        client.new_session().close()
        yield client


@pytest.fixture(scope="module")
def policy(folder):
    [checkpoint] = LeRobotRegistry(str(folder)).checkpoints()
    policy = LeRobotLoader(LeRobotOptions(device="cpu")).load(checkpoint, lambda _: None)
    yield policy
    policy.close()


class LeRobots:
    """The checkpoint as LeRobot's own loop uses it. ``rtc``: its RTCConfig; None: it does not know of any."""

    def __init__(self, folder, kind, rtc=None):
        from lerobot.policies.factory import get_policy_class, make_pre_post_processors
        from lerobot.policies.rtc.configuration_rtc import RTCConfig

        self.kind = kind
        self.policy = get_policy_class(kind).from_pretrained(folder)
        self.policy.eval()
        self.preprocess, self.postprocess = make_pre_post_processors(self.policy.config, pretrained_path=str(folder))
        if rtc is not None:
            self.policy.config.rtc_config = RTCConfig(enabled=True, **rtc)
            self.policy.init_rtc_processor()

    def __call__(self, number, seed, **told):
        """What the model says, and what the robot is sent of it."""
        import torch
        from lerobot.policies.utils import prepare_observation_for_inference

        inputs = prepare_observation_for_inference(model_inputs(number), torch.device("cpu"), task="go")
        batch = self.preprocess(inputs)
        torch.manual_seed(seed)
        made = self.policy.predict_action_chunk(batch, **told)
        sent = self.postprocess(made)[0].numpy()
        # MolmoAct2's processors cut off what is out of range, and a robot goes on from what it was sent.
        return made.clamp(-1, 1) if self.kind == "molmoact2" else made, sent


def vectors(rows):
    return np.stack([row["action"]["action"] for row in rows])


def test_over_the_wire_a_guided_chunk_is_lerobots(client, folder, kind):
    own = LeRobots(folder, kind, {})
    said, sent = own(1, seed=7)
    _, expected = own(2, seed=8, inference_delay=DELAY, prev_chunk_left_over=said[0, 1:])
    _, unguided = own(2, seed=8)
    with client.new_session() as session:
        assert session.metadata["context"] == ["delay_steps", "prefix", "seed"]
        assert "max_delay_steps" not in session.metadata, "guidance knows no hard limit"
        rows = session.infer({**model_inputs(1), "task": "go", CONTEXT["seed"]: 7})
        told = {CONTEXT["prefix"]: columns(rows[1:]), CONTEXT["delay_steps"]: DELAY, CONTEXT["seed"]: 8}
        answer = session.infer({**model_inputs(2), "task": "go", **told})
    np.testing.assert_array_equal(vectors(rows), sent)
    np.testing.assert_allclose(vectors(answer), expected, rtol=0, atol=1e-6)
    assert np.abs(expected - unguided).max() > 1e-2, "or nothing was guided"
    # What will have been played is what the robot was sent before, and the later the less.
    far = np.abs(vectors(answer)[:-1] - sent[1:]).mean(1)
    assert far[:DELAY].max() < np.abs(unguided[:DELAY] - sent[1 : 1 + DELAY]).mean(1).min()


def test_who_sends_nothing_is_answered_as_by_a_policy_that_knows_no_chunking(client, folder, kind):
    _, expected = LeRobots(folder, kind)(3, seed=9)
    with client.new_session() as session:
        for told in ({}, {CONTEXT["delay_steps"]: 3}):
            rows = session.infer({**model_inputs(3), "task": "go", CONTEXT["seed"]: 9, **told})
            np.testing.assert_array_equal(vectors(rows), expected)


def test_a_session_says_how_far_and_how_strongly(client, folder, kind):
    own = LeRobots(folder, kind, {"max_guidance_weight": 3.0, "execution_horizon": 3})
    said, sent = own(1, seed=7)
    _, expected = own(2, seed=8, inference_delay=1, prev_chunk_left_over=said[0])
    told = {CONTEXT["prefix"]: {"action": sent}, CONTEXT["delay_steps"]: 1, CONTEXT["seed"]: 8}
    with client.new_session(execution_horizon=3) as session:
        session.configure(max_guidance_weight=3)
        rows = session.infer({**model_inputs(2), "task": "go", **told})
    np.testing.assert_allclose(vectors(rows), expected, rtol=0, atol=1e-6)
    for wrong in ({"execution_horizon": 0}, {"max_guidance_weight": 0.0}):
        with pytest.raises(BadParameter, match=next(iter(wrong))):
            client.new_session(**wrong)


def test_robots_share_a_call_and_each_goes_on_from_its_own(policy, folder, kind):
    def item(number, delay=DELAY, steps=4):
        prefix = Chunk(np.random.default_rng(number).uniform(0, 1, (steps, 8)).astype(np.float32))
        context = InferContext(prefix=prefix, delay_steps=delay, seed=number)
        return Item(policy.new_session(policy.params()), {**model_inputs(number), "task": "go"}, context)

    numbers = (1, 2, 3)
    alone = [policy.infer_many([item(n)])[0].action for n in numbers]
    together = [answer.action for answer in policy.infer_many([item(n) for n in numbers])]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert not np.allclose(alone[0], alone[1], atol=1e-2)
    keys = {policy.batch_key(each) for each in (item(1), item(2), item(3, delay=1), item(3, steps=5))}
    assert len(keys) == 3
    # Those that can share none are answered all the same.
    mixed = policy.infer_many([item(1), item(3, delay=1), item(2)])
    np.testing.assert_allclose([mixed[0].action, mixed[2].action], alone[:2], atol=1e-5)


def test_an_odd_prefix_is_refused_and_no_other_robot_pays(policy, kind):
    def item(columns):
        prefix = Chunk(columns)
        return Item(policy.new_session(policy.params()), model_inputs(1), InferContext(prefix=prefix, seed=1))

    good = np.zeros((4, 8), np.float32)
    answers = policy.infer_many([item(good), item(good[:, :7]), item({"pose": good}), item(good.astype("f8") + 1e300)])
    assert isinstance(answers[0], Chunk)
    assert [type(answer) for answer in answers[1:]] == [BadObservation] * 3
    assert all("expected action (K, (8,))" in answer.text for answer in answers[1:3])
    assert "no finite number in the model's terms" in answers[3].text
