"""The policy server of offboard: any robot policy behind one server, any robot in front of it.

What vendors build on, and :class:`InferenceServer` for whoever has a policy and no vendor. The server's own
libraries are imported when ``InferenceServer`` is first asked for, not with this package.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from offboard_client.errors import (
    BadObservation,
    BadParameter,
    ConfigurationError,
    InferTimeout,
    InvalidAction,
    LoadFailed,
    ModelLost,
    ModelNotFound,
    OffboardError,
    PolicyFailed,
)

from .data_sets import DataSetForm, DataSetWriter
from .plugins import (
    CodecEntry,
    DataSetEntry,
    DemoRecipe,
    EnvironmentEntry,
    FrontendEntry,
    ListenerEntry,
    LoaderEntry,
    ObserverEntry,
    RegistryEntry,
    TrainerEntry,
    hookimpl,
)
from .training import Trainer
from .types import (
    Checkpoint,
    CheckpointLoader,
    Chunk,
    Codec,
    CodecMeta,
    Control,
    Elsewhere,
    Feature,
    Field,
    Health,
    InferContext,
    Item,
    ModelRegistry,
    NoParams,
    Observation,
    Placement,
    Policy,
    Progress,
    ReportProgress,
    Session,
)

if TYPE_CHECKING:
    from .catalog import declare
    from .engine import ExchangeRecord, Observer
    from .server import InferenceServer

__all__ = [
    "BadObservation",
    "BadParameter",
    "Checkpoint",
    "CheckpointLoader",
    "Chunk",
    "Codec",
    "CodecEntry",
    "CodecMeta",
    "ConfigurationError",
    "Control",
    "DataSetEntry",
    "DataSetForm",
    "DataSetWriter",
    "DemoRecipe",
    "Elsewhere",
    "EnvironmentEntry",
    "ExchangeRecord",
    "Feature",
    "Field",
    "FrontendEntry",
    "Health",
    "InferContext",
    "InferTimeout",
    "InferenceServer",
    "InvalidAction",
    "Item",
    "ListenerEntry",
    "LoadFailed",
    "LoaderEntry",
    "ModelLost",
    "ModelNotFound",
    "ModelRegistry",
    "NoParams",
    "Observation",
    "Observer",
    "ObserverEntry",
    "OffboardError",
    "Placement",
    "Policy",
    "PolicyFailed",
    "Progress",
    "RegistryEntry",
    "ReportProgress",
    "Session",
    "Trainer",
    "TrainerEntry",
    "declare",
    "hookimpl",
]


#: Where what costs more than values is; loaded when it is first asked for.
_LATER = {"ExchangeRecord": ".engine", "InferenceServer": ".server", "Observer": ".engine", "declare": ".catalog"}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
