"""The lists of packages that vendors' environments are made of: whole, pinned, with hashes, and without addresses."""

import re
import tomllib
from pathlib import Path

import pytest
from offboard_core.environments import read_list
from offboard_core.plugins import ENVIRONMENT, Plugins
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
#: Name → what ``environments.toml`` of its vendor says of it.
DESCRIBED = {
    name: described
    for file in ROOT.glob("offboard-*/environments.toml")
    for name, described in tomllib.loads(file.read_text("utf-8")).items()
}
#: What a worker needs of its environment.
WORKER = {"msgpack", "numpy", "pluggy", "websockets"}


def offer(name):
    return Plugins.discover().get(ENVIRONMENT, name)


def requirements(name):
    return [Requirement(line.partition(" --hash")[0]) for line in read_list(offer(name)).lines]


def test_each_that_is_described_is_offered():
    names = {offer.name for offer in Plugins.discover().offers(ENVIRONMENT)}
    assert names == set(DESCRIBED), "run: uv run tools/environments.py"
    assert "lerobot-0.6" in names


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_a_server_that_has_lerobot_has_that_of_the_environment_for_its_python(python):
    project = tomllib.loads((ROOT / "offboard-lerobot" / "pyproject.toml").read_text("utf-8"))["project"]
    needs = map(Requirement, project["optional-dependencies"]["lerobot"])
    (asked,) = [need for need in needs if need.marker is None or need.marker.evaluate({"python_version": python})]
    (name,) = [name for name in DESCRIBED if f"{python}.1" in SpecifierSet(offer(name).entry.python)]
    (listed,) = [need for need in requirements(name) if need.name == "lerobot"]
    assert asked.specifier.contains(str(listed.specifier).removeprefix("=="))


@pytest.mark.parametrize("name", DESCRIBED)
class TestList:
    def test_it_holds_what_is_required_and_not_what_is_left_out(self, name):
        there = {canonicalize_name(requirement.name): requirement for requirement in requirements(name)}
        for text in DESCRIBED[name]["requires"]:
            wanted = Requirement(text)
            [pin] = there[canonicalize_name(wanted.name)].specifier
            assert (pin.operator, pin.version in wanted.specifier) == ("==", True)
        assert there.keys() >= WORKER, "a worker could not start"
        assert not there.keys() & {*DESCRIBED[name]["without"]}
        assert not [name for name in there if name.startswith("offboard")], "these come from the server"

    def test_it_is_for_the_pythons_that_it_was_resolved_for(self, name):
        pythons = SpecifierSet(offer(name).entry.python)
        major, minor = map(int, DESCRIBED[name]["python"].split("."))
        assert f"{major}.{minor}.0" in pythons
        assert f"{major}.{minor - 1}.9" not in pythons

    def test_no_package_is_there_twice_for_one_python(self, name):
        platform = {"sys_platform": "linux", "platform_machine": "x86_64", "platform_system": "Linux"}
        for minor in range(10, 15):
            version = f"3.{minor}.1"
            if version not in SpecifierSet(offer(name).entry.python):
                continue
            where = {**platform, "python_version": f"3.{minor}", "python_full_version": version}
            there = [r.name for r in requirements(name) if r.marker is None or r.marker.evaluate(where)]
            assert len(there) == len(set(there)), version

    def test_it_says_no_place(self, name):
        package, _, path = offer(name).entry.requirements.partition(":")
        text = next(ROOT.glob(f"offboard-*/src/{package}/{path}")).read_text("utf-8")
        assert not re.search(r"://|\bfile:|index|@|/", text.partition("\n")[2]), "no address, and no path"
        assert text.startswith("# Written by tools/environments.py.\n")
