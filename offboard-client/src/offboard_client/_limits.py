"""What one message may ask of the machine that decodes it; the same for both encodings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from .errors import BadMessage


@dataclass(frozen=True)
class Limits:
    """How much one message may ask of the machine that decodes it.

    ``message_bytes``: of the frame. ``elements``: map entries, list entries, and the maps and lists
    themselves, all counted together (numbers inside binary arrays are not elements). ``list_length``:
    entries of one list of a binary frame; msgpack reserves eight bytes for each entry that a list header
    claims, at every level of nesting. ``map_keys``: entries of one map. ``depth``: containers within
    containers. ``jpeg_pixels``: of all ``__jpeg__`` frames together.
    """

    message_bytes: int = 32 * 2**20
    elements: int = 100_000
    list_length: int = 8192
    map_keys: int = 1024
    depth: int = 32
    jpeg_pixels: int = 32 * 2**20

    def check_size(self, size: int) -> None:
        """Raises BadMessage for a frame of more than ``message_bytes``."""
        if size > self.message_bytes:
            raise BadMessage(
                f"the message has {size:,} bytes and the limit is {self.message_bytes:,}: send smaller images, or JPEG"
            )

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
DEFAULT_LIMITS = Limits()


def unique(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """The map of these entries. Raises BadMessage where two have one key: only one of them could be meant."""
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[Any] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise BadMessage(f"a map names the key {twice!r:.60} twice")
    return found
