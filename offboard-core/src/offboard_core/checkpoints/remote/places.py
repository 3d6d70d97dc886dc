"""A checkpoint's folder in a store, of which one listing is known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from .. import LocalPlace, Place
from .folder import RemoteFile, RemoteFolder, is_url
from .hub import open_folder


@dataclass(frozen=True)
class RemotePlace:
    """The folder ``path`` ("" for itself) below a remote one, of which ``files`` is the listing. A :class:`Place`."""

    root: RemoteFolder
    files: Mapping[str, RemoteFile]
    path: str = ""
    is_local: ClassVar[bool] = False

    @property
    def location(self) -> str:
        """See :class:`Place`."""
        return f"{self.root.url}/{self.path}".rstrip("/")

    def size(self, name: str) -> int | None:
        """See :class:`Place`."""
        file = self.files.get(self._full(name))
        return None if file is None else file.size

    def read(self, name: str, start: int, end: int) -> bytes:
        """See :class:`Place`."""
        return self.root.read(self._full(name), start, end) if end > start else b""

    def above(self) -> RemotePlace | None:
        """See :class:`Place`."""
        return RemotePlace(self.root, self.files, self.path.rpartition("/")[0]) if self.path else None

    def version(self) -> tuple[str, ...]:
        """Changes when a file does that is in it or below."""
        under = f"{self.path}/" if self.path else ""
        return tuple(f"{name} {f.version}" for name, f in sorted(self.files.items()) if name.startswith(under))

    def _full(self, name: str) -> str:
        return f"{self.path}/{name}" if self.path else name


def open_place(location: str) -> Place:
    """The folder at a path or URL. Raises ConfigurationError for a store that cannot be listed."""
    if not is_url(location):
        return LocalPlace(Path(location))
    root = open_folder(location)
    return RemotePlace(root, root.files())
