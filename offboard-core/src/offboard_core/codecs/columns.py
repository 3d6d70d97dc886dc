"""A codec whose columns in a data set are called otherwise than what the model is served."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..types import Chunk, Codec, CodecMeta, Feature, Observation


@dataclass(frozen=True, kw_only=True)
class TrainingColumns(Codec):
    """``inner``, with the training columns that ``columns`` names: the model's name → the column of the data set.

    Where a vendor's training maps the columns of a data set to the names that serving uses, the two differ. Without
    ``columns`` the codec is for serving only.
    """

    blocking = False

    inner: Codec
    columns: Mapping[str, str]

    @property
    def meta(self) -> CodecMeta:
        """That of the inner codec."""
        return self.inner.meta

    def encode(self, observation: Observation) -> dict[str, Any]:
        """See :meth:`Codec.encode`."""
        return self.inner.encode(observation)

    def decode(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.decode`."""
        return self.inner.decode(chunk, observation)

    def encode_actions(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.encode_actions`."""
        return self.inner.encode_actions(chunk, observation)

    @property
    def one_way(self) -> str | None:
        """What the inner codec says."""
        return self.inner.one_way

    @property
    def features(self) -> Mapping[str, Feature]:
        """The columns under their names in the data set."""
        inner = self.inner.features
        return {column: inner[name] for name, column in self.columns.items()}

    @property
    def trained_on(self) -> frozenset[str]:
        """What the inner codec is, if there are columns."""
        return self.inner.trained_on if self.columns else frozenset()

    def label(self, frame: Observation) -> dict[str, Any]:
        """One row; the instruction goes with it as ``task``, which LeRobot stores beside the columns."""
        if not self.columns:
            return {}
        row = self.inner.label(frame)
        task = {"task": frame["task"]} if isinstance(frame.get("task"), str) else {}
        return {column: row[name] for name, column in self.columns.items()} | task
