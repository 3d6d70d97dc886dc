"""A plain function that says what it reads and answers: in the handshake, and in the checks of both ends."""

import logging

import numpy as np
import pytest
from offboard_client import BadObservation, InferenceClient, InvalidAction
from offboard_core import ConfigurationError, Field, LoadFailed, declare
from offboard_core.catalog import from_callables
from offboard_core.server import InferenceServer


@declare(
    observation={"robot_state.q": (3,), "image.wrist": (-1, -1, 3), "grip": 0.0, "task": str},
    action={"target_joints": (3,), "speed": np.zeros(1)},
)
def stay(observation):
    joints = observation["robot_state.q"]
    return {"target_joints": joints[:2] if observation["task"] == "lose one" else joints, "speed": [0.1]}


@pytest.fixture(scope="module")
def session():
    with (
        InferenceServer({"it": stay}, port=0, fps=10) as server,
        InferenceClient("127.0.0.1", server.port) as client,
        client.new_session() as session,
    ):
        yield session


SEEN = {"robot_state.q": np.ones(3), "image.wrist": np.zeros((4, 5, 3), np.uint8), "grip": 0.5, "task": "stay"}


@pytest.mark.rule("M-3", "M-5")
def test_the_handshake_holds_what_a_function_declares(session):
    asked = session.metadata["observation"]
    assert asked["robot_state.q"] == {"shape": [3], "dtype": None, "unit": "rad", "required": True}
    assert asked["image.wrist"]["dtype"] == "uint8"
    assert (asked["task"]["dtype"], asked["grip"]["shape"]) == ("str", [1])
    assert session.metadata["action"]["target_joints"] == {"shape": [3], "unit": "rad", "kind": "absolute_joints"}
    assert session.metadata["action"]["speed"]["kind"] == "vector"


def test_both_ends_check_by_it(session):
    with pytest.raises(BadObservation, match=r"robot_state\.q is \(2,\).*image\.wrist"):
        session.infer({"robot_state.q": np.ones(2), "grip": 0.5, "task": "stay"})
    with pytest.raises(InvalidAction, match=r"target_joints has shape \(1, 2\); the handshake promised \(T, 3\)"):
        session.infer({**SEEN, "task": "lose one"})
    (row,) = session.infer(SEEN)
    np.testing.assert_array_equal(row["action"]["target_joints"], np.ones(3))


def test_a_declaration_that_comes_too_late_says_where_it_belongs():
    source = from_callables({"it": lambda: stay})
    with pytest.raises(LoadFailed, match="not what returns it"):
        source.loader.load(source.default(), logging.info)


@pytest.mark.parametrize(
    ("steps", "said", "right", "wrong", "says"),
    [
        (2, (2, None), [2], [1, 3], "answered {} steps; it declares 2 "),
        ((1, 3), (3, 1), [1, 2, 3], [4], "answered {} steps; it declares 1 to 3 "),
    ],
)
@pytest.mark.parametrize("form", ["a function", "a class"])
def test_how_many_steps_an_answer_has_is_said_and_held(steps, said, right, wrong, says, form):
    class Stay:
        def infer(self, observation):
            return [{"target_joints": np.zeros(3)}] * int(observation["count"])

    served = declare(steps=steps)(Stay if form == "a class" else lambda observation: Stay().infer(observation))
    with (
        InferenceServer({"it": served}, port=0, fps=10) as server,
        InferenceClient("127.0.0.1", server.port) as client,
        client.new_session() as session,
    ):
        assert (session.metadata["chunk_length"], session.metadata.get("shortest_chunk")) == said
        for count in right:
            assert len(session.infer({"count": count})) == count
        for count in wrong:
            with pytest.raises(InvalidAction, match=says.format(count)):
                session.infer({"count": count})
        assert session.infer({"count": 0}) == [], "it stops"


@pytest.mark.parametrize("steps", [0, -1, 2.0, True, (3, 1), (0, 2), (1,), (1, 2, 3), [1, 2], "3", (1, None)])
def test_what_is_no_number_of_steps_is_an_error(steps):
    with pytest.raises(ConfigurationError, match=r"^steps is .*; expected how many steps an answer has"):
        declare(steps=steps)


@pytest.mark.parametrize("value", [3.5j, None, (1.5,), (-2,), [3], True, np.array(["a"])])
def test_what_declares_nothing_is_refused(value):
    with pytest.raises(ConfigurationError, match="x is declared as"):
        declare(observation={"x": value})


@pytest.mark.parametrize(
    ("where", "name", "value", "reason"),
    [
        ("observation", "robot_state.ee_pose", (3,), r"\(3,\); in the protocol it has \(7,\)"),
        ("observation", "robot_state.left.q", (2, 7), r"in the protocol it has \(n,\)"),
        ("observation", "grip.left", (2,), r"grip\.left.*it has \(1,\)"),
        ("observation", "grip", str, r"grip is declared with the shape \(\)"),
        ("observation", "image.wrist", (3, 96, 96), r"it has \(n, n, 3\)"),
        ("observation", "task", (1,), "declare it as str"),
        ("action", "target_pose", np.zeros(6), r"\(6,\); in the protocol it has \(7,\)"),
        ("action", "target_joints", (10, 7), r"\(10, 7\); in the protocol it has \(n,\)"),
        ("action", "target_grip", (2,), r"it has \(1,\)"),
    ],
)
def test_a_name_of_the_protocol_has_the_protocols_shape(where, name, value, reason):
    with pytest.raises(ConfigurationError, match=reason):
        declare(**{where: {name: value}})


@pytest.mark.parametrize("shape", [(), (1,), (-1,)])
def test_a_grip_may_be_declared_as_a_scalar(shape):
    it = declare(observation={"grip": shape}, action={"target_grip": shape})(lambda seen: None)
    found = from_callables({"it": it}).default()
    assert found.inputs["grip"].shape == found.outputs["target_grip"].shape == (shape or (1,))


def test_what_maps_no_names_is_refused():
    with pytest.raises(ConfigurationError, match=r"observation is \['a'\]; expected a map from names to shapes"):
        declare(observation=["a"])


def test_a_field_is_itself():
    field = Field(shape=(2,), unit="N", required=False)
    assert from_callables({"it": declare(observation={"force": field})(lambda seen: None)}).default().inputs == {
        "force": field
    }


@pytest.mark.parametrize("shape", [[3], [-1]])
def test_a_shape_that_a_plugin_wrote_as_a_list_is_the_shape_that_it_says(shape):
    @declare(observation={"robot_state.q": Field(shape=shape, dtype="float32")}, action={"target_joints": (3,)})
    def hold(observation):
        return {"target_joints": observation["robot_state.q"][:3]}

    with (
        InferenceServer({"it": hold}, port=0, fps=10) as server,
        InferenceClient("127.0.0.1", server.port) as client,
        client.new_session() as session,
    ):
        assert session.infer({"robot_state.q": np.ones(3, np.float32)})
        if shape == [3]:
            with pytest.raises(BadObservation, match="shape"):
                session.infer({"robot_state.q": np.ones(4, np.float32)})
