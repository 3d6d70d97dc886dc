"""The client's own layouts of openpi's robots are what this package's codecs make, to the bit."""

import numpy as np
import pytest
from offboard_client.protocol import said_layout
from offboard_core.types import Checkpoint, Chunk
from offboard_openpi.aloha import AlohaOptions, aloha
from offboard_openpi.droid import DroidJointsOptions, DroidOptions, droid, droid_jointpos
from offboard_openpi.libero import LiberoOptions, libero
from openpi_standin import robot

CODECS = {
    name: make(options(), Checkpoint(id="any"))
    for name, make, options in (
        ("droid", droid, DroidOptions),
        ("droid_jointpos", droid_jointpos, DroidJointsOptions),
        ("libero", libero, LiberoOptions),
        ("aloha", aloha, AlohaOptions),
    )
}
TWO_ARMS = robot(
    **{
        "robot_state.left.q": np.arange(6) / 10,
        "robot_state.right.q": -np.arange(6) / 10,
        "grip.left": 0.25,
        "grip.right": np.array([0.75]),
        "image.left.wrist": robot()["image.wrist"],
    }
)


@pytest.mark.parametrize("name", CODECS)
def test_what_is_sent(name):
    expected = CODECS[name].encode(TWO_ARMS)
    made = said_layout(name, resize=224).encode(TWO_ARMS)
    assert made.keys() == expected.keys()
    for key, value in expected.items():
        for one, other in (
            [(made[key][cam], value[cam]) for cam in {**made[key], **value}]
            if isinstance(value, dict)
            else [(made[key], value)]
        ):
            assert getattr(one, "dtype", str) == getattr(other, "dtype", str)
            np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(("name", "width"), [("droid", 8), ("droid_jointpos", 8), ("libero", 7), ("aloha", 14)])
def test_what_is_played(name, width):
    rows = np.random.default_rng(0).uniform(-1.4, 1.4, (50, width))
    if name == "aloha":
        rows[:, [6, 13]] = np.clip(rows[:, [6, 13]], 0, 1)
    expected = CODECS[name].decode(Chunk({"action": rows}), TWO_ARMS)
    layout = said_layout(name)
    made = layout.decode(rows)
    assert made.keys() == expected.columns().keys()
    for action, column in expected.columns().items():
        np.testing.assert_allclose(made[action], column, atol=1e-12)
        assert len(made[action]) == len(expected) == (layout.steps or 50)
    np.testing.assert_allclose(np.arange(len(expected)) / layout.fps, expected.timestamp)


@pytest.mark.parametrize("name", CODECS)
def test_what_a_handshake_says(name):
    meta, codec = said_layout(name).meta({}), CODECS[name].meta
    assert meta["action"] == {
        action: {"shape": list(field.shape), "kind": field.kind, "unit": field.unit}
        for action, field in codec.action.items()
    }
    assert meta["observation"].keys() == codec.observation.keys()
    for observed, field in codec.observation.items():
        assert meta["observation"][observed]["shape"] == list(field.shape)
        assert meta["observation"][observed].get("required", True) == field.required
    assert meta["action_fps"] == codec.action_fps
    assert meta.get("action_horizon_sec") == pytest.approx(codec.action_horizon_sec)
    for what in meta["conventions"]:
        assert meta["conventions"][what] == codec.conventions[what]
