"""What stands on either side of a conversion: episodes that somebody recorded, and a data set that is written."""

from __future__ import annotations

import abc
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from ..types import Feature


class SourceFrame(NamedTuple):
    """What was known last at a time of an episode, and nothing that came later.

    ``seconds``: of the episode. ``values``: name → (N,) float64, or (H, W, 3) uint8 RGB; the protocol's names, those
    that were observed and those that were commanded (``target_pose``). ``task``: the instruction as it was then.
    ``led``: a person led the arm.
    """

    seconds: float
    values: Mapping[str, Any]
    task: str
    led: bool = False


class SourceEpisode(Protocol):
    """One episode of a source."""

    @property
    def name(self) -> str:
        """What it is called in an error, and in the data set's record."""
        ...

    @property
    def identity(self) -> str:
        """Which one it is, whatever source it is read of and whenever: what is in a data set already is known by it."""
        ...

    @property
    def origin(self) -> Mapping[str, Any]:
        """Where it came from, and what came of it, as plain JSON data: ``outcome``, ``score``, ``note``, ``model`` …

        It is kept in the data set's record, and a query asks it. Empty for what cannot be read at all, which says why
        as soon as it is asked for its names.
        """
        ...

    @property
    def seconds(self) -> float:
        """About how long it is; 0 where nobody knows yet. Progress goes by it."""
        ...

    @property
    def left_out(self) -> Mapping[str, int]:
        """Why → how many frames there would be more, of those that were gone through last: ``nothing_commanded``,
        ``not_yet_known``, ``outside_clips``.
        """
        ...

    def names(self) -> Collection[str]:
        """The names that its frames can have. Raises RecordingFailed."""
        ...

    def advice(self, absent: Collection[str]) -> str:
        """What to do where its frames have not these names: what there is, and how it is given another name."""
        ...

    def frames(self, fps: float, wanted: Collection[str]) -> Iterator[SourceFrame]:
        """Frames 1 / ``fps`` s apart from when all that is ``wanted`` is known; their values have these names at least.

        Raises RecordingFailed: a name or a camera that it has not, a hole, NaN, no frame at all.
        """
        ...


class EpisodeSource(Protocol):
    """Episodes that were recorded."""

    @property
    def left_out(self) -> Mapping[str, int]:
        """Why → how many there are beside those that were listed last: ``another_outcome``, ``no_clip``, ``annulled``,
        ``error``, ``cut_short``, ``evaluation_not_found``, ``dropped``.
        """
        ...

    @property
    def fps(self) -> float | None:
        """The rate above which no frames are taken of it, for they would be taken twice; None where there is none."""
        ...

    def episodes(self) -> Sequence[SourceEpisode]:
        """All of them, in a steady order. Raises ConfigurationError for what cannot be read."""
        ...


@dataclass(frozen=True, kw_only=True)
class DataSetForm:
    """What a data set holds. ``codec``: its full name; ``options``: those that it was made with, as plain JSON data.

    ``features``: the columns of a row, by name; ``fps``: rows a second; ``conventions``: what the numbers mean.
    ``target``: the path or URL where it will be found once it is whole, as the user named it.
    """

    codec: str
    features: Mapping[str, Feature]
    fps: float
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    conventions: Mapping[str, str] = field(default_factory=dict[str, str])
    target: str = ""


class DataSetWriter(abc.ABC):
    """Writes a data set of one vendor's form into a folder. One thread.

    All methods raise ConfigurationError and OSError where it cannot go on; then :meth:`discard` is called.
    """

    @abc.abstractmethod
    def add(self, row: Mapping[str, Any], task: str) -> None:
        """One more frame of the episode that is being written.

        ``row``: just the columns of the form, each an array of its shape: float32 and finite, or uint8 RGB where the
        dtype is ``video`` or ``image``. They may be written into later: what is kept is copied.
        """

    @abc.abstractmethod
    def save_episode(self) -> None:
        """The frames since the last one are an episode; there is one at least."""

    @abc.abstractmethod
    def forget(self) -> None:
        """The frames since the last episode are none, and nothing of them stays."""

    @abc.abstractmethod
    def finish(self) -> str:
        """All episodes that were saved are in the folder; in one line how it is trained on. Nothing follows it."""

    def discard(self) -> None:
        """The folder goes: let go of it. Never raises, and nothing is called after."""
