"""``/proc`` and ``/sys``, or a folder that stands for them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

#: More than any of these files has.
_MOST = 2**20


@dataclass(frozen=True)
class Files:
    """What the kernel says in files below ``root``. What is not there, or cannot be read, is None or nothing."""

    root: Path = Path("/")

    def text(self, path: str) -> str | None:
        """What a file says, without the space around it."""
        try:
            with (self.root / path).open("rb") as file:
                return file.read(_MOST).decode("utf-8", "replace").strip()
        except (OSError, ValueError):
            return None

    def number(self, path: str) -> int | None:
        """A file that says one whole number."""
        return whole(self.text(path))

    def names(self, pattern: str) -> list[str]:
        """The paths below ``root`` that fit a pattern, in their order."""
        try:
            return sorted(str(path.relative_to(self.root)) for path in self.root.glob(pattern))
        except OSError:
            return []

    def there(self, path: str) -> bool:
        """Whether there is such a file or folder."""
        try:
            return (self.root / path).exists()
        except OSError:
            return False


def whole(text: str | None) -> int | None:
    """The whole number that a text is; None for any other."""
    try:
        return None if text is None else int(text)
    except ValueError:
        return None
