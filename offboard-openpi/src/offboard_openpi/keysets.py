"""What openpi's robots send and expect, read back into canonical terms: the inverse of this package's codecs.

A codec makes openpi's keys of a robot's canonical names. A key set is for the robot that sends openpi's keys already:
it says which canonical names they hold, and how the canonical actions become the vector that such a robot plays. Tables
and constants are the codecs' own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from offboard_client.errors import BadObservation, InvalidAction
from offboard_core.codecs import CONVENTIONS, convert, convert_pose
from offboard_core.types import Array, Field, is_array

from . import aloha, arm, droid, libero
from .families import ALOHA, DROID, DROID_JOINTS, LIBERO, POSITRONIC, PROMPT

#: Rounding may leave a step this far outside the range that a robot's controller plays.
_ROUNDING = 1e-6
_GRIP = {"grip": CONVENTIONS["grip"]}


@dataclass(frozen=True, kw_only=True)
class KeySet:
    """One robot's names for things.

    ``vectors``: the robot's vector → the canonical names it holds, in order, with the numbers each has there.
    ``images``: the robot's image → the canonical one; under ``nested``, if the robot sends them in a map of that name.
    ``actions``: canonical action → the numbers it has in the vector (T, D) that the robot plays, in order.
    ``columns``: what these are to the robot, if that is something else. ``conventions``: what the numbers mean.
    ``action_space``: what they are, as :class:`~.families.Family` calls it. ``fps``: the rate that the size of a step
    belongs to, for robots that play steps instead of targets.
    """

    name: str
    vectors: Mapping[str, Mapping[str, int]]
    images: Mapping[str, str]
    actions: Mapping[str, int]
    action_space: str
    columns: tuple[str, ...] = ()
    conventions: Mapping[str, str] = field(default_factory=lambda: dict(CONVENTIONS))
    nested: str | None = None
    fps: float | None = None

    @property
    def provides(self) -> set[str]:
        """The canonical names that such a robot sends."""
        return {"task", *self.images.values(), *(name for parts in self.vectors.values() for name in parts)}

    @property
    def keys(self) -> set[str]:
        """The robot's own names."""
        return {PROMPT, *self.vectors, *([self.nested] if self.nested else self.images)}

    @property
    def layout(self) -> list[tuple[str, int]]:
        """The columns of the vector that the robot plays."""
        return list(zip(self.columns or self.actions, self.actions.values(), strict=True))

    def fields(self, needed: set[str]) -> dict[str, Field]:
        """The robot's names, of which those that hold one of the canonical names ``needed`` are required."""
        fields = {
            key: Field(shape=(sum(parts.values()),), dtype="float32", required=bool(needed & parts.keys()))
            for key, parts in self.vectors.items()
        }
        if self.nested is not None:
            fields[self.nested] = Field(required=bool(needed & set(self.images.values())))
        else:
            for key, name in self.images.items():
                fields[key] = Field(shape=(-1, -1, 3), dtype="uint8", unit="RGB", required=name in needed)
        return {**fields, PROMPT: Field(shape=(), dtype="str", required="task" in needed)}

    def to_canonical(self, observation: Mapping[str, Any]) -> dict[str, Any]:
        """The observation under canonical names; what the robot does not send is not there. Raises BadObservation."""
        found: dict[str, Any] = {name: value for name, value in observation.items() if name not in self.keys}
        for key, parts in self.vectors.items():
            if observation.get(key) is not None:
                split = np.split(np.asarray(observation[key]).reshape(-1), np.cumsum(list(parts.values()))[:-1])
                found |= {name: self._part(name, value) for name, value in zip(parts, split, strict=True)}
        given: Any = observation if self.nested is None else observation.get(self.nested) or {}
        if not isinstance(given, Mapping):
            raise BadObservation(f"{self.nested} is a {type(given).__name__}, expected a map of camera names to images")
        images = cast("Mapping[str, Any]", given)
        for key, name in self.images.items():
            if images.get(key) is not None:
                found[name] = self._image(key, images[key])
        if observation.get(PROMPT) is not None:
            found["task"] = observation[PROMPT]
        return found

    def from_canonical(self, columns: Mapping[str, Array]) -> Array:
        """Canonical actions (T, …) as the vector (T, D) that the robot plays. Raises InvalidAction."""
        if columns.keys() != self.actions.keys():
            raise InvalidAction(
                f"the model answers {', '.join(columns)}; a robot with the key set {self.name} plays "
                f"{', '.join(self.actions)}, and one is never made of the other"
            )
        return np.concatenate(
            [self._step(name, columns[name].reshape(len(columns[name]), -1)) for name in self.actions], 1
        )

    def actions_to_canonical(self, parts: Sequence[Array]) -> dict[str, Array]:
        """What :meth:`from_canonical` makes these of: one array (T, …) for each of :attr:`actions`, in their order."""
        return {name: self._step_back(name, part) for name, part in zip(self.actions, parts, strict=True)}

    def _part(self, name: str, value: Array) -> Array:
        return value

    def _image(self, key: str, image: Any) -> Any:
        return image

    def _step(self, name: str, steps: Array) -> Array:
        return steps

    def _step_back(self, name: str, steps: Array) -> Array:
        return steps


class _Droid(KeySet):
    """Joint deltas become DROID's velocities again."""

    def _step(self, name: str, steps: Array) -> Array:
        return _in_range(name, steps / droid.STEP, droid.STEP, "rad") if name == "joint_delta" else steps

    def _step_back(self, name: str, steps: Array) -> Array:
        return steps * droid.STEP if name == "joint_delta" else steps


class _Libero(KeySet):
    """Axis-angles, two fingers, mirrored pictures, and steps from -1 to 1."""

    def _part(self, name: str, value: Array) -> Array:
        if name == "grip":
            return 1 - np.mean([value[0], -value[1]], keepdims=True) / libero.FINGER
        return convert_pose(value, "rotvec", "quat")

    def _image(self, key: str, image: Any) -> Any:
        return np.ascontiguousarray(image[:, ::-1])

    def _step(self, name: str, steps: Array) -> Array:
        if name == "target_grip":
            return 2 * steps - 1
        # Either sign is the same rotation; the one with w >= 0 is the short way round.
        short = np.where(steps[:, 3:4] < 0, -steps[:, 3:], steps[:, 3:])
        turn = convert(short, "quat", "rotvec") / libero.ROTATION_STEP
        move = _in_range(name, steps[:, :3] / libero.POSITION_STEP, libero.POSITION_STEP, "m")
        return np.concatenate([move, _in_range(name, turn, libero.ROTATION_STEP, "rad")], axis=1)

    def _step_back(self, name: str, steps: Array) -> Array:
        if name == "target_grip":
            return (steps + 1) / 2
        turn = convert(steps[:, 3:] * libero.ROTATION_STEP, "rotvec", "quat")
        return np.concatenate([steps[:, :3] * libero.POSITION_STEP, turn], axis=1)


class _Aloha(KeySet):
    """Grippers are 1 open, images have their channels first."""

    def _part(self, name: str, value: Array) -> Array:
        return 1 - value if name.startswith("grip") else value

    def _image(self, key: str, image: Any) -> Any:
        if not is_array(image) or image.ndim != 3 or image.shape[0] != 3:
            raise BadObservation(f"{self.nested}/{key} is no image (3, h, w) uint8 RGB, as ALOHA sends them")
        return np.ascontiguousarray(image.transpose(1, 2, 0))

    def _step(self, name: str, steps: Array) -> Array:
        return 1 - steps if name.startswith("target_grip") else steps

    def _step_back(self, name: str, steps: Array) -> Array:
        return self._step(name, steps)


def _in_range(name: str, steps: Array, whole: float, unit: str) -> Array:
    """``steps``, if such a robot's controller plays them as they are: it clips to [-1, 1] without a word."""
    if (np.abs(steps) > 1 + _ROUNDING).any():
        raise InvalidAction(
            f"the model answered a {name} of {float(np.abs(steps).max() * whole):.3g} {unit} in one step; this robot "
            f"plays {whole:g} {unit} at most and would clip it"
        )
    return steps


def _arm(name: str) -> KeySet:
    actions = arm.JOINT_ACTION if name == "joints_traj" else arm.POSE_ACTION
    images = {arm.WRIST: "image.wrist", arm.EXTERIOR: "image.exterior"}
    return KeySet(
        name=name,
        vectors={arm.STATE: arm.STATES[name]},
        images=images,
        actions=actions,
        action_space=POSITRONIC.action_space,
    )


_DROID = _Droid(
    name="droid",
    vectors={droid.JOINTS: {"robot_state.q": 7}, droid.GRIP: {"grip": 1}},
    images={droid.WRIST: "image.wrist", droid.EXTERIOR: "image.exterior"},
    actions={"joint_delta": 7, "target_grip": 1},
    action_space=DROID.action_space,
    columns=("joint_velocity", "gripper_position"),
    conventions=_GRIP,
    fps=droid.FPS,
)
_DROID_JOINTS = replace(
    _DROID,
    name="droid_jointpos",
    actions=arm.JOINT_ACTION,
    action_space=DROID_JOINTS.action_space,
    columns=("joint_position", "gripper_position"),
    fps=None,
)
_LIBERO = _Libero(
    name="libero",
    vectors={libero.STATE: {"robot_state.ee_pose": 6, "grip": 2}},
    images={libero.WRIST: "image.wrist", libero.EXTERIOR: "image.exterior"},
    actions={"pose_delta": 6, "target_grip": 1},
    action_space=LIBERO.action_space,
    columns=("delta_pose", "gripper"),
    conventions=libero.LIBERO_CONVENTIONS,
    fps=libero.LiberoOptions().fps,
)
_ALOHA = _Aloha(
    name="aloha",
    vectors={"state": aloha.STATE_PARTS},
    images={cam: name for cam, (name, _) in aloha.CAMERAS.items()},
    actions=aloha.ACTION_PARTS,
    action_space=ALOHA.action_space,
    columns=("left_joints", "left_gripper", "right_joints", "right_gripper"),
    conventions=_GRIP,
    nested="images",
)
#: Key set, named like the codec that makes the same keys.
KEYSETS: dict[str, KeySet] = {
    keys.name: keys for keys in (*map(_arm, arm.STATES), _DROID, _DROID_JOINTS, _LIBERO, _ALOHA)
}
