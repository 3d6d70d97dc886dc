"""A robot's actions as one vector, for protocols that have no names for their parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from offboard_client.errors import BadObservation, DialectUnsupported, InvalidAction
from offboard_client.wire import check_actions

from ..catalog import ResolvedCodec
from ..types import Chunk, CodecMeta, Field, Observation, Stage
from .keysets import KeySet, field_width, spell_widths

#: What the one vector is called, (T, D).
JOINED = "actions"
#: Name and width of each part of the actions; None where nothing says it.
VectorLayout = list[tuple[str, int | None]]


def vector_layout(action: Mapping[str, Field]) -> VectorLayout:
    """What the columns of the one vector are."""
    return [(name, field_width(field)) for name, field in action.items()]


def check_vector(keys: KeySet, codec: ResolvedCodec, advice: str) -> None:
    """Raises DialectUnsupported where the one vector of a model is not as wide as the robot's, if both are known.

    ``advice``: what to try.
    """
    answers = dict(vector_layout(codec.meta.action))
    widths = [*answers.values()]
    if widths and None not in widths and sum(width or 0 for width in widths) != sum(keys.layout.values()):
        raise DialectUnsupported(
            f"{advice}the robot plays {spell_widths(keys.layout)}, the model answers {spell_widths(answers)}"
        )


def _vector(layout: VectorLayout) -> dict[str, Field]:
    """What the handshake says of the joined actions; nothing where the model declares nothing."""
    widths = [width for _, width in layout]
    total = sum(width for width in widths if width is not None) if None not in widths else -1
    return {JOINED: Field(shape=(total,), unit=spell_widths(dict(layout)), kind="vector")} if layout else {}


@dataclass(frozen=True)
class Joined(Stage):
    """Names pass through; the actions leave as one array, their columns in the order of ``action``."""

    blocking = False

    action: Mapping[str, Field]

    def over(self, inner: CodecMeta) -> CodecMeta:
        """The inner codec's, with one vector of actions."""
        return replace(inner, action=_vector(vector_layout(self.action)))

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
        return Chunk({JOINED: parts[0] if len(parts) == 1 else np.concatenate(parts, axis=1)}, chunk.timestamp)

    def encode_actions(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.encode_actions`."""
        if self.one_way is not None:
            return super().encode_actions(chunk, observation)
        widths = [field_width(field) or 0 for field in self.action.values()]
        vector = chunk.columns().get(JOINED)
        if vector is None or vector.shape[1:] != (sum(widths),):
            found = ", ".join(f"{name} {column.shape}" for name, column in chunk.columns().items())
            raise BadObservation(f"the actions hold {found or 'nothing'}, expected {JOINED} (T, {sum(widths)})")
        parts = np.split(vector, np.cumsum(widths)[:-1], axis=1)
        return Chunk(dict(zip(self.action, parts, strict=True)), chunk.timestamp)

    @property
    def one_way(self) -> str | None:
        """Which columns are whose is known where the model declares it."""
        if self.action and None not in map(field_width, self.action.values()):
            return None
        return "the model does not declare what its actions are made of, so their one vector cannot be taken apart"
