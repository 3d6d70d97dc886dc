from __future__ import annotations

import os
import subprocess
import sys

import mujoco
import numpy as np
import pytest
from offboard_client.robots import connected
from offboard_client.robots.sim import BACKGROUND, CUBES, HOME, RayRenderer, SimRobot, mjcf

CENTRES = {"red_cube": (0.45, -0.15), "green_cube": (0.5, 0.0), "blue_cube": (0.55, 0.15)}


@pytest.fixture(scope="module")
def scene() -> tuple[mujoco.MjModel, mujoco.MjData]:
    model = mujoco.MjModel.from_xml_string(mjcf())
    data = mujoco.MjData(model)
    data.qpos[:7], data.qpos[7:9] = HOME, 0.04
    for name, place in CENTRES.items():
        data.joint(name).qpos[:] = (*place, 0.02, 1, 0, 0, 0)
    mujoco.mj_forward(model, data)
    return model, data


def pixel(model: mujoco.MjModel, data: mujoco.MjData, camera: str, point: np.ndarray, size: int) -> tuple[int, int]:
    """Row and column of a point by MuJoCo's definition of a camera, written the other way round than the renderer."""
    view = data.camera(camera)
    x, y, z = view.xmat.reshape(3, 3).T @ (point - view.xpos)
    focal = size / 2 / np.tan(np.radians(model.camera(camera).fovy[0]) / 2)
    return int(size / 2 - focal * y / -z), int(size / 2 + focal * x / -z)


@pytest.mark.parametrize("camera", ["wrist", "exterior"])
@pytest.mark.parametrize("size", [224, 96])
def test_each_cube_is_seen_in_its_colour_where_it_is(scene, camera: str, size: int) -> None:
    model, data = scene
    picture = RayRenderer(model, size, size).render(data, camera)
    assert picture.shape == (size, size, 3)
    assert picture.dtype == np.uint8
    for name, (x, y) in CENTRES.items():
        row, column = pixel(model, data, camera, np.array([x, y, 0.04]), size)
        assert 0 <= row < size
        assert 0 <= column < size
        assert int(picture[row, column].argmax()) == int(np.argmax(CUBES[name])), f"{name} at {row}, {column}"


def test_a_picture_need_not_be_square(scene) -> None:
    model, data = scene
    wide = RayRenderer(model, 320, 160).render(data, "exterior")
    square = RayRenderer(model, 160, 160).render(data, "exterior")
    assert wide.shape == (160, 320, 3)
    np.testing.assert_array_equal(wide[:, 80:240], square)


def test_where_there_is_nothing_the_background_shows(scene) -> None:
    model, data = scene
    corner = RayRenderer(model).render(data, "exterior")[0, 0]
    np.testing.assert_allclose(corner, np.array(BACKGROUND) * 255, atol=1)


def test_faces_are_shaded_by_their_normals(scene) -> None:
    model, data = scene
    picture = RayRenderer(model).render(data, "exterior").reshape(-1, 3).astype(int)
    red = picture[(picture[:, 0] > 2 * picture[:, 1]) & (picture[:, 0] > 2 * picture[:, 2])]
    assert len(np.unique(red[:, 0])) == 3, "a cube shows the camera three faces"


def test_the_picture_follows_what_moves() -> None:
    with connected(SimRobot()) as robot:
        before = robot.observe()
        robot.apply({"target_joints": before["robot_state.q"] + [0.3, 0, 0, 0, 0, 0, 0]}, 0.5)
        after = robot.observe()
    for name in ("image.wrist", "image.exterior"):
        assert (before[name] != after[name]).any()


def test_rays_need_no_opengl_and_the_gl_renderer_says_so_where_there_is_none() -> None:
    script = """
import sys
from offboard_client.errors import ConfigurationError
from offboard_client.robots import connected
from offboard_client.robots.sim import SimRobot
with connected(SimRobot()) as robot:
    assert robot.observe()["image.wrist"].std() > 10
assert not [name for name in sys.modules if name.startswith(("OpenGL", "glfw"))], "GL was loaded"
try:
    SimRobot(renderer="gl").connect()
except ConfigurationError as error:
    assert "--renderer rays" in error.text, error.text
else:
    raise AssertionError("there is a GL after all")
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "MUJOCO_GL": "disable"}, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_an_opengl_that_mujoco_cannot_load_is_named() -> None:
    script = """
from offboard_client.errors import ConfigurationError
try:
    import offboard_client.robots.sim.robot
except ConfigurationError as error:
    assert "MUJOCO_GL is 'bogus'" in error.text, error.text
else:
    raise AssertionError("it was loaded")
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "MUJOCO_GL": "bogus"}, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_rays_see_what_the_gl_renderer_sees_where_there_is_one() -> None:
    script = """
import sys
import numpy as np
from offboard_client.errors import ConfigurationError
try:
    from offboard_client.robots.sim import SimRobot
    by_gl = SimRobot(renderer="gl")
    by_gl.connect()
except ConfigurationError as error:
    print(error.text)
    sys.exit(77)
by_rays = SimRobot()
by_rays.connect()
for name in ("image.wrist", "image.exterior"):
    pictures = [robot.observe()[name].astype(int) for robot in (by_gl, by_rays)]
    for channel in range(3):
        others = [c for c in range(3) if c != channel]
        gl, rays = ((p[..., channel] > 1.5 * p[..., others].max(axis=-1)) for p in pictures)
        assert (gl & rays).sum() > 0.8 * (gl | rays).sum() > 0, (name, channel)
by_gl.close()
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "MUJOCO_GL": "egl"}, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    if done.returncode == 77:
        pytest.skip(done.stdout)
    assert done.returncode == 0, done.stderr
