"""What a comparison of actions looks like, for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..errors import counted
from ..play import Agreement, Difference
from ..terminal import emit_table, tell

#: Rows of a chunk that are shown, evenly chosen; --json has all.
_STEPS = 10
#: What an answer is, of :attr:`~offboard_client.play.Agreement.kinds`.
_SAID = {"nothing new": "nothing new (null)", "stop": "to stop (no rows)", "rows": "rows"}
_VERDICTS = {
    "exact": "the same to the bit", "within": "the same within the tolerance", "different": "different",
    "nothing": "nothing could be compared",
}  # fmt: skip


def show(agreement: Agreement, sides: Sequence[str], left_out: Mapping[str, int], failures: Mapping[str, int]) -> None:
    """Print the tables and the verdict. ``left_out``, ``failures``: how often, by why."""
    names = agreement.names
    if names:
        emit_table(
            ("action", "exchanges", "same bits", "within", "differ", "largest", "mean", "first difference"),
            [(name, *summary(each)) for name, each in names.items()],
        )
    if apart := {name: each for name, each in names.items() if each.largest > 0}:
        steps = _chosen(max(len(each.by_step) for each in apart.values()))
        emit_table(
            ("step", *(f"{name}, largest and mean" for name in apart)),
            [(str(step), *(_step(each, step) for each in apart.values())) for step in steps],
        )
    for name, each in names.items():
        if each.form:
            tell(f"{name} has another form in {counted(each.form, 'exchange')}: {each.forms} in the first of them")
    for line in without_rows(agreement, sides):
        tell(line)
    for why, count in left_out.items():
        tell(f"{counted(count, 'exchange')} left out: {why}")
    for what, count in failures.items():
        tell(f"{counted(count, 'time')} an error instead of an answer: {what}")
    tell(f"{sides[0]} and {sides[1]}: {words(agreement)}")


def without_rows(agreement: Agreement, sides: Sequence[str]) -> Iterator[str]:
    """Of the exchanges that are in no row of the table, since a side answered no rows, a line each."""
    for kind, count in agreement.both.items():
        yield f"{counted(count, 'time')} both said {_SAID[kind]}"
    for kinds, count in agreement.kinds.items():
        one, other = (_SAID[kind] for kind in kinds.split(", "))
        yield f"{counted(count, 'time')} {sides[0]} said {one}, and {sides[1]} {other}"


def words(agreement: Agreement) -> str:
    """The verdict as a sentence's end."""
    said = _VERDICTS[agreement.verdict]
    if agreement.verdict == "within":
        exact = f"{agreement.exact} of {counted(agreement.compared, 'exchange')}"
        said += f" of {agreement.tolerance:g} ({exact} to the bit)"
    if agreement.verdict == "different":
        said += f" in {agreement.compared - agreement.same} of {counted(agreement.compared, 'exchange')}"
    return said


def summary(found: Difference) -> tuple[str, ...]:
    """Cells of one action's row."""
    first = "" if found.first is None else f"exchange {found.first[0] + 1}, step {found.first[1]}"
    if found.form:
        first += f" ({found.form} of another form)"
    numbers = (f"{found.largest:.3g}", f"{found.mean:.3g}") if found.by_step else ("-", "-")
    counts = (str(each) for each in (found.exchanges, found.exact, found.within, found.differs))
    return (*counts, *numbers, first)


def _chosen(count: int) -> list[int]:
    if count <= _STEPS:
        return list(range(count))
    return sorted({round(i * (count - 1) / (_STEPS - 1)) for i in range(_STEPS)})


def _step(found: Difference, step: int) -> str:
    if step >= len(found.by_step):
        return ""
    largest, total, count = found.by_step[step]
    return f"{largest:.3g}  {total / count if count else 0.0:.3g}"
