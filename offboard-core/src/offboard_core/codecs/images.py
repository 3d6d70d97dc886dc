"""Images as a model wants them: one size, the aspect kept, black bars where there is nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..types import Array, Codec, CodecMeta, Feature, Field, Observation
from ._read import image


def letterbox(picture: Array, width: int, height: int) -> Array:
    """``picture`` (h, w, 3) uint8 as (height, width, 3) uint8: scaled up or down to fit, centred on black.

    An image of the right size is returned as it is. Pillow's bilinear filter; the scaled size is cut to whole
    pixels, the bars are halved to whole pixels: what Positronic and openpi do, so that a model trained there
    sees the same pixels here.
    """
    h, w = picture.shape[:2]
    if (h, w) == (height, width):
        return picture
    # Listing codecs must not cost Pillow.
    from PIL import Image

    ratio = max(w / width, h / height)
    # A sliver of an image may be less than a pixel wide; it is still there.
    size = max(1, int(w / ratio)), max(1, int(h / ratio))
    scaled = np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR))
    canvas = np.zeros((height, width, 3), np.uint8)
    left, top = (width - size[0]) // 2, (height - size[1]) // 2
    canvas[top : top + size[1], left : left + size[0]] = scaled
    return canvas


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

    def label(self, frame: Observation) -> dict[str, Any]:
        """The image as the model will see it."""
        return self.encode(frame)
