"""Where the files of a checkpoint lie: on this machine, or in a store that is read in pieces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol

from offboard_core.checkpoints.remote import RemoteFile, RemoteFolder, is_url, open_folder

#: What LeRobot calls the folder of one checkpoint, in the folder of its training step.
PRETRAINED = "pretrained_model"
#: And the folder of all steps, in the one of the run.
CHECKPOINTS = "checkpoints"
#: And the link to the newest step's folder, beside it.
LAST = "last"


class Place(Protocol):
    """A folder of files. Reading raises OSError on this machine, ConfigurationError of a store."""

    #: Whether it lies on this machine.
    is_local: ClassVar[bool]

    @property
    def location(self) -> str:
        """Its path or URL."""
        ...

    def size(self, name: str) -> int | None:
        """Bytes of a file; None where there is no such file."""
        ...

    def read(self, name: str, start: int, end: int) -> bytes:
        """The bytes of a file from ``start`` to before ``end``."""
        ...

    def above(self) -> Place | None:
        """The step's folder, for the ``pretrained_model`` in it."""
        ...


@dataclass(frozen=True)
class LocalPlace:
    """A folder on this machine."""

    folder: Path
    is_local: ClassVar[bool] = True

    @property
    def location(self) -> str:
        """See :class:`Place`."""
        return str(self.folder)

    def size(self, name: str) -> int | None:
        """See :class:`Place`."""
        path = self.folder / name
        try:
            return path.stat().st_size if path.is_file() else None
        except OSError:  # no file can have such a name
            return None

    def read(self, name: str, start: int, end: int) -> bytes:
        """See :class:`Place`."""
        with (self.folder / name).open("rb") as file:
            file.seek(start)
            return file.read(end - start)

    def above(self) -> LocalPlace | None:
        """See :class:`Place`."""
        return LocalPlace(self.folder.parent) if self.folder.name == PRETRAINED else None


@dataclass(frozen=True)
class RemotePlace:
    """The folder ``path`` ("" for itself) below a remote one, of which ``files`` is the listing."""

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
        parent, _, name = self.path.rpartition("/")
        return RemotePlace(self.root, self.files, parent) if name == PRETRAINED else None

    def version(self) -> tuple[str, ...]:
        """Changes when a file does that is in it, or in the folder above."""
        under = (self.above() or self).path
        return tuple(f"{name} {f.version}" for name, f in sorted(self.files.items()) if name.startswith(under))

    def _full(self, name: str) -> str:
        return f"{self.path}/{name}" if self.path else name


def place_of(location: str) -> Place:
    """The folder at a path or URL. Raises ConfigurationError for a store that cannot be listed."""
    if not is_url(location):
        return LocalPlace(Path(location))
    root = open_folder(location)
    return RemotePlace(root, root.files())
