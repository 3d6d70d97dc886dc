"""Cameras of a simulation that does not wait for them: they render on a thread of their own, at their own rate."""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigurationError, OffboardError, RobotFailed, told
from .. import ControlGrid, Vector
from ._mujoco import Data, Model, mj
from .cameras import Renderer
from .scene import CAMERAS

#: Seconds that the cameras have for their first pictures, and for those after a reset.
PATIENCE = 30.0


class LiveCameras:
    """All cameras of one model. Each round renders the newest state that it was shown, one picture after the other."""

    def __init__(self, model: Model, make_renderer: Callable[[Model], Renderer], rate: float) -> None:
        """``rate``: rounds per second, or as many as there is time for. Raises what making the renderer raises."""
        self._model, self._make_renderer = model, make_renderer
        self._changed = threading.Condition()
        self._shown: tuple[Vector, float] | None = None
        self._pictures: tuple[dict[str, NDArray[np.uint8]], float] | None = None
        self._failure: BaseException | None = None
        self._over = threading.Event()
        self._grid = ControlGrid(1 / rate, self._over.wait)
        # OpenGL belongs to the thread that opened it.
        opened = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(opened,), name="offboard-sim-cameras", daemon=True)
        self._thread.start()
        if not opened.wait(PATIENCE):
            self._over.set()
            raise RobotFailed(f"the simulated cameras could not be opened within {PATIENCE:g} s")
        if self._failure is not None:
            raise self._failure

    def show(self, positions: Vector, at: float) -> None:
        """What there is to see: MuJoCo's ``qpos``, and its monotonic time. Costs a copy."""
        with self._changed:
            self._shown = (np.array(positions), at)
            self._changed.notify_all()

    def newest(self, since: float) -> tuple[dict[str, NDArray[np.uint8]], float]:
        """The last pictures, and when they were taken; at once, unless all are from before ``since``.

        Raises RobotFailed where no new ones come.
        """

        def there() -> bool:
            return self._failure is not None or (self._pictures is not None and self._pictures[1] >= since)

        with self._changed:
            came = self._changed.wait_for(there, PATIENCE)
            if self._failure is not None:
                raise RobotFailed(f"the simulated cameras have failed: {told(self._failure)}") from self._failure
            if not came or self._pictures is None:
                raise RobotFailed(f"the simulated cameras have made no picture for {PATIENCE:g} s")
            return self._pictures

    def frames(self) -> dict[str, tuple[NDArray[np.uint8], float]]:
        """See :class:`~offboard_client.robots.Cameras`."""
        with self._changed:
            pictures, at = self._pictures or ({}, 0.0)
        return {name: (picture, at) for name, picture in pictures.items()}

    def close(self) -> None:
        """End the thread, once it has come to the end of its round."""
        self._over.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(PATIENCE)

    # -- on their thread -----------------------------------------------------------------------------------
    def _run(self, opened: threading.Event) -> None:
        renderer: Renderer | None = None
        try:
            renderer, data = self._make_renderer(self._model), mj.MjData(self._model)
            opened.set()
            while (shown := self._next()) is not None:
                self._render(renderer, data, *shown)
        except BaseException as error:  # told whoever observes
            with self._changed:
                self._failure = error if isinstance(error, OffboardError) else ConfigurationError(told(error))
                self._changed.notify_all()
        finally:
            opened.set()
            if renderer is not None:
                renderer.close()

    def _next(self) -> tuple[Vector, float] | None:
        """What is rendered next, when its time has come; None once it is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._shown is not None or self._over.is_set())
        self._grid.next()
        with self._changed:
            shown, self._shown = self._shown, None
            return None if self._over.is_set() else shown

    def _render(self, renderer: Renderer, data: Data, positions: Vector, at: float) -> None:
        data.qpos[:] = positions
        mj.mj_forward(self._model, data)
        pictures = {f"image.{name}": renderer.render(data, name) for name in CAMERAS}
        with self._changed:
            self._pictures = (pictures, at)
            self._changed.notify_all()
