"""The protocol as rules without I/O: addresses, settings, attempts, the frames of one session, its timing."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .address import Address, bracketed, is_numeric, listen_host, literal, parse_address
from .deadline import Deadline, Passed, Pulse
from .meta import FPS_RANGE, RATE, check_meta, is_rate
from .sparse import Sparse
from .timing import Step, Timings

if TYPE_CHECKING:
    from .attempts import AttemptFailed, Attempts, from_os_error, from_response, told_error
    from .frames import FrameReader, FrameWriter, Piece, Turns
    from .image_form import ImageForm, Images, parse_images
    from .openpi_layout import Instruction, Layout, Part, Picture
    from .openpi_protocol import OpenPIProtocol
    from .openpi_words import LAYOUTS, said_layout
    from .session_protocol import SessionProtocol
    from .settings import TOKEN_VARIABLE, BaseClient, Clock, Prepare, Settings, Timeouts, late
    from .websocket import WebSocket

__all__ = [
    "FPS_RANGE",
    "LAYOUTS",
    "RATE",
    "TOKEN_VARIABLE",
    "Address",
    "AttemptFailed",
    "Attempts",
    "BaseClient",
    "Clock",
    "Deadline",
    "FrameReader",
    "FrameWriter",
    "ImageForm",
    "Images",
    "Instruction",
    "Layout",
    "OpenPIProtocol",
    "Part",
    "Passed",
    "Picture",
    "Piece",
    "Prepare",
    "Pulse",
    "SessionProtocol",
    "Settings",
    "Sparse",
    "Step",
    "Timeouts",
    "Timings",
    "Turns",
    "WebSocket",
    "bracketed",
    "check_meta",
    "from_os_error",
    "from_response",
    "is_numeric",
    "is_rate",
    "late",
    "listen_host",
    "literal",
    "parse_address",
    "parse_images",
    "said_layout",
    "told_error",
]

#: Imported when first asked for: whoever needs an address or a rate needs no websockets and no ssl.
_LATER = {
    "AttemptFailed": "attempts",
    "Attempts": "attempts",
    "from_os_error": "attempts",
    "from_response": "attempts",
    "told_error": "attempts",
    "FrameReader": "frames",
    "FrameWriter": "frames",
    "Piece": "frames",
    "Turns": "frames",
    "ImageForm": "image_form",
    "Images": "image_form",
    "parse_images": "image_form",
    "LAYOUTS": "openpi_words",
    "Instruction": "openpi_layout",
    "Layout": "openpi_layout",
    "OpenPIProtocol": "openpi_protocol",
    "Part": "openpi_layout",
    "Picture": "openpi_layout",
    "said_layout": "openpi_words",
    "SessionProtocol": "session_protocol",
    "late": "settings",
    "BaseClient": "settings",
    "Clock": "settings",
    "Prepare": "settings",
    "Settings": "settings",
    "TOKEN_VARIABLE": "settings",
    "Timeouts": "settings",
    "WebSocket": "websocket",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
