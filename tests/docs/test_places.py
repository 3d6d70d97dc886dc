"""What the pages point at is there: every link leads to a file, and every name that follows a file is defined in it."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("offboard-*/*.md"), *ROOT.glob("docs/**/*.md")])
ARCHITECTURE = ROOT / "docs" / "explanation" / "architecture.md"
#: ``[text](place)`` and ``[text]: place``, within this repository.
LINK = re.compile(r"\[[^\]]+\](?:\(|: )(?!\w+:)([^)#\s]+)")
#: [`file.py`], `Name.attribute`
NAMED = re.compile(r"\[`([\w/]+\.py)`\][,:] `([\w.]+)`")


def definitions(page: Path) -> dict[str, Path]:
    found = re.findall(r"^\[`([^`]+)`\]: (\S+)$", page.read_text("utf-8"), re.MULTILINE)
    return {label: page.parent / place for label, place in found}


def names(file: Path) -> set[str]:
    """``Class``, ``Class.method``, ``Class.field`` and ``function``, as the file defines them."""
    found: set[str] = set()
    for node in ast.parse(file.read_text("utf-8")).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            below = [n for n in node.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
            found |= {f"{node.name}.{n.name}" for n in below}
        if isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    places = {place for place in LINK.findall(text) if not (page.parent / place).exists()}
    assert not places
    labels = set(re.findall(r"\[`([\w/]+\.\w+)`\](?![(:])", text))
    assert labels <= definitions(page).keys()


@pytest.mark.parametrize(
    "page", [page for page in PAGES if NAMED.search(page.read_text("utf-8"))], ids=lambda p: p.stem
)
def test_a_name_that_follows_a_file_is_defined_in_it(page):
    places = definitions(page)
    missing = [(file, name) for file, name in NAMED.findall(page.read_text("utf-8")) if name not in names(places[file])]
    assert not missing


def test_the_architecture_names_every_room():
    rows = re.findall(r"^\| `([\w.]+)` \|", ARCHITECTURE.read_text("utf-8"), re.MULTILINE)
    sources = [ROOT / name / "src" / name.replace("-", "_") for name in ("offboard-client", "offboard-core")]
    rooms = [
        init.parent.relative_to(source).as_posix().replace("/", ".")
        for source in sources
        for init in source.rglob("*/__init__.py")
    ]
    assert sorted(rows) == sorted(rooms)
