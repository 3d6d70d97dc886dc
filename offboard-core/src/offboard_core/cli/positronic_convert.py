"""``positronic-to-lerobot``'s arguments, as Positronic's documents write them, in ours.

What they name is looked up where data sets and codecs are; it is never imported.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from offboard_client.errors import unknown
from offboard_client.plugins import UsageError

#: The words that its two programs go by: here the same command adds to what is there.
_WORDS = ("convert", "append")
_LOCAL = (".local", ".local_all")
_PATH = "dataset.dataset.path"
_OPTIONS = ("dataset.dataset", _PATH, "dataset.codec", "video")


def from_positronic(arguments: Sequence[str]) -> list[str]:
    """The arguments of ``offboard convert``, with what is Positronic's in our words, and all else as it was.

    Raises UsageError for what there is not here.
    """
    kept, theirs = _apart(arguments)
    if kept and kept[0] in _WORDS and (theirs or (len(kept) > 1 and not kept[1].startswith("-"))):
        kept = kept[1:]
    if not theirs:
        return kept
    if theirs.get("video", "true").lower() not in ("true", "1", "yes"):
        raise UsageError("--video=False: pictures are written as the codec's form of data sets has them; leave it away")
    source = _source(theirs)
    if source is not None and kept and not kept[0].startswith("-"):
        raise UsageError(f"the data set is given twice: leave {kept[0]} away, or --dataset.dataset")
    codec = theirs.get("dataset.codec")
    kept = [word for word in kept if word not in ("--task=None", "--fps=None")]
    return [*filter(None, [source]), *kept, *([] if codec is None else [f"--codec={codec}"])]


def _apart(arguments: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """What is not Positronic's; and what is: the option's name → its value."""
    kept: list[str] = []
    theirs: dict[str, str] = {}
    queue = deque(arguments)
    while queue:
        word = queue.popleft()
        flag, equals, value = word.partition("=")
        name = flag[2:].replace("-", "_")
        if not flag.startswith("--") or not (name == "video" or name.partition(".")[0] == "dataset"):
            kept.append(word)
            continue
        if name not in _OPTIONS:
            raise UsageError(unknown("option", flag, (f"--{each}" for each in _OPTIONS), "of Positronic's here"))
        if not equals:
            if not queue or queue[0].startswith("--"):
                raise UsageError(f"{flag} needs a value")
            value = queue.popleft()
        if name in theirs:
            raise UsageError(f"{flag} is given twice")
        theirs[name] = value
    return kept, theirs


def _source(theirs: dict[str, str]) -> str | None:
    named, path = theirs.get("dataset.dataset"), theirs.get(_PATH)
    if named in _LOCAL and path is None:
        raise UsageError(f"--dataset.dataset={named} says no folder: say it with --{_PATH}=DIR")
    if named is not None and named not in _LOCAL and not named.startswith("@"):
        raise UsageError(
            f"--dataset.dataset={named[:80]} is neither {_LOCAL[0]} nor a name that begins with @positronic.cfg.ds"
        )
    return path if path is not None else named
