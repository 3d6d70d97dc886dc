"""Of what is like an observation or a reply before only numbers are looked at: never is that another verdict."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from offboard_client.wire import SEQ, encode
from offboard_core import CodecMeta, Field
from offboard_core.engine import ContextReader, Exchange, Pipeline, ServerStats, SessionStats
from offboard_core.frontends.v1 import V1Serializer
from puppets import Puppet, resolved

META = CodecMeta(
    observation={
        "robot_state.q": Field(shape=(3,), dtype="float32"),
        "image.wrist": Field(shape=(-1, -1, 3), dtype="uint8", required=False),
        "speed": Field(shape=(), dtype="float32", required=False),
        "task": Field(dtype="str", required=False),
    }
)
ODD = (np.nan, np.inf, -np.inf)
VECTORS = st.lists(st.sampled_from((0.0, -1.5, 3e38, *ODD)), min_size=2, max_size=4).map(lambda q: np.array(q, "<f4"))
NUMBERS = st.sampled_from((0.0, 1.0, *ODD))
GOOD = st.fixed_dictionaries(
    {"robot_state.q": st.just(np.zeros(3, "<f4"))},
    optional={
        "image.wrist": st.just(np.zeros((2, 2, 3), np.uint8)),
        "speed": st.just(1.0),
        "task": st.just("pick"),
        "other": st.just(np.zeros(2, "<f4")),
        SEQ: st.just(1),
        "offboard.deadline_ms": st.just(250.0),
        "offboard.seed": st.none(),
    },
)
VALUES = {
    "robot_state.q": VECTORS | st.integers(0, 3).map(lambda n: np.arange(n + 1, dtype="<i8")),
    "image.wrist": st.sampled_from((np.ones((2, 2, 3), np.uint8), np.zeros((2, 6), np.uint8), np.zeros((2, 2, 3)))),
    "speed": NUMBERS | st.sampled_from((1, True)),
    "task": st.sampled_from(("pick", "kcip", 3)),
    "other": VECTORS,
    SEQ: st.sampled_from((1, 2, 200, 1.0, True)),
    "offboard.deadline_ms": NUMBERS | st.sampled_from((1, 250, -1.0, True)),
    **{f"offboard.{name}": st.sampled_from((3, -1, None)) for name in ("seed", "delay_steps", "prefix", "history")},
}
OBSERVATIONS = st.fixed_dictionaries({}, optional=VALUES)


def pipeline(policy=None):
    codec, policy = resolved(META), policy or Puppet()
    return Pipeline(
        policy.new_session(None), codec, lambda: V1Serializer(codec, "offboard", "columns"),
        SessionStats(ServerStats()), ContextReader(policy, codec),
    )  # fmt: skip


def verdict(session, frame):
    """What the model would see of a frame, or what its robot is told."""
    exchange = Exchange(session, frame, None)
    exchange.prepare()
    if exchange.error is not None:
        return str(exchange.error)
    return {name: (getattr(value, "dtype", type(value)), repr(value)) for name, value in exchange.inputs.items()}


@pytest.mark.rule("M-3")
@given(GOOD, st.data())
def test_what_came_before_changes_nothing_of_what_is_said_of_an_observation(good, data):
    session, frames = pipeline(), [encode(good)] * 4
    for _ in range(3):
        name = data.draw(st.sampled_from(sorted(good)))
        frames += [encode({**good, name: data.draw(VALUES[name])})] * 3
    for frame in (*frames, encode(data.draw(OBSERVATIONS))):
        assert verdict(session, frame) == verdict(pipeline(), frame)


@pytest.mark.rule("M-3")
def test_a_form_that_was_right_is_looked_at_no_more_and_its_numbers_are():
    session = pipeline()
    frames = [encode({"robot_state.q": np.full(3, q, "<f4"), SEQ: 1}) for q in (0, 1, 2, 3, np.nan)]
    for frame in frames[:4]:
        assert isinstance(verdict(session, frame), dict)
    assert list(session.right.values()) == [["robot_state.q"]]
    assert "not finite at index [0]" in verdict(session, frames[4])


@pytest.mark.rule("M-22")
def test_what_an_observation_brings_is_read_each_time():
    policy = Puppet()
    policy.context = frozenset({"seed"})
    session = pipeline(policy)
    for seed in range(5):
        exchange = Exchange(session, encode({"robot_state.q": np.zeros(3, "<f4"), "offboard.seed": seed}), None)
        assert exchange.prepare()
        assert (exchange.context.seed, list(exchange.inputs)) == (seed, ["robot_state.q"])


@pytest.mark.rule("M-22")
@pytest.mark.parametrize("name", ["seed", "delay_steps", "prefix", "history"])
def test_what_an_observation_could_bring_and_does_not_never_comes_to_the_model(name):
    session = pipeline()
    for _ in range(8):
        assert list(verdict(session, encode({"robot_state.q": np.zeros(3, "<f4"), f"offboard.{name}": None}))) == [
            "robot_state.q"
        ]


@pytest.mark.rule("M-3")
def test_forms_are_no_more_than_a_handful():
    session = pipeline()
    for size in range(1, 30):
        for _ in range(20):
            verdict(session, encode({"robot_state.q": np.zeros(3, "<f4"), "other": np.zeros(size)}))
    assert 0 < len(session.right) <= 8
