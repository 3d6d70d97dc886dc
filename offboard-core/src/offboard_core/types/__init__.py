"""What vendors, codecs and the server share. Everything here is light: numpy and the standard library.

A robot's observation becomes a model's input by a :class:`Codec`, the model's answer is a :class:`Chunk`
that the same codec turns back into the robot's terms. A :class:`CheckpointLoader` makes a :class:`Policy`
of a :class:`Checkpoint`; a :class:`ModelRegistry` says which checkpoints exist; a :class:`Session` is one
episode of one robot on a policy.
"""

from __future__ import annotations

from .answers import apart
from .checkpoint import ALONE, Checkpoint, CheckpointLoader, ModelRegistry, Placement
from .chunk import Array, Chunk, Columns, is_array, rows
from .codec import Codec, Parallel, Sequential, Stage, decodes, encodes
from .context import NO_CONTEXT, InferContext
from .control import Control, NoParams
from .elsewhere import Elsewhere
from .health import Health
from .policy import Item, Policy, Session, ask, raised
from .progress import Progress, ReportProgress, sized
from .values import CodecMeta, Feature, Field, Observation, fits, is_image

__all__ = [
    "ALONE",
    "NO_CONTEXT",
    "Array",
    "Checkpoint",
    "CheckpointLoader",
    "Chunk",
    "Codec",
    "CodecMeta",
    "Columns",
    "Control",
    "Elsewhere",
    "Feature",
    "Field",
    "Health",
    "InferContext",
    "Item",
    "ModelRegistry",
    "NoParams",
    "Observation",
    "Parallel",
    "Placement",
    "Policy",
    "Progress",
    "ReportProgress",
    "Sequential",
    "Session",
    "Stage",
    "apart",
    "ask",
    "decodes",
    "encodes",
    "fits",
    "is_array",
    "is_image",
    "raised",
    "rows",
    "sized",
]
