"""Positronic's modality configs, and its words for one of them with the codec that belongs to it.

A modality config is the file that GR00T was trained with, in Positronic's fork below ``gr00t/configs/data``: which
groups it reads and answers, and whether it learnt the pose as it is or relative to the state (``…_rel``). GR00T keeps
what it says in the checkpoint, where it is looked up here. Of a relative one the answers are absolute, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from offboard_client.errors import ConfigurationError, LoadFailed, unknown

from .modality import Modalities


@dataclass(frozen=True, kw_only=True)
class ModalityConfig:
    """What one of the files says. ``word``: the variant; ``codec``: what reads and makes its groups.

    ``pose``: how many numbers a pose has. ``joints``: whether the joints are read as well. ``relative``: whether the
    pose was learnt relative to the state.
    """

    word: str
    codec: str
    file: str
    pose: int
    joints: bool = False
    relative: bool = False

    def difference(self, found: Modalities) -> str | None:
        """What a checkpoint's own modalities say otherwise; None for nothing."""
        state = {"ee_pose", "grip"} | ({"joint_position"} if self.joints else set[str]())
        for name, theirs, ours in (
            ("camera", found.video, {"wrist_image", "exterior_image_1"}),
            ("group of the state", found.state, state),
            ("group of the action", found.action, {"ee_pose", "grip"}),
        ):
            if odd := sorted(ours ^ set(theirs)):
                which = (
                    "which the config has and the checkpoint has not" if odd[0] in ours else "which the config lacks"
                )
                return f"the {name} {odd[0]}, {which}"
        for name in ("state.ee_pose", "action.ee_pose"):
            if (width := found.widths.get(name, self.pose)) != self.pose:
                return f"{name} has {width} numbers, and {self.pose} in the config"
        kind = found.kinds.get("ee_pose")
        wanted = "RELATIVE" if self.relative else "ABSOLUTE"
        if kind is not None and kind.representation != wanted:
            return f"it learnt ee_pose as {kind.representation}, and {wanted} in the config"
        return None


#: Positronic's name → what the file says.
CONFIGS: Mapping[str, ModalityConfig] = {
    "ee": ModalityConfig(word="ee", codec="ee_quat", file="positronic_ee.py", pose=7),
    "ee_q": ModalityConfig(
        word="ee_joints", codec="ee_quat_joints", file="positronic_ee_joints.py", pose=7, joints=True
    ),
    "ee_rot6d": ModalityConfig(word="ee_rot6d", codec="ee_rot6d", file="positronic_ee_rot6d.py", pose=9),
    "ee_rot6d_q": ModalityConfig(
        word="ee_rot6d_joints", codec="ee_rot6d_joints", file="positronic_ee_rot6d_joints.py", pose=9, joints=True
    ),
    "ee_rot6d_rel": ModalityConfig(
        word="ee_rot6d_rel", codec="ee_rot6d", file="positronic_ee_rot6d_rel.py", pose=9, relative=True
    ),
    "ee_rot6d_q_rel": ModalityConfig(
        word="ee_rot6d_joints_rel", codec="ee_rot6d_joints", file="positronic_ee_rot6d_joints_rel.py", pose=9,
        joints=True, relative=True,
    ),
}  # fmt: skip
#: Positronic's word on the command line → the codec and the modality config that it stands for.
VARIANTS: Mapping[str, Mapping[str, str]] = {
    config.word: {"codec": config.codec, "modality_config": name} for name, config in CONFIGS.items()
}


def config_of(name: str) -> ModalityConfig:
    """The modality config of this name. Raises ConfigurationError naming those there are."""
    if name not in CONFIGS:
        raise ConfigurationError(unknown("modality config", name, CONFIGS))
    return CONFIGS[name]


def check_config(name: str, found: Modalities, checkpoint_id: str) -> None:
    """Raises LoadFailed where a checkpoint's own modalities are not those of the modality config ``name``.

    ConfigurationError for a name that none has.
    """
    difference = config_of(name).difference(found)
    if difference is None:
        return
    fitting = [(each, config.word) for each, config in CONFIGS.items() if config.difference(found) is None]
    instead = " or ".join(f"--modality-config {each} (the variant {word})" for each, word in fitting)
    raise LoadFailed(
        f"serve it with {instead or 'another --codec, without --modality-config'}: the checkpoint {checkpoint_id} was "
        f"not trained with the modality config {name}, as it says itself: {difference}",
        permanent=True,
    )
