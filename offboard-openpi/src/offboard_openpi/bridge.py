"""Between an openpi client's names and the served model's codec, and how the actions become openpi's one vector."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from offboard_client.errors import BadObservation, DialectUnsupported, InvalidAction
from offboard_client.wire import check_actions
from offboard_core.codecs import action_field
from offboard_core.frontends import (
    ResolvedCodec,
    Translated,
    Untouched,
    check_own,
    check_translation,
    field_width,
    reads_own,
    spell_widths,
)
from offboard_core.types import Chunk, CodecMeta, Field, Observation, Stage

from .keysets import OpenPIKeys
from .lengths import Still, still
from .native import ACTION_SPACE

#: What openpi calls the actions, (T, D).
ACTIONS = "actions"
#: Name and width of each part of the actions; None where nothing says it.
Layout = list[tuple[str, int | None]]


def bridge(keys: OpenPIKeys | None, codec: ResolvedCodec) -> tuple[ResolvedCodec, Layout, Still | None]:
    """The codec of a session, what the columns of its actions are (name and width), and what of them holds the robot.

    ``keys`` None, or a model that reads the robot's own names: everything passes through. The codec that makes the same
    key set: the model gets and answers exactly what it would without offboard. Else the key set is translated.
    Raises DialectUnsupported where that cannot be.
    """
    if keys is None:
        action = codec.meta.action
        return replace(codec, codec=_Joined(action) | codec.codec), _layout(action), still(action)
    stay = still({name: action_field(name, width) for name, width in keys.actions.items()})
    if codec.name == f"openpi.{keys.name}":
        untouched = _untouched(keys, codec.meta.action_fps)
        return replace(codec, codec=_Joined(untouched.action) | untouched), [*keys.layout.items()], stay
    if codec.name == "openpi.native" or reads_own(keys, codec):
        _check_own(keys, codec)
        action = codec.meta.action
        return replace(codec, codec=_Joined(action) | codec.codec), _layout(action), stay
    check_translation(keys, codec, _try(keys, codec))
    translated = Translated(keys) | codec.codec
    return replace(codec, codec=_Joined(translated.meta.action) | translated), [*keys.layout.items()], stay


def _layout(action: Mapping[str, Field]) -> Layout:
    return [(name, field_width(field)) for name, field in action.items()]


def _check_own(keys: OpenPIKeys, codec: ResolvedCodec) -> None:
    """A model that reads the robot's own names answers the robot's own numbers, as far as anybody knows them."""
    check_own(keys, codec, _try(keys, codec))
    space = codec.meta.conventions.get(ACTION_SPACE, keys.action_space)
    if space != keys.action_space:
        raise DialectUnsupported(f"{_try(keys, codec)}the robot plays {keys.action_space}, the model answers {space}")
    answers = dict(_layout(codec.meta.action))
    widths = [*answers.values()]
    if widths and None not in widths and sum(width or 0 for width in widths) != sum(keys.actions.values()):
        raise DialectUnsupported(
            f"{_try(keys, codec)}the robot plays {spell_widths(keys.layout)}, the model answers {spell_widths(answers)}"
        )


def _try(keys: OpenPIKeys, codec: ResolvedCodec) -> str:
    # openpi's client shows no more than the first hundred characters of a refusal: what to do comes first.
    return f"try another --openpi.codec than {keys.name}, or --codec than {codec.name}: "


def _untouched(keys: OpenPIKeys, fps: float | None) -> Untouched:
    """openpi takes images of either order of axes, and makes its own checks."""
    observation = {
        name: replace(field, shape=(-1, -1, -1)) if field.dtype == "uint8" else field
        for name, field in keys.fields(keys.provides).items()
    }
    action = {"action": Field(shape=(sum(keys.actions.values()),), kind="vector")}
    return Untouched(observation=observation, action=action, fps=fps)


def _vector(layout: Layout) -> dict[str, Field]:
    """What the handshake says of the joined actions; nothing where the model declares nothing."""
    widths = [width for _, width in layout]
    total = sum(width for width in widths if width is not None) if None not in widths else -1
    return {ACTIONS: Field(shape=(total,), unit=spell_widths(dict(layout)), kind="vector")} if layout else {}


@dataclass(frozen=True)
class _Joined(Stage):
    """Names pass through; the actions leave as one array, their columns in the order of ``action``."""

    action: Mapping[str, Field]

    def over(self, inner: CodecMeta) -> CodecMeta:
        """The inner codec's, with one vector of actions."""
        return replace(inner, action=_vector(_layout(self.action)))

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
        widths = [field_width(field) or 0 for field in self.action.values()]
        vector = chunk.columns().get(ACTIONS)
        if vector is None or vector.shape[1:] != (sum(widths),):
            found = ", ".join(f"{name} {column.shape}" for name, column in chunk.columns().items())
            raise BadObservation(f"the actions hold {found or 'nothing'}, expected {ACTIONS} (T, {sum(widths)})")
        parts = np.split(vector, np.cumsum(widths)[:-1], axis=1)
        return Chunk(dict(zip(self.action, parts, strict=True)), chunk.timestamp)

    @property
    def one_way(self) -> str | None:
        """Which columns are whose is known where the model declares it."""
        if self.action and None not in map(field_width, self.action.values()):
            return None
        return "the model does not declare what its actions are made of, so their one vector cannot be taken apart"
