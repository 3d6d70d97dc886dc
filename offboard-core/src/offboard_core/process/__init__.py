"""Child processes: started again where they end, and never outliving the server; and servers that run elsewhere."""

from __future__ import annotations

from .attached_server import AttachedServer
from .child import Child, unshared
from .child_server import ChildServer
from .diagnosis import MACHINE, PROGRAM, Fault, diagnose
from .environment import OURS_ALONE, check_names, check_words
from .memory import collect, oom_kills, resident_bytes
from .own_folder import OwnFolder, remove_own_folders
from .ports import free_port, take_port
from .remains import ending_children
from .script import run_to_end
from .supervisor import Supervisor
from .wire import Stale, Wire

__all__ = [
    "MACHINE",
    "OURS_ALONE",
    "PROGRAM",
    "AttachedServer",
    "Child",
    "ChildServer",
    "Fault",
    "OwnFolder",
    "Stale",
    "Supervisor",
    "Wire",
    "check_names",
    "check_words",
    "collect",
    "diagnose",
    "ending_children",
    "free_port",
    "oom_kills",
    "remove_own_folders",
    "resident_bytes",
    "run_to_end",
    "take_port",
    "unshared",
]
