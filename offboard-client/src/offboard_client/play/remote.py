"""A server's policy as a stream of actions."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from ..chunks import ChunkStrategy
from ..errors import ConfigurationError
from ..wire import CONTEXT, shrink
from .stream import PolicyStream

if TYPE_CHECKING:
    from ..protocol import Prepare

#: Pixels along one side of an image.
MAX_SIDE = 8192


class RemotePolicy(PolicyStream):
    """A policy that a server plays::

        with RemotePolicy("gpu-box", chunks="prefetch") as policy:
            ...

    Images are shrunk before they are sent, to what the handshake's ``image_sizes`` say, else to ``resize``: their
    aspect is kept, and none is made larger. That needs Pillow (``offboard-client[images]``).
    """

    def __init__(
        self,
        host: str,
        port: int = 8000,
        model_id: str | None = None,
        resize: int | tuple[int, int] | None = None,
        *,
        chunks: str | ChunkStrategy = "prefetch",
        horizon_sec: float | None = None,
        speed: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
        prepare: Prepare | None = None,
        **client: Any,
    ) -> None:
        """``host``: a name, ``name:port`` or a whole URL, as for :class:`~offboard_client.InferenceClient`.

        ``resize``: (w, h) of the largest image that is sent, or one number for both; None: as large as they are.
        ``prepare``: of the client; it is given images that are shrunk. ``client``: its other arguments. The rest is
        :class:`PolicyStream`'s. Returns when the model is loaded. Raises what opening a session raises.
        """
        from ..session import InferenceClient  # whoever only lists robots needs none

        prepared = Shrinking(resize, prepare)
        session = InferenceClient(host, port, prepare=prepared, **client).new_session(model_id)
        try:
            super().__init__(session, chunks, horizon_sec=horizon_sec, speed=speed, clock=clock)
        except BaseException:
            session.close()
            raise


class Shrinking:
    """What an observation is made into before it is sent (:data:`~offboard_client.protocol.Prepare`): images shrunk.

    The handshake's ``image_sizes`` rule over ``resize``, and so does a shape that it declares with both of its sides:
    such an image is not shrunk. Whatever is left out stays as it is.
    """

    def __init__(self, resize: int | tuple[int, int] | None = None, after: Prepare | None = None) -> None:
        """``after``: what is done to the observation then. Raises ConfigurationError for a size that is none."""
        self._resize = None if resize is None else _size("resize", resize)
        self._after: Prepare | None = after

    def __call__(self, observation: Mapping[str, Any], meta: Mapping[str, Any]) -> Mapping[str, Any]:
        """The observation as it is sent; the robot's own is not changed."""
        made = self._shrunk(observation, meta)
        if (history := made.get(CONTEXT["history"])) is not None:
            made[CONTEXT["history"]] = [self._shrunk(frame, meta) for frame in history]
        return made if self._after is None else self._after(made, meta)

    def _shrunk(self, observation: Mapping[str, Any], meta: Mapping[str, Any]) -> dict[str, Any]:
        made, fixed = dict(observation), fixed_images(meta)
        for name, value in observation.items():
            size = _stated(meta.get("image_sizes"), name) or (None if name in fixed else self._resize)
            if size is not None and _is_image(value):
                made[name] = shrink(value, *size)
        return made


def fixed_images(meta: Mapping[str, Any]) -> dict[str, Sequence[int]]:
    """The images that a handshake's ``meta`` declares with a height and a width, and their shapes."""
    declared = cast("Mapping[str, Mapping[str, Any]]", meta.get("observation") or {})
    shapes = {name: cast("Sequence[int]", field.get("shape") or ()) for name, field in declared.items()}
    return {name: shape for name, shape in shapes.items() if len(shape) == 3 and -1 not in shape[:2]}


def _stated(sizes: Any, name: str) -> tuple[int, int] | None:
    """What the handshake says of an image: one size for all, or one for each name (M-4)."""
    each = cast("Mapping[str, Any]", sizes).get(name) if isinstance(sizes, dict) else sizes
    return None if each is None else _size("the handshake's image_sizes", each)


def _is_image(value: Any) -> bool:
    if not isinstance(value, np.ndarray):
        return False
    array = cast("NDArray[Any]", value)
    # One without a pixel has no size that it could be brought to; whoever checks what is sent says what it is.
    return array.dtype == np.uint8 and array.ndim == 3 and array.shape[2] == 3 and array.size > 0


def _size(what: str, value: Any) -> tuple[int, int]:
    """(w, h)"""
    sides = cast("Sequence[Any]", value) if isinstance(value, (tuple, list)) else (value, value)
    if len(sides) != 2 or not all(type(side) is int and 0 < side <= MAX_SIDE for side in sides):
        raise ConfigurationError(
            f"{what} is {value!r:.60}; expected (width, height) in pixels, or one number for both, 1 to {MAX_SIDE}"
        )
    return sides[0], sides[1]
