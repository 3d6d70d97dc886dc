"""How far what two models, or two servers, answer to the same observations differs, action by action."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import counted

#: What the times of rows are called beside the actions.
TIMES = "timestamp"


@dataclass
class Difference:
    """Of one action name. ``exchanges``: in which both sides answered rows. ``exact``: in so many the same to the bit.

    ``within``: in so many others within the tolerance; ``form``: in so many one side lacks the name, or has another
    shape or number of rows; ``forms``: what both have in the first of those, in words. ``first``: the exchange and the
    row, of 0 on, that is the first to differ by more. ``largest``, ``largest_at``: by how much any number differs, and
    where. ``by_step``: by row of the chunk, the largest, their sum and how many numbers.
    """

    exchanges: int = 0
    exact: int = 0
    within: int = 0
    form: int = 0
    forms: str = ""
    first: tuple[int, int] | None = None
    largest: float = 0.0
    largest_at: tuple[int, int] | None = None
    by_step: list[tuple[float, float, int]] = field(default_factory=list[tuple[float, float, int]])

    @property
    def differs(self) -> int:
        """Exchanges that are neither exact nor within."""
        return self.exchanges - self.exact - self.within

    @property
    def mean(self) -> float:
        """By how much a number differs on average."""
        count = sum(numbers for _, _, numbers in self.by_step)
        return sum(total for _, total, _ in self.by_step) / count if count else 0.0

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "exchanges": self.exchanges, "exact": self.exact, "within": self.within, "form": self.form,
            "forms": self.forms, "first": _place(self.first), "mean": self.mean,
            "largest": self.largest, "largest_at": _place(self.largest_at),
            "by_step": {
                "largest": [largest for largest, _, _ in self.by_step],
                "mean": [total / count if count else 0.0 for _, total, count in self.by_step],
            },
        }  # fmt: skip


class Agreement:
    """Of all exchanges so far.

    ``names``: by action name, and ``timestamp`` for the rows' times in s. ``compared``: how many exchanges; ``same``:
    of how many all is exact or within. ``kinds``: how often only one side had a chunk, stopped, or said nothing new;
    ``both``: how often both stopped, or said nothing new, which is the same and in no row of ``names``.
    """

    def __init__(self, tolerance: float | None = None) -> None:
        """``tolerance``: by how much a number may differ; None: nothing but the same bits is the same."""
        self.tolerance = tolerance
        self.names: dict[str, Difference] = {}
        self.compared = self.same = self.exact = 0
        self.kinds, self.both = Counter[str](), Counter[str]()

    def add(
        self, number: int, one: Sequence[Mapping[str, Any]] | None, other: Sequence[Mapping[str, Any]] | None
    ) -> bool:
        """What both sides answered in exchange ``number``, as a session answers. Whether it is the same."""
        self.compared += 1
        if not one or not other:
            same = _kind(one) == _kind(other)
            if same:
                self.both[_kind(one)] += 1
            else:
                self.kinds[f"{_kind(one)}, {_kind(other)}"] += 1
            self.exact += same
        else:
            left, right = _columns(one), _columns(other)
            found = [
                self._name(name, number, left.get(name), right.get(name)) for name in dict.fromkeys([*left, *right])
            ]
            same = all(verdict != "different" for verdict in found)
            self.exact += all(verdict == "exact" for verdict in found)
        self.same += same
        return same

    @property
    def verdict(self) -> Literal["exact", "within", "different", "nothing"]:
        """Of all that was compared."""
        if not self.compared:
            return "nothing"
        if self.same < self.compared:
            return "different"
        return "exact" if self.exact == self.compared else "within"

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "verdict": self.verdict, "tolerance": self.tolerance, "compared": self.compared, "same": self.same,
            "exact": self.exact, "kinds": dict(self.kinds), "both": dict(self.both),
            "names": {name: each.as_dict() for name, each in self.names.items()},
        }  # fmt: skip

    def _name(
        self, name: str, number: int, one: NDArray[Any] | None, other: NDArray[Any] | None
    ) -> Literal["exact", "within", "different"]:
        found = self.names.setdefault(name, Difference())
        found.exchanges += 1
        if one is None or other is None or one.shape[1:] != other.shape[1:] or object in (one.dtype, other.dtype):
            _formed(found, one, other)
            found.first = found.first or (number, 0)
            return "different"
        if _bits(one) == _bits(other):
            found.exact += 1
            _count(found, number, np.zeros(one.shape))
            return "exact"
        rows = min(len(one), len(other))
        with np.errstate(over="ignore"):  # of the largest numbers there are
            apart: NDArray[Any] = np.abs(one[:rows].astype(np.float64) - other[:rows].astype(np.float64))
        _count(found, number, apart)
        limit = -1.0 if self.tolerance is None else self.tolerance
        beyond = apart.reshape(rows, -1) > max(limit, 0.0)
        if len(one) == len(other) and self.tolerance is not None and not beyond.any():
            found.within += 1
            return "within"
        if len(one) != len(other):
            _formed(found, one, other)
        if found.first is None:
            # Of numbers that are equal and have other bits, or other types, it is the first row.
            rows_beyond = np.flatnonzero(beyond.any(axis=1))
            shorter = rows if len(one) != len(other) else 0
            found.first = number, int(rows_beyond[0]) if len(rows_beyond) else shorter
        return "different"


def _formed(found: Difference, one: NDArray[Any] | None, other: NDArray[Any] | None) -> None:
    found.form += 1
    found.forms = found.forms or f"{_form(one)} against {_form(other)}"


def _form(rows: NDArray[Any] | None) -> str:
    if rows is None:
        return "nothing"
    if rows.dtype == object:
        return f"{counted(len(rows), 'step')} that are no numbers of one shape"
    return f"{counted(len(rows), 'step')} of {counted(rows[0].size, 'number')}"


def _count(found: Difference, number: int, apart: NDArray[Any]) -> None:
    for row, numbers in enumerate(apart.reshape(len(apart), -1)):
        if not numbers.size:
            continue
        largest = float(numbers.max())
        if largest > found.largest:
            found.largest, found.largest_at = largest, (number, row)
        if row == len(found.by_step):
            found.by_step.append((0.0, 0.0, 0))
        before, total, count = found.by_step[row]
        with np.errstate(over="ignore"):
            total += float(numbers.sum())
        found.by_step[row] = max(before, largest), total, count + numbers.size


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, NDArray[Any]]:
    """By name, (T, …); of what is not in every row, or of several shapes, no numbers: an array of objects."""
    names = dict.fromkeys(name for row in rows for name in row["action"])
    found = {name: _column([row["action"].get(name) for row in rows]) for name in names}
    times = [row.get("timestamp") for row in rows]
    return found if times[0] is None else {**found, TIMES: _column(times)}


def _column(values: Sequence[Any]) -> NDArray[Any]:
    arrays = [np.empty(0, object) if value is None else np.asarray(value) for value in values]
    if len({(array.shape, array.dtype) for array in arrays}) != 1 or arrays[0].dtype.kind not in "biuf":
        return np.empty(len(values), object)
    return np.stack(arrays)


def _bits(array: NDArray[Any]) -> tuple[Any, ...]:
    return array.dtype, array.shape, array.tobytes()


def _kind(rows: Sequence[Any] | None) -> str:
    return "nothing new" if rows is None else "rows" if rows else "stop"


def _place(at: tuple[int, int] | None) -> dict[str, int] | None:
    return None if at is None else {"exchange": at[0], "step": at[1]}
