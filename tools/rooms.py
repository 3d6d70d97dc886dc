"""Read the rooms of the house from its imports, and draw them: ``uv run python tools/rooms.py``.

A room is a package: ``offboard_client.wire``, ``offboard_core.engine``. It stands on the floor above the highest room
that it imports. What is drawn is what the code says, so that ``docs/explanation/rooms.svg`` cannot tell of another
house; a test compares the two.
"""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURE = ROOT / "docs" / "explanation" / "rooms.svg"
#: The packages whose rooms are drawn, from the ground up.
HOUSES = ("offboard_client", "offboard_core")
_SOURCES = {house: ROOT / house.replace("_", "-") / "src" / house for house in HOUSES}


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


def imports(file: Path) -> Iterator[Import]:
    """Every import of our own packages in one file, deferred ones too; those for a type checker alone are left out."""
    module, is_package = module_of(file), file.name == "__init__.py"
    tree = ast.parse(file.read_text(encoding="utf-8"))
    unread = {id(below) for node in ast.walk(tree) if _for_types(node) for below in ast.walk(node)}
    for node in ast.walk(tree):
        if id(node) in unread:
            continue
        if isinstance(node, ast.Import):
            yield from (Import(file, node.lineno, a.name, "") for a in node.names if a.name.startswith("offboard_"))
        elif isinstance(node, ast.ImportFrom):
            target = _absolute(node, module, is_package)
            if target.startswith("offboard_"):
                yield from (Import(file, node.lineno, target, a.name) for a in node.names)


def _for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


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
    """The innermost room that a module is in; "" for what stands in a root or in no house."""
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
    """The floor of every room, 1 at the ground. Raises ValueError that names a circle."""
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


_WIDTH, _BOX, _HIGH, _GAP, _MARGIN = 1080, 128, 40, 46, 24
_FILL = {"offboard_client": "#dcebfb", "offboard_core": "#fdebd0"}


def draw() -> str:
    """The picture as SVG: one row a floor, an arrow where no other path says the same."""
    found = arrows()
    level = floors(found)
    top = max(level.values())
    place: dict[str, tuple[float, float]] = {}
    for floor in range(1, top + 1):
        row = sorted((room for room in level if level[room] == floor), key=lambda r: (r.split(".")[0], r))
        for i, room in enumerate(row):
            x = _MARGIN + 60 + (_WIDTH - 2 * _MARGIN - 60) * (i + 1) / (len(row) + 1)
            place[room] = (x, _MARGIN + 30 + (top - floor) * (_HIGH + _GAP))
    height = _MARGIN * 2 + 30 + top * (_HIGH + _GAP)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif" '
        'font-size="13">',
        "<title>The rooms of offboard, by what they import</title>",
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="{_MARGIN}" y="{_MARGIN + 6}" fill="#333">blue: offboard_client · orange: offboard_core · '
        "a line leads down to what is imported; what another path says already is left out</text>",
    ]
    for room, targets in sorted(_needed(found).items()):
        x, y = place[room]
        out += [
            f'<line x1="{x:.0f}" y1="{y + _HIGH:.0f}" x2="{place[t][0]:.0f}" y2="{place[t][1]:.0f}" stroke="#9aa5b1"/>'
            for t in sorted(targets)
        ]
    for floor in range(1, top + 1):
        y = _MARGIN + 30 + (top - floor) * (_HIGH + _GAP) + _HIGH / 2 + 5
        out.append(f'<text x="{_MARGIN}" y="{y:.0f}" fill="#888">{floor}</text>')
    for room, (x, y) in sorted(place.items()):
        house, _, name = room.partition(".")
        out.append(
            f'<rect x="{x - _BOX / 2:.0f}" y="{y:.0f}" width="{_BOX}" height="{_HIGH}" rx="6" fill="{_FILL[house]}" '
            f'stroke="#5f6b77"/><text x="{x:.0f}" y="{y + _HIGH / 2 + 5:.0f}" text-anchor="middle">{name}</text>'
        )
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
