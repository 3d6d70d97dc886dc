"""The model in the slot, the leases on it, and each session's exchanges on their way to its thread and back.

It knows no protocol and no socket: whatever serves robots stands on :class:`PolicyService`.
"""

from __future__ import annotations

from .batching import LONGEST_IN_ALL, OVERDUE_S, OVERDUE_TIMES, REMEMBERED, SOON, BatchWindow
from .checks import check_action, check_observation
from .context import ContextReader
from .exchange import Exchange
from .lease import ModelSpec
from .loans import SAID, Lend, Loan
from .meta import contract
from .model_loader import Failure
from .model_slot import ModelSlot
from .model_thread import ModelThread
from .observers import ExchangeRecord, Observer, Observers, make_observers, name_observers
from .past import Past
from .paths import HIDDEN, without_paths, without_paths_in
from .pipeline import Pipeline, Result, Serializer
from .records import SessionRecords
from .service import AGAIN, OnProgress, PolicyService
from .session import ServiceSession
from .stats import BOUNDS, SPAN_S, ServerStats, SessionStats
from .timeouts import ServiceTimeouts

__all__ = [
    "AGAIN",
    "BOUNDS",
    "BatchWindow",
    "ContextReader",
    "Exchange",
    "ExchangeRecord",
    "Failure",
    "HIDDEN",
    "SAID",
    "Lend",
    "Loan",
    "LONGEST_IN_ALL",
    "OVERDUE_S",
    "OVERDUE_TIMES",
    "REMEMBERED",
    "ModelSlot",
    "ModelSpec",
    "ModelThread",
    "Observer",
    "Observers",
    "OnProgress",
    "Past",
    "Pipeline",
    "PolicyService",
    "Result",
    "SOON",
    "SPAN_S",
    "Serializer",
    "ServerStats",
    "ServiceSession",
    "ServiceTimeouts",
    "SessionRecords",
    "SessionStats",
    "check_action",
    "check_observation",
    "contract",
    "make_observers",
    "name_observers",
    "without_paths",
    "without_paths_in",
]
