"""Run the tests on the other Pythons that the packages claim, each in an environment of its own.

The workspace is tested on one Python; what else the classifiers claim is proved here. A Python that this machine does
not have is not fetched: it is skipped, and the last lines say so. Part of the slow lane, a short form of it runs in
``.ci/run``::

    uv run tools/pythons.py                                    all tests that need no LeRobot, on each
    uv run tools/pythons.py --python 3.13 --client TEST...     these of the client, which stands alone, on this one
    uv run tools/pythons.py --set lerobot-0.6                  all tests of LeRobot, with this version of it
    uv run tools/pythons.py --find 3.10                        where it is; fails if it is not here
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
WORKSPACE = "3.11"
ALL = ("3.10", WORKSPACE, "3.12", "3.13")

#: What is installed, with the groups of the root's pyproject.toml, and what of tests/ is run.
CLIENT = (["offboard-client[cli,images]"], ["pytest", "pytest-timeout", "pytest-xdist", "hypothesis"], ["client"])
WHOLE = (
    [
        "offboard-client[cli,gym,images,pages,record,sim]", "offboard-core[convert,s3,testing]",
        "offboard-gr00t", "offboard-lerobot[grpc]", "offboard-openpi", "offboard-vla-eval",
    ],
    ["--group", f"{ROOT / 'pyproject.toml'}:tests"],
    [
        "cli", "client", "codecs", "data_sets", "engine", "environments", "evaluation", "exports", "frontends", "gr00t",
        "interop", "lerobot", "local", "openpi", "openpi_client", "pages", "play", "plugins", "process", "proofs",
        "readers", "recording", "remote", "robots", "scripted", "server", "testing", "vla_eval", "workers",
    ],
)  # fmt: skip


#: A version of LeRobot → the Python that it is tested on, and its requirement with what its policy types need.
#: No Python for a set is a failure: a whole version would go untested.
SETS = {
    "lerobot-0.4": (WORKSPACE, "lerobot[async,feetech,smolvla,xvla]==0.4.4"),
    # Its WALL-X wants a transformers that none of the others take.
    "lerobot-0.4-wallx": (WORKSPACE, "lerobot[wallx]==0.4.4"),
    "lerobot-0.6": (
        "3.12",
        "lerobot[async,diffusion,eo1,evo1,fastwam,feetech,groot,molmoact2,multi_task_dit,peft,pi,smolvla,vla_jepa,"
        "wallx,xvla]==0.6.1",
    ),
}

#: Slow tests that the workspace's own LeRobot is asked for: with another, each says the same, or cannot be.
OF_THE_WORKSPACE = (
    "tests/lerobot/test_both.py",
    "tests/lerobot/test_sim_stack.py::test_it_learns_and_succeeds_as_often_without_offboard",
)


def find(version: str) -> str | None:
    """The interpreter of this version on this machine, or None. Nothing is fetched."""
    environment = {**os.environ, "UV_PYTHON_DOWNLOADS": "never"}
    if pyenv := shutil.which("pyenv"):
        # Its commands in PATH answer for the versions that this variable names, and for no other.
        versions = subprocess.run([pyenv, "versions", "--bare"], capture_output=True, text=True, check=True).stdout
        environment["PYENV_VERSION"] = ":".join(versions.split())
    found = subprocess.run(
        ["uv", "python", "find", "--no-project", version], env=environment, capture_output=True, text=True, check=False
    )
    return found.stdout.strip() or None


def check(version: str, python: str, client: bool, tests: list[str]) -> bool:
    """Build the environment and run the tests there; tell whether they passed."""
    packages, helpers, folders = CLIENT if client else WHOLE
    with tempfile.TemporaryDirectory() as place:
        subprocess.run(["uv", "venv", "-q", "-p", python, f"{place}/env"], check=True)
        # The pins are for the workspace's Python, and newer ones take them. Below, what fits is found anew.
        pinned = ALL.index(version) > ALL.index(WORKSPACE)
        install = ["uv", "pip", "install", "-q", "--python", f"{place}/env/bin/python", *helpers]
        install += [str(ROOT / package) for package in packages]
        subprocess.run(install, cwd=ROOT if pinned else place, check=True)
        # A few tests are over before several processes have begun.
        workers = 0 if tests else 2 * (os.cpu_count() or 1)
        tests = tests or [f"tests/{folder}" for folder in folders]
        pytest = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", str(workers), *tests]
        return subprocess.run([f"{place}/env/bin/python", *pytest], cwd=ROOT, check=False).returncode == 0


def check_set(name: str, tests: list[str]) -> bool:
    """The same for a version of LeRobot, and what its policy types need."""
    version, requirement = SETS[name]
    python = find(version)
    if python is None:
        print(f"{name} wants Python {version}, which this machine does not have")
        return False
    with tempfile.TemporaryDirectory() as place:
        subprocess.run(["uv", "venv", "-q", "-p", python, f"{place}/env"], check=True)
        # Not in the workspace, whose pins are for the version that it has.
        install = ["uv", "pip", "install", "-q", "--python", f"{place}/env/bin/python"]
        packages = [
            "offboard-client[cli,images,record,sim]",
            "offboard-core[s3,gs,testing]",
            "offboard-inside-lerobot",
            "offboard-lerobot[grpc,lerobot]",
        ]
        install += [f"{ROOT}/{package}" for package in packages]
        subprocess.run([*install, requirement, *WHOLE[1]], cwd=place, check=True)
        tests = tests or ["tests/lerobot/test_types.py" if name.endswith("wallx") else "tests/lerobot"]
        # The slow lane of the workspace, with its own LeRobot, skips what this one alone has: here it is proved.
        slow = [] if version == WORKSPACE else ["-m", "", *(f"--deselect={test}" for test in OF_THE_WORKSPACE)]
        pytest = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", "2", *slow, *tests]
        return subprocess.run([f"{place}/env/bin/python", *pytest], cwd=ROOT, check=False).returncode == 0


def main() -> None:
    """Say for each Python what came of it; fail if a test did."""
    others = [version for version in ALL if version != WORKSPACE]
    parser = argparse.ArgumentParser(description="Run the tests on the other Pythons that the packages claim.")
    parser.add_argument("tests", nargs="*", metavar="TEST", help="files and folders; none: all that can run there")
    parser.add_argument("--python", choices=others, help="on this one alone")
    parser.add_argument("--client", action="store_true", help="install the client alone")
    parser.add_argument("--set", choices=SETS, help="with this version of LeRobot, and nothing else")
    parser.add_argument("--find", choices=ALL, help="print where this one is, and do nothing else")
    arguments = parser.parse_args()
    if arguments.find:
        python = find(arguments.find)
        if python is None:
            raise SystemExit(f"no Python {arguments.find} here")
        print(python)
        return
    if arguments.set:
        raise SystemExit(0 if check_set(arguments.set, arguments.tests) else f"{arguments.set}: FAILED")
    results: dict[str, str] = {}
    for version in [arguments.python] if arguments.python else others:
        python = find(version)
        if python is None:
            results[version] = "NOT TESTED: this machine has no such Python"
        else:
            print(f"-- Python {version}: {python}", flush=True)
            results[version] = "passed" if check(version, python, arguments.client, arguments.tests) else "FAILED"
    for version, result in results.items():
        print(f"Python {version}: {result}")
    sys.exit("FAILED" in results.values())


if __name__ == "__main__":
    main()
