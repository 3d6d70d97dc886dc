"""Five packages of one version, and the Pythons that they claim to run on."""

import datetime
import importlib.metadata
import importlib.util
import re
import shutil
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools"))

import pythons  # noqa: E402
from release import release  # noqa: E402

DAY = datetime.date(2026, 12, 1)


def projects(root: Path = ROOT) -> dict[str, dict]:
    found = [tomllib.loads(path.read_text("utf-8"))["project"] for path in root.glob("offboard-*/pyproject.toml")]
    return {project["name"]: project for project in found}


def versions(root: Path) -> set[str]:
    """Every version that a package gives itself, or asks of another one of these."""
    found = {project["version"] for project in projects(root).values()}
    for project in projects(root).values():
        extras = project.get("optional-dependencies", {}).values()
        for need in map(Requirement, [*project["dependencies"], *(need for extra in extras for need in extra)]):
            if need.name in projects(root) and need.name != project["name"]:
                found.add(str(need.specifier).removeprefix("=="))
    return found


@pytest.fixture
def copy(tmp_path):
    for path in [*ROOT.glob("offboard-*/pyproject.toml"), ROOT / "CHANGELOG.md"]:
        (tmp_path / path.relative_to(ROOT)).parent.mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / path.relative_to(ROOT))
    return tmp_path


def test_the_packages_have_one_version_and_ask_for_each_other_at_it():
    (version,) = versions(ROOT)
    assert len(projects()) == 7
    installed = [name for name in projects() if importlib.util.find_spec(name.replace("-", "_"))]
    assert {importlib.metadata.version(name) for name in installed} == {version}, "run: uv sync --all-packages"


def test_a_release_changes_every_place(copy):
    (before,) = versions(copy)
    assert release(copy, "7.8.9", DAY) == before
    assert versions(copy) == {"7.8.9"}
    old, new = (root.joinpath("CHANGELOG.md").read_text("utf-8") for root in (ROOT, copy))
    assert new.replace("\n## [7.8.9] - 2026-12-01\n", "", 1) == old
    assert new.index("## [Unreleased]") < new.index("## [7.8.9]") < new.index("### Added")


@pytest.mark.parametrize(
    ("version", "why"),
    [("0.0.1", r"0\.0\.1 must be a version above"), ("1.0-1", r"PEP 440 spells it: 1\.0\.post1"), ("one", "one")],
)
def test_what_is_no_newer_version_is_refused(copy, version, why):
    with pytest.raises(ValueError, match=why):
        release(copy, version, DAY)
    assert versions(copy) == versions(ROOT)


def test_a_release_of_nothing_is_refused(copy):
    release(copy, "7.8.9", DAY)
    with pytest.raises(ValueError, match="nothing stands under"):
        release(copy, "7.9.0", DAY)


@pytest.mark.parametrize("project", projects().values(), ids=projects())
def test_a_package_claims_the_pythons_that_it_is_tested_on(project):
    claimed = [
        claim.rpartition(" ")[2]
        for claim in project["classifiers"]
        if re.fullmatch(r"Programming Language :: Python :: \d\.\d+", claim)
    ]
    assert claimed == list(pythons.ALL)
    assert project["requires-python"] == f">={pythons.ALL[0]}"


def test_every_folder_of_tests_runs_on_every_python_or_is_about_this_workspace():
    _, _, folders = pythons.WHOLE
    found = {path.parent.relative_to(ROOT / "tests").parts[0] for path in ROOT.glob("tests/*/**/test_*.py")}
    assert found - set(folders) == {"benchmarks", "docker", "docs", "pairings", "workspace"}
    assert set(folders) <= found
