"""Read the rooms of the packages from their imports, and draw them: ``uv run tools/rooms.py``.

A room is a package: ``offboard_client.wire``, ``offboard_core.engine``. It stands on the floor above the highest room
that it imports. ``docs/explanation/rooms.svg`` is drawn from the code, and a test compares the two.
"""

from __future__ import annotations

import argparse
import ast
import functools
import itertools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "explanation" / "rooms.svg"
#: The packages whose rooms are drawn, the lower one first.
PACKAGES = ("offboard_client", "offboard_core")
_SOURCES = {package: ROOT / package.replace("_", "-") / "src" / package for package in PACKAGES}


@dataclass(frozen=True)
class Import:
    """``from target import name``, in one file; ``name`` is "" where a module is imported as such."""

    file: Path
    line: int
    target: str
    name: str


def module_of(file: Path) -> str:
    """The dotted name of a file of a package below ``src``; "" for a file that is in none, a test's for example."""
    parts = file.with_suffix("").parts
    if "src" not in parts or not parts[parts.index("src") + 1].startswith("offboard_"):
        return ""
    return ".".join(parts[parts.index("src") + 1 :]).removesuffix(".__init__")


@functools.cache
def imports(file: Path) -> tuple[Import, ...]:
    """Every import of our own packages in one file, deferred ones and those for a type checker too."""
    return tuple(_imports(file))


def _imports(file: Path) -> Iterator[Import]:
    module, is_package = module_of(file), file.name == "__init__.py"
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (Import(file, node.lineno, a.name, "") for a in node.names if a.name.startswith("offboard_"))
        elif isinstance(node, ast.ImportFrom):
            target = _absolute(node, module, is_package)
            if target.startswith("offboard_"):
                yield from (Import(file, node.lineno, target, a.name) for a in node.names)


def _absolute(node: ast.ImportFrom, module: str, is_package: bool) -> str:
    if not node.level:
        return node.module or ""
    parts = module.split(".") if is_package else module.split(".")[:-1]
    return ".".join([*parts[: len(parts) - node.level + 1], *([node.module] if node.module else [])])


def rooms() -> dict[str, Path]:
    """The folder of every room, by its dotted name; the roots themselves are not rooms."""
    return {
        module_of(init): init.parent
        for source in _SOURCES.values()
        for init in sorted(source.rglob("__init__.py"))
        if init.parent != source
    }


def room_of(module: str, known: dict[str, Path]) -> str:
    """The innermost room that a module is in; "" for what stands in a root or in no package of ours."""
    while module and module not in known:
        module = module.rpartition(".")[0]
    return module


def arrows() -> dict[str, set[str]]:
    """For every room, the rooms that it imports."""
    known = rooms()
    found: dict[str, set[str]] = {room: set() for room in known}
    for source in _SOURCES.values():
        for file in sorted(source.rglob("*.py")):
            here = room_of(module_of(file), known)
            for each in imports(file):
                whole = f"{each.target}.{each.name}"
                there = room_of(whole if whole in known else each.target, known)
                if here and there and here != there:
                    found[here].add(there)
    return found


def floors(found: dict[str, set[str]]) -> dict[str, int]:
    """The floor of every room, 1 for one that imports no other. Raises ValueError that names a circle."""
    done: dict[str, int] = {}

    def floor(room: str, path: tuple[str, ...]) -> int:
        if room in path:
            raise ValueError(f"these rooms import each other: {' -> '.join((*path[path.index(room) :], room))}")
        if room not in done:
            done[room] = 1 + max((floor(below, (*path, room)) for below in sorted(found[room])), default=0)
        return done[room]

    for room in sorted(found):
        floor(room, ())
    return done


def _needed(found: dict[str, set[str]]) -> dict[str, set[str]]:
    """The arrows without those that another path already says."""

    def below(room: str) -> set[str]:
        return found[room] | {far for near in found[room] for far in below(near)}

    return {room: {t for t in found[room] if not any(t in below(o) for o in found[room] - {t})} for room in found}


#: Pixels: a box, the gap beside it and below it, what a passing line needs, and the margin around all.
_BOX, _HIGH, _ASIDE, _BELOW, _PASSING, _MARGIN = 112, 46, 14, 40, 12, 28
_FILL = {"offboard_client": "#dcebfb", "offboard_core": "#fdebd0"}


@dataclass(frozen=True)
class _Spot:
    """What stands on a floor: a room, or a line that passes on its way from ``room`` to ``target`` far below."""

    floor: int
    room: str
    target: str = ""

    @property
    def package(self) -> str:
        return (self.target or self.room).split(".")[0]

    @property
    def width(self) -> int:
        return _PASSING if self.target else _BOX


def _paths(level: dict[str, int], needed: dict[str, set[str]]) -> list[list[_Spot]]:
    """Every line as what it leads through, one spot a floor."""
    return [
        [
            _Spot(level[room], room),
            *(_Spot(floor, room, target) for floor in range(level[room] - 1, level[target], -1)),
            _Spot(level[target], target),
        ]
        for room in sorted(needed)
        for target in sorted(needed[room])
    ]


def _places(level: dict[str, int], paths: list[list[_Spot]]) -> dict[_Spot, float]:
    """Where the middle of each spot is: near what it is connected with, the packages beside each other."""
    beside: dict[_Spot, list[_Spot]] = {_Spot(floor, room): [] for room, floor in sorted(level.items())}
    for path in paths:
        for upper, lower in itertools.pairwise(path):
            beside.setdefault(upper, []).append(lower)
            beside.setdefault(lower, []).append(upper)
    rows: list[tuple[list[_Spot], float, float]] = []
    at: dict[_Spot, float] = {}
    left = 0.0
    for package in PACKAGES:
        own = [
            [s for s in beside if s.package == package and s.floor == floor]
            for floor in range(1, max(level.values()) + 1)
        ]
        right = left + max(sum(spot.width + _ASIDE for spot in row) for row in own)
        rows += [(row, left, right) for row in own]
        at.update({s: left + (right - left) * (i + 1) / (len(row) + 1) for row in own for i, s in enumerate(row)})
        left = right + 2 * _ASIDE
    for turn in range(60):
        for row, left, right in rows if turn % 2 else reversed(rows):
            wish = {s: sum(at[o] for o in beside[s]) / len(beside[s]) for s in row}
            if turn < 30:  # which stands beside which is settled before where exactly
                row.sort(key=lambda s: (wish[s], s.room, s.target))
            at.update(_apart(row, wish, left, right))
    return at


def _apart(row: list[_Spot], wish: dict[_Spot, float], left: float, right: float) -> dict[_Spot, float]:
    """A row as it wishes, but for what keeps its spots in their order, apart, and within the package."""

    def pushed(spots: list[_Spot], wish: dict[_Spot, float], edge: float) -> dict[_Spot, float]:
        found: dict[_Spot, float] = {}
        for spot in spots:
            found[spot] = max(wish[spot], edge + spot.width / 2)
            edge = found[spot] + spot.width / 2 + _ASIDE
        return found

    def mirrored(places: dict[_Spot, float]) -> dict[_Spot, float]:
        return {spot: -x for spot, x in places.items()}

    to_right = mirrored(pushed(row[::-1], mirrored(pushed(row, wish, left)), -right))
    to_left = pushed(row, mirrored(pushed(row[::-1], mirrored(wish), -right)), left)
    return {spot: (to_right[spot] + to_left[spot]) / 2 for spot in row}


def draw() -> str:
    """The picture as SVG: a column a package, a row a floor; lines that no others imply, dashed between packages."""
    found = arrows()
    level = floors(found)
    paths = _paths(level, _needed(found))
    at, top = _places(level, paths), max(level.values())
    aside, above = 2 * _MARGIN, 3 * _MARGIN
    width = round(aside + max(x + spot.width / 2 for spot, x in at.items()) + _MARGIN)
    height = above + top * (_HIGH + _BELOW)

    def y(floor: int) -> int:
        return above + (top - floor) * (_HIGH + _BELOW)

    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        'font-size="15" text-anchor="middle">',
        "<title>The rooms of offboard by floor, with lines down to what a room imports that no other path of lines "
        "implies</title>",
        f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
    ]
    for package in PACKAGES:
        own = [x for spot, x in at.items() if spot.package == package]
        middle = aside + (min(own) + max(own)) / 2
        out.append(f'<text x="{middle:.0f}" y="{_MARGIN + 14}" font-size="18">{package.replace("_", "-")}</text>')
    out += [f'<text x="{_MARGIN}" y="{y(f) + _HIGH / 2 + 5:.0f}" fill="#667">{f}</text>' for f in range(1, top + 1)]
    out.append(f'<text x="{_MARGIN}" y="{_MARGIN + 14}" fill="#667">floor</text>')
    for path in paths:
        points = [(aside + at[spot], y(spot.floor) + side) for spot in path for side in (0, _HIGH)][1:-1]
        line = " ".join(f"{x:.0f},{y:.0f}" for x, y in points)
        dashes = ' stroke-dasharray="5 4"' if path[0].package != path[-1].package else ""
        out.append(f'<polyline points="{line}" fill="none" stroke="#7d8894"{dashes}/>')
    for spot, x in at.items():
        if spot.target:
            continue
        x, y_box, (*outer, name) = aside + x, y(spot.floor), spot.room.split(".")[1:]
        out.append(
            f'<rect x="{x - _BOX / 2:.0f}" y="{y_box}" width="{_BOX}" height="{_HIGH}" rx="6" '
            f'fill="{_FILL[spot.package]}" stroke="#5f6b77"/>'
        )
        lines = [f"{part}." for part in outer] + [name]
        first = y_box + _HIGH / 2 + 5 - 9 * (len(lines) - 1)
        out += [f'<text x="{x:.0f}" y="{first + 18 * i:.0f}">{text}</text>' for i, text in enumerate(lines)]
    return "\n".join([*out, "</svg>", ""])


def main() -> None:
    """Write the picture, and print the rooms by floor."""
    argparse.ArgumentParser(description="Print the rooms by floor, and draw them.").parse_args()
    found = arrows()
    level = floors(found)
    for room in sorted(level, key=lambda r: (-level[r], r)):
        print(f"{level[room]:2} {room}: {', '.join(sorted(found[room])) or '-'}")
    PICTURE.write_text(draw(), encoding="utf-8")
    print(f"{len(level)} rooms on {max(level.values())} floors, {sum(map(len, found.values()))} imports between rooms")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
