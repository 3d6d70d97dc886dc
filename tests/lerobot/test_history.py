"""Observations one step apart, as in training, for a robot that asks for a chunk now and then."""

from itertools import count

import numpy as np
import pytest
from lerobot_checkpoints import model_inputs
from offboard_client import BadObservation, InferenceClient
from offboard_client.play import PolicyStream
from offboard_client.wire import CONTEXT
from offboard_core import InferenceServer
from offboard_core.catalog import from_flags
from offboard_core.plugins import Plugins
from offboard_core.types import InferContext, Item
from offboard_lerobot.loader import LeRobotLoader, LeRobotOptions
from offboard_lerobot.registry import LeRobotRegistry
from waits import PATIENCE

FPS, STEPS = 10.0, 8


def serve(place, fps=FPS):
    plugins = Plugins.discover()
    source = from_flags(plugins, checkpoints_dir=str(place), loader_options={"device": "cpu"}, fps=fps)
    return InferenceServer({"": source}, port=0)


@pytest.fixture(scope="module")
def client(diffusion):
    with serve(diffusion) as server, InferenceClient("127.0.0.1", server.port) as client:
        yield client


@pytest.fixture(scope="module")
def loop(diffusion):
    """What LeRobot's own loop plays in the steps 0 to 23, fed with an observation in each of them."""
    import torch
    from lerobot.policies.factory import get_policy_class, make_pre_post_processors
    from lerobot.policies.utils import prepare_observation_for_inference

    policy = get_policy_class("diffusion").from_pretrained(diffusion)
    preprocess, postprocess = make_pre_post_processors(policy.config, pretrained_path=str(diffusion))
    policy.reset()
    played = []
    for step in range(3 * STEPS):
        torch.manual_seed(step)
        inputs = prepare_observation_for_inference(model_inputs(step), torch.device("cpu"), task="")
        played.append(postprocess(policy.select_action(preprocess(inputs)))[0].numpy())
    return np.stack(played)


def vectors(rows):
    return np.stack([row["action"]["action"] for row in rows])


def test_the_handshake_says_how_many_and_how_far_apart(client):
    with client.new_session() as session:
        meta = session.metadata
    assert meta["context"] == ["history", "seed"]
    assert meta["history"]["offsets_sec"] == [-1 / FPS]
    assert set(meta["history"]["observation"]) == set(model_inputs(0))
    assert "send an observation at each step" in meta["context_absent"]["history"]


def test_without_a_rate_it_says_why_not_and_what_that_means(diffusion):
    with (
        serve(diffusion, None) as server,
        InferenceClient("127.0.0.1", server.port) as client,
        client.new_session() as session,
    ):
        meta = session.metadata
    assert meta["context"] == ["seed"]
    assert "observed 1 step ago, and nothing says how many are a second" in meta["context_refused"]["history"]
    assert "send an observation at each step" in meta["context_absent"]["history"]


def test_a_robot_that_asks_for_chunks_gets_what_lerobots_own_loop_plays(client, loop):
    with client.new_session() as session:
        answers = [
            session.infer(
                {
                    **model_inputs(step),
                    CONTEXT["seed"]: step,
                    CONTEXT["history"]: [model_inputs(max(step - 1, 0))],
                }
            )
            for step in (0, STEPS, 2 * STEPS)
        ]
        alone = session.infer({**model_inputs(2 * STEPS), CONTEXT["seed"]: 2 * STEPS})
    np.testing.assert_array_equal(np.concatenate([vectors(rows)[:STEPS] for rows in answers]), loop)
    assert not np.allclose(vectors(alone)[:STEPS], loop[2 * STEPS :]), "an observation of a chunk ago is another past"


def test_what_plays_for_a_robot_keeps_it_and_sends_it(client, loop, monkeypatch):
    session, asked = client.new_session(), count(step=STEPS)
    plain = session.infer
    monkeypatch.setattr(session, "infer", lambda sent: plain({**sent, CONTEXT["seed"]: next(asked)}))
    stream, played = PolicyStream(session, "sequential", clock=lambda: 0.0), []
    try:
        for step in range(3 * STEPS):
            now = step / FPS
            assert stream.wants(now), "a frame is kept at each step"
            stream.observe(model_inputs(step), now)
            assert stream.wait(PATIENCE)
            played.append(stream.next_action(now).action["action"])
    finally:
        stream.close()
    np.testing.assert_array_equal(played, loop)


def test_a_moment_is_checked_as_the_observation_is(client):
    with client.new_session() as session:
        broken = {**model_inputs(0), "observation.state": np.full(8, np.nan, np.float32)}
        with pytest.raises(BadObservation, match=r"history\[0\]: observation\.state is not finite"):
            session.infer({**model_inputs(1), CONTEXT["history"]: [broken]})


def test_robots_with_a_past_of_their_own_share_a_call(diffusion):
    [checkpoint] = LeRobotRegistry(str(diffusion)).checkpoints()
    policy = LeRobotLoader(LeRobotOptions(device="cpu")).load(checkpoint, lambda _: None)

    def item(number, seen):
        context = InferContext(seed=number, history=(model_inputs(seen),) if seen else ())
        return Item(policy.new_session(policy.params()), model_inputs(number), context)

    pairs = [(1, 11), (2, 12), (3, None), (4, 14)]
    together = [answer.action for answer in policy.infer_many([item(*pair) for pair in pairs])]
    alone = [policy.infer_many([item(*pair)])[0].action for pair in pairs]
    np.testing.assert_allclose(together, alone, atol=1e-5)
    assert policy.batch_key(item(1, 11)) == policy.batch_key(item(2, 12)) != policy.batch_key(item(3, None))
    # What it was told is its past from then on: who stops telling goes on from there.
    told = item(5, 15)
    policy.infer_many([told])
    after = policy.infer_many([Item(told.session, model_inputs(6), InferContext(seed=6))])[0].action
    expected = policy.infer_many([item(6, 5)])[0].action
    np.testing.assert_allclose(after, expected, atol=1e-5)
    policy.close()
