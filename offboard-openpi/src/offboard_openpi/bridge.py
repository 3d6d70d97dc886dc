"""Between an openpi client's names and the served model's codec.

Nothing is converted by guess: where the robot's key set and the model's codec differ in what an action is, in a frame
or in the rate of a step, there is no session.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from offboard_client.errors import DialectUnsupported, InvalidAction
from offboard_core.codecs import Stage
from offboard_core.frontend import BoundCodec
from offboard_core.server.names import canonical
from offboard_core.types import Chunk, Codec, CodecMeta, Field, Observation

from .families import PROMPT
from .keysets import KeySet

#: What openpi calls the actions, (T, D).
ACTIONS = "actions"
#: Name and width of each part of the actions; None where nothing says it.
Layout = list[tuple[str, int | None]]
_POSES = ("target_pose", "pose_delta")


def bridge(keys: KeySet | None, codec: BoundCodec) -> tuple[BoundCodec, Layout]:
    """The codec of a session, and what the columns of its actions are: name and width.

    ``keys`` None, or a model that reads the robot's own names: everything passes through. The codec that makes the same
    key set: the model gets and answers exactly what it would without offboard. Else the key set is translated.
    Raises DialectUnsupported where that cannot be.
    """
    if keys is not None and codec.name == f"openpi.{keys.name}":
        untouched = _Untouched(keys, codec.meta.action_fps)
        return replace(codec, codec=_Joined(untouched.meta.action) | untouched), [*keys.layout]
    if keys is None or _reads(keys, codec):
        action = codec.meta.action
        return replace(codec, codec=_Joined(action) | codec.codec), [(n, _width(f)) for n, f in action.items()]
    _check(keys, codec)
    return replace(codec, codec=_Translated(keys) | codec.codec), [*keys.layout]


def _reads(keys: KeySet, codec: BoundCodec) -> bool:
    """Whether the model's codec takes the robot's names as they are."""
    required = {name for name, field in codec.meta.observation.items() if field.required and name != "task"}
    return codec.name == "openpi.native" or (bool(required) and required <= keys.keys)


def _check(keys: KeySet, codec: BoundCodec) -> None:
    meta = codec.meta
    who = f"a robot with the key set {keys.name} (--openpi.codec) and a model with the codec {codec.name}"
    missing = sorted(n for n, f in meta.observation.items() if f.required and n not in keys.provides)
    if missing:
        raise DialectUnsupported(f"{who} do not fit: the model reads {', '.join(missing)}, which the robot does not send")
    answers = {name: _width(field) for name, field in meta.action.items()}
    if answers and answers != {name: 7 if name in _POSES else width for name, width in keys.actions.items()}:
        raise DialectUnsupported(
            f"{who} do not fit: the robot plays {_spell(dict(keys.layout))}, made of {', '.join(keys.actions)}; the model "
            f"answers {_spell(answers)}, and one is never made of the other"
        )
    for name in meta.conventions.keys() & keys.conventions.keys():
        if meta.conventions[name] != keys.conventions[name]:
            raise DialectUnsupported(
                f"{who} do not fit: {name} is {keys.conventions[name]!r} for the robot, {meta.conventions[name]!r} for "
                "the model"
            )
    if keys.fps is not None and meta.action_fps not in (None, keys.fps):
        raise DialectUnsupported(
            f"{who} do not fit: the robot plays {keys.fps:g} steps per second, the model's are made for "
            f"{meta.action_fps:g}, and the size of a step belongs to its rate"
        )


def _width(field: Field) -> int | None:
    return field.shape[0] if field.shape is not None and len(field.shape) == 1 and field.shape[0] >= 0 else None


def _spell(widths: Mapping[str, int | None]) -> str:
    return ", ".join(f"{name} ({'any' if width is None else width})" for name, width in widths.items())


def _vector(layout: Layout) -> dict[str, Field]:
    """What the handshake says of the joined actions; nothing where the model declares nothing."""
    widths = [width for _, width in layout]
    total = sum(width for width in widths if width is not None) if None not in widths else -1
    return {ACTIONS: Field(shape=(total,), unit=_spell(dict(layout)), kind="vector")} if layout else {}


@dataclass(frozen=True)
class _Joined(Stage):
    """Names pass through; the actions leave as one array, their columns in the order of ``action``."""

    action: Mapping[str, Field]

    def over(self, inner: CodecMeta) -> CodecMeta:
        """The inner codec's, with one vector of actions."""
        return replace(inner, action=_vector([(name, _width(field)) for name, field in self.action.items()]))

    def encode(self, observation: Observation) -> dict[str, Any]:
        """See :meth:`Codec.encode`. Names that another protocol calls otherwise (``prompt``) become canonical."""
        return dict(observation)

    def decode(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.decode`."""
        columns = chunk.columns()
        if len(columns) > 1 and not self.action:
            raise InvalidAction(
                f"the model answers {', '.join(columns)}, and nothing declares their order in one vector; serve it with "
                "a codec that does"
            )
        parts = [columns[name].reshape(len(chunk), -1) for name in self.action or columns]
        return Chunk({ACTIONS: parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)}, chunk.timestamp)
