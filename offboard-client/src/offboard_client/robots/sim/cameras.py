"""Camera pictures: by casting rays, which needs no OpenGL, or by MuJoCo's own renderer.

A camera is MuJoCo's pinhole: it looks along its own -z, x to the right, y up; ``fovy`` is the vertical
field of view in degrees; square pixels. Pictures are (height, width, 3) uint8 RGB, the first row on top.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigurationError
from ._mujoco import Data, Model, mj
from .scene import BACKGROUND, CAMERAS

_AMBIENT = 0.4
_LIGHT = np.array([0.3, -0.4, 0.87]) / np.linalg.norm([0.3, -0.4, 0.87])
_FAR = 10.0


class Renderer(Protocol):
    """Makes the picture that a named camera sees."""

    def render(self, data: Data, camera: str) -> NDArray[np.uint8]:
        """(height, width, 3) uint8 RGB of the state in ``data``, whose positions are up to date (mj_forward)."""
        ...

    def close(self) -> None:
        """Release what the renderer holds; it renders no more."""
        ...


class RayRenderer:
    """One ray per pixel through ``mj_multiRay``; a pixel is the colour of the shape it meets, shaded by its normal."""

    def __init__(self, model: Model, width: int = 224, height: int = 224) -> None:
        self._model = model
        self._shape = (height, width, 3)
        # The last row answers geom -1: nothing was met.
        self._colours = np.vstack([model.geom_rgba[:, :3], BACKGROUND]).astype(np.float32)
        self._rays = {name: self._pinhole(float(model.camera(name).fovy[0])) for name in CAMERAS}
        pixels = width * height
        self._geom = np.empty(pixels, np.int32)
        self._distance = np.empty(pixels)
        self._normal = np.zeros(3 * pixels)

    def render(self, data: Data, camera: str) -> NDArray[np.uint8]:
        """See :class:`Renderer`. A shape that is met from inside is not drawn from there."""
        eye = data.camera(camera)
        rays = self._rays[camera] @ np.asarray(eye.xmat).reshape(3, 3).T
        mj.mj_multiRay(
            self._model, data, np.asarray(eye.xpos), rays.reshape(-1), None, True, -1,
            self._geom, self._distance, self._normal, len(rays), _FAR,
        )  # fmt: skip
        light = np.maximum(self._normal.reshape(-1, 3) @ _LIGHT, 0).astype(np.float32)
        shade = np.where(self._geom < 0, np.float32(1), _AMBIENT + (1 - _AMBIENT) * light)
        picture = self._colours[self._geom] * shade[:, None]
        return (picture * np.float32(255)).astype(np.uint8).reshape(self._shape)

    def close(self) -> None:
        """Nothing is held."""

    def _pinhole(self, fovy: float) -> NDArray[np.float64]:
        """(pixels, 3) unit vectors in the camera's frame through the pixels' centres."""
        height, width, _ = self._shape
        half = math.tan(math.radians(fovy) / 2)
        rays = np.full(self._shape, -1.0)
        rays[..., 0] = ((np.arange(width) + 0.5) * 2 - width) * half / height
        rays[..., 1] = ((height - (np.arange(height) + 0.5) * 2) * half / height)[:, None]
        return (rays / np.linalg.norm(rays, axis=2, keepdims=True)).reshape(-1, 3)


class GLRenderer:
    """MuJoCo's own renderer, for machines that have OpenGL (set ``MUJOCO_GL=egl`` on one without a display)."""

    def __init__(self, model: Model, width: int = 224, height: int = 224) -> None:
        try:
            self._renderer: Any = mj.Renderer(model, height=height, width=width)
        except Exception as error:  # GL fails in as many ways as there are drivers
            raise ConfigurationError(
                f"MuJoCo cannot open OpenGL here ({type(error).__name__}: {error}); "
                "set MUJOCO_GL=egl where EGL is installed, or use --renderer rays, which needs none"
            ) from error

    def render(self, data: Data, camera: str) -> NDArray[np.uint8]:
        """See :class:`Renderer`."""
        self._renderer.update_scene(data, camera=camera)
        picture: NDArray[np.uint8] = self._renderer.render()
        return picture

    def close(self) -> None:
        """Give the GL context back."""
        self._renderer.close()
