"""What a protocol implements to be served, how protocols are found, and what they share: names, images, errors."""

from __future__ import annotations

from offboard_client.wire import Status

from ..catalog import ResolvedCodec
from ..engine import Result, Serializer, ServiceSession
from .base import CONTROL_BYTES, Frame, Frontend, FrontendConnection, Scope, read_control
from .discovery import make_frontends
from .edge import Edge, EdgeConnection
from .images import unpack_values
from .names import check_reserved, is_positronic, warnings
from .numbers import find_seq

__all__ = [
    "CONTROL_BYTES",
    "Edge",
    "EdgeConnection",
    "Frame",
    "Frontend",
    "FrontendConnection",
    "ResolvedCodec",
    "Result",
    "Scope",
    "Serializer",
    "ServiceSession",
    "Status",
    "check_reserved",
    "find_seq",
    "is_positronic",
    "make_frontends",
    "read_control",
    "unpack_values",
    "warnings",
]
