"""Where the files of a checkpoint lie: on this machine, or in a store that is read in pieces."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol


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
        """The folder that it lies in; None where that was not looked at."""
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
        return LocalPlace(self.folder.parent)
