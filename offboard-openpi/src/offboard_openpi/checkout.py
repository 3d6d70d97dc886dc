"""openpi's checkout: where it is, how its scripts are run, and which configs it has."""

from __future__ import annotations

import ast
import shlex
import shutil
from pathlib import Path

from offboard_client.errors import ConfigurationError, nearest

from .families import DEFAULT_CONFIG

#: Where openpi says that it can be had.
_UPSTREAM = "github.com/Physical-Intelligence/openpi"
_FORK = "github.com/Positronic-Robotics/openpi, branch main-positronic"
_CONFIGS = Path("src") / "openpi" / "training"


def script(root: Path, command: str | None, name: str) -> list[str]:
    """The command line that runs ``scripts/NAME``, to which the script's own arguments are added.

    Raises ConfigurationError if openpi is not at ``root``, unless ``command`` says how to run it: then it may lie in
    a container.
    """
    path = root / "scripts" / name
    if command is not None:
        return [*shlex.split(command), str(path) if path.is_file() else f"scripts/{name}"]
    if not path.is_file():
        raise ConfigurationError(
            f"openpi is not at {root}: there is no scripts/{name}. Clone it there ({_UPSTREAM}, or {_FORK}) and run "
            "`uv sync` in it, or say where it is: --openpi-root, or the variable OPENPI_ROOT"
        )
    return ["uv", "run", "--frozen", "--project", str(root), "--", "python", str(path)]


def check_program(name: str) -> None:
    """Raises ConfigurationError for a program that PATH does not lead to; one with a folder may be in openpi's own."""
    if "/" not in name and shutil.which(name) is None:
        install = "install it (pip install uv), or " if name == "uv" else ""
        raise ConfigurationError(
            f"there is no program {name!r} here; {install}say with --openpi-command what runs openpi's Python"
        )


def config_names(root: Path) -> list[str] | None:
    """Every config that this checkout declares, sorted; None where its sources are not there to be read.

    The sources are parsed, not imported: importing them would need openpi's environment.
    """
    if not (root / _CONFIGS / "config.py").is_file():
        return None
    names: set[str] = set()
    for path in sorted((root / _CONFIGS).rglob("*.py")):
        try:
            tree = ast.parse(path.read_bytes())
        except (SyntaxError, ValueError, OSError):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "TrainConfig":
                names.update(
                    keyword.value.value
                    for keyword in node.keywords
                    if keyword.arg == "name"
                    and isinstance(keyword.value, ast.Constant)
                    and isinstance(keyword.value.value, str)
                )
    return sorted(names) or None


def check_config(root: Path, name: str) -> None:
    """Raises ConfigurationError if this checkout has no config of this name; passes where nobody can tell."""
    known = config_names(root)
    if known is not None and name not in known:
        raise ConfigurationError(no_such_config(root, name, known))


def no_such_config(root: Path, name: str, known: list[str]) -> str:
    """The sentence about a config that is not there."""
    near = nearest(name, known)
    return (
        f"openpi at {root} has no config {name!r}; "
        + (f"it is in the fork {_FORK}: use that checkout. " if name == DEFAULT_CONFIG else "")
        + (f"Did you mean {' or '.join(near)}? " if near and name != DEFAULT_CONFIG else "")
        + f"It has: {', '.join(known)} (--config-name chooses one)"
    )
