"""The model slot, its leases, and the exchanges of the sessions on it."""

from __future__ import annotations

from .batching import LONGEST_IN_ALL, LONGEST_SHARE, LONGEST_WAIT, Gather
from .checks import check_action, check_observation
from .exchange import Exchange, Result, Route, Wire
from .lease import Recipe
from .model_loader import Failure
from .model_slot import Slot
from .model_thread import ModelThread
from .paths import HIDDEN, without_paths, without_paths_in
from .service import AGAIN, OnProgress, PolicyService
from .session import ServiceSession
from .stats import BOUNDS, ServerStats, SessionStats
from .timeouts import Limits

__all__ = [
    "AGAIN",
    "BOUNDS",
    "HIDDEN",
    "LONGEST_IN_ALL",
    "LONGEST_SHARE",
    "LONGEST_WAIT",
    "Exchange",
    "Failure",
    "Gather",
    "Limits",
    "ModelThread",
    "OnProgress",
    "PolicyService",
    "Recipe",
    "Result",
    "Route",
    "ServerStats",
    "ServiceSession",
    "SessionStats",
    "Slot",
    "Wire",
    "check_action",
    "check_observation",
    "without_paths",
    "without_paths_in",
]
