"""Every package that this workspace installs has one version, written down without a registry address."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = (ROOT / "pyproject.toml").read_text("utf-8")
SETTINGS = tomllib.loads(PYPROJECT)["tool"]["uv"]
LOCK = (ROOT / "requirements.lock").read_text("utf-8")


def locked() -> list[str]:
    return [line.removesuffix("\\").strip() for line in LOCK.splitlines() if re.match(r"[a-z0-9]", line)]


def test_the_constraints_and_the_lock_are_the_same_list() -> None:
    assert SETTINGS["constraint-dependencies"] == locked(), "run: uv run tools/pin.py"


def test_the_pins_end_the_file_that_people_read() -> None:
    _, pins = PYPROJECT.split("\n# Pins, written by tools/pin.py")
    lists = tomllib.loads(pins.partition("\n")[2])
    assert lists == {name: SETTINGS[name] for name in ("constraint-dependencies", "build-constraint-dependencies")}


def test_a_pin_allows_exactly_one_version() -> None:
    pins = [*SETTINGS["constraint-dependencies"], *SETTINGS["build-constraint-dependencies"]]
    assert [pin for pin in pins if not re.fullmatch(r"==[^*,]+", str(Requirement(pin).specifier))] == []


def test_every_locked_package_has_a_hash() -> None:
    blocks = re.split(r"^(?=[a-z0-9])", LOCK, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(locked())
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []


def test_what_is_installed_here_is_what_is_pinned() -> None:
    pins = {
        canonicalize_name(requirement.name): next(iter(requirement.specifier)).version
        for requirement in map(Requirement, SETTINGS["constraint-dependencies"])
        if requirement.marker is None or requirement.marker.evaluate()
    }
    installed = {
        canonicalize_name(distribution.name): distribution.version
        for distribution in importlib.metadata.distributions()
        if not canonicalize_name(distribution.name).startswith(("offboard-", "lerobot-policy-offboard"))
    }
    different = {name: (version, pins.get(name)) for name, version in installed.items() if pins.get(name) != version}
    assert different == {}, "installed, pinned; after changing a dependency run: uv run tools/pin.py"


def test_no_registry_address_is_written_down() -> None:
    for name in ("pyproject.toml", "requirements.lock", ".ci/run", "README.md"):
        assert not re.search(r"https?://\S*(pypi|pythonhosted|/simple)", (ROOT / name).read_text("utf-8")), name
    assert "uv.lock" in (ROOT / ".gitignore").read_text("utf-8").splitlines()
