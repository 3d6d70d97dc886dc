"""What the pages install exists, and docs/how-to/install.md tells all of it."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
INSTALL = (ROOT / "docs/how-to/install.md").read_text("utf-8")
PAGES = [path for path in sorted((ROOT / "docs").rglob("*.md")) if "decisions" not in path.parts]
PAGES += [ROOT / "README.md", *sorted(ROOT.glob("offboard-*/README.md")), *sorted(ROOT.glob("examples/*/README.md"))]
EXTRAS = {
    path.parent.name: set(tomllib.loads(path.read_text("utf-8"))["project"].get("optional-dependencies", {}))
    for path in ROOT.glob("offboard-*/pyproject.toml")
}


def named(text: str) -> set[tuple[str, str]]:
    """Each package of ours with each extra that the text gives it."""
    found = re.findall(r"\b(offboard-(?:client|core|lerobot|openpi|gr00t))\[([\w,]+)\]", text)
    return {(package, extra) for package, extras in found for extra in extras.split(",")}


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_extras_that_a_page_names_exist(page):
    assert [pair for pair in sorted(named(page.read_text("utf-8"))) if pair[1] not in EXTRAS[pair[0]]] == []


def test_every_extra_of_every_package_is_told():
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \| ([\w, ]+) \|", INSTALL, re.MULTILINE)
    told = {
        (f"offboard-{package}", extra)
        for extras, packages in rows
        for extra in re.findall(r"`(\w+)`", extras)
        for package in packages.split(", ")
    }
    assert told == {(package, extra) for package, extras in EXTRAS.items() for extra in extras}


def test_a_page_that_installs_leads_to_where_the_packages_are():
    installs = re.compile(r"^pip install .*\boffboard-(?:client|core|lerobot|openpi)\b", re.MULTILINE)
    how_to = [page for page in PAGES if page.parent.name == "how-to" and installs.search(page.read_text("utf-8"))]
    assert len(how_to) > 8
    assert [page.name for page in how_to if "(install.md" not in page.read_text("utf-8")] == ["install.md"]
