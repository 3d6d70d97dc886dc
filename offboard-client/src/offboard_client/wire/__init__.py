"""What goes over the wire, as values: arrays, images, messages, rows and their limits. No connection, no clock."""

from __future__ import annotations

from .actions import ACTIONS, GRIP_TOLERANCE, POSES, UNIT_TOLERANCE, check_actions, check_times, is_finite
from .forms import read_forms, refuse_forms
from .image_files import essence
from .images import decode_image, encode_image, image_size, shrink
from .json_text import decode_text, encode_text
from .limits import DEFAULT_LIMITS, ImageBudget, WireLimits
from .messages import (
    CLOSE_GOING_AWAY,
    CLOSE_MODEL_LOST,
    CLOSE_NORMAL,
    CLOSE_REFUSED,
    CLOSE_TOO_LARGE,
    CONTROLS,
    DEADLINE_MS,
    MODELS_PATH,
    RESERVED_NAMES,
    RESERVED_PARAMS,
    SEQ,
    SESSION_PATH,
    Ready,
    Status,
    canonical,
    control_answer,
    control_frame,
    control_kind,
    error_frame,
    frame_error,
    frame_seq,
    read_control_answer,
    read_handshake,
    read_reply,
)
from .packing import Encoder, decode, decode_plain, encode
from .rows import Row, rows
from .spec import check_form, check_observation

__all__ = [
    "ACTIONS",
    "CLOSE_GOING_AWAY",
    "CLOSE_MODEL_LOST",
    "CLOSE_NORMAL",
    "CLOSE_REFUSED",
    "CLOSE_TOO_LARGE",
    "CONTROLS",
    "DEADLINE_MS",
    "DEFAULT_LIMITS",
    "GRIP_TOLERANCE",
    "MODELS_PATH",
    "POSES",
    "RESERVED_NAMES",
    "RESERVED_PARAMS",
    "SEQ",
    "SESSION_PATH",
    "UNIT_TOLERANCE",
    "Encoder",
    "ImageBudget",
    "Ready",
    "Row",
    "Status",
    "WireLimits",
    "canonical",
    "check_actions",
    "check_form",
    "check_observation",
    "check_times",
    "control_answer",
    "control_frame",
    "control_kind",
    "decode",
    "decode_image",
    "decode_plain",
    "decode_text",
    "encode",
    "encode_image",
    "encode_text",
    "error_frame",
    "essence",
    "frame_error",
    "frame_seq",
    "image_size",
    "is_finite",
    "read_control_answer",
    "read_forms",
    "read_handshake",
    "read_reply",
    "refuse_forms",
    "rows",
    "shrink",
]
