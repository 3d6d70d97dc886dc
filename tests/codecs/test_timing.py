import numpy as np
import pytest
from offboard_client.errors import ConfigurationError, InvalidAction
from offboard_core.codecs import ActionHorizon, ActionSplit, ActionTiming, timed
from offboard_core.types import Chunk

codec = ActionSplit(parts={"target_joints": 2})


def chunk(steps):
    return Chunk(np.ones((steps, 2)))


def test_step_i_is_due_i_periods_after_the_observation():
    made = (ActionTiming(15.0) | codec).decode(chunk(4), {})
    np.testing.assert_array_equal(made.timestamp, np.arange(4) / 15)


@pytest.mark.parametrize(
    ("fps", "seconds", "kept"), [(15, 1.0, 15), (10, 0.3, 3), (30, 0.1, 3), (15, 0.05, 1), (15, 9, 40)]
)
def test_the_horizon_keeps_what_is_due_before_it(fps, seconds, kept):
    made = timed(codec, fps, seconds).decode(chunk(40), {})
    assert len(made) == kept
    assert made.timestamp is not None
    assert (made.timestamp < seconds).all()


def test_the_meta_says_both():
    meta = timed(codec, 15, 1.0).meta
    assert (meta.action_fps, meta.action_horizon_sec) == (15.0, 1.0)
    assert meta.action == codec.meta.action


def test_without_a_rate_there_are_no_timestamps():
    assert timed(codec, None) is codec
    with pytest.raises(ConfigurationError, match="--fps"):
        timed(codec, None, 1.0)
    with pytest.raises(InvalidAction, match="--fps"):
        ActionHorizon(1.0).decode(chunk(2), {})


@pytest.mark.parametrize("value", [0, -1.0, float("nan"), float("inf")])
def test_a_horizon_is_finite_and_above_zero(value):
    with pytest.raises(ValueError, match="above 0"):
        ActionHorizon(value)
