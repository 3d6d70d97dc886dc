"""How many steps an answer to an openpi robot has: what was promised, and no step that nobody meant."""

import numpy as np
import pytest
from offboard_client.errors import DialectUnsupported
from offboard_core.catalog import ResolvedCodec
from offboard_core.codecs import action_field
from offboard_core.plugins import CODEC, Plugins
from offboard_core.types import Checkpoint, Chunk, Field
from offboard_openpi.bridge import bridge
from offboard_openpi.keysets import KEYSETS
from offboard_openpi.lengths import Lengths, still
from offboard_openpi.options import OpenPIFrontendOptions

POSE = [0.4, -0.1, 0.3, 0.6, 0.8, 0, 0]


def lengths(stay, **options):
    return Lengths(OpenPIFrontendOptions(**options), stay)


def filled(stay, row, steps=3):
    """What is played after one ``row``, up to ``steps``."""
    kept = lengths(stay, short_chunks="hold", action_horizon=steps)
    kept.promise({})
    made = kept.keep(np.array([row]))
    assert len(made) == steps
    np.testing.assert_array_equal(made[0], row)
    np.testing.assert_array_equal(made[1], made[2])
    return made[-1].tolist()


@pytest.mark.parametrize(
    ("keys", "row", "held"),
    [
        ("ee", [*POSE, 0.7], [*POSE, 0.7]),
        ("joints_traj", [0.1] * 7 + [1], [0.1] * 7 + [1]),
        ("droid_jointpos", [0.1] * 7 + [1], [0.1] * 7 + [1]),
        ("aloha", [0.1] * 6 + [1] + [0.2] * 6 + [0.3], [0.1] * 6 + [1] + [0.2] * 6 + [0.3]),
        # A velocity or a step that is played once more would carry the arm on; the gripper stays as it is.
        ("droid", [0.5] * 7 + [1], [0] * 7 + [1]),
        ("libero", [0.5] * 6 + [-1], [0] * 6 + [-1]),
    ],
)
@pytest.mark.parametrize("own", [True, False])
def test_a_robot_is_held_in_its_own_terms(keys, row, held, own):
    """Whether the model speaks them itself, or they are translated."""
    offer = Plugins.discover().get(CODEC, keys, "openpi")
    codec = offer.make(offer.options()(), Checkpoint(id="it"))
    named = ResolvedCodec(codec, f"openpi.{keys}" if own else "puppet.own", "default")
    _, layout, stay = bridge(KEYSETS[keys], named)
    assert sum(width for _, width in layout) == len(row)
    assert filled(stay, row) == held


@pytest.mark.parametrize(
    ("action", "row", "held"),
    [
        ({"pose_delta": action_field("pose_delta", 7)}, POSE, [0, 0, 0, 1, 0, 0, 0]),
        ({"joint_velocity": action_field("joint_velocity", 2)}, [0.5, -0.5], [0, 0]),
        (
            {"wrist": Field(shape=(2,), kind="joint_delta"), "hand": Field(shape=(1,), kind="grip")},
            [1, 2, 3],
            [0, 0, 3],
        ),
    ],
)
def test_without_a_key_set_it_is_held_in_the_models_terms(action, row, held):
    assert filled(still(action), row) == held


@pytest.mark.parametrize(
    "action",
    [
        {},
        {"action": Field(shape=(8,), kind="vector")},
        {"target_joints": action_field("target_joints", 7), "extra": Field(shape=(1,))},
        {"target_joints": Field(shape=(-1,), kind="absolute_joints")},
    ],
)
def test_numbers_that_nobody_knows_are_never_filled_up(action):
    assert still(action) is None
    kept = lengths(still(action), short_chunks="hold", action_horizon=4)
    for meta in ({}, {"chunk_length": 3}, {"chunk_length": 9, "shortest_chunk": 3}):
        with pytest.raises(DialectUnsupported, match=r"^serve with --openpi.codec, .* not which hold the robot"):
            kept.promise(meta)
    assert kept.promise({"chunk_length": 4})["chunk_length"] == 4, "there is nothing to fill"


JOINTS = still({"target_joints": action_field("target_joints", 7)})
VARIES = {"chunk_length": 30, "shortest_chunk": 2}


@pytest.mark.parametrize(
    ("meta", "options", "promised"),
    [
        ({}, {}, 1),
        ({"chunk_length": None}, {"action_horizon": 5}, 5),
        ({"chunk_length": 16}, {}, 16),
        ({"chunk_length": 16}, {"action_horizon": 5}, 16),
        ({"chunk_length": 16, "action_fps": 15.0, "action_horizon_sec": 8 / 15}, {}, 8),
        ({"chunk_length": 16, "action_fps": 15.0, "action_horizon_sec": 2.0}, {}, 16),
        (VARIES, {}, 2),
        (VARIES, {"short_chunks": "hold"}, 30),
        (VARIES, {"short_chunks": "hold", "action_horizon": 10}, 10),
        (VARIES | {"action_fps": 10.0, "action_horizon_sec": 1.0}, {"short_chunks": "hold"}, 10),
    ],
)
def test_what_is_promised(meta, options, promised):
    kept = lengths(JOINTS, **options)
    said = kept.promise(meta)
    assert said == {"chunk_length": promised, "short_chunks": options.get("short_chunks", "refuse")}
    whole = np.ones((promised, 7))
    assert kept.keep(whole) is whole
    if promised > 1:
        if "short_chunks" in options:
            assert len(kept.keep(whole[:1])) == promised
        else:
            with pytest.raises(DialectUnsupported, match=f"counts on {promised} of each answer"):
                kept.keep(whole[:1])


@pytest.mark.parametrize(
    ("stay", "options", "says"),
    [
        (JOINTS, {"action_horizon": 10}, r"^serve with --openpi.short_chunks hold or --openpi.action_horizon 2: the m"),
        (None, {"action_horizon": 10}, r"^serve with --openpi.action_horizon 2: the model answers 2 to 30 steps"),
        (JOINTS, {"short_chunks": "hold"}, "^serve with --openpi.action_horizon N"),
    ],
)
def test_what_cannot_be_kept_is_refused_with_the_advice_first(stay, options, says):
    with pytest.raises(DialectUnsupported, match=says) as raised:
        lengths(stay, **options).promise(VARIES if "action_horizon" in options else {})
    assert ": " in f"dialect_unsupported: {raised.value.text}"[22:123], (
        "the reason of a close is cut before it says why"
    )


def test_the_models_numbers_keep_their_type():
    kept = lengths(JOINTS, short_chunks="hold", action_horizon=3)
    kept.promise({})
    assert kept.keep(np.zeros((1, 7), np.float32)).dtype == np.float32


def test_a_chunk_of_the_models_own_is_left_alone():
    kept = lengths(JOINTS, action_horizon=1)
    kept.promise({})
    rows = Chunk({"a": np.ones((5, 7))}).columns()["a"]
    assert kept.keep(rows) is rows


def test_of_no_step_nobody_knows_where_the_robot_stays():
    for options in ({"short_chunks": "hold"}, {}):
        kept = lengths(JOINTS, action_horizon=3, **options)
        kept.promise({})
        with pytest.raises(DialectUnsupported, match="answered no step at all"):
            kept.keep(np.zeros((0, 7)))
    with pytest.raises(DialectUnsupported, match="no step at all"):
        lengths(JOINTS).keep(np.zeros((0, 7)))


def test_steps_of_another_width_are_not_filled_up():
    kept = lengths(JOINTS, short_chunks="hold", action_horizon=3)
    kept.promise({})
    with pytest.raises(DialectUnsupported, match=r"answered \(8,\) numbers in each step, .* has \(7,\)"):
        kept.keep(np.zeros((1, 8)))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        *(
            ({"action_horizon": steps}, "action_horizon is .* whole number from 1 to 4096")
            for steps in (0, -1, 4097, 2.5, True, "x")
        ),
        ({"short_chunks": "fill"}, "short_chunks is 'fill', expected refuse or hold"),
    ],
)
def test_what_no_robot_plays_is_no_option(options, says):
    with pytest.raises(ValueError, match=says):
        OpenPIFrontendOptions(**options)


def test_no_answer_is_filled_up_to_more_steps_than_there_can_be():
    with pytest.raises(DialectUnsupported, match=r"^serve with --openpi.action_horizon N, 4096 at most"):
        lengths(JOINTS, short_chunks="hold").promise({"chunk_length": 10**9})
