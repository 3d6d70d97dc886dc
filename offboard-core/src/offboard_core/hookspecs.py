"""The hooks a plugin may implement: each takes nothing and yields small frozen entries.

A plugin is a module named by an entry point of the group ``offboard``; the entry point's name is the
plugin's name, the vendor's name and the prefix of what it offers. An entry's ``factory`` is
``"module:attr"``, imported on first use, so that discovering plugins imports no model library::

    from offboard_core import LoaderEntry, hookimpl

    @hookimpl
    def offboard_checkpoint_loaders():
        yield LoaderEntry(name="echo", summary="Answers what it was sent.", factory="offboard_echo.policy:EchoLoader")
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pluggy

from .types import Checkpoint, CheckpointLoader, Codec, ModelRegistry, NoParams

#: Marks a function as an implementation of the hook of its name.
hookimpl = pluggy.HookimplMarker("offboard")
hookspec = pluggy.HookspecMarker("offboard")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A name with a recipe. ``factory`` is ``"module:attr"`` or a callable; ``summary`` is one line for listings."""

    name: str
    summary: str


@dataclass(frozen=True, kw_only=True)
class CodecEntry(Entry):
    """A codec: ``factory(options, checkpoint) -> Codec``.

    ``options``: a frozen dataclass whose every field has a default, or its ``"module:attr"``; ``--codec.NAME``
    on the command line and ``?codec.NAME=`` in a session URL set its fields.
    """

    factory: str | Callable[[Any, Checkpoint], Codec]
    options: str | type = NoParams


@dataclass(frozen=True, kw_only=True)
class LoaderEntry(Entry):
    """A vendor's front door: ``factory(options) -> CheckpointLoader``.

    ``options``: a frozen dataclass of the vendor's own flags, or its ``"module:attr"``.
    ``default_codec``: the codec used when neither ``--codec`` nor the checkpoint's ``offboard.json`` names one.
    ``registry``: the registry that ``--checkpoints-dir`` is given to; None for a vendor that needs no files.
    ``recognises``: a cheap look at a folder's file names: is this one mine? Never imports a model library.
    """

    factory: str | Callable[[Any], CheckpointLoader]
    options: str | type = NoParams
    default_codec: str = "native"
    registry: str | None = None
    recognises: Callable[[Path], bool] | None = None


@dataclass(frozen=True, kw_only=True)
class RegistryEntry(Entry):
    """A kind of place where checkpoints lie: ``factory(location) -> ModelRegistry``; location is a path or URL."""

    factory: str | Callable[[str], ModelRegistry]


@hookspec
def offboard_codecs() -> Iterable[CodecEntry]:
    """Codecs this plugin offers."""
    raise NotImplementedError


@hookspec
def offboard_checkpoint_loaders() -> Iterable[LoaderEntry]:
    """Loaders this plugin offers; usually one, with the plugin's own name."""
    raise NotImplementedError


@hookspec
def offboard_model_registries() -> Iterable[RegistryEntry]:
    """Registries this plugin offers."""
    raise NotImplementedError
