"""Give all five packages a new version, and what is unreleased in CHANGELOG.md its heading.

The packages share one version and ask for each other at exactly that one, so it stands in each ``pyproject.toml``
several times; nowhere else, because a running program reads the metadata of what is installed. CONTRIBUTING.md says
what comes before and after::

    uv run tools/release.py 0.2.0
"""

from __future__ import annotations

import argparse
import datetime
import re
from pathlib import Path

from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).resolve().parent.parent
_OWN = re.compile(r'^version = "(.+)"$', re.MULTILINE)
_EACH_OTHER = re.compile(r'("offboard-\w+(?:\[[\w,-]+\])?==)[^"\s;]+')
_UNRELEASED = "## [Unreleased]\n"


def release(root: Path, version: str, day: datetime.date) -> str:
    """Write the version into every place and return the one before. Raises ValueError, having written nothing."""
    projects = {path: path.read_text("utf-8") for path in sorted(root.glob("offboard-*/pyproject.toml"))}
    (before,) = {old for text in projects.values() for old in _OWN.findall(text)}
    if str(Version(version)) != version or Version(version) <= Version(before):
        raise ValueError(f"{version} must be a version above {before}, as PEP 440 spells it: {Version(version)}")
    changelog = root / "CHANGELOG.md"
    head, unreleased, changes = changelog.read_text("utf-8").partition(_UNRELEASED)
    if not changes.partition("\n## ")[0].strip():
        raise ValueError(f"nothing stands under '{_UNRELEASED.strip()}' in {changelog.name}, so there is no release")
    for path, text in projects.items():
        path.write_text(_EACH_OTHER.sub(rf"\g<1>{version}", _OWN.sub(f'version = "{version}"', text)), "utf-8")
    changelog.write_text(f"{head}{unreleased}\n## [{version}] - {day.isoformat()}\n{changes}", "utf-8")
    return before


def main() -> None:
    """Release this workspace."""
    parser = argparse.ArgumentParser(description="Give all five packages a new version.")
    parser.add_argument("version")
    version = parser.parse_args().version
    try:
        before = release(ROOT, version, datetime.datetime.now(datetime.timezone.utc).date())
    except (InvalidVersion, ValueError) as error:
        raise SystemExit(str(error)) from None
    print(f"{before} -> {version}. Next: uv sync --all-packages, .ci/run, a commit, a tag (CONTRIBUTING.md).")


if __name__ == "__main__":
    main()
