"""A vendor's model for the demo, made here by the vendor's own recipe when somebody says so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from offboard_client.errors import ConfigurationError
from offboard_client.terminal import note

from ..cache import alone, cache_folder
from ..plugins import LOADER, DemoRecipe, Plugins
from .child import start, stop

#: What the recipe is, and how many of its commands have come to their end.
_DONE = "recipe.json"
#: Goes on with what it left, by itself.
_GOES_ON = "convert"
#: stdout is for the demo's report.
_STDERR = 2


def recipe_of(for_server: Sequence[str]) -> tuple[str, DemoRecipe] | None:
    """The vendor that is asked for without a checkpoint, and its recipe; None where nothing is to be made.

    Raises ConfigurationError for a vendor whose recipe cannot be imported.
    """
    given: dict[str, str] = {}
    for argument, after in zip(for_server, [*for_server[1:], ""], strict=False):
        name, equals, value = argument.partition("=")
        given[name.replace("_", "-")] = value if equals else after
    if "--vendor" not in given or "--checkpoints-dir" in given or any(name.endswith(".toml") for name in given):
        return None
    offer = next((each for each in Plugins.discover().offers(LOADER) if each.name == given["--vendor"]), None)
    found = None if offer is None else offer.recipe()
    return None if offer is None or found is None else (offer.name, found)


def checkpoints_of(vendor: str, recipe: DemoRecipe, make: bool) -> Path:
    """Where the recipe's checkpoints are, made now if they are not there and ``make`` says so.

    Commands that came to their end in an attempt that did not are not run again. Raises ConfigurationError with the
    offer where nobody has said yes, and where a command fails.
    """
    folder = cache_folder() / "demo" / vendor
    if _ended(folder, recipe) == len(recipe.commands):
        return folder / recipe.checkpoints
    if not make:
        raise ConfigurationError(
            f"the vendor {vendor} needs a checkpoint: --checkpoints-dir DIR. A small one for this arm can be made: "
            f"it takes {recipe.takes}, and goes into {folder}. To have it made, and played: "
            f"offboard demo --vendor {vendor} --make"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with alone(folder, f"making the model of {vendor}", note):
        _make(folder, recipe)
    return folder / recipe.checkpoints


def _make(folder: Path, recipe: DemoRecipe) -> None:
    ended, commands = _ended(folder, recipe), recipe.at(folder)
    if not ended:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    elif ended < len(commands):
        note(f"{ended} of {len(commands)} commands were done before, in {folder}")
    for number, command in enumerate(commands[ended:], start=ended + 1):
        if command[0] != _GOES_ON and "--output-dir" in command:
            shutil.rmtree(command[command.index("--output-dir") + 1], ignore_errors=True)
        note(f"{number} of {len(commands)}: offboard {' '.join(command)}")
        try:
            _run(command)
        except KeyboardInterrupt:
            note(f"stopped in {number} of {len(commands)}; with --make it goes on there")
            raise
        said = {"commands": recipe.commands, "ended": number}
        (folder / _DONE).write_text(json.dumps(said), "utf-8")


def _ended(folder: Path, recipe: DemoRecipe) -> int:
    """How many of the recipe's commands have come to their end in this folder."""
    try:
        said = json.loads((folder / _DONE).read_text("utf-8"))
        ended, made = said["ended"], said["commands"]
    except (OSError, ValueError, LookupError, TypeError):
        return 0
    same = made == [list(command) for command in recipe.commands] and type(ended) is int
    return ended if same and 0 <= ended <= len(recipe.commands) else 0


def _run(command: Sequence[str]) -> None:
    """Its progress and all that it says is the user's to see."""
    child = start(command, _STDERR)
    try:
        status = child.wait()
    finally:
        stop(child)
    # Of demonstrations some may come out badly; which ones are taken is the next command's to say.
    if status and (command[0], status) != ("run", 1):
        raise ConfigurationError(f"`offboard {' '.join(command)}` ended with status {status}; what it said is above")
