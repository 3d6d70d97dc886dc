"""The kinds of things that plugins offer, one row each. Nothing else has to change for one more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from .entries import (
    CodecEntry,
    DataSetEntry,
    Described,
    EnvironmentEntry,
    FrontendEntry,
    ListenerEntry,
    LoaderEntry,
    ObserverEntry,
    RegistryEntry,
    TrainerEntry,
)

E_co = TypeVar("E_co", bound=Described, covariant=True)


@dataclass(frozen=True)
class Kind(Generic[E_co]):
    """One kind of thing that plugins offer.

    ``hook``: the function of a plugin that yields such entries; it takes nothing. ``entry``: their class.
    ``makes``: the ``"module:ABC"`` of what an entry's factory makes; imported when one has been made, since it may lie
    above this table; "" for entries without a factory. ``noun``: what an error calls one of them. ``heading``: what a
    listing calls several. ``whole``: an entry's name begins with the plugin's, which is not put before it again.
    """

    hook: str
    entry: type[E_co]
    makes: str
    noun: str
    heading: str
    whole: bool = False


#: All kinds, by hook, in the order in which a plugin is read.
KINDS: dict[str, Kind[Any]] = {}


def _row(kind: Kind[E_co]) -> Kind[E_co]:
    KINDS[kind.hook] = kind
    return kind


CODEC = _row(Kind("offboard_codecs", CodecEntry, "offboard_core.types:Codec", "codec", "codecs"))
LOADER = _row(
    Kind("offboard_checkpoint_loaders", LoaderEntry, "offboard_core.types:CheckpointLoader", "vendor", "vendors")
)
REGISTRY = _row(
    Kind("offboard_model_registries", RegistryEntry, "offboard_core.types:ModelRegistry", "registry", "registries")
)
FRONTEND = _row(Kind("offboard_frontends", FrontendEntry, "offboard_core.frontends:Frontend", "frontend", "frontends"))
LISTENER = _row(Kind("offboard_listeners", ListenerEntry, "offboard_core.frontends:Listener", "listener", "listeners"))
OBSERVER = _row(Kind("offboard_observers", ObserverEntry, "offboard_core.engine:Observer", "observer", "observers"))
TRAINER = _row(
    Kind("offboard_trainers", TrainerEntry, "offboard_core.training:Trainer", "vendor that trains", "trainers")
)
DATA_SET = _row(
    Kind("offboard_data_sets", DataSetEntry, "offboard_core.data_sets:DataSetWriter", "form of data sets", "forms")
)
ENVIRONMENT = _row(Kind("offboard_environments", EnvironmentEntry, "", "environment", "environments", whole=True))
