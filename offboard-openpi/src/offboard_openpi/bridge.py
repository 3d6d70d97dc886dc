"""Between an openpi client's names and the served model's codec.

Nothing is converted by guess: where the robot's key set and the model's codec differ in what an action is, in a frame
or in the rate of a step, there is no session.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from offboard_client.errors import BadObservation, DialectUnsupported, InvalidAction
from offboard_client.wire import check_actions
from offboard_core.codecs import action_field
from offboard_core.frontends import ResolvedCodec
from offboard_core.types import Array, Chunk, Codec, CodecMeta, Field, Observation, Stage

from .keysets import KeySet
from .lengths import Still, still
from .native import ACTION_SPACE

#: What openpi calls the actions, (T, D).
ACTIONS = "actions"
#: Name and width of each part of the actions; None where nothing says it.
Layout = list[tuple[str, int | None]]
_POSES = ("target_pose", "pose_delta")


def bridge(keys: KeySet | None, codec: ResolvedCodec) -> tuple[ResolvedCodec, Layout, Still | None]:
    """The codec of a session, what the columns of its actions are (name and width), and what of them holds the robot.

    ``keys`` None, or a model that reads the robot's own names: everything passes through. The codec that makes the same
    key set: the model gets and answers exactly what it would without offboard. Else the key set is translated.
    Raises DialectUnsupported where that cannot be.
    """
    stay = None if keys is None else still({name: action_field(name, width) for name, width in keys.actions.items()})
    if keys is not None and codec.name == f"openpi.{keys.name}":
        untouched = _Untouched(keys, codec.meta.action_fps)
        return replace(codec, codec=_Joined(untouched.meta.action) | untouched), [*keys.layout], stay
    if keys is None or _reads(keys, codec):
        action = codec.meta.action
        if keys is not None:
            _check_own(keys, codec)
        else:
            stay = still(action)
        return replace(codec, codec=_Joined(action) | codec.codec), [(n, _width(f)) for n, f in action.items()], stay
    _check(keys, codec)
    return replace(codec, codec=_Translated(keys) | codec.codec), [*keys.layout], stay


def _reads(keys: KeySet, codec: ResolvedCodec) -> bool:
    """Whether the model's codec takes the robot's names as they are."""
    required = {name for name, field in codec.meta.observation.items() if field.required and name != "task"}
    return codec.name == "openpi.native" or (bool(required) and required <= keys.keys)


def _check_own(keys: KeySet, codec: ResolvedCodec) -> None:
    """A model that reads the robot's own names answers the robot's own numbers, as far as anybody knows them."""
    space = codec.meta.conventions.get(ACTION_SPACE, keys.action_space)
    if space != keys.action_space:
        raise DialectUnsupported(f"{_try(keys, codec)}the robot plays {keys.action_space}, the model answers {space}")
    widths = [_width(field) for field in codec.meta.action.values()]
    if widths and None not in widths and sum(w or 0 for w in widths) != sum(keys.actions.values()):
        answers = {name: _width(field) for name, field in codec.meta.action.items()}
        raise DialectUnsupported(
            f"{_try(keys, codec)}the robot plays {_spell(dict(keys.layout))}, the model answers {_spell(answers)}"
        )


def _try(keys: KeySet, codec: ResolvedCodec) -> str:
    # openpi's client shows no more than the first hundred characters of a refusal: what to do comes first.
    return f"try another --openpi.codec ({keys.name}) or --codec ({codec.name}): "


def _check(keys: KeySet, codec: ResolvedCodec) -> None:
    meta, advice = codec.meta, _try(keys, codec)
    missing = sorted(n for n, f in meta.observation.items() if f.required and n not in keys.provides)
    if missing:
        raise DialectUnsupported(f"{advice}the model reads {', '.join(missing)}, which the robot does not send")
    answers = {name: _width(field) for name, field in meta.action.items()}
    if answers and answers != {name: 7 if name in _POSES else width for name, width in keys.actions.items()}:
        raise DialectUnsupported(
            f"{advice}the robot plays {_spell(dict(keys.layout))}, the model answers {_spell(answers)}; "
            f"the robot's are made of {', '.join(keys.actions)} only"
        )
    for name in sorted(meta.conventions.keys() & keys.conventions.keys()):
        if meta.conventions[name] != keys.conventions[name]:
            raise DialectUnsupported(
                f"{advice}{name} is {keys.conventions[name]!r} for the robot, {meta.conventions[name]!r} for the model"
            )
    if keys.fps is not None and meta.action_fps not in (None, keys.fps):
        raise DialectUnsupported(
            f"{advice}the robot plays {keys.fps:g} steps per second, the model's are made for {meta.action_fps:g}; "
            "the size of a step belongs to its rate"
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

    def decode(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.decode`."""
        columns = chunk.columns()
        order = self.action or columns
        if columns.keys() != order.keys() or (len(columns) > 1 and not self.action):
            raise InvalidAction(
                f"the model answers {', '.join(columns)}, and the order declared for one vector of them is "
                f"{', '.join(self.action) or 'none'}; serve it with a codec that declares what the model answers"
            )
        check_actions(columns)
        parts = [columns[name].reshape(len(chunk), -1) for name in order]
        return Chunk({ACTIONS: parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)}, chunk.timestamp)

    def encode_actions(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.encode_actions`."""
        if self.one_way is not None:
            return super().encode_actions(chunk, observation)
        widths = [_width(field) or 0 for field in self.action.values()]
        return Chunk(dict(zip(self.action, _split(chunk, widths), strict=True)), chunk.timestamp)

    @property
    def one_way(self) -> str | None:
        """Which columns are whose is known where the model declares it."""
        if self.action and None not in map(_width, self.action.values()):
            return None
        return "the model does not declare what its actions are made of, so their one vector cannot be taken apart"


@dataclass(frozen=True)
class _Untouched(Codec):
    """What the robot sends goes to openpi as it is, and openpi's actions come back; its own checks are made there."""

    keys: KeySet
    fps: float | None

    @property
    def meta(self) -> CodecMeta:
        """The key set; openpi takes images of either order of axes."""
        observation = {
            name: replace(field, shape=(-1, -1, -1)) if field.dtype == "uint8" else field
            for name, field in self.keys.fields(self.keys.provides).items()
        }
        action = {"action": Field(shape=(sum(self.keys.actions.values()),), kind="vector")}
        return CodecMeta(observation=observation, action=action, action_fps=self.fps)

    def encode(self, observation: Observation) -> dict[str, Any]:
        """See :meth:`Codec.encode`."""
        return dict(observation)

    def decode(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.decode`."""
        return chunk

    def encode_actions(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.encode_actions`."""
        return chunk


@dataclass(frozen=True)
class _Translated(Stage):
    """The robot's key set in front of a codec that reads canonical names and makes canonical actions."""

    keys: KeySet

    def over(self, inner: CodecMeta) -> CodecMeta:
        """The robot's names, required where the inner codec needs what they hold."""
        needed = {name for name, field in inner.observation.items() if field.required}
        sizes = inner.image_sizes
        if isinstance(sizes, Mapping):
            sizes = {key: sizes[name] for key, name in self.keys.images.items() if name in sizes} or None
        return replace(
            inner, observation=self.keys.fields(needed), action=_vector([*self.keys.layout]), image_sizes=sizes
        )

    def encode(self, observation: Observation) -> dict[str, Any]:
        """See :meth:`Codec.encode`."""
        return self.keys.to_canonical(observation)

    def decode(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.decode`."""
        columns = chunk.columns()
        check_actions(columns)
        return Chunk({ACTIONS: self.keys.from_canonical(columns)}, chunk.timestamp)

    def encode_actions(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.encode_actions`."""
        return Chunk(self.keys.actions_to_canonical(_split(chunk, list(self.keys.actions.values()))), chunk.timestamp)


def _split(chunk: Chunk, widths: Sequence[int]) -> list[Array]:
    """The parts of a robot's one vector of actions. Raises BadObservation for another name or width."""
    vector = chunk.columns().get(ACTIONS)
    if vector is None or vector.shape[1:] != (sum(widths),):
        found = ", ".join(f"{name} {column.shape}" for name, column in chunk.columns().items())
        raise BadObservation(f"the actions hold {found or 'nothing'}, expected {ACTIONS} (T, {sum(widths)})")
    return np.split(vector, np.cumsum(widths)[:-1], axis=1)
