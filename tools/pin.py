"""Pin everything this workspace installs, without naming the registry it came from.

``uv.lock`` records an address for every file, so it stays out of git. Here uv resolves the workspace, and the
result goes to two places as names, versions and hashes alone:

- ``constraint-dependencies`` and ``build-constraint-dependencies`` at the end of ``pyproject.toml``, which every
  ``uv run``, ``uv sync`` and ``uv build`` in this workspace obeys;
- ``requirements.lock``, which pip and container images can install from, hashes checked.

Run it after changing a dependency::

    uv run tools/pin.py                    keep every pin, add what is new
    uv run tools/pin.py --upgrade          take the newest version of everything
    uv run tools/pin.py --upgrade NAME …   of these packages only
"""

from __future__ import annotations

import argparse
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = ROOT / "pyproject.toml"
LOCK = ROOT / "requirements.lock"
BEGIN = "# Pins, written by tools/pin.py"
# How an override in [tool.uv] switches a dependency off; what only such packages need is never installed.
NEVER = "sys_platform == 'never'"


def uv(*arguments: str, stdin: str | None = None) -> str:
    """Run uv in the workspace and return what it printed."""
    return subprocess.run(
        ["uv", *arguments], cwd=ROOT, input=stdin, text=True, check=True, stdout=subprocess.PIPE
    ).stdout


def entries(export: str) -> list[tuple[str, list[str]]]:
    """The requirements of an export, each with its hashes; what is switched off is left out."""
    found: list[tuple[str, list[str]]] = []
    for line in export.splitlines():
        words = line.strip().removesuffix("\\").strip()
        if words.startswith("--hash="):
            found[-1][1].append(words)
        elif words:
            found.append((words, []))
    return [(requirement, hashes) for requirement, hashes in found if NEVER not in requirement]


def write_pins(constraints: list[str], build: list[str]) -> None:
    """Replace the end of pyproject.toml, from the marker on."""
    human, *generated = PYPROJECT.read_text("utf-8").split(f"\n{BEGIN}")
    if len(generated) != 1:
        raise SystemExit(f"{PYPROJECT.name} needs exactly one line '{BEGIN} …'; it has {len(generated)}")
    lines = [f"{BEGIN} from here to the end of the file, for uv reads them nowhere else."]
    for key, pins in (("constraint-dependencies", constraints), ("build-constraint-dependencies", build)):
        lines += [f"{key} = [", *(f'  "{pin}",' for pin in pins), "]"]
    PYPROJECT.write_text("\n".join([human, *lines, ""]), "utf-8")


def main() -> None:
    """Resolve, then write both places."""
    parser = argparse.ArgumentParser(description="Pin everything this workspace installs.")
    parser.add_argument("--upgrade", nargs="*", metavar="NAME", help="release these pins first; no names: all of them")
    upgrade: list[str] | None = parser.parse_args().upgrade
    if upgrade is not None:
        settings = tomllib.loads(PYPROJECT.read_text("utf-8"))["tool"]["uv"]
        keep = [pin for pin in settings["constraint-dependencies"] if upgrade and pin.split("==")[0] not in upgrade]
        write_pins(keep, [])
    uv("lock", "-q", *(["--upgrade"] if upgrade == [] else [f"--upgrade-package={name}" for name in upgrade or []]))
    everything = ["--all-packages", "--all-extras", "--all-groups", "--no-emit-workspace"]
    pinned = entries(uv("export", "-q", "--frozen", "--no-header", "--no-annotate", *everything))
    builders = {
        requirement
        for member in ROOT.glob("offboard-*/pyproject.toml")
        for requirement in tomllib.loads(member.read_text("utf-8"))["build-system"]["requires"]
    }
    build = entries(
        uv("pip", "compile", "-q", "--universal", "--no-header", "--no-annotate", "-", stdin="\n".join(builders))
    )
    write_pins([requirement for requirement, _ in pinned], [requirement for requirement, _ in build])
    LOCK.write_text(
        "# Everything the workspace installs, extras and groups included. Written by tools/pin.py.\n"
        + "\n".join(" \\\n    ".join([requirement, *sorted(hashes)]) for requirement, hashes in pinned)
        + "\n",
        "utf-8",
    )
    uv("lock", "-q")


if __name__ == "__main__":
    main()
