"""The process of ``offboard serve``: its signals and its end."""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Mapping

from ..catalog import ModelSource
from ..engine import Observer, OnProgress
from ..frontends import Frontend, provide
from ..process import ending_children, remove_own_folders
from ._malloc import keep_freed_memory
from .config import ServerConfig
from .listeners import Listeners
from .running import OnListening, Running

log = logging.getLogger(__name__)


def run_server(
    sources: Mapping[str, ModelSource],
    config: ServerConfig,
    on_listening: OnListening,
    frontends: Mapping[str, Frontend] | None = None,
    on_progress: OnProgress | None = None,
    listeners: Listeners | None = None,
    observers: Mapping[str, Observer] | None = None,
) -> int:
    """Serve until a signal, in a process that does nothing else. The exit status: 0 after a clean stop.

    ``on_progress`` is told how the load of the default model stands, instead of the log.

    Raises ConfigurationError if the port, the token or every source is unusable, and LoadFailed if the default model
    can never be loaded.
    """
    keep_freed_memory()
    provide(config.max_sessions, (1 + config.shared_memory) * config.max_sessions)
    with ending_children():
        Running(sources, config, frontends or {}, on_progress, listeners, observers).run(on_listening)
        for thread in _threads():
            thread.join(0.25)  # it has been told to end
    if left := ", ".join(sorted({thread.name for thread in _threads()})):
        # A model in a call that never returns cannot be stopped, and its libraries may crash an interpreter that ends.
        log.warning("what has not returned (a load, an inference, an observer, …) ends with this process: %s", left)
        remove_own_folders()
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)
    return 0


def _threads() -> list[threading.Thread]:
    """Those that still run: a model's, a codec's, an observer's, one that asks a place or that looks after a server."""
    return [thread for thread in threading.enumerate() if thread.name.startswith("offboard-")]
