"""What one message may ask of the machine that decodes it; the same for both encodings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from ..errors import BadMessage, brief


@dataclass(frozen=True)
class WireLimits:
    """How much one message may ask of the machine that decodes it.

    ``message_bytes``: of the frame. ``elements``: map entries, list entries, and the maps and lists
    themselves, all counted together (numbers inside binary arrays are not elements). ``list_length``:
    entries of one list of a binary frame; msgpack reserves eight bytes for each entry that a list header
    claims, at every level of nesting. ``map_keys``: entries of one map. ``depth``: containers within
    containers. ``image_pixels``: of all its JPEG and PNG files together, decoded. ``chunk_steps``: of an action chunk.
    """

    message_bytes: int = 32 * 2**20
    elements: int = 100_000
    list_length: int = 8192
    map_keys: int = 1024
    depth: int = 32
    image_pixels: int = 32 * 2**20
    chunk_steps: int = 4096

    def check_size(self, size: int) -> None:
        """Raises BadMessage for a frame of more than ``message_bytes``."""
        if size > self.message_bytes:
            raise BadMessage(
                f"the message has {size:,} bytes and the limit is {self.message_bytes:,}: send smaller images, or JPEG"
            )

    def check_chunk(self, steps: int, columns: int = 1) -> None:
        """Raises BadMessage for a chunk that is too long, or whose rows would hold more than ``elements``."""
        if steps > self.chunk_steps:
            raise BadMessage(f"the chunk has {steps:,} steps and the limit is {self.chunk_steps:,}")
        # A row is a map of two entries, and its action a map of the columns.
        if steps * (columns + 4) > self.elements:
            raise self.too_many()

    def check_depth(self, value: Any) -> None:
        """Raises BadMessage for containers nested more than ``depth`` deep."""
        self._descend(value, self.depth)

    def _descend(self, value: Any, left: int) -> None:
        if isinstance(value, dict):
            parts = list(cast("dict[Any, Any]", value).values())
        elif isinstance(value, list):
            parts = cast("list[Any]", value)
        else:
            return
        if left == 0:
            raise self.too_deep()
        for part in parts:
            self._descend(part, left - 1)

    def too_deep(self) -> BadMessage:
        """The error for containers nested more than ``depth`` deep."""
        return BadMessage(f"maps and lists are nested more than {self.depth} deep: flatten the message")

    def too_many(self) -> BadMessage:
        """The error for more than ``elements`` maps, lists and entries."""
        return BadMessage(
            f"the message holds more than {self.elements:,} maps, lists and entries: send numbers as arrays"
        )


#: What is allowed where nobody said otherwise.
DEFAULT_LIMITS = WireLimits()


#: What the smallest image counts for: opening one costs as much as decoding this many pixels, or more.
_LEAST_PIXELS = 128 * 128


class ImageBudget:
    """How many pixels the images of one message may still come to, whatever names they stand under.

    A pixel is three bytes once it is decoded, whatever it was in its file. ``files``: how many were counted so far.
    """

    def __init__(self, pixels: int = DEFAULT_LIMITS.image_pixels) -> None:
        self._total = self._left = pixels
        self.files = 0

    def open(self) -> None:
        """An image is about to be looked at."""

    def take(self, width: int, height: int) -> None:
        """Count an image that is about to be decoded. Raises BadMessage if it is one too many."""
        self.files += 1
        self._left -= max(width * height, _LEAST_PIXELS)
        if self._left < 0:
            raise BadMessage(
                f"the images of this message hold more than {self._total:,} pixels together "
                f"(each counts for {_LEAST_PIXELS:,} at least): send fewer, or shrink them before sending"
            )


class TakesTime(Exception):
    """What was asked for at once cannot be had at once: there is an image to be decoded. Nobody's fault."""


class NoImages(ImageBudget):
    """For those who must not wait: the first image that is a file raises :class:`TakesTime`, before it is looked at."""

    def __init__(self) -> None:
        super().__init__(0)

    def open(self) -> None:
        """Raises TakesTime."""
        raise TakesTime


def twice(pairs: list[tuple[Any, Any]]) -> BadMessage:
    """The error for a map in which two of these entries have one key: only one of them could be meant."""
    seen: set[Any] = set()
    key = next(key for key, _ in pairs if key in seen or seen.add(key))
    return BadMessage(f"a map names the key {brief(key)} twice")
