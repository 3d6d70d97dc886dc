from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from offboard_client.robots import distance
from offboard_core.scripted import FPS, MAX_STEPS, MIN_STEPS, SLOWEST, SPEED, TURN_SPEED, State, plan_step

Pose = np.ndarray


def pose(x: float, y: float, z: float, yaw: float = 0.0, tilt: float = 0.0) -> Pose:
    """A gripper that points down but for ``tilt``."""
    down = np.array([0.0, math.cos(yaw / 2), math.sin(yaw / 2), 0.0])
    w, x2, y2, z2 = down
    c, s = math.cos(tilt / 2), math.sin(tilt / 2)
    return np.array([x, y, z, w * c - x2 * s, x2 * c + w * s, y2 * c + z2 * s, z2 * c - y2 * s])


def cube(x: float, y: float, z: float = 0.02, yaw: float = 0.0) -> Pose:
    return np.array([x, y, z, math.cos(yaw / 2), 0.0, 0.0, math.sin(yaw / 2)])


def state(tcp: Pose, grip: float = 0.0, top: Pose | None = None, bottom: Pose | None = None) -> State:
    return State(
        tcp=tcp,
        grip=grip,
        top=cube(0.5, 0.1) if top is None else top,
        bottom=cube(0.5, -0.1) if bottom is None else bottom,
    )


x = st.floats(0.3, 0.65)
y = st.floats(-0.3, 0.3)
z = st.floats(0.02, 0.5)
angle = st.floats(-math.pi, math.pi)
states = st.builds(
    State,
    tcp=st.builds(pose, x, y, z, angle, st.floats(-0.5, 0.5)),
    grip=st.floats(-0.02, 1.0),
    top=st.builds(cube, x, y, st.floats(0.0, 0.3), angle),
    bottom=st.builds(cube, x, y, st.floats(0.0, 0.1), angle),
    speed=st.floats(SLOWEST, SPEED),
)


@settings(max_examples=300)
@given(states)
def test_whatever_the_state_a_motion_is_bounded_and_starts_where_the_gripper_is(now: State) -> None:
    rows = plan_step(now)
    assert rows.shape[1:] == (8,)
    if not len(rows):  # it is done
        return
    assert MIN_STEPS <= len(rows) <= MAX_STEPS
    assert np.isfinite(rows).all()
    np.testing.assert_allclose(np.linalg.norm(rows[:, 3:7], axis=1), 1, atol=1e-9)
    assert set(rows[:, 7]) <= {0.0, 0.8}
    for before, after in zip([now.tcp, *rows[:-1, :7]], rows[:, :7], strict=True):
        metres, radians = distance(before, after)
        assert metres <= now.speed / FPS * 1.001
        assert radians <= TURN_SPEED / FPS * 1.001 + 1e-6


def test_the_motions_of_an_episode_follow_each_other() -> None:
    top, bottom = cube(0.5, 0.1), cube(0.5, -0.1)
    over = plan_step(state(pose(0.3, 0.0, 0.4)))[-1]
    np.testing.assert_allclose(over[:3], [0.5, 0.1, 0.13], atol=1e-9)

    down = plan_step(state(over[:7]))[-1]
    # A centimetre above the cube's middle: who learns from it and is off by that does not go into the table.
    np.testing.assert_allclose(down[:3] - top[:3], [0, 0, 0.01], atol=1e-9)
    assert down[7] == 0

    close = plan_step(state(down[:7]))
    assert (close[:, 7] == 0.8).all(), "which holds a cube, and leaves room up to 1 for who learns it"
    np.testing.assert_allclose(close[:, :3] - down[:3], 0, atol=1e-9)

    lift = plan_step(state(down[:7], grip=0.5))[-1]
    np.testing.assert_allclose(lift[:2], top[:2], atol=1e-9)
    assert lift[2] > 0.1
    assert lift[7] == 0.8

    held = cube(0.5, 0.1, lift[2])
    across = plan_step(state(lift[:7], grip=0.5, top=held))[-1]
    np.testing.assert_allclose(across[:2], bottom[:2], atol=1e-9)
    assert across[2] == pytest.approx(lift[2], abs=0.02)

    held = cube(*across[:3])
    lower = plan_step(state(across[:7], grip=0.5, top=held))[-1]
    np.testing.assert_allclose(lower[:3], [0.5, -0.1, 0.06], atol=1e-9)

    held = cube(*lower[:3])
    release = plan_step(state(lower[:7], grip=0.5, top=held))
    assert (release[:, 7] == 0).all()
    np.testing.assert_allclose(release[:, :3] - lower[:3], 0, atol=1e-9)

    retreat = plan_step(state(lower[:7], grip=0.0, top=held))[-1]
    np.testing.assert_allclose(retreat[:2], bottom[:2], atol=1e-9)
    assert retreat[2] > 0.14

    assert plan_step(state(retreat[:7], grip=0.0, top=held)).shape == (0, 8)


def test_a_motion_that_is_planned_anew_on_the_way_goes_on() -> None:
    """A strategy plays the rows of both, so whatever is lost at each new plan is a jump back."""
    whole = plan_step(state(pose(0.3, -0.2, 0.4)))
    for begun in range(4, len(whole) - 4):
        anew = plan_step(state(whole[begun, :7]))
        lost = [distance(one, other)[0] for one, other in zip(anew[:, :7], whole[begun + 1 :, :7], strict=False)]
        assert max(lost) < 1.6 * SPEED / FPS
    np.testing.assert_allclose(anew[-1, :3], whole[-1, :3], atol=1e-9)


def test_a_cube_that_was_dropped_on_the_way_is_fetched_again() -> None:
    rows = plan_step(state(pose(0.5, 0.0, 0.12), grip=0.98, top=cube(0.45, 0.0)))
    assert (rows[:, 7] == 0).all()
    np.testing.assert_allclose(rows[-1, :2], [0.45, 0.0], atol=1e-9)


def test_low_over_the_table_it_rises_before_it_moves_sideways() -> None:
    rows = plan_step(state(pose(0.4, -0.1, 0.03)))
    np.testing.assert_allclose(rows[:, :2] - [0.4, -0.1], 0, atol=1e-9)
    assert rows[-1, 2] > 0.1


@pytest.mark.parametrize("yaw", np.linspace(-math.pi, math.pi, 13))
def test_a_cube_is_grasped_by_its_faces_with_the_smallest_turn(yaw: float) -> None:
    goal = plan_step(state(pose(0.5, 0.1, 0.13), top=cube(0.5, 0.1, yaw=yaw)))[-1]
    turned = distance(pose(0, 0, 0), np.concatenate([np.zeros(3), goal[3:7]]))[1]
    assert turned <= math.pi / 4 + 1e-6
    assert math.sin(2 * (turned - abs(yaw))) * math.sin(2 * (turned + abs(yaw))) == pytest.approx(0, abs=1e-6)


def test_a_cube_that_sits_off_the_middle_of_the_fingers_still_lands_on_the_other() -> None:
    tcp = pose(0.5, -0.1, 0.11)
    goal = plan_step(state(tcp, grip=0.5, top=cube(0.508, -0.104, 0.105)))[-1]
    moved = goal[:3] - tcp[:3]
    np.testing.assert_allclose(np.array([0.508, -0.104]) + moved[:2], [0.5, -0.1], atol=1e-9)
