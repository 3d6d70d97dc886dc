"""offboard's own packages and the vendor's, from the running installation, for a Python that has others of its own."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Iterator
from pathlib import Path

from offboard_client.errors import LoadFailed

from ..plugins import GROUP
from ..process import OwnFolder
from .recipe import Recipe

_OURS = {"offboard-client": "offboard_client", "offboard-core": "offboard_core"}


def linked(recipe: Recipe) -> OwnFolder:
    """A folder of links to these packages, with what says their versions and entry points; nothing else is in it.

    What they need beside each other is to be found in the other environment. Raises LoadFailed.
    """
    try:
        folder = OwnFolder("worker")
    except OSError as error:
        raise LoadFailed(f"no folder can be made for the worker: {error.strerror or error}") from None
    try:
        for source in {*_sources(recipe)}:
            (folder.path / source.name).symlink_to(source)
    except BaseException as error:
        folder.remove()
        if isinstance(error, OSError):
            raise LoadFailed(f"{folder.path} cannot be filled for the worker: {error.strerror or error}") from None
        raise
    return folder


def _sources(recipe: Recipe) -> Iterator[Path]:
    modules = {*_OURS.values(), *(module.partition(".")[0] for module in recipe.modules)}
    for name in {*_OURS, recipe.distribution} - {""}:
        distribution = importlib.metadata.distribution(name)
        modules |= {p.module.partition(".")[0] for p in distribution.entry_points if p.group == GROUP}
        for file in distribution.files or ():
            if file.name == "METADATA" and file.parent.name.endswith(".dist-info"):
                yield Path(str(distribution.locate_file(file))).parent.resolve()
            elif file.suffix == ".py" and ".." not in (parts := list(file.parts)) and len(parts) <= 2:
                modules.add(parts[0].removesuffix(".py"))
    for module in modules:
        yield _place(module)


def _place(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is not None and spec.submodule_search_locations:
        return Path(next(iter(spec.submodule_search_locations))).resolve()
    if spec is not None and spec.has_location and spec.origin is not None:
        return Path(spec.origin).resolve()
    raise LoadFailed(f"the module {module} cannot be handed to the worker: it is no file", permanent=True)


__all__ = ["linked"]
