"""What people say of a recording after they have looked at it: a file beside it, for nothing recorded ever changes."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from ..errors import BadParameter, RecordingFailed, brief, told, unknown
from .trials import COUNTED, Trial, TrialOutcome

try:
    import fcntl
except ImportError:  # Windows, where only those who ask the same server wait for each other
    fcntl = None

#: The key that names such a file, and the version of what it says.
_FORMAT, _VERSION = "offboard_review", 1
#: What a recording's review is called: beside ``NAME.mcap`` it is ``NAME.review.json``.
_SUFFIX = ".review.json"
#: No review is larger, in bytes; and of each part so much at most.
_LARGEST, _NOTE, _TAGS, _TAG, _CLIPS, _ITEMS = 1 << 20, 10_000, 32, 64, 200, 100_000
#: Seconds for which somebody else may be writing.
_PATIENCE = 10.0
_LOCK = threading.Lock()
#: What is set as a whole, with what it is while nobody has said anything.
_WORDS: dict[str, Any] = {"outcome": None, "items": None, "items_total": None, "note": ""}


@dataclass(frozen=True)
class Clip:
    """A range of a recording. ``seconds``: of the episode, on the robot's clock. ``at``: the same as the times of its
    messages, nanoseconds since 1970, ``end`` excluded: what ``Episode.messages`` takes. ``label``: a person's words.
    """

    id: str
    seconds: tuple[float, float]
    at: tuple[int, int]
    label: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {"id": self.id, "seconds": [*self.seconds], "at": [*self.at], "label": self.label}


@dataclass(frozen=True)
class Review:
    """``outcome``: one of those that count (:data:`COUNTED`); None: nobody has said. ``items``, ``items_total``: how
    many things were done, and of how many. ``tags``: failure modes. ``changed``: seconds since 1970.
    """

    outcome: TrialOutcome | None = None
    items: int | None = None
    items_total: int | None = None
    note: str = ""
    tags: tuple[str, ...] = ()
    clips: tuple[Clip, ...] = ()
    changed: float | None = None
    #: What a newer version has said beside that; it is kept.
    more: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def score(self) -> float | None:
        """How much of the task was done, from 0 to 1, where both numbers are known."""
        return None if self.items is None or not self.items_total else self.items / self.items_total

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "outcome": self.outcome, "items": self.items, "items_total": self.items_total, "note": self.note,
            "tags": [*self.tags], "clips": [clip.as_dict() for clip in self.clips], "changed": self.changed,
        }  # fmt: skip

    def trial(self, model: str, start: int, recording: str) -> Trial:
        """The recording as an evaluation counts it. Raises BadParameter where the outcome, or the share of a partial
        one, was not said."""
        if self.outcome is None:
            raise BadParameter(f"{recording} has no outcome: nobody has scored it")
        if self.outcome == "partial" and self.score is None:
            raise BadParameter(f"{recording} is partial, and nobody has said how many items of how many")
        return Trial(
            model, start, self.outcome, self.score, self.tags, self.note, self.changed, recording=recording
        )  # fmt: skip


def review_path(recording: Path) -> Path:
    """Where the review of a recording is."""
    return recording.with_name(recording.stem + _SUFFIX)


def read_review(recording: Path) -> Review:
    """What was said of a recording; nothing if nobody did. Raises RecordingFailed for what cannot be read."""
    path = review_path(recording)
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a pipe would be waited for
            raise RecordingFailed(f"{path.name} is no review: it is no file")
        with path.open("rb") as file:
            data = file.read(_LARGEST + 1)
    except FileNotFoundError:
        return Review()
    except OSError as error:
        raise RecordingFailed(f"{path.name} cannot be read: {error.strerror or told(error)}") from error
    try:
        if len(data) > _LARGEST:
            raise BadParameter(f"it is larger than {_LARGEST} bytes")
        return _read(json.loads(data, parse_float=_finite, parse_constant=_finite))
    except (ValueError, RecursionError, BadParameter) as error:
        raise RecordingFailed(f"{path.name} is no review that this offboard reads: {told(error)}") from error


def edit_review(
    recording: Path,
    words: Mapping[str, Any],
    seen: Mapping[str, Any],
    *,
    tags: Mapping[str, bool] | None = None,
    clips: Sequence[Clip] = (),
    dropped: Sequence[str] = (),
) -> tuple[Review, list[str]]:
    """Say something of a recording; the whole file is written anew, or stays as it was.

    ``words``: ``outcome``, ``items``, ``items_total`` or ``note`` → what it is to be. ``seen``: the same names →
    what it was when whoever says so last looked. Where somebody else has changed it since, nothing is written, and
    those names are the second of what is returned; the first is the review as it is then. ``tags``: tag → whether it
    has it. ``clips``: more of them; ``dropped``: the ids of clips that go.

    Raises BadParameter for what cannot be said, RecordingFailed for a file that cannot be read or written.
    """
    if not recording.is_file():
        raise RecordingFailed(f"{recording.name} is gone: there is nothing to say it of")
    with _alone(recording.parent):
        fresh, lost = revise(read_review(recording), words, seen, tags=tags, clips=clips, dropped=dropped)
        if not lost:
            _write(review_path(recording), {_FORMAT: _VERSION, **fresh.more, **fresh.as_dict()})
        return fresh, lost


def revise(
    review: Review,
    words: Mapping[str, Any],
    seen: Mapping[str, Any],
    *,
    tags: Mapping[str, bool] | None = None,
    clips: Sequence[Clip] = (),
    dropped: Sequence[str] = (),
) -> tuple[Review, list[str]]:
    """What a review is when this was said, too; all else as of :func:`edit_review`. Raises BadParameter."""
    if strange := next((name for name in words if name not in _WORDS), None):
        raise BadParameter(unknown("part of a review", strange, _WORDS))
    lost = [name for name, value in words.items() if getattr(review, name) not in (value, seen.get(name, _WORDS[name]))]
    if lost:
        return review, lost
    kept = [tag for tag in review.tags if (tags or {}).get(tag, True)]
    kept += [tag for tag, wanted in (tags or {}).items() if wanted and tag not in kept]
    left = [clip for clip in review.clips if clip.id not in dropped]
    said = {name: getattr(review, name) for name in _WORDS} | dict(words)
    fresh = _read({
        _FORMAT: _VERSION, **said, "tags": kept, "clips": [clip.as_dict() for clip in (*left, *clips)],
    })  # fmt: skip
    return replace(fresh, changed=time.time(), more=review.more), []


@contextlib.contextmanager
def _alone(folder: Path) -> Generator[None, None, None]:
    """While nobody else says anything of a recording in this folder, in whatever process."""
    if not _LOCK.acquire(timeout=_PATIENCE):
        raise RecordingFailed(f"somebody else keeps writing in {folder}: try again")
    try:
        with _locked(folder) if fcntl is not None else contextlib.nullcontext():
            yield
    finally:
        _LOCK.release()


@contextlib.contextmanager
def _locked(folder: Path) -> Generator[None, None, None]:
    assert fcntl is not None
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise RecordingFailed(f"{folder} cannot be opened: {error.strerror or told(error)}") from error
    try:
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > end:
                    raise RecordingFailed(f"somebody else keeps writing in {folder}: try again") from error
                time.sleep(0.01)
            except OSError:  # a file system without locks
                break
        yield
    finally:
        os.close(handle)


def _write(path: Path, values: Mapping[str, Any]) -> None:
    data = (json.dumps(values, indent=1, allow_nan=False) + "\n").encode()
    if len(data) > _LARGEST:
        raise BadParameter(f"a review takes at most {_LARGEST} bytes, not {len(data)}: say less")
    rest = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            with rest.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(rest, path)
        except BaseException:
            with contextlib.suppress(OSError):
                rest.unlink()
            raise
    except OSError as error:
        raise RecordingFailed(
            f"{path.name} cannot be written: {error.strerror or told(error)}; what was said before is still there"
        ) from error


def _finite(text: str) -> float:
    """Raises BadParameter for what JSON has no form for: nobody could write it again."""
    if not abs(number := float(text)) < float("inf"):
        raise BadParameter(f"it has the number {brief(text)}")
    return number


def _read(values: object) -> Review:
    """Raises BadParameter for what is no review."""
    if not isinstance(values, dict) or _FORMAT not in values:
        raise BadParameter(f"a review is a map that begins with {_FORMAT!r}, not {brief(values)}")
    given = cast("dict[str, Any]", values)
    if given[_FORMAT] != _VERSION:
        raise BadParameter(f"it is of version {brief(given[_FORMAT])}, and this offboard reads version {_VERSION}")
    outcome, items, total = (given.get(name) for name in ("outcome", "items", "items_total"))
    if outcome is not None and outcome not in COUNTED:
        raise BadParameter(unknown("outcome", str(outcome), COUNTED))
    for name, number in (("items", items), ("items_total", total)):
        if number is not None and (type(number) is not int or not 0 <= number <= _ITEMS):
            raise BadParameter(f"{name} is a whole number from 0 to {_ITEMS}, not {brief(number)}")
    if items is not None and total is not None and items > total:
        raise BadParameter(f"{items} items were done of {total}: expected at most all of them")
    tags = given.get("tags", [])
    if not isinstance(tags, list) or len(cast("list[Any]", tags)) > _TAGS:
        raise BadParameter(f"tags are a list of at most {_TAGS}")
    clips = given.get("clips", [])
    if not isinstance(clips, list) or len(cast("list[Any]", clips)) > _CLIPS:
        raise BadParameter(f"clips are a list of at most {_CLIPS}")
    changed = given.get("changed")
    if changed is not None and (not isinstance(changed, int | float) or not 0 <= changed < 1e12):
        raise BadParameter(f"changed is a time in seconds since 1970, not {brief(changed)}")
    known = {_FORMAT, "tags", "clips", "changed", *_WORDS}
    return Review(
        outcome, items, total, _text(given.get("note", ""), "a note", _NOTE),
        tuple(_tag(tag) for tag in cast("list[Any]", tags)),
        tuple(_clip(clip) for clip in cast("list[Any]", clips)),
        None if changed is None else float(changed),
        {name: value for name, value in given.items() if name not in known},
    )  # fmt: skip


def _text(value: object, what: str, most: int) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise BadParameter(f"{what} is a text of at most {most} characters, not {brief(value)}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadParameter(f"{what} is a text, and this holds half a character: {brief(value)}") from None
    return value


def _tag(value: object) -> str:
    tag = _text(value, "a tag", _TAG)
    if not tag.strip() or tag != tag.strip() or not tag.isprintable():
        raise BadParameter(f"a tag is a word or a few, without space around them, not {brief(value)}")
    return tag


def _clip(value: object) -> Clip:
    given = cast("dict[str, Any]", value) if isinstance(value, dict) else {}
    try:
        first, last = (float(each) for each in given["seconds"])
        start, end = (int(each) for each in given["at"])
        name = _text(given["id"], "a clip's id", _TAG)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise BadParameter(
            f"a clip has an id, two times in seconds, and two in nanoseconds, not {brief(value)}"
        ) from None
    if not 0 <= first < last < 1e9 or not 0 <= start < end:
        raise BadParameter(f"a clip ends after it begins, not from {first:g} s to {last:g} s")
    return Clip(name, (first, last), (start, end), _text(given.get("label", ""), "a clip's label", 1000))
