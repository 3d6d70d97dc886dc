"""Plugins as the tests install them: a module and real distribution metadata in a folder of their own."""

import importlib.metadata
import textwrap
from pathlib import Path


def write_plugin(
    folder: Path, name: str, source: str, *, dist: str | None = None, version: str = "1.0", group: str = "offboard",
    attr: str = "",
) -> Path:  # fmt: skip
    """Install a plugin called ``name`` into ``folder``; its module is called ``<name>_plugin_of_<dist>``.

    ``group``: of its entry point. ``attr``: what of the module that names, the module itself by default.
    """
    dist = dist or f"dist-{name}"
    module = f"{name}_plugin_of_{dist.replace('-', '_')}"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{module}.py").write_text(textwrap.dedent(source))
    info = folder / f"{dist.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n{name} = {module}{attr and ':' + attr}\n")
    return folder


def entry_points_in(folder: Path) -> list[importlib.metadata.EntryPoint]:
    """The plugins that :func:`write_plugin` installed there."""
    dists = sorted(importlib.metadata.distributions(path=[str(folder)]), key=lambda dist: dist.name)
    return [point for dist in dists for point in dist.entry_points]
