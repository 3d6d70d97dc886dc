import logging

import numpy as np
import pytest
from offboard_client.errors import InvalidAction, LoadFailed, ModelNotFound, PolicyFailed
from offboard_core import Chunk, ConfigurationError, NoParams, Policy, Session
from offboard_core.adapt import as_chunk, as_policy
from offboard_core.source import from_callables
from offboard_core.types import Checkpoint

POSE = [0.5, 0, 0.3, 1, 0, 0, 0]


def columns(answer):
    return {name: array.tolist() for name, array in as_chunk(answer).columns().items()}


def test_none_and_chunks_are_themselves():
    chunk = Chunk(np.zeros((2, 3)))
    assert as_chunk(None) is None
    assert as_chunk(chunk) is chunk


@pytest.mark.parametrize("stop", [[], (), np.zeros((0, 7)), np.zeros(0)])
def test_nothing_to_do_means_stop(stop):
    assert len(as_chunk(stop)) == 0


@pytest.mark.parametrize("answer", [np.ones((2, 3)), [[1.0, 1.0, 1.0]] * 2, [np.ones(3), np.ones(3)]])
def test_an_array_is_a_chunk_of_vectors(answer):
    assert as_chunk(answer).action.shape == (2, 3)


@pytest.mark.parametrize("answer", [np.ones(3), [1.0, 1.0, 1.0], (1, 1, 1)])
def test_a_vector_is_one_step(answer):
    assert as_chunk(answer).action.shape == (1, 3)


def test_a_map_is_one_row():
    assert columns({"target_pose": POSE, "target_grip": 0.5}) == {"target_pose": [POSE], "target_grip": [[0.5]]}
    assert columns({"action": {"target_grip": [0.5]}}) == {"target_grip": [[0.5]]}
    assert columns({"action": [1, 2]}) == {"action": [[1, 2]]}


def test_rows_become_columns_with_their_timestamps():
    chunk = as_chunk([{"action": {"target_grip": [i]}, "timestamp": i / 10} for i in range(3)])
    assert chunk.action["target_grip"].tolist() == [[0], [1], [2]]
    assert chunk.timestamp.tolist() == [0.0, 0.1, 0.2]


def test_flat_rows_are_rows():
    assert columns([{"target_grip": np.float32(i), "target_pose": POSE} for i in range(2)]) == {
        "target_grip": [[0], [1]],
        "target_pose": [POSE, POSE],
    }


class Tensor:
    """What of torch's tensor the adapter relies on."""

    def __init__(self, array):
        self.array = array

    def detach(self):
        return self

    def cpu(self):
        return self.array


def test_a_tensor_is_brought_home():
    assert as_chunk(Tensor(np.ones((1, 6)))).action.shape == (1, 6)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (np.zeros((1, 2, 3)), r"answered shape \(1, 2, 3\); expected \(T, D\) or \(D,\)"),
        (0.5, r"answered shape \(\)"),
        ("go left", "answered a str of dtype <U7; expected numbers"),
        (b"\x00", "expected numbers"),
        (np.array([None]), "dtype object; expected numbers"),
        ([[1, 2], [3]], "that is no array"),
        ([{"target_grip": 0}, [0]], "row 1 is a list, row 0 is a map"),
        ([{"target_grip": 0}, {"target_pose": POSE}], r"row 1 acts on \['target_pose'\], row 0 on \['target_grip'\]"),
        ([{"action": {"target_grip": 0}}, {"action": [0]}], "row 1 acts on a list"),
        ([{"action": [0], "timestamp": 0.0}, {"action": [0]}], "1 of 2 rows have a timestamp; expected all or none"),
        ([{"action": [0], "timestamp": "now"}], "the timestamp of row 0 is a str; expected seconds"),
        ([{"action": [0], "target_grip": 0}], r"row 0 has \['action', 'target_grip'\]"),
        ([{"action": [0]}, {"action": [0, 1]}], r"'action' has the shapes \[\(1,\), \(2,\)\]"),
        (
            {"actions": np.zeros((50, 7))},
            r"'actions' of a row has shape \(50, 7\), expected a vector; answer whole columns",
        ),
        ({"robot_command": {"type": "joint_pos"}}, "'robot_command' of row 0 answered a dict"),
        ({}, "row 0 names no action"),
    ],
)
def test_any_other_answer_is_an_exact_error(answer, text):
    with pytest.raises(InvalidAction, match=text):
        as_chunk(answer)


class Counting(Session):
    def __init__(self):
        self.steps = 0

    def infer(self, inputs):
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
    assert session.infer({"x": np.ones(2)}).action.tolist() == [[2, 2]]
    session.close()
    policy.close()


def test_an_answerer_gets_a_map_of_its_own():
    observation = {"x": 1}
    load(lambda got: got.clear()).new_session(NoParams()).infer(observation)
    assert observation == {"x": 1}


def test_an_object_is_reset_for_each_episode_and_closed_at_the_end():
    owner = Remembers()
    policy = load(owner)
    session = policy.new_session(NoParams())
    session.infer({"x": 1})
    session.reset()
    session.infer({"x": 2})
    policy.close()
    assert owner.calls == ["reset", 1, "reset", 2]
    assert owner.closed


def test_an_object_that_remembers_answers_only_the_session_whose_episode_it_is():
    policy = load(Remembers())
    first, second = policy.new_session(NoParams()), policy.new_session(NoParams())
    with pytest.raises(PolicyFailed, match="another session has started its episode"):
        first.infer({"x": 1})
    assert second.infer({"x": 1}) is not None
    first.reset()
    assert first.infer({"x": 1}) is not None


@pytest.mark.parametrize("made", [None, 3, "policy", CountingPolicy])
def test_what_answers_nothing_is_a_failed_load(made):
    with pytest.raises(
        LoadFailed, match=r"'a' returned a .*; expected a Policy, an object with infer or select_action"
    ):
        as_policy(made, "a")


def test_a_callable_that_raises_is_a_failed_load():
    source = from_callables({"a": lambda observation: 1})
    with pytest.raises(LoadFailed, match=r"model 'a' raised TypeError.*called without arguments"):
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


def test_a_value_that_cannot_be_called_is_refused():
    with pytest.raises(ConfigurationError, match="model 'a' is a Remembers; expected a callable"):
        from_callables({"a": Remembers()})


def test_observations_reach_a_callable_under_their_own_names():
    source = from_callables({"a": CountingPolicy})
    bound = source.codec.bind(source.default(), {})
    assert (bound.name, bound.source) == ("core.native", "default")
    assert bound.meta.action_fps is None
    observation = {"robot_state.q": np.zeros(7), "anything": 1}
    assert bound.encode(observation).keys() == observation.keys()


def test_the_rate_of_a_callable_can_be_told():
    source = from_callables({"a": CountingPolicy}, fps=10)
    bound = source.codec.bind(source.default(), {})
    assert bound.decode(Chunk(np.zeros((3, 1))), {}).timestamp.tolist() == [0.0, 0.1, 0.2]
