"""PROTOCOL section 8: what comes back."""

import numpy as np
import pytest
from answers import POSE, SENT, answering, arm_of, open_robot
from offboard_client.errors import BY_CODE
from offboard_core import Chunk, Field
from offboard_core.server import InferenceServer
from puppets import ARM_OUTPUTS, arm
from robots import robot

QUEUED = {"decode_ms", "codec_ms", "queue_ms", "infer_ms", "total_ms", "prev_encode_ms", "batch"}


@pytest.mark.rule("R-1", "R-3", "R-8", "R-10", "R-11")
def test_rows_of_action_and_timestamp():
    with open_robot(arm()) as one:
        rows = one.ask(SENT)["result"]
        assert [row.keys() for row in rows] == [{"action", "timestamp"}] * 3
        assert [row["timestamp"] for row in rows] == pytest.approx([0.0, 0.1, 0.2])
        for i, row in enumerate(rows):
            assert row["action"].keys() == {"target_pose", "target_grip"}
            np.testing.assert_allclose(
                row["action"]["target_pose"], [0.4, 0.1, 0.4 + 0.1 * i, 0.5, 0.5, 0.5, 0.5], 1e-6
            )
            assert row["action"]["target_grip"].shape == (1,)
        text = one.ask_text({name: getattr(v, "tolist", lambda v=v: v)() for name, v in SENT.items()})["result"]
        assert isinstance(text[0]["action"]["target_pose"], list)
        assert text[0]["action"]["target_grip"] == [0.5]


@pytest.mark.rule("R-16", "R-2")
def test_columns_are_the_same_chunk():
    with open_robot(arm(), "layout=columns") as one:
        columns = one.ask(SENT)["result"]["columns"]
        assert columns["action"]["target_pose"].shape == (3, 7)
        assert columns["action"]["target_grip"].shape == (3, 1)
        assert columns["timestamp"].tolist() == pytest.approx([0.0, 0.1, 0.2])
    with open_robot(answering(np.ones((4, 2))), "layout=columns") as one:
        assert one.ask({})["result"]["columns"]["action"].shape == (4, 2)
        text = one.ask_text({})["result"]["columns"]
        assert text["action"] == [[1.0, 1.0]] * 4
    with open_robot(answering(np.ones((4, 2)), fps=None), "layout=columns") as one:
        assert one.ask({})["result"]["columns"].keys() == {"action"}


@pytest.mark.rule("R-2", "R-16")
@pytest.mark.parametrize("query", ["", "layout=columns", "dialect=positronic"])
@pytest.mark.parametrize("answer", [None, Chunk({}), Chunk(np.zeros((0, 7))), Chunk({"target_pose": np.zeros((0, 7))})])
def test_nothing_new_and_stop(query, answer):
    with open_robot(answering(answer), query) as one:
        assert one.ask({})["result"] == (None if answer is None else [])
        assert one.ask_text({})["result"] == (None if answer is None else [])


@pytest.mark.rule("R-4", "R-5", "R-6", "R-7", "R-9", "M-5")
@pytest.mark.parametrize(
    ("name", "width", "kind"),
    [
        ("target_joints", 6, "absolute_joints"), ("joint_delta", 7, "joint_delta"),
        ("joint_velocity", 7, "joint_velocity"), ("pose_delta", 7, "pose_delta"), ("action", 14, "vector"),
    ],
)  # fmt: skip
def test_every_kind_of_action_is_declared_and_sent_as_it_is(name, width, kind):
    values = np.arange(2 * width, dtype=np.float32).reshape(2, width)
    if name == "pose_delta":
        values[:, 3:] = 0.5
    models = answering({name: values}, outputs={name: Field(shape=(width,), kind=kind)})
    with InferenceServer({"only": models}, port=0) as server, robot(server) as one:
        assert one.opened()["meta"]["action"] == {name: {"shape": [width], "unit": None, "kind": kind}}
        rows = one.ask({})["result"]
    np.testing.assert_array_equal([row["action"][name] for row in rows], values)


@pytest.mark.rule("R-9")
def test_a_bare_vector_is_the_action_itself():
    with open_robot(answering(np.arange(6.0).reshape(2, 3))) as one:
        assert [row["action"].tolist() for row in one.ask({})["result"]] == [[0, 1, 2], [3, 4, 5]]


class Cut:
    """A plugin whose codec cuts chunks after 0.3 s."""

    def __init__(self):
        from offboard_core import CodecEntry, hookimpl
        from offboard_core.codecs import Native, timed

        def make(options, checkpoint):
            return timed(Native(inputs={}, outputs={}), 10.0, 0.3)

        @hookimpl
        def offboard_codecs():
            yield CodecEntry(name="cut", summary="Cuts.", factory=make)

        self.offboard_codecs = offboard_codecs


@pytest.mark.rule("R-15", "M-7", "R-11")
def test_the_horizon_cuts_the_chunk():
    models = answering(np.zeros((8, 2)), fps=None, codec="cut", plugin=Cut())
    with InferenceServer({"only": models}, port=0) as server, robot(server) as one:
        assert one.opened()["meta"]["action_horizon_sec"] == 0.3
        assert [row["timestamp"] for row in one.ask({})["result"]] == pytest.approx([0.0, 0.1, 0.2])


@pytest.mark.rule("R-18", "L-3")
@pytest.mark.parametrize(
    "bad",
    [
        {"pose": np.full((3, 7), np.nan)},
        {"pose": np.where(np.arange(21).reshape(3, 7) == 20, np.inf, 0.1)},
        {"grip": np.array([[0.5], [-np.inf], [0.5]], np.float32)},
        {"pose": np.zeros((3, 6))},
        {"pose": np.zeros((3, 1, 7))},
        {"grip": np.full((3, 2), 0.5)},
    ],
)
@pytest.mark.parametrize("query", ["", "layout=columns", "dialect=positronic"])
def test_an_action_that_nobody_meant_is_not_sent(bad, query):
    with open_robot(arm_of(**bad), query) as one:
        one.ask(SENT)
        reply = one.ask(SENT)
        assert reply["code"] == "invalid_action"
        assert "result" not in reply
        assert "result" in one.ask(SENT)


@pytest.mark.rule("R-18")
@pytest.mark.parametrize(
    "wrong",
    [
        {"target_pose": np.tile(POSE, (3, 1))},
        {"target_pose": np.tile(POSE, (3, 1)), "target_grip": np.full((3, 1), 0.5), "extra": np.zeros((3, 1))},
        {"target_joints": np.zeros((3, 7)), "target_grip": np.full((3, 1), 0.5)},
    ],
)
def test_an_action_under_other_names_is_not_sent(wrong):
    with open_robot(answering(wrong, outputs=ARM_OUTPUTS)) as one:
        assert one.ask({})["code"] == "invalid_action"


@pytest.mark.rule("R-19")
def test_every_reply_tells_its_time():
    with open_robot(arm()) as one:
        for frame in (SENT, {}, b"\xc1", SENT):
            timing = one.ask(frame)["timing"]
            assert timing.keys() == QUEUED
            assert all(value >= 0 for value in timing.values())
            assert timing["total_ms"] + 1e-6 >= timing["decode_ms"] + timing["infer_ms"]
        assert timing["prev_encode_ms"] > 0
        assert timing["batch"] == 1


@pytest.mark.rule("R-20")
def test_every_code_that_crosses_the_wire_is_a_class():
    sent = (
        "bad_message bad_observation bad_parameter dialect_unsupported busy idle deadline_exceeded model_not_found "
        "load_failed policy_failed invalid_action timeout model_lost unauthorized "
        "forbidden not_found full shutting_down internal"
    )
    local = {
        "configuration", "robot_failed", "recording_failed", "connection", "connection_lost", "protocol_error",
        "server_changed",
    }  # fmt: skip
    assert set(BY_CODE) == {*sent.split(" "), *local}
    assert all(found.code == code for code, found in BY_CODE.items())


# -- Positronic's dialect ------------------------------------------------------------------------------------------
