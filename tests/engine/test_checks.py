import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from offboard_core import BadObservation, Chunk, CodecMeta, Field, InvalidAction
from offboard_core.engine import check_action, check_observation

META = CodecMeta(
    observation={
        "robot_state.q": Field(shape=(7,), dtype="float32", unit="rad"),
        "image.wrist": Field(shape=(-1, -1, 3), dtype="uint8"),
        "grip": Field(shape=(1,), dtype="float32"),
        "task": Field(dtype="str", required=False),
    },
    action={"target_joints": Field(shape=(7,), kind="absolute_joints"), "target_grip": Field(shape=(1,), kind="grip")},
)
GOOD = {"robot_state.q": np.zeros(7), "image.wrist": np.zeros((8, 6, 3), np.uint8), "grip": 0.5}


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"task": "stack"},
        {"grip": np.zeros(1)},
        {"grip": np.float64(0)},
        {"grip": np.float32(0)},
        {"other": object()},
    ],
)
def test_what_the_handshake_promised_passes(more):
    check_observation({**GOOD, **more}, META)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("robot_state.q", None, "lacks robot_state.q"),
        ("robot_state.q", np.zeros(6), r"shape \(6,\); expected shape \(7,\), dtype float32 \(rad\)"),
        ("robot_state.q", np.zeros((7, 1)), "shape"),
        ("robot_state.q", np.array([0, 0, 0, np.nan, 0, 0, 0]), r"not finite at index \[3\]"),
        ("robot_state.q", np.full(7, np.inf, np.float16), "not finite"),
        ("robot_state.q", np.zeros(7, np.complex64), "complex64"),
        ("robot_state.q", "high", "is str"),
        ("robot_state.q", True, "is bool"),
        ("image.wrist", np.zeros((8, 6, 3)), "uint8"),
        ("image.wrist", np.zeros((8, 6, 4), np.uint8), "shape"),
        ("image.wrist", b"\xff\xd8", "is bytes"),
        ("grip", np.zeros(2), "shape"),
        ("grip", float("nan"), "not finite"),
        ("task", 3, "expected a string"),
    ],
)
@pytest.mark.rule("M-3")
def test_what_was_not_promised_never_reaches_a_model(name, value, says):
    with pytest.raises(BadObservation, match=says):
        check_observation({**GOOD, name: value}, META)


@pytest.mark.rule("O-10")
def test_a_similar_name_is_mentioned_and_not_used():
    observation = dict(GOOD)
    observation["robot_state.Q"] = observation.pop("robot_state.q")
    with pytest.raises(BadObservation, match=r"lacks robot_state\.q .*did you mean that by robot_state\.Q"):
        check_observation(observation, META)


@pytest.mark.rule("O-10")
def test_a_name_that_the_model_reads_itself_is_not_proposed_for_another():
    observation = {**GOOD, "robot_state.dq": np.zeros(7, np.float32)}
    del observation["robot_state.q"]
    meta = dataclasses.replace(META, observation={**META.observation, "robot_state.dq": Field()})
    with pytest.raises(BadObservation, match=r"did you mean that by robot_state\.dq"):
        check_observation(observation, META)
    with pytest.raises(BadObservation, match=r"lacks robot_state\.q; it has: "):
        check_observation(observation, meta)


@pytest.mark.rule("O-10")
def test_a_name_without_a_value_is_not_what_the_observation_has():
    with pytest.raises(BadObservation, match=r"lacks robot_state\.q(?!.*robot_state\.q)"):
        check_observation({**GOOD, "robot_state.q": None}, META)


def chunk(**changes):
    return Chunk({"target_joints": np.zeros((4, 7)), "target_grip": np.zeros((4, 1)), **changes}, np.arange(4) / 10)


def test_actions_as_promised_pass():
    check_action(chunk(), META)
    check_action(Chunk(np.zeros((4, 9))), CodecMeta())


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (chunk(target_joints=np.zeros((4, 6))), r"shape \(4, 6\); the handshake promised \(T, 7\)"),
        (chunk(target_joints=np.full((4, 7), np.nan)), "not finite from step 0 of 4"),
        (chunk(target_grip=np.array([[0], [0], [np.inf], [0]])), "target_grip is not finite from step 2"),
        (chunk(target_pose=np.zeros((4, 7))), "promised"),
        (Chunk({"target_joints": np.zeros((4, 7))}), "promised"),
        (Chunk(np.zeros((4, 7))), r"answered \['action'\]"),
        (chunk(target_grip=np.array([["0"]] * 4)), "numbers"),
        (chunk(target_grip=np.zeros((4, 1), complex)), "numbers"),
        (Chunk({"target_joints": np.zeros((4, 7)), "target_grip": np.full((4, 1), 1.06)}), "grip of row 0 is 1.06"),
        (chunk().replace(timestamp=np.array([0, 1, np.nan, 3])), "timestamp of row 2 is nan"),
    ],
)
@pytest.mark.rule("R-18")
def test_numbers_that_nobody_meant_are_refused(bad, says):
    with pytest.raises(InvalidAction, match=says):
        check_action(bad, META)


BARE = CodecMeta(action={"action": Field(shape=(2,))})
ACTIONS = st.builds(
    np.full,
    st.sampled_from(((4, 2), (4, 3), (5, 2), (2,))),
    st.sampled_from((0, 1)),
    st.sampled_from(("<f4", "<i4", "?")),
)
ODD = st.builds(np.full, st.just((4, 2)), st.sampled_from((np.nan, np.inf)), st.just("<f4"))
NAMED = st.sampled_from((0.0, 2.0)).map(lambda grip: {"target_grip": np.full((4, 1), grip)})
CHUNKS = st.builds(
    Chunk, st.sampled_from((np.zeros((4, 2), "<f4"), np.array([["a"] * 2] * 4))) | ACTIONS | ODD | NAMED
).flatmap(lambda one: st.sampled_from((one, one.replace(timestamp=np.arange(len(one))[:: 1 if len(one) < 5 else -1]))))


def verdict(chunk, meta, right=None):
    try:
        return None, check_action(chunk, meta, right)
    except InvalidAction as error:
        return error.text, right


@pytest.mark.rule("R-18")
@given(st.sampled_from((BARE, CodecMeta())), st.lists(CHUNKS, max_size=8))
def test_what_was_right_before_changes_nothing_of_what_is_said_of_an_action(meta, chunks):
    right = None
    for chunk in [each for each in chunks for _ in range(2)]:
        said, right = verdict(chunk, meta, right)
        assert said == verdict(chunk, meta)[0]


def test_of_named_actions_nothing_is_remembered():
    assert check_action(chunk(), META) is None
    assert check_action(Chunk(np.zeros((4, 2))), BARE) is not None
