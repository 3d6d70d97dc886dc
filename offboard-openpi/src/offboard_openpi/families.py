"""What openpi's configs take and answer. Read in openpi 15a9616 (June 2026).

openpi checks next to nothing: six joints for seven, NaN, and joints of 10^9 get plausible answers. So what a config
takes is written down here, and checked before openpi sees it. A config that is not listed gets the generic checks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

from offboard_core.types import Field

#: What openpi calls the instruction.
PROMPT = "prompt"


@dataclass(frozen=True, kw_only=True)
class Vector:
    """A vector input: the widths it may have, the range its numbers must lie in, and what they are."""

    widths: tuple[int, ...]
    unit: str
    low: float = -math.inf
    high: float = math.inf


@dataclass(frozen=True, kw_only=True)
class Family:
    """Configs that take and answer the same.

    ``images``: name → whether it is required; uint8, (h, w, 3), or (3, h, w) where ``channels_first``. ``nested``: the
    map that holds the images. ``action_width``: D of the answered (T, D). ``action_space``: what its numbers mean.
    ``default_prompt``: the config brings an instruction of its own. ``codecs``: those that fit, for error texts.
    """

    name: str
    vectors: Mapping[str, Vector]
    images: Mapping[str, bool]
    action_width: int
    action_space: str
    codecs: tuple[str, ...]
    nested: str | None = None
    channels_first: bool = False
    default_prompt: bool = False

    def inputs(self) -> dict[str, Field]:
        """The top-level names of an observation, without the prompt."""
        fields = {
            name: Field(shape=(_one(v.widths),), dtype="float32", unit=v.unit) for name, v in self.vectors.items()
        }
        if self.nested is not None:
            return {**fields, self.nested: Field()}
        return {
            **fields,
            **{n: Field(shape=(-1, -1, 3), dtype="uint8", unit="RGB", required=r) for n, r in self.images.items()},
        }

    def with_width(self, name: str, width: int) -> Family:
        """This family, where ``name`` is known to have this width; unchanged if it cannot have it."""
        vector = self.vectors[name]
        if width not in vector.widths:
            return self
        return replace(self, vectors={**self.vectors, name: replace(vector, widths=(width,))})


def _one(widths: tuple[int, ...]) -> int:
    return widths[0] if len(widths) == 1 else -1


#: No joint of an arm that openpi's data sets know turns farther; degrees do.
_TURN = 2 * math.pi

DROID = Family(
    name="droid",
    vectors={
        "observation/joint_position": Vector(widths=(7,), unit="rad", low=-_TURN, high=_TURN),
        "observation/gripper_position": Vector(widths=(1,), unit="0 open to 1 closed", low=-0.05, high=1.05),
    },
    images={"observation/exterior_image_1_left": True, "observation/wrist_image_left": True},
    action_width=8,
    action_space="joint_velocity",
    codecs=("droid", "native"),
)
DROID_JOINTS = replace(
    DROID, name="droid_jointpos", action_space="absolute_joints", codecs=("droid_jointpos", "native")
)
LIBERO = Family(
    name="libero",
    vectors={
        "observation/state": Vector(
            widths=(8,), unit="m, axis-angle in rad, two finger positions in m; LIBERO's world frame"
        )
    },
    images={"observation/image": True, "observation/wrist_image": True},
    action_width=7,
    action_space="pose_delta",
    codecs=("libero", "native"),
)
ALOHA = Family(
    name="aloha",
    vectors={"state": Vector(widths=(14,), unit="six joints in rad and a gripper, 1 open; left arm first")},
    images={"cam_high": True, "cam_low": False, "cam_left_wrist": False, "cam_right_wrist": False},
    nested="images",
    channels_first=True,
    action_width=14,
    action_space="absolute_joints",
    codecs=("aloha", "native"),
)
ALOHA_TASK = replace(ALOHA, default_prompt=True)
#: The arm codecs' own layout: pose or joints and grip (8), or all of them (15).
POSITRONIC = Family(
    name="positronic",
    vectors={"observation/state": Vector(widths=(8, 15), unit="as the codec makes it")},
    images={"observation/image": True, "observation/wrist_image": True},
    action_width=8,
    action_space="absolute",
    codecs=("ee", "ee_joints", "ee_traj", "ee_joints_traj", "joints_traj", "native"),
)

#: The config that a checkpoint is served with if nothing says another.
DEFAULT_CONFIG = "pi05_positronic_lowmem"


_CONFIGS: list[tuple[Family, tuple[str, ...]]] = [
    (DROID, ("pi0_droid", "pi05_droid", "pi0_fast_droid", "pi05_droid_finetune")),
    (
        DROID_JOINTS,
        (
            "pi0_fast_full_droid_finetune",
            "pi05_full_droid_finetune",
            "pi05_droid_jointpos_polaris",
            "pi0_fast_droid_jointpos_polaris",
            "pi0_droid_jointpos_polaris",
            "pi0_droid_jointpos_100k_polaris",
            "paligemma_binning_droid_jointpos",
        ),
    ),
    (
        LIBERO,
        (
            "pi0_libero",
            "pi0_libero_low_mem_finetune",
            "pi0_fast_libero",
            "pi0_fast_libero_low_mem_finetune",
            "pi05_libero",
        ),
    ),
    (ALOHA, ("pi0_aloha", "pi05_aloha")),
    (
        ALOHA_TASK,
        ("pi0_aloha_towel", "pi0_aloha_tupperware", "pi0_aloha_pen_uncap", "pi05_aloha_pen_uncap", "pi0_aloha_sim"),
    ),
    (POSITRONIC, (DEFAULT_CONFIG,)),
]
#: Config name → what it takes.
FAMILIES: dict[str, Family] = {config: family for family, configs in _CONFIGS for config in configs}
