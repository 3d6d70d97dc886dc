"""PROTOCOL R-11 and R-27: times that a model states itself are checked like its actions, at both ends."""

import numpy as np
import pytest
from answers import answering, open_robot
from offboard_client.errors import BadMessage, InvalidAction
from offboard_client.wire import rows
from offboard_core import Chunk
from offboard_core.codecs import ActionTiming

BACKWARDS = {
    "backwards": [0.0, 0.2, 0.1],
    "twice": [0.0, 0.1, 0.1],
    "before the observation": [-0.1, 0.0, 0.1],
    "not a number": [0.0, np.nan, 0.2],
    "never": [0.0, 0.1, np.inf],
}
backwards = pytest.mark.parametrize("times", BACKWARDS.values(), ids=BACKWARDS)


@pytest.mark.rule("R-27")
@backwards
@pytest.mark.parametrize("query", ["", "layout=columns"])
def test_times_that_do_not_grow_are_not_sent(times, query):
    with open_robot(answering(Chunk(np.zeros((3, 2)), np.array(times)), fps=None), query) as one:
        reply = one.ask({})
        assert reply["code"] == "invalid_action"
        assert "timestamp of row" in reply["error"]


@pytest.mark.rule("R-27")
@pytest.mark.parametrize("times", [np.zeros((3, 2)), np.array(["a", "b", "c"]), np.arange(3) * 1j])
def test_what_is_no_column_of_seconds_is_not_sent(times):
    with open_robot(answering(Chunk(np.zeros((3, 2)), times), fps=None), "layout=columns") as one:
        assert one.ask({})["code"] == "invalid_action"


@pytest.mark.rule("R-27")
@backwards
def test_times_that_do_not_grow_are_not_handed_out(times):
    columns = {"columns": {"action": np.zeros((3, 2)), "timestamp": np.array(times)}}
    listed = [{"action": {"x": [0.0]}, "timestamp": time} for time in times]
    for result in (columns, listed):
        with pytest.raises(InvalidAction):
            rows(result)


@pytest.mark.rule("R-27")
def test_all_rows_have_a_time_or_none_has():
    with pytest.raises(BadMessage, match="1 of 2 rows"):
        rows([{"action": {"x": [0.0]}, "timestamp": 0.0}, {"action": {"x": [0.0]}}])


@pytest.mark.rule("R-11")
def test_a_model_whose_own_times_are_of_another_rate_is_told_so():
    own = Chunk(np.zeros((3, 2)), np.arange(3) / 20)
    with open_robot(answering(own, fps=10)) as one:
        reply = one.ask({})
        assert reply["code"] == "invalid_action"
        assert "0.05" in reply["error"]
        assert "10" in reply["error"]
    with open_robot(answering(own, fps=20)) as one:
        assert [row["timestamp"] for row in one.ask({})["result"]] == pytest.approx([0.0, 0.05, 0.1])
    rounded = Chunk(np.zeros((50, 2)), np.round(np.arange(50) * 0.0667, 4))
    np.testing.assert_array_equal(ActionTiming(15).decode(rounded, {}).timestamp, np.arange(50) / 15)
