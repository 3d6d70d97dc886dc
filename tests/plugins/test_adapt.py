import functools
import logging

import numpy as np
import pytest
from offboard_client.errors import LoadFailed, ModelNotFound, PolicyFailed
from offboard_core import Chunk, ConfigurationError, Item, NoParams, Policy, Session
from offboard_core.catalog import as_policy, from_callables
from offboard_core.types import NO_CONTEXT, Checkpoint


class Counting(Session):
    def __init__(self):
        self.steps = 0

    def infer(self, inputs, context):
        self.steps += 1
        return Chunk(np.full((1, 1), self.steps))


class CountingPolicy(Policy):
    def new_session(self, params):
        return Counting()


class Remembers:
    """A policy object with a memory of one episode."""

    def __init__(self):
        self.calls = []
        self.closed = False

    def reset(self):
        self.calls.append("reset")

    def infer(self, observation):
        self.calls.append(observation["x"])
        return [len(self.calls)]

    def close(self):
        self.closed = True


class Selects:
    def select_action(self, observation):
        return observation["x"] * 2


def load(made):
    source = from_callables({"a": lambda: made})
    return source.loader.load(source.registry.default(), logging.info)


def test_a_policy_is_served_as_it_is():
    policy = CountingPolicy()
    assert load(policy) is policy


@pytest.mark.parametrize("made", [lambda observation: observation["x"] * 2, Selects()])
def test_functions_and_objects_answer_observations(made):
    policy = load(made)
    session = policy.new_session(NoParams())
    assert session.infer({"x": np.ones(2)}, NO_CONTEXT).action.tolist() == [[2, 2]]
    session.close()
    policy.close()


def test_an_answerer_gets_a_map_of_its_own():
    observation = {"x": 1}
    load(lambda got: got.clear()).new_session(NoParams()).infer(observation, NO_CONTEXT)
    assert observation == {"x": 1}


def test_an_object_is_reset_for_each_episode_and_closed_at_the_end():
    owner = Remembers()
    policy = load(owner)
    session = policy.new_session(NoParams())
    session.infer({"x": 1}, NO_CONTEXT)
    session.reset()
    session.infer({"x": 2}, NO_CONTEXT)
    policy.close()
    assert owner.calls == ["reset", 1, "reset", 2]
    assert owner.closed


@pytest.mark.parametrize(
    ("declared", "most"),
    [({}, 1), ({"copyable": True}, None), ({"max_sessions": 3}, 3), ({"max_sessions": None}, None)],
)
def test_an_object_that_remembers_takes_one_session_unless_it_says_more(declared, most):
    owner = type("Declared", (Remembers,), declared)()
    assert load(owner).max_sessions == most
    assert load(lambda observation: np.zeros(7)).max_sessions is None


@pytest.mark.parametrize("made", [None, 3, "policy", CountingPolicy])
def test_what_answers_nothing_is_a_failed_load(made):
    with pytest.raises(
        LoadFailed, match=r"'a' returned a .*; expected a Policy, an object with infer or select_action"
    ):
        as_policy(made, "a")


def test_a_callable_that_raises_is_a_failed_load():
    def build():
        raise OSError("no weights")

    source = from_callables({"a": build})
    with pytest.raises(LoadFailed, match=r"model 'a' raised OSError: no weights; it is called without arguments"):
        source.loader.load(source.registry.default(), logging.info)


def test_the_first_key_is_the_default_and_keys_are_ids():
    source = from_callables({"b": CountingPolicy, "a": CountingPolicy})
    assert [c.id for c in source.registry.checkpoints()] == ["b", "a"]
    assert source.default().id == "b"
    assert source.registry.resolve("a").id == "a"
    with pytest.raises(ModelNotFound):
        from_callables({}).default()


def test_each_load_calls_anew():
    made = []

    def build():
        made.append(CountingPolicy())
        return made[-1]

    source = from_callables({"a": build})
    loaded = [source.loader.load(Checkpoint(id="a"), logging.info) for _ in range(2)]
    assert loaded == made
    assert loaded[0] is not loaded[1]


class Called:
    """As PyTorch's modules are: it can be called, but is no function of the observation."""

    def __call__(self, *args, **kwargs):
        raise AssertionError("select_action is what answers")

    def select_action(self, observation):
        return observation["x"] * 2


@pytest.mark.parametrize(
    "given", [lambda observation: observation["x"] * 2, Selects(), Called(), Selects().select_action]
)
def test_what_answers_observations_may_be_given_itself(given):
    source = from_callables({"a": given})
    policy = source.loader.load(source.default(), logging.info)
    assert policy.new_session(NoParams()).infer({"x": np.ones(2)}, NO_CONTEXT).action.tolist() == [[2, 2]]


def test_a_policy_may_be_given_itself_and_a_class_builds():
    policy = CountingPolicy()
    source = from_callables({"a": policy, "b": CountingPolicy, "c": functools.partial(CountingPolicy)})
    loaded = {c.id: source.loader.load(c, logging.info) for c in source.registry.checkpoints()}
    assert loaded["a"] is policy
    assert isinstance(loaded["b"], CountingPolicy)
    assert isinstance(loaded["c"], CountingPolicy)


@pytest.mark.parametrize("given", [3, "policy", None, [CountingPolicy]])
def test_a_value_that_is_no_policy_and_makes_none_is_refused(given):
    with pytest.raises(ConfigurationError, match=r"model 'a' is a \w+; expected a function of the observation"):
        from_callables({"a": given})


def test_an_answerer_may_write_into_its_observation():
    def normalised(observation):
        observation["image"] /= 2
        observation["more"]["depth"] -= 1
        observation["list"][0] += 1
        return observation["image"]

    seen = {"image": np.ones(3), "more": {"depth": np.ones(3)}, "list": [np.ones(1)]}
    for array in (seen["image"], seen["more"]["depth"]):
        array.flags.writeable = False
    session = load(normalised).new_session(NoParams())
    assert [session.infer(seen, NO_CONTEXT).action.tolist() for _ in range(2)] == [[[0.5] * 3]] * 2
    assert (seen["image"] == 1).all()
    assert (seen["more"]["depth"] == 1).all()
    assert seen["list"][0] == 1, "what can be written into is not the robot's either"


class Writes(Counting):
    def infer(self, inputs, context):
        inputs["image"][0] = 0
        raise AssertionError("a view on the message was written into")


def test_a_policy_that_writes_into_its_input_is_told_to_copy_it():
    image = np.ones(3)
    image.flags.writeable = False
    [answer] = CountingPolicy().infer_many([Item(Writes(), {"image": image})])
    assert isinstance(answer, PolicyFailed)
    assert "destination is read-only (a Policy's inputs are views on the robot's message: copy" in answer.text


def test_observations_reach_a_callable_under_their_own_names():
    source = from_callables({"a": CountingPolicy})
    resolved = source.codec.resolve(source.default(), {})
    assert (resolved.name, resolved.source) == ("core.native", "default")
    assert resolved.meta.action_fps is None
    observation = {"robot_state.q": np.zeros(7), "anything": 1}
    assert resolved.encode(observation).keys() == observation.keys()


def test_the_rate_of_a_callable_can_be_told():
    source = from_callables({"a": CountingPolicy}, fps=10)
    resolved = source.codec.resolve(source.default(), {})
    assert resolved.decode(Chunk(np.zeros((3, 1))), {}).timestamp.tolist() == [0.0, 0.1, 0.2]
