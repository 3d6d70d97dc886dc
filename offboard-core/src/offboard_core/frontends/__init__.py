"""What a protocol implements to be served, how protocols are found, and what they share: names, images, errors."""

from __future__ import annotations

from offboard_client.wire import Status

from ..catalog import ResolvedCodec
from ..engine import Result, Serializer, ServiceSession
from .admission import MAX_SESSIONS, MESSAGE_RATE, QUIET, Admission, Peer
from .base import Frame, Frontend, FrontendConnection, PeerConnection, Scope, both_ends, read_control
from .contained import contained, contained_async
from .descriptors import RESERVE, lacking, provide
from .discovery import make_frontends, make_listeners, split_listen
from .edge import Edge, EdgeConnection
from .images import unpack_values
from .joined import JOINED, Joined, VectorLayout, check_vector, vector_layout
from .keysets import KeySet, Translated, Untouched, check_own, check_translation, field_width, reads_own, spell_widths
from .lengths import chunk_lengths
from .libero_keys import LiberoKeys, check_range
from .listener import Listener
from .memory import MEMORY, SocketMemory, memory_of
from .names import check_reserved, is_positronic, warnings
from .numbers import find_seq
from .peers import PeerSessions
from .rates import Bucket
from .sparing import Sparing
from .turns import Turns
from .walk import MOST_PARTS, NO_MESSAGE, Walk

__all__ = [
    "JOINED",
    "MAX_SESSIONS",
    "MEMORY",
    "MESSAGE_RATE",
    "MOST_PARTS",
    "NO_MESSAGE",
    "QUIET",
    "RESERVE",
    "Admission",
    "Bucket",
    "Edge",
    "EdgeConnection",
    "Frame",
    "Frontend",
    "FrontendConnection",
    "Joined",
    "KeySet",
    "LiberoKeys",
    "Listener",
    "Peer",
    "PeerConnection",
    "PeerSessions",
    "ResolvedCodec",
    "Result",
    "Scope",
    "Serializer",
    "ServiceSession",
    "SocketMemory",
    "Sparing",
    "Status",
    "Translated",
    "Turns",
    "Untouched",
    "VectorLayout",
    "Walk",
    "both_ends",
    "check_own",
    "check_range",
    "check_reserved",
    "check_translation",
    "check_vector",
    "chunk_lengths",
    "contained",
    "contained_async",
    "field_width",
    "find_seq",
    "is_positronic",
    "lacking",
    "make_frontends",
    "make_listeners",
    "memory_of",
    "provide",
    "read_control",
    "reads_own",
    "spell_widths",
    "split_listen",
    "unpack_values",
    "vector_layout",
    "warnings",
]
