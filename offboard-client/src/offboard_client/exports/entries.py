"""Forms of data sets that installed packages offer: the entry-point group ``offboard.exports``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast, runtime_checkable

from ..errors import unknown
from ..plugins import Chosen, Entry, Found, choose, discover

if TYPE_CHECKING:
    from ..recording import Episode
    from .attempts import Attempt

GROUP = "offboard.exports"


@dataclass(frozen=True)
class Added:
    """What became of an attempt. ``frames``: how many it has; ``led``: in how many of them a person led the arm;
    ``left_out``: how many there would be more, had anything been commanded then."""

    frames: int
    led: int = 0
    left_out: int = 0


@runtime_checkable
class DataSet(Protocol):
    """A data set that attempts are written into. One thread."""

    def has(self, attempt: Attempt, /) -> bool:
        """Whether it is in it already."""
        ...

    def add(self, episode: Episode, attempt: Attempt, progress: Callable[[float], None], /) -> Added:
        """Take an attempt, all of it; it is in the data set after :meth:`commit`, and not at all without it.

        ``progress`` is told which share is done. Raises RecordingFailed for one that it cannot take, and goes on with
        others; ConfigurationError and OSError where it cannot go on.
        """
        ...

    def commit(self) -> None:
        """What was taken last is in the data set. Raises ConfigurationError and OSError where it cannot go on."""
        ...

    def finish(self) -> str:
        """What was committed is all there; how it is used, in one line. Nothing is called after it."""
        ...

    def discard(self) -> None:
        """Nothing half written stays; what was there before is as it was. Never raises."""
        ...


@dataclass(frozen=True, kw_only=True)
class ExportEntry(Entry):
    """A form: ``factory(options, folder) -> DataSet``. Entry points of the group ``offboard.exports`` name one each.

    ``folder``: where the data set is to be, or is: it is added to, and another's is refused. The factory raises
    ConfigurationError for that, and for a library that it needs and that is not installed.
    """


def list_exports() -> list[Found[ExportEntry]]:
    """The forms of this environment, by name; imports what declares them, and none of their libraries."""
    return discover(GROUP, ExportEntry)


def choose_export(name: str, others: tuple[str, ...] = ()) -> Chosen[ExportEntry]:
    """The form of this name; see :func:`~offboard_client.plugins.choose`. ``others``: forms that there are beside."""
    return choose(name, GROUP, ExportEntry, "form", lambda name: _absent(name, others))


def make_data_set(chosen: Chosen[ExportEntry], options: Any, folder: Path) -> DataSet:
    """Ready to be written into. Raises ConfigurationError, or what its factory says is wrong."""
    return cast("DataSet", chosen.make(DataSet, options, folder))


def _absent(name: str, others: tuple[str, ...]) -> str | None:
    if name == "lerobot":
        return "the form lerobot is not installed: pip install 'offboard-lerobot[lerobot]'"
    return unknown("form", name, (*others, *(found.name for found in list_exports())))
