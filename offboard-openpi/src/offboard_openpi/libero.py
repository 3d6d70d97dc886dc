"""LIBERO, a simulated Franka arm (robosuite), for openpi's LIBERO checkpoints."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from offboard_client.errors import InvalidAction
from offboard_core.codecs import (
    LIBERO_CONVENTIONS,
    LiberoCodecOptions,
    LiberoImage,
    LiberoState,
    TrainingColumns,
    action_field,
    libero_delta,
    timed,
)
from offboard_core.types import Checkpoint, Chunk, Codec, CodecMeta, Observation

from .blocks import SIZE, Prompt, check_fit

STATE, WRIST, EXTERIOR = "observation/state", "observation/wrist_image", "observation/image"


@dataclass(frozen=True, kw_only=True)
class LiberoOptions(LiberoCodecOptions):
    """The options of ``openpi.libero``."""


def libero(options: LiberoOptions, checkpoint: Checkpoint) -> Codec:
    """Pose and grip, two cameras; pose deltas and a grip out. For serving only."""
    check_fit("libero", {STATE: (8,), WRIST: None, EXTERIOR: None}, 7, checkpoint)
    flip = options.pictures == "robosuite"
    inner = (
        LiberoState(name=STATE)
        & LiberoImage(name=WRIST, source="image.wrist", size=SIZE, upside_down=flip)
        & LiberoImage(name=EXTERIOR, source="image.exterior", size=SIZE, upside_down=flip)
        & Prompt()
        & LiberoAction()
    )
    return timed(TrainingColumns(inner=inner, columns={}), options.fps, options.horizon_sec)


@dataclass(frozen=True)
class LiberoAction(Codec):
    """(T, 7): position, rotation and grip, each -1 to 1, as ``pose_delta`` (T, 7) and ``target_grip`` (T, 1)."""

    @property
    def meta(self) -> CodecMeta:
        """Says what an action of 1 is."""
        return CodecMeta(
            action={"pose_delta": action_field("pose_delta", 7), "target_grip": action_field("target_grip", 1)},
            conventions=LIBERO_CONVENTIONS,
        )

    @property
    def one_way(self) -> str | None:
        """See :meth:`Codec.one_way`."""
        return "actions are clipped as robosuite clips them: the model's own numbers are not known any more"

    def decode(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.decode`."""
        rows = chunk.columns().get("action")
        if rows is None or rows.ndim != 2 or rows.shape[1] != 7 or not np.isfinite(rows).all():
            found = "nothing" if rows is None else str(rows.shape)
            raise InvalidAction(f"the model answered {found}, LIBERO's actions are finite numbers (T, 7)")
        grip = (np.clip(rows[:, 6:], -1.0, 1.0) + 1) / 2
        return Chunk({"pose_delta": libero_delta(rows[:, :6]), "target_grip": grip}, chunk.timestamp)
