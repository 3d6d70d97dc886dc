"""One robot that runs LeRobot's client: which model it drives, what it sees, and what it is answered."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import cast

import numpy as np
from offboard_client.errors import DialectUnsupported, InvalidAction, OffboardError
from offboard_core.frontends import Frame, PeerConnection, ResolvedCodec, Result, Serializer, ServiceSession, Sparing
from offboard_core.types import Array, Observation

from .options import RobotClientOptions
from .payloads import Instructions, read_seen
from .tensors import write_actions
from .translation import Translation, translate

log = logging.getLogger(__name__)
#: What opens a robot's session before it has seen anything.
OPEN = b""
#: ``pretrained_name_or_path`` of a robot that takes the server's default; and a ``policy_type`` that is any.
DEFAULT, ANY = "default", "offboard"
#: Actions a second where the model does not say it, as LeRobot's server counts where nobody tells it.
_FPS = 30.0


class Failed(bytes):
    """An error in the place of a reply; gRPC has words of its own for it. ``error``: which."""

    error: OffboardError


def failed(error: OffboardError) -> Failed:
    """The reply that is this error."""
    made = Failed(error.text.encode("utf-8", "replace"))
    made.error = error
    return made


def read_reply(frame: Frame) -> bytes | OffboardError:
    """What a reply of :class:`LeRobotRobot` says: a pickle, nothing, or an error."""
    return frame.error if isinstance(frame, Failed) else cast("bytes", frame)


class LeRobotRobot(PeerConnection):
    """``asked``: what its client asked for before anything else. ``who``: what the log calls it."""

    def __init__(self, asked: Instructions, options: RobotClientOptions, who: str, sparing: Sparing) -> None:
        self._asked, self._options = asked, options
        self._who, self._sparing = who, sparing
        self.model_id = None if asked.model == DEFAULT else asked.model
        self._translation: Translation | None = None

    def bridge(self, codec: ResolvedCodec) -> ResolvedCodec:
        """See :func:`~.translation.translate`; the codec itself stays as it is."""
        self._translation = translate(self._asked, codec, self._options.units, self._options.actions)
        return codec

    def serializer(self, codec: ResolvedCodec) -> Serializer:
        """LeRobot's pickles."""
        assert self._translation is not None  # bridge() came before
        return _Serializer(self._asked, self._translation, codec.meta.action_fps, self._stands)

    def begun(self, session: ServiceSession) -> None:
        """Hold the ``policy_type`` that the robot's client was told against the model's."""
        is_one = session.meta.get("policy_type") or session.meta["type"]
        if self._asked.policy_type not in (is_one, ANY):
            raise DialectUnsupported(
                f"the robot asks for a policy of the type {self._asked.policy_type:.60}, and "
                f"{session.meta['checkpoint_id']} is one of {is_one}: start its client with --policy_type={is_one}"
            )

    def error(self, error: OffboardError, frame: Frame) -> Frame:
        """See :func:`failed`."""
        return failed(error)

    def _stands(self, timestep: int) -> None:
        """Its client, which says nothing of it, plays no step of a number that it has played."""
        if self._sparing.may(f"{self._who} stands"):
            log.warning(
                "LeRobot's robot %s asks again and again for step %d and stands: its client has played that one, which "
                "is all that it is answered; serve a model that answers several steps, and start the client with an "
                "--actions_per_chunk of several", self._who, timestep,
            )  # fmt: skip

    def is_control(self, frame: Frame) -> bool:
        """Whether it is :data:`OPEN`."""
        return not frame

    async def answer(self, frame: Frame, session: ServiceSession) -> Frame:
        """That the session is there."""
        return b""


class _Serializer:
    """One session's. ``fps``: the actions a second that the model is said to make, if that is said.

    ``stands``: told of the step that is the only one of two answers in a row, where LeRobot's client plays one.
    """

    def __init__(
        self, asked: Instructions, translation: Translation, fps: float | None, stands: Callable[[int], None]
    ) -> None:
        self._asked, self._translation, self._fps, self._stands = asked, translation, fps, stands
        self._only: int | None = None
        #: When, and as which, the observation was taken; it itself may be large.
        self._seen: tuple[float, int] | None = None

    def read(self, frame: Frame) -> tuple[Observation, list[str]]:
        """A TimedObservation. Raises BadMessage or BadObservation."""
        seen = read_seen(cast("bytes", frame))
        self._seen = seen.timestamp, seen.timestep
        return self._translation.observation(seen.values), []

    def write(
        self, result: Result, timing: Mapping[str, float], observation: Observation, warnings: list[str]
    ) -> Frame:
        """The first ``actions_per_chunk`` steps, by the time and the number of the observation that they answer."""
        if isinstance(result, OffboardError):
            return failed(result)
        if result is None:
            return b""
        if not len(result):
            raise DialectUnsupported(
                "the model says stop: the episode is over, for which LeRobot's protocol has no word"
            )
        assert self._seen is not None  # there is no result without one
        period = _period(result.timestamp, self._fps)
        rows = self._translation.actions(result.columns())[: self._asked.actions_per_chunk]
        timestamp, timestep = self._seen
        if len(rows) == 1 and timestep == self._only:
            self._stands(timestep)
        self._only = timestep if len(rows) == 1 else None
        return write_actions(rows, timestamp, period, timestep)


def _period(times: Array | None, fps: float | None) -> float:
    """Seconds from one step to the next; ``times``: (T,) when they are due, if the model says it. Raises InvalidAction.

    LeRobot's client goes by the numbers of the steps, and looks at no time: it plays them one after the other from the
    observation on. So steps that are due later, or not evenly, cannot be told to it.
    """
    period = 1 / (fps or _FPS)
    if times is None:
        return period
    if fps is None and len(times) > 1:
        period = float(times[-1]) / (len(times) - 1)
    # A tenth of a step is rounding.
    if not (abs(times - np.arange(len(times)) * period) < period / 10).all():
        said = f", at the {fps:g} a second that it is served with" if fps else ""
        raise InvalidAction(
            f"the model's steps are due {', '.join(f'{at:.4g}' for at in times[:4])} … s after the observation; a "
            f"robot of LeRobot's plays them one after the other from 0 s on{said}, and looks at no times"
        )
    return period
