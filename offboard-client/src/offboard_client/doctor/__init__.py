"""What makes a robot's link slow or a computer unsteady: what was found, what is better, why, and what to type.

Nothing is changed. Each finding is made of files below a root, or of a survey, that a test can hand over.
"""

from __future__ import annotations

from .computer import Computer, look_at_computer
from .files import Files
from .finding import Finding, Verdict
from .gpu import look_at_gpu
from .interface import Ask, ask_command, interface_to, look_at_interface
from .jpeg import look_at_jpeg
from .kernel import look_at_kernel
from .memory import SharedMemory, look_at_memory, try_memory
from .survey import Sent, Survey, ahead, survey
from .tcp import Connection, look_at_connection, segments
from .way import look_at_way, rate_of

__all__ = [
    "Ask",
    "Computer",
    "Connection",
    "Files",
    "Finding",
    "Sent",
    "SharedMemory",
    "Survey",
    "Verdict",
    "ahead",
    "ask_command",
    "interface_to",
    "look_at_computer",
    "look_at_connection",
    "look_at_gpu",
    "look_at_interface",
    "look_at_jpeg",
    "look_at_kernel",
    "look_at_memory",
    "look_at_way",
    "rate_of",
    "segments",
    "survey",
    "try_memory",
]
