"""Images as a model wants them: one size, the aspect kept, black bars where there is nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from offboard_client.wire import letterbox

from ..types import Codec, CodecMeta, Feature, Field, Observation
from ._read import image


@dataclass(frozen=True, kw_only=True)
class LetterboxImage(Codec):
    """Makes the model's image ``name``, (height, width, 3) uint8, of the robot's image ``source`` of any size.

    ``size``: (width, height). Training rows hold the same image, as a LeRobot video column.
    """

    name: str
    source: str
    size: tuple[int, int]

    @property
    def meta(self) -> CodecMeta:
        """Reads an image of any size; a client may shrink it to ``size``."""
        read = Field(shape=(-1, -1, 3), dtype="uint8", unit="RGB")
        return CodecMeta(observation={self.source: read}, image_sizes=self.size)

    def encode(self, observation: Observation) -> dict[str, Any]:
        """See :meth:`Codec.encode`."""
        return {self.name: letterbox(image(observation, self.source), *self.size)}

    @property
    def features(self) -> Mapping[str, Feature]:
        """One video column."""
        width, height = self.size
        return {self.name: Feature(shape=(height, width, 3), dtype="video", names=("height", "width", "channel"))}

    @property
    def trained_on(self) -> frozenset[str]:
        """The image."""
        return frozenset({self.source})

    def label(self, frame: Observation) -> dict[str, Any]:
        """The image as the model will see it."""
        return self.encode(frame)
