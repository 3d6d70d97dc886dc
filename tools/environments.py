"""Write the lists of packages that vendors' environments are made of: pinned, with hashes, without addresses.

A vendor's ``environments.toml`` says for each environment what it ``requires``, the lowest ``python`` it is for, and
which packages that others require are left out (``without``). uv resolves that for every platform and every Python from
there on; what offboard needs in a worker is added. The lists go into the vendor's package::

    uv run tools/environments.py              all of them; pins stay as they are where they fit
    uv run tools/environments.py --upgrade    the newest versions
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import tomllib
from pathlib import Path
from typing import Any

from pin import ROOT, entries

#: What a worker needs beside the vendor's own (offboard_core/workers/_boot.py).
WORKER = ("msgpack", "numpy", "pluggy", "websockets")
#: What is not for Linux is not for any platform that an environment is for.
NOT_LINUX = ("sys_platform == 'win32'", "sys_platform == 'darwin'")


def resolve(described: dict[str, Any], before: Path, upgrade: bool) -> list[tuple[str, list[str]]]:
    """What has to be installed, each with its hashes."""
    with tempfile.TemporaryDirectory() as place:  # elsewhere than in the workspace, whose pins would apply
        wanted, without, pinned = (Path(place) / name for name in ("wanted.in", "without.txt", "list.txt"))
        wanted.write_text("\n".join([*described["requires"], *WORKER]) + "\n")
        without.write_text("".join(f"{name} ; sys_platform == 'never'\n" for name in described["without"]))
        if before.exists() and not upgrade:
            pinned.write_text(before.read_text("utf-8"))
        subprocess.run(
            [
                "uv", "pip", "compile", "-q", "--universal", "--python-version", described["python"],
                "--generate-hashes", "--no-annotate", "--no-header", "--no-emit-index-url", "--no-emit-find-links",
                "--override", str(without), "-o", str(pinned), str(wanted),
            ],
            cwd=place, check=True,
        )  # fmt: skip
        return entries(pinned.read_text("utf-8"))


def main() -> None:
    """Write all lists."""
    parser = argparse.ArgumentParser(description="Write the lists of packages that vendors' environments are made of.")
    parser.add_argument("--upgrade", action="store_true", help="take the newest version of everything")
    upgrade: bool = parser.parse_args().upgrade
    for source in sorted(ROOT.glob("offboard-*/environments.toml")):
        package = source.parent.name.replace("-", "_")
        folder = source.parent / "src" / package / "environments"
        for name, described in tomllib.loads(source.read_text("utf-8")).items():
            file = folder / f"{name}.txt"
            found = [
                (requirement, hashes)
                for requirement, hashes in resolve(described, file, upgrade)
                if not requirement.endswith(NOT_LINUX)
            ]
            folder.mkdir(exist_ok=True)
            file.write_text(
                "# Written by tools/environments.py.\n"
                + "\n".join(" \\\n    ".join([requirement, *sorted(hashes)]) for requirement, hashes in found)
                + "\n",
                "utf-8",
            )
            print(f"{file.relative_to(ROOT)}: {len(found)} packages")


if __name__ == "__main__":
    main()
