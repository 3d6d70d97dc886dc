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
from typing import TYPE_CHECKING, Any

import pluggy
from offboard_client.messages import SESSION_PATH

from .types import Checkpoint, CheckpointLoader, Codec, ModelRegistry, NoParams

if TYPE_CHECKING:
    from .frontend import Frontend
    from .training import Trainer

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


@dataclass(frozen=True, kw_only=True)
class FrontendEntry(Entry):
    """Another protocol on the server's port: ``factory(options) -> Frontend``.

    ``paths``: the exact WebSocket paths it is spoken on (``"/"``, ``"/openpi/policy"``); no two frontends share one.
    ``options``: a frozen dataclass whose every field has a default, or its ``"module:attr"``; ``--NAME.OPTION`` on
    the command line and ``[frontends.NAME]`` in ``models.toml`` set its fields, NAME being the full name.
    """

    factory: str | Callable[[Any], Frontend]
    paths: tuple[str, ...]
    options: str | type = NoParams

    def __post_init__(self) -> None:
        wrong = [path for path in self.paths if not path.startswith("/") or _is_v1(path)]
        if isinstance(self.paths, str) or not self.paths or wrong:
            raise ValueError(
                f"the frontend {self.name!r} has the paths {self.paths!r}; expected a tuple of paths that begin with "
                f"a slash and lie outside {SESSION_PATH}"
            )


@dataclass(frozen=True, kw_only=True)
class TrainerEntry(Entry):
    """A vendor's training: ``factory() -> Trainer``; ``offboard train --vendor NAME`` finds it by its name."""

    factory: str | Callable[[], Trainer]


def _is_v1(path: str) -> bool:
    return path == SESSION_PATH or path.startswith(SESSION_PATH + "/")


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


@hookspec
def offboard_frontends() -> Iterable[FrontendEntry]:
    """Protocols of other clients that this plugin lets the server speak."""
    raise NotImplementedError


@hookspec
def offboard_trainers() -> Iterable[TrainerEntry]:
    """Trainers this plugin offers; usually one, with the plugin's own name."""
    raise NotImplementedError
