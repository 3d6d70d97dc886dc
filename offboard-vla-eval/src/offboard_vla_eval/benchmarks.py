"""What vla-eval's benchmarks send and play, where that is known: the inverse of a codec that makes such names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from offboard_core.frontends import KeySet, LiberoKeys
from offboard_core.types import Array

#: What every benchmark calls the instruction.
INSTRUCTION = "task_description"


@dataclass(frozen=True, kw_only=True)
class BenchmarkKeys(KeySet):
    """``folders``: where vla-eval's benchmarks of this kind stand, as part of their import strings.

    ``action_spec`` and ``observation_spec``: what vla-eval says of the same, by its own words for it; the harness
    compares them with the benchmark's. ``asked_with_state``: what the benchmark is asked beside its state, for that to
    be what models were trained with.
    """

    instruction: str = INSTRUCTION
    folders: frozenset[str]
    action_spec: Mapping[str, Any]
    observation_spec: Mapping[str, Any] = field(default_factory=dict[str, Any])
    asked_with_state: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class _Libero(LiberoKeys, BenchmarkKeys):
    """The grip's steps go from -1, open, to 1: the benchmark makes one of them of any number."""

    def _step(self, name: str, steps: Array) -> Array:
        return 2 * steps - 1 if name == "target_grip" else super()._step(name, steps)

    def _step_back(self, name: str, steps: Array) -> Array:
        return (steps + 1) / 2 if name == "target_grip" else super()._step_back(name, steps)


def _spec(name: str, dims: int, form: str, span: tuple[float, float] | None = None) -> dict[str, Any]:
    return {"name": name, "dims": dims, "format": form} | ({} if span is None else {"range": list(span)})


_PICTURE = _spec("image", 0, "rgb_hwc_uint8")
_LIBERO = _Libero(
    name="libero",
    instruction=INSTRUCTION,
    vectors={"states": {"robot_state.ee_pose": 6, "grip": 2}},
    images={"images/wrist": "image.wrist", "images/agentview": "image.exterior"},
    columns={"delta_pose": 6, "gripper": 1},
    # Without it, unlike robosuite, it makes another sign of half the rotations of a gripper that points down.
    asked_with_state=frozenset({"quat_no_antipodal"}),
    folders=frozenset({"libero", "libero_mem", "libero_plus", "libero_pro"}),
    action_spec={
        "position": _spec("position", 3, "delta_xyz", (-1, 1)),
        "rotation": _spec("rotation", 3, "axis_angle", (-3.15, 3.15)),
        "gripper": _spec("gripper", 1, "binary_close_positive", (-1, 1)),
    },
    observation_spec={
        "images/agentview": {"agentview": _PICTURE},
        "images/wrist": {"wrist": _PICTURE},
        "states": {"state": _spec("state", 8, "eef_pos3_axisangle3_gripper2")},
        INSTRUCTION: {"language": _spec("language", 0, "language")},
    },
)
#: Key set, named like the codecs that make the same of canonical names.
KEYSETS: dict[str, BenchmarkKeys] = {keys.name: keys for keys in (_LIBERO,)}
#: Of a benchmark that nobody here knows.
RAW = {"actions": _spec("raw", 0, "raw")}


def folder(benchmark: str) -> str | None:
    """The part of an import string of vla-eval's that tells its benchmarks apart; None for others' benchmarks."""
    parts = benchmark.partition(":")[0].split(".")
    return parts[2] if parts[:2] == ["vla_eval", "benchmarks"] and len(parts) > 2 else None
