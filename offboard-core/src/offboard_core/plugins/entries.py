"""What a plugin's hooks yield: small frozen entries, nearly all of them a name with its factory.

A ``factory`` is ``"module:attr"``, imported on first use, so that discovering plugins imports no model library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar

from offboard_client.wire import SESSION_PATH

from ..data_sets import DataSetForm, DataSetWriter
from ..training import Trainer
from ..types import Checkpoint, CheckpointLoader, Codec, ModelRegistry, NoParams

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Described:
    """A name; ``summary`` is one line for listings."""

    name: str
    summary: str


@dataclass(frozen=True, kw_only=True)
class Entry(Described, Generic[P, T]):
    """A name with its factory: ``"module:attr"`` or a callable."""

    factory: str | Callable[P, T]


@dataclass(frozen=True, kw_only=True)
class EntryWithOptions(Entry[P, T]):
    """``options``: a frozen dataclass, or its ``"module:attr"``; the factory gets an instance of it."""

    options: str | type = NoParams


@dataclass(frozen=True, kw_only=True)
class CodecEntry(EntryWithOptions[[Any, Checkpoint], Codec]):
    """A codec: ``factory(options, checkpoint) -> Codec``.

    ``options``: a frozen dataclass whose every field has a default, or its ``"module:attr"``; ``--codec.NAME``
    on the command line and ``?codec.NAME=`` in a session URL set its fields.
    """


@dataclass(frozen=True, kw_only=True)
class DemoRecipe:
    """How a small model for the simulated arm is made without a download: what ``offboard demo --vendor NAME`` offers.

    ``takes``: what it costs, in words, for somebody who has not said yes yet. ``commands``: arguments of ``offboard``,
    one command after the other; ``{folder}`` in them is where all of it goes. ``checkpoints``: what is served then,
    below that folder, and ``serve`` says how, as arguments of ``offboard serve``. ``options``: of the demo that the
    model is then played in (``{"spread": 0.25}``).
    """

    takes: str
    commands: tuple[tuple[str, ...], ...]
    checkpoints: str
    serve: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def at(self, folder: Path) -> list[list[str]]:
        """The commands, for that folder."""
        return [[word.replace("{folder}", str(folder)) for word in command] for command in self.commands]


@dataclass(frozen=True, kw_only=True)
class LoaderEntry(EntryWithOptions[[Any], CheckpointLoader]):
    """A vendor: ``factory(options) -> CheckpointLoader``.

    ``options``: a frozen dataclass of the vendor's own flags, or its ``"module:attr"``.
    ``default_codec``: the codec used when neither ``--codec`` nor the checkpoint's ``offboard.json`` names one.
    ``registry``: the registry that ``--checkpoints-dir`` is given to; None for a vendor that needs no files.
    ``recognises``: a cheap look at a folder's file names: is this one mine? Never imports a model library.
    ``inherit``: names of variables that its models need where they run in a worker, beside the few that any program
    needs: ``NAME``, or ``PREFIX*`` for several; a secret only by its whole name.
    ``needs``: modules that its models cannot do without → what pip installs them by; another environment (``--python``)
    is asked for them before the server listens.
    ``variants``: a word for the command line (``offboard serve --vendor NAME WORD``) → the ``codec`` that it stands
    for, and options of the vendor, so that what belongs together is said once and cannot disagree.
    ``demo``: the ``"module:attr"`` of a :class:`DemoRecipe`, where the vendor has one.
    A worker imports ``factory`` and ``options`` by their names.
    """

    default_codec: str = "native"
    registry: str | None = None
    recognises: Callable[[Path], bool] | None = None
    inherit: tuple[str, ...] = ()
    needs: Mapping[str, str] = field(default_factory=dict[str, str])
    variants: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    demo: str | None = None

    def __post_init__(self) -> None:
        for word, says in self.variants.items():
            if not isinstance(says.get("codec"), str):
                raise ValueError(f"the variant {word!r} of the vendor {self.name!r} names no codec: {dict(says)!r}")


@dataclass(frozen=True, kw_only=True)
class RegistryEntry(Entry[[str], ModelRegistry]):
    """A kind of place where checkpoints lie: ``factory(location) -> ModelRegistry``; location is a path or URL."""


@dataclass(frozen=True, kw_only=True)
class FrontendEntry(EntryWithOptions[[Any], Any]):
    """Another protocol on the server's port: ``factory(options) -> Frontend``.

    ``paths``: the exact WebSocket paths it is spoken on (``"/"``, ``"/openpi/policy"``); no two frontends share one.
    ``options``: a frozen dataclass whose every field has a default, or its ``"module:attr"``; ``--NAME.OPTION`` on
    the command line and ``[frontends.NAME]`` in ``models.toml`` set its fields, NAME being the full name.
    """

    paths: tuple[str, ...]

    def __post_init__(self) -> None:
        wrong = [path for path in self.paths if not path.startswith("/") or _is_v1(path)]
        if isinstance(self.paths, str) or not self.paths or wrong:
            raise ValueError(
                f"the frontend {self.name!r} has the paths {self.paths!r}; expected a tuple of paths that begin with "
                f"a slash and lie outside {SESSION_PATH}"
            )


@dataclass(frozen=True, kw_only=True)
class ListenerEntry(EntryWithOptions[[Any], Any]):
    """A protocol that is no WebSocket and listens on a port of its own: ``factory(options) -> Listener``.

    ``port``: where it listens if ``--listen NAME`` names none. ``options``: a frozen dataclass whose every field has a
    default, or its ``"module:attr"``; ``--NAME.OPTION`` on the command line and ``[listeners.NAME]`` in
    ``models.toml`` set its fields, NAME being the full name.
    """

    port: int

    def __post_init__(self) -> None:
        port: object = self.port
        if type(port) is not int or not 0 < port <= 65535:
            raise ValueError(f"the listener {self.name!r} has the port {port!r}; expected 1 to 65535")


@dataclass(frozen=True, kw_only=True)
class ObserverEntry(EntryWithOptions[[Any], Any]):
    """Who watches the server's exchanges: ``factory(options) -> Observer``; ``--observe NAME`` asks for it.

    ``options``: a frozen dataclass, or its ``"module:attr"``; ``--NAME.OPTION`` on the command line and
    ``[observers.NAME]`` in ``models.toml`` set its fields, NAME being the full name.
    """


@dataclass(frozen=True, kw_only=True)
class TrainerEntry(Entry[[], Trainer]):
    """A vendor's training: ``factory() -> Trainer``; ``offboard train --vendor NAME`` finds it by its name."""


@dataclass(frozen=True, kw_only=True)
class DataSetEntry(Entry[[Path, DataSetForm], DataSetWriter]):
    """A form of data sets, through a codec: ``factory(folder, form) -> DataSetWriter``; ``offboard convert`` writes it.

    ``name``: the plugin's own for the form that this vendor's codecs are written in. ``folder``: it is not there for a
    new data set; else it holds one that this factory's writer wrote, with the same form, to be added to. The factory
    raises ConfigurationError for a form that it cannot write, and without a library that it needs.
    """


@dataclass(frozen=True, kw_only=True)
class EnvironmentEntry(Described):
    """An environment that uv makes of a list of packages; ``--env NAME`` runs a vendor's models in it.

    ``name``: the plugin's own name, or one that begins with that and a hyphen; nothing is put before it.
    ``requirements``: ``"package:path/of/list.txt"``, a file within an importable package: every package pinned with
    ``==`` and with hashes, without addresses. ``python``: the versions that the list is for. ``vendor``: the full name
    of the vendor whose models run there; "": that of the plugin's name. ``platforms``: where there are wheels of all.
    """

    requirements: str
    python: str = ">=3.12,<3.14"
    vendor: str = ""
    platforms: tuple[str, ...] = ("linux-x86_64",)


def _is_v1(path: str) -> bool:
    return path == SESSION_PATH or path.startswith(SESSION_PATH + "/")
