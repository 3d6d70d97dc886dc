"""What the README says about this clone is so."""

import re
import tomllib
from pathlib import Path

from offboard_lerobot import versions

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text("utf-8")


def project(path: Path) -> dict:
    return tomllib.loads((path / "pyproject.toml").read_text("utf-8"))["project"]


def test_the_extras_of_the_clone_exist():
    """`uv run --all-packages --extra NAME` takes an extra that some package of the workspace declares."""
    declared = {name for path in ROOT.glob("offboard-*") for name in project(path).get("optional-dependencies", {})}
    named = re.findall(r"uv run --all-packages --extra (\w+)", README)
    assert named
    assert set(named) <= declared


def test_what_needs_no_extra_is_in_the_clone():
    assert re.search(r"`hf://` and `s3://` need nothing more there", README)
    (core,) = [line for line in project(ROOT)["dependencies"] if line.startswith("offboard-core")]
    assert "s3" in core
    assert any("offboard-core[remote]" in line for line in project(ROOT / "offboard-lerobot")["dependencies"])


def test_the_policy_types_that_are_served_are_named():
    assert "docs/how-to/serve-lerobot.md#which-policies" in README
    page = (ROOT / "docs/how-to/serve-lerobot.md").read_text()
    (section,) = re.findall(r"^## Which policies\n(.*?)\n## ", page, re.MULTILINE | re.DOTALL)
    named = set(re.findall(r"`(\w+)`", "".join(line.split("|")[1] for line in section.splitlines() if line[:1] == "|")))
    assert named == {kind for release in versions.releases() for kind in release.types}


def test_how_the_first_server_is_run_is_said():
    (name,) = re.findall(r"^# (server\.py)$", README, re.MULTILINE)
    assert f"python {name}`" in README


def test_the_lerobot_line_says_the_rate():
    assert re.search(r"^offboard serve --checkpoints-dir .* --fps \d+$", README, re.MULTILINE)
