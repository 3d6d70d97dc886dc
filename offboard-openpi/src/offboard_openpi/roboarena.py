"""RoboArena's flavour of openpi's protocol: DROID's arms, which are told first what to send and what they will play.

An observation names the session that it belongs to, and a reset, which is answered by a text, one that has ended. Here
a connection has one session at a time: another name begins it anew, and the former is refused from then on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any, cast

from offboard_client.errors import BadMessage, DialectUnsupported, OffboardError, brief
from offboard_client.wire import decode, encode
from offboard_core.frontends import (
    MOST_PARTS,
    NO_MESSAGE,
    Frame,
    FrontendConnection,
    ResolvedCodec,
    Serializer,
    ServiceSession,
    Sparing,
    Walk,
)
from offboard_core.types import Array

from . import droid
from .bridge import bridge
from .keysets import KEYSETS
from .lengths import Lengths
from .options import OpenPIFrontendOptions
from .serializer import OpenPISerializer, read_map, say

log = logging.getLogger(__name__)

#: Key set → what RoboArena calls its actions, which are what DROID's RobotEnv takes.
SPACES = {"droid": "joint_velocity", "droid_jointpos": "joint_position"}
#: RoboArena's own code counts the cameras from 0, its evaluators' from 1, as openpi does.
_FROM_0 = "observation/exterior_image_0_left"
_SECOND = "observation/exterior_image_2_left"
_SESSION, _ENDPOINT = "session_id", "endpoint"
_LONGEST_ID = 128
#: Bytes of such a text, as it is packed in a list.
_LONGEST_VALUE = 1 + 3 + 4 * _LONGEST_ID
#: Both as they are packed → which.
_NAMES = {encode(name): name for name in (_SESSION, _ENDPOINT)}
_LONGEST_NAME = 16
#: First byte of a whole number → how many it has.
_INTEGERS = {0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9, 0xD0: 2, 0xD1: 3, 0xD2: 5, 0xD3: 9}
#: There is no session: none has begun, or it was reset.
_NONE = object()
#: How many sessions that have ended are remembered.
_REMEMBERED = 64


def roboarena_bridge(asked: str | None, codec: ResolvedCodec) -> tuple[ResolvedCodec, str]:
    """The codec of a session, and the action space that its robots play.

    ``asked``: the key set that the server's options name. Raises DialectUnsupported for a model that neither answers
    DROID's joint velocities nor joints to go to, or at another rate than DROID's, or of which nobody knows which.
    """
    if asked is not None and asked not in SPACES:
        raise DialectUnsupported(
            f"serve with --openpi.codec droid or droid_jointpos, not {asked}: RoboArena's are DROIDs"
        )
    fits: dict[str, ResolvedCodec] = {}
    refused: list[str] = []
    for name in SPACES if asked is None else (asked,):
        try:
            fits[name] = bridge(KEYSETS[name], codec)[0]
        except DialectUnsupported as error:
            refused.append(error.text)
    if len(fits) > 1:
        raise DialectUnsupported(
            f"serve with --openpi.codec droid or droid_jointpos: nothing says whether {codec.name} answers velocities "
            "or joints to go to, and RoboArena's robots are told"
        )
    for name, bridged in fits.items():
        _check_rate(codec)
        return bridged, SPACES[name]
    if asked is not None:
        raise DialectUnsupported(refused[0])
    # What to do comes first: the reason of a close frame is short.
    raise DialectUnsupported(
        "serve with a --codec of DROID's joint velocities (droid) or joints to go to (droid_jointpos, joints_traj): "
        + "; ".join(dict.fromkeys(refused))
    )


def _check_rate(codec: ResolvedCodec) -> None:
    """openpi's own robots may play joints to go to at any rate; RoboArena's play everything at DROID's."""
    fps = codec.meta.action_fps
    if fps not in (None, droid.FPS):
        raise DialectUnsupported(
            f"serve steps for {droid.FPS:g} Hz, at which RoboArena's robots play, not for {fps:g}: those of "
            f"{codec.name} would be played {droid.FPS / fps:.3g} times as fast as they are meant"
        )


class RoboArenaConnection(FrontendConnection):
    """One socket's. What session a frame belongs to is told at a glance, and held against the frame when it is read."""

    def __init__(
        self,
        options: OpenPIFrontendOptions,
        model_id: str | None,
        params: Sequence[tuple[str, str]],
        sparing: Sparing,
    ) -> None:
        self.model_id, self.params, self._options, self._sparing = model_id, params, options, sparing
        self._current: Any = _NONE
        self._ended: dict[Any, None] = {}

    def bridge(self, codec: ResolvedCodec) -> ResolvedCodec:
        """See :func:`roboarena_bridge`."""
        bridged, self._space = roboarena_bridge(self._options.codec, codec)
        self._steps = self._options.action_horizon or getattr(codec.options, "steps", None)
        self._read = bridged.meta.observation
        if codec.meta.action_fps is None and self._sparing.may(codec.name):
            log.warning(
                "nothing says how many steps per second the model behind %s was made for: RoboArena's robots play %g "
                "(--fps says it)",
                codec.name,
                droid.FPS,
            )
        return bridged

    def serializer(self, codec: ResolvedCodec) -> Serializer:
        """openpi's encoding. Robots play all steps of an answer, so it has as many as are meant to be played."""
        self._serializer = made = RoboArenaSerializer(codec, Lengths(self._options, None), self._steps)
        made.session = self._current
        return made

    def ready(self, session: ServiceSession) -> Frame | None:
        """RoboArena's PolicyServerConfig. No size of images: its robots would stretch them, where models want bars."""
        needs = {name for name, field in self._read.items() if field.required}
        return encode(
            {
                "image_resolution": None,
                "needs_wrist_camera": droid.WRIST in needs,
                "n_external_cameras": int(droid.EXTERIOR in needs),
                "needs_stereo_camera": False,
                "needs_session_id": True,
                "action_space": self._space,
            }
        )

    def error(self, error: OffboardError, frame: Frame) -> Frame:
        """A text, which its client raises."""
        return say(error)

    def is_control(self, frame: Frame) -> bool:
        """Whether it is a reset, or the first observation of a session."""
        if isinstance(frame, str):
            return False
        name, endpoint = _glance(frame)
        return endpoint != "infer" or name != self._current

    def asks(self, frame: Frame) -> bool:
        """Whether it is an observation, the first of its session or not."""
        return isinstance(frame, str) or _glance(frame)[1] == "infer"

    async def answer(self, frame: Frame, session: ServiceSession) -> Frame | None:
        """A text to a reset; to the first observation of a session the model's answer.

        Neither ends a session before all of it has been read.
        """
        assert isinstance(frame, bytes)
        name, endpoint = _glance(frame)
        if endpoint not in ("infer", "reset"):
            raise BadMessage(f"the endpoint is {brief(endpoint)}; there are infer and reset")
        await asyncio.to_thread(_hold, frame, name, endpoint)
        if endpoint == "reset":
            if self._current is not _NONE and name in (None, self._current):
                await session.reset()
                self._current = _NONE
            return "reset successful"
        self._check(name)
        if self._current not in (_NONE, name):
            self._end(self._current)
            self._current = _NONE
            await session.reset()
        self._current = self._serializer.session = name
        reply: Frame = await session.infer(frame)
        return reply

    def without_model(self, frame: Frame) -> Frame | None:
        """Nothing: the model is asked, for the session that there is, or for the one that a reset has just ended."""
        if isinstance(frame, bytes):
            name, _ = _glance(frame)
            self._check(name)
            self._current = self._serializer.session = name
        return None

    def _end(self, name: Any) -> None:
        if name is not None:
            self._ended[name] = None
        if len(self._ended) > _REMEMBERED:
            self._ended.pop(next(iter(self._ended)))

    def _check(self, name: Any) -> None:
        if name in self._ended:
            raise BadMessage(
                f"the session {brief(name)} ended when another one began on this connection; sessions side by side "
                "need a connection each, and one that is over a name of its own"
            )


class RoboArenaSerializer(OpenPISerializer):
    """``session``: the name of the one that the next observation belongs to. ``steps``: the most that are played."""

    session: Any = None

    def __init__(self, codec: ResolvedCodec, lengths: Lengths, steps: int | None) -> None:
        super().__init__(codec, lengths)
        self._steps = steps

    def named(self, raw: dict[str, Any]) -> dict[str, Any]:
        """See :meth:`OpenPISerializer.named`. Raises BadMessage for a session's name that is none, or another one."""
        _check_about(raw, self.session, "infer")
        raw.pop(_SESSION, None)
        if _FROM_0 in raw:
            if droid.EXTERIOR in raw:
                raw[_SECOND] = raw.pop(droid.EXTERIOR)
            raw[droid.EXTERIOR] = raw.pop(_FROM_0)
        return raw

    def played(self, actions: Array) -> Array:
        """See :meth:`OpenPISerializer.played`."""
        return super().played(actions)[: self._steps]


def _hold(frame: bytes, name: Any, endpoint: str) -> None:
    """What a frame said at a glance, against all of it. Raises BadMessage. Not for the event loop."""
    _check_about(read_map(frame), name, endpoint)


def _check_about(raw: Mapping[str, Any], name: Any, endpoint: str) -> None:
    given: Any = raw.get(_SESSION)
    several = cast("list[Any]", given) if isinstance(given, list) else [given]
    only: Any = several[0] if len(several) == 1 else several
    if only is not None and (type(only) not in (str, int) or len(str(only)) > _LONGEST_ID):
        raise BadMessage(f"session_id is {brief(only)}, expected a text of at most {_LONGEST_ID} characters")
    said: Any = raw.get(_ENDPOINT) or "infer"
    if said not in ("infer", "reset"):
        raise BadMessage(f"the endpoint is {brief(said)}; there are infer and reset")
    if (only, said) != (name, endpoint):
        raise BadMessage(
            "session_id and endpoint are not seen at a glance: they stand in the frame's own map, in msgpack's "
            f"shortest form, and a frame has {MOST_PARTS:,} parts at most"
        )


def _glance(frame: bytes) -> tuple[Any, Any]:
    """The session and the endpoint of a frame that may hold megabytes of images: for the event loop.

    None and infer where nothing is said of them, or not where it is seen at a glance; :func:`_hold` tells which.
    """
    said: dict[str, Any] = {}
    walk = Walk(frame)
    with contextlib.suppress(*NO_MESSAGE):
        for _ in range(walk.enter()):
            begin = walk.at
            walk.skip()
            name = _NAMES.get(frame[begin : min(walk.at, begin + _LONGEST_NAME)])
            begin = walk.at
            walk.skip()
            if name is not None:
                said[name] = _value(frame[begin : min(walk.at, begin + _LONGEST_VALUE)])
    return said.get(_SESSION), said.get(_ENDPOINT) or "infer"


def _value(packed: bytes) -> Any:
    """The text, or whole number, that these bytes begin with; a list of one as well."""
    if packed[:1] == b"\x91":
        packed = packed[1:]
    kind = packed[0] if packed else 0xC0
    if 0xA0 <= kind <= 0xBF:
        end = 1 + kind - 0xA0
    elif kind == 0xD9 and len(packed) > 1:
        end = 2 + packed[1]
    elif kind == 0xDA:
        end = 3 + int.from_bytes(packed[1:3], "big")
    elif kind <= 0x7F or kind >= 0xE0:
        end = 1
    else:
        end = _INTEGERS.get(kind, 0)
    try:
        return decode(packed[:end]) if end else None
    except OffboardError:
        return None
