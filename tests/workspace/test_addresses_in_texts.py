"""Modules that code names in a text, ``"module:attr"``, which no import statement and no type checker looks at."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import rooms  # noqa: E402

KNOWN = rooms.rooms()
SOURCES = {path.name: path for path in ROOT.glob("offboard-*/src/offboard_*")}
_ADDRESS = re.compile(r"(offboard_\w+(?:\.\w+)+):(\w+)")


def wrong(module: str, name: str, file: Path) -> str | None:
    """What is wrong with an address in a file's text, if anything is."""
    place = SOURCES[module.split(".")[0]].parent.joinpath(*module.split("."))
    if not (place.with_suffix(".py").exists() or (place / "__init__.py").exists()):
        return f"there is no module {module}"
    room = rooms.room_of(module, KNOWN)
    if not room or rooms.room_of(rooms.module_of(file), KNOWN) == room:
        return None
    if module != room:
        return f"{module} is a file of the room {room}: name the room"
    return None if name in importlib.import_module(room).__all__ else f"{name} is not in {room}.__all__"


def addresses(text: str) -> list[tuple[str, str]]:
    """The addresses that are whole text literals of a Python source."""
    literals = (node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant))
    return [(m[1], m[2]) for value in literals if isinstance(value, str) and (m := _ADDRESS.fullmatch(value))]


def test_a_module_that_a_text_names_exists_and_is_a_room_or_in_its_own():
    files = [file for source in SOURCES.values() for file in sorted(source.rglob("*.py"))]
    found = [(file, *each) for file in files for each in addresses(file.read_text(encoding="utf-8"))]
    assert found
    faults = [f"{file.relative_to(ROOT)}: {why}" for file, *each in found if (why := wrong(*each, file))]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    ("module", "name", "says"),
    [
        ("offboard_core.runtime", "Slot", "there is no module"),
        ("offboard_core.codecs.native", "make", "name the room"),
        ("offboard_core.codecs", "nothing", "is not in"),
        ("offboard_core.codecs", "make", None),
    ],
)
def test_what_is_wrong_with_one_is_said(module, name, says):
    said = wrong(module, name, SOURCES["offboard_lerobot"] / "__init__.py")
    assert (said is None) if says is None else says in said
