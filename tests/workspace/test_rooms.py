"""The rooms as their imports make them: no circle, no import past an ``__init__``, and a picture that shows them."""

from __future__ import annotations

import importlib
import itertools
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import rooms  # noqa: E402

KNOWN = rooms.rooms()
FILES = [
    ROOT / name
    for name in subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "*.py"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    if (ROOT / name).exists()
]
#: What stands in a root beside the rooms, for all of its own package.
ROOTS = {"offboard_core._version"}


def wrong(each: rooms.Import) -> str | None:
    """Why this import does not go through a room's ``__init__``, if it does not."""
    here, there = rooms.module_of(each.file), rooms.room_of(each.target, KNOWN)
    if each.target.split(".")[0] not in rooms.PACKAGES or (here and rooms.room_of(here, KNOWN) == there != ""):
        return None
    if each.target in ROOTS and here.startswith(each.target.split(".")[0]):
        return None
    if each.target != there and each.target not in rooms.PACKAGES:
        return f"{each.target} is a file of the room {there or each.target.split('.')[0]}: import the room"
    if not each.name or f"{each.target}.{each.name}" in KNOWN:
        return None
    if each.name not in importlib.import_module(each.target).__all__:
        return f"{each.name} is not in {each.target}.__all__"
    return None


@pytest.mark.parametrize("folder", ["offboard-", "examples/", "benchmarks/", "tools/", "tests/"])
def test_whoever_is_outside_a_room_imports_the_room_and_what_it_names(folder):
    files = [file for file in FILES if str(file.relative_to(ROOT)).startswith(folder)]
    assert files
    found = [
        f"{file.relative_to(ROOT)}:{each.line}: {why}"
        for file in files
        for each in rooms.imports(file)
        if (why := wrong(each))
    ]
    assert not found, "\n".join(found)


def test_no_rooms_import_each_other_in_a_circle():
    assert rooms.floors(rooms.arrows())


def test_a_circle_is_named():
    with pytest.raises(ValueError, match="a -> b -> a"):
        rooms.floors({"a": {"b"}, "b": {"a"}})


def test_every_room_says_what_it_is_for():
    for room in KNOWN:
        doc = importlib.import_module(room).__doc__
        assert (doc or "").strip(), room


def test_the_picture_shows_the_rooms_as_they_are():
    assert rooms.PICTURE.read_text(encoding="utf-8") == rooms.draw(), "run: uv run python tools/rooms.py"


def test_no_box_of_the_picture_lies_on_another_or_under_a_line_and_every_name_fits():
    picture = ElementTree.fromstring(rooms.PICTURE.read_text(encoding="utf-8"))
    boxes = [tuple(float(e.get(n, "")) for n in ("x", "y", "width", "height")) for e in picture if e.get("rx")]
    assert len(boxes) == len(KNOWN)
    assert not [(a, b) for a, b in itertools.combinations(boxes, 2) if _meet(a, b)]
    lines = picture.findall("{*}polyline")
    assert len(lines) >= len(KNOWN) - 1
    for line in lines:
        points = [tuple(map(float, point.split(","))) for point in line.get("points", "").split()]
        for start, end in itertools.pairwise(points):
            assert not [box for box in boxes if _crosses(start, end, box)], (start, end)
    longest = max(len(part) for room in KNOWN for part in room.split(".")[1:])
    assert longest * 9 < min(width for _, _, width, _ in boxes)  # 15 pixels high, 9 a letter in a wide font


def _meet(a, b):
    return a[0] < b[0] + b[2] and b[0] < a[0] + a[2] and a[1] < b[1] + b[3] and b[1] < a[1] + a[3]


def _crosses(start, end, box):
    """Whether a line that leads down meets the inside of a box."""
    (x, y), (to_x, to_y), (left, top, width, height) = start, end, box
    from_y, until_y = max(y, top), min(to_y, top + height)
    if from_y >= until_y:
        return False
    ends = [x + (to_x - x) * (at - y) / (to_y - y) for at in (from_y, until_y)]
    return min(ends) < left + width and left < max(ends)


def test_no_module_outgrows_what_a_reader_keeps_in_mind():
    long = {
        str(file.relative_to(ROOT)): lines
        for file in FILES
        if not file.is_relative_to(ROOT / "tests")
        and (lines := len(file.read_text(encoding="utf-8").splitlines())) > 300
    }
    assert not long, "a module of over 300 lines wants to be two"
