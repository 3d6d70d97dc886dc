"""Which of a data set's columns is which of the protocol's names: by what it says itself, or by ``--map``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from offboard_client.errors import ConfigurationError, brief, unknown
from offboard_client.wire import ACTIONS

from ..codecs import action_shape, canonical_shape

_MAPPED = re.compile(r"(?P<column>[^\[\]]+)(\[(?P<cut>[0-9:, ]+)\])?")
_ACTION, _STATE = "action", "observation.state"


@dataclass(frozen=True)
class Column:
    """A column of a data set. ``width``: how many numbers; None for a picture, -1 where that is not known before it is
    read. ``elements``: what its numbers are called, where it says so.
    """

    width: int | None
    elements: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.width is None:
            return "pictures"
        names = ", ".join(self.elements[:8]) + (" …" if len(self.elements) > 8 else "")
        count = "numbers" if self.width < 0 else str(self.width)
        return f"{count}: {brief(names)}" if names else count


@dataclass(frozen=True)
class Part:
    """Where a name is: the column, and which of its numbers; None for all of them."""

    column: str
    indices: tuple[int, ...] | None = None


def find_parts(columns: Mapping[str, Column], mapped: Mapping[str, str], what: str) -> dict[str, Part]:
    """The protocol's name → where it is. Columns and numbers count that are called by such a name; all else only if
    ``mapped`` says so (the name → ``COLUMN``, or ``COLUMN[0:7]``, or ``COLUMN[0:3,6,3:6]``).

    Raises ConfigurationError for what ``mapped`` says that is not so.
    """
    found: dict[str, Part] = {}
    twice = set[str]()
    for column, about in columns.items():
        for name, part in _by_itself(column, about):
            twice |= {name} & found.keys()
            found[name] = part
    for name in twice:  # nobody knows which of them is meant
        del found[name]
    return found | {name: _said(name, text, columns, what) for name, text in mapped.items()}


def advice(names: Iterable[str], columns: Mapping[str, Column]) -> str:
    """What to do where nothing says which columns these names are: what to type, as far as their widths tell."""
    absent = sorted(names, key=lambda name: (_width(name) == 1, name))
    cameras = [name for name in absent if name.startswith("image.")]
    acted = [name for name in absent if _is_action(name)]
    measured = [name for name in absent if name not in (*cameras, *acted)]
    pictures = "|".join(name for name, about in columns.items() if about.width is None) or "COLUMN"
    said = [f"--map {name}={pictures}" for name in cameras]
    for group, own in ((measured, _STATE), (acted, _ACTION)):
        said += _laid_out(group, own, columns) if group else []
    there = "; ".join(f"{name} ({about})" for name, about in columns.items())
    order = " (if its numbers stand in this order, in the protocol's units)" if acted or measured else ""
    return f"say where it is: {' '.join(said)}{order}; there are: {there or 'none'}"


def _laid_out(names: Sequence[str], own: str, columns: Mapping[str, Column]) -> list[str]:
    """What would say that these names stand one after the other in a column: of just their widths, else a wider one;
    ``own`` before others. What says itself what it holds is none. Where there is no such column, what it would look
    like of some.
    """
    widths = [_width(name) for name in names]
    numbers = {
        name: about.width
        for name, about in columns.items()
        if about.width is not None and (about.width < 0 or (_may_be(name, own) and not _by_itself(name, about)))
    }
    total = sum(width or 0 for width in widths)
    for column in sorted(numbers, key=lambda column: (numbers[column] != total, column != own)):
        rest = numbers[column] - total
        if rest < 0 or widths.count(None) > 1 or (None in widths and not rest):
            continue
        found, at = list[str](), 0
        for name, width in zip(names, (rest if width is None else width for width in widths), strict=True):
            found.append(f"--map {name}={column}[{at}:{at + width}]" if width > 1 else f"--map {name}={column}[{at}]")
            at += width
        return found
    if -1 in numbers.values():  # each is a column of its own
        return [f"--map {name}=COLUMN" for name in names]
    most = max(numbers.values(), default=0)
    return [
        f"--map {name}=COLUMN[0:{width or 'N'}]"
        + (f" (it is {width} numbers, and no column without such names has more than {most})" if width > most else "")
        for name, width in zip(names, (width or 0 for width in widths), strict=True)
    ]


def _may_be(column: str, own: str) -> bool:
    """Nothing that is measured is in the action, and the other way round."""
    return column != _ACTION if own != _ACTION else not column.startswith("observation.")


def _by_itself(column: str, about: Column) -> list[tuple[str, Part]]:
    if about.width is None:
        return [(column, Part(column))] if column.startswith("image.") else []
    if _is_name(column) and column != _ACTION:
        return [(column, Part(column))] if about.width < 0 or _fits(column, about.width) else []
    runs = _whole(about) if len(about.elements) != about.width else _runs(about.elements)
    return [
        (name, Part(column, indices)) for name, indices in runs
        # What an action calls by a name that is measured is what was commanded, and in which terms nobody knows.
        if (_is_name(name) if column != _ACTION else _is_action(name)) and _fits(name, len(indices))
    ]  # fmt: skip


def _runs(elements: Sequence[str]) -> list[tuple[str, tuple[int, ...]]]:
    """Of names of each number (``robot_state.q.joint1``, ``grip``): those that follow one another and begin alike."""
    runs: list[tuple[str, list[int]]] = []
    for place, element in enumerate(elements):
        name = element if _is_one(element) else element.rpartition(".")[0]
        if runs and runs[-1][0] == name and name != element:
            runs[-1][1].append(place)
        else:
            runs.append((name, [place]))
    return [(name, tuple(places)) for name, places in runs]


def _whole(about: Column) -> list[tuple[str, tuple[int, ...]]]:
    """Of names of several numbers each (``robot_state.q, grip`` for eight), of which one may have any number."""
    names = about.elements
    if not names or not all(map(_is_name, names)) or len(set(names)) != len(names):
        return []
    widths = [_width(name) for name in names]
    if widths.count(None) > 1:
        return []
    rest = (about.width or 0) - sum(width or 0 for width in widths)
    widths = [rest if width is None else width for width in widths]
    if sum(widths) != about.width or min(widths) < 1:
        return []
    found: list[tuple[str, tuple[int, ...]]] = []
    at = 0
    for name, width in zip(names, widths, strict=True):
        found.append((name, tuple(range(at, at + width))))
        at += width
    return found


def _said(name: str, text: str, columns: Mapping[str, Column], what: str) -> Part:
    said = f"--map {name}={text}"
    match = _MAPPED.fullmatch(text.strip())
    if match is None:
        raise ConfigurationError(f"{said} cannot be understood: write --map {name}=COLUMN, or COLUMN[0:7]")
    column, cut = match["column"], match["cut"]
    if column not in columns:
        raise ConfigurationError(f"{said}: {unknown('column', column, columns, f'of {what}')}")
    about = columns[column]
    if (about.width is None) != name.startswith("image."):
        kind = "pictures" if about.width is None else "numbers"
        raise ConfigurationError(f"{said}: {column} holds {kind}, and {name} does not")
    if cut is None:
        indices = None
    elif about.width is None:
        raise ConfigurationError(f"{said}: pictures are taken whole")
    else:
        indices = _cut(said, cut, about.width)
    width = about.width if indices is None else len(indices)
    if width is not None and width >= 0 and not _fits(name, width):
        raise ConfigurationError(f"{said} is {width} numbers, and {name} has {_width(name)}")
    return Part(column, indices)


def _cut(said: str, text: str, width: int) -> tuple[int, ...]:
    indices: list[int] = []
    for piece in text.split(","):
        begin, colon, end = (part.strip() for part in piece.partition(":"))
        try:
            first = int(begin) if begin or not colon else 0
            last = (int(end) if end else width) if colon else first + 1
        except ValueError:
            raise ConfigurationError(f"{said} cannot be understood: write [0:7], or [0:3,6,3:6]") from None
        if first >= last or (width >= 0 and last > width) or last > 10_000:
            raise ConfigurationError(f"{said}: [{piece.strip()}] is not within its {max(width, 0) or ''} numbers")
        indices += range(first, last)
    return tuple(indices)


def _is_action(name: str) -> bool:
    return name.partition(".")[0] in ACTIONS


def _is_name(name: str) -> bool:
    return _is_action(name) or canonical_shape(name) is not None


def _is_one(element: str) -> bool:
    """Whether the name of a number is that of all there is: ``grip``, and not ``target_pose.x``."""
    return canonical_shape(element) is not None or element in ACTIONS or (_is_action(element) and _width(element) == 1)


def _width(name: str) -> int | None:
    """How many numbers a name has; None where it may be any."""
    shape = action_shape(name) if _is_action(name) else canonical_shape(name)
    return None if shape is None or len(shape) != 1 or shape[0] < 0 else shape[0]


def _fits(name: str, width: int) -> bool:
    return width > 0 and _width(name) in (None, width)
