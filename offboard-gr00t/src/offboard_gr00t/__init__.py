"""GR00T's robots in front of offboard, and the layouts of its models. Importing this imports no model library."""

from __future__ import annotations

from collections.abc import Iterator

from offboard_core import (
    CodecEntry,
    DataSetEntry,
    ListenerEntry,
    LoaderEntry,
    RegistryEntry,
    TrainerEntry,
    hookimpl,
)

from .files import recognises
from .variants import VARIANTS


@hookimpl
def offboard_checkpoint_loaders() -> Iterator[LoaderEntry]:
    """GR00T's own server, as a supervised child in GR00T's own environment."""
    yield LoaderEntry(
        name="gr00t",
        summary="NVIDIA GR00T checkpoints (N1.5, N1.6, N1.7), served by GR00T's own server as a child.",
        factory="offboard_gr00t.loader:GR00TLoader",
        options="offboard_gr00t.options:GR00TOptions",
        default_codec="ee_quat",
        registry="gr00t",
        recognises=recognises,
        variants=VARIANTS,
    )


@hookimpl
def offboard_listeners() -> Iterator[ListenerEntry]:
    """GR00T's own protocol, for the robots that run its client."""
    yield ListenerEntry(
        name="gr00t",
        summary="GR00T's own protocol over ZMQ: robots that run its PolicyClient drive any model.",
        factory="offboard_gr00t.listener:GR00TListener",
        port=5555,
        options="offboard_gr00t.options:GR00TListenerOptions",
    )


@hookimpl
def offboard_model_registries() -> Iterator[RegistryEntry]:
    """What GR00T's training writes."""
    yield RegistryEntry(
        name="gr00t",
        summary="A folder of GR00T's training, or one checkpoint of it; local, s3://, gs:// or hf://.",
        factory="offboard_gr00t.registry:GR00TRegistry",
    )


@hookimpl
def offboard_trainers() -> Iterator[TrainerEntry]:
    """GR00T's own scripts."""
    yield TrainerEntry(
        name="gr00t",
        summary="GR00T's own fine-tuning, in GR00T's environment.",
        factory="offboard_gr00t.training:GR00TTrainer",
    )


@hookimpl
def offboard_data_sets() -> Iterator[DataSetEntry]:
    """What GR00T's own loaders read."""
    yield DataSetEntry(
        name="gr00t",
        summary="LeRobot's form v2.1 with GR00T's meta/modality.json.",
        factory="offboard_gr00t.writer:GR00TDataSet",
    )


@hookimpl
def offboard_codecs() -> Iterator[CodecEntry]:
    """Positronic's layouts for one arm, GR00T's two platforms, and GR00T's own keys."""
    for name, summary in {
        "ee_quat": "Pose with a quaternion, and grip in; absolute poses out.",
        "ee_quat_joints": "As ee_quat, with the joints in.",
        "ee_rot6d": "Pose with the first two rows of its rotation, and grip in; absolute poses out.",
        "ee_rot6d_joints": "As ee_rot6d, with the joints in.",
        "ee_quat_traj": "As ee_quat, trained on the trajectory that was driven; grip out is 0 or 1.",
        "ee_rot6d_traj": "As ee_rot6d, trained on the trajectory that was driven; grip out is 0 or 1.",
        "ee_quat_joints_traj": "As ee_quat_joints, trained on the trajectory that was driven; grip out is 0 or 1.",
        "ee_rot6d_joints_traj": "As ee_rot6d_joints, trained on the trajectory that was driven; grip out is 0 or 1.",
        "joints_traj": "Joints and grip in; absolute joints out, trained on the trajectory; grip out is 0 or 1.",
    }.items():
        yield CodecEntry(
            name=name,
            summary=summary,
            factory=f"offboard_gr00t.arm:{name}",
            options="offboard_gr00t.arm:ArmOptions",
        )
    yield CodecEntry(
        name="droid",
        summary="Joints and grip in, the pose for N1.7; absolute joints out, for DROID checkpoints. Serving only.",
        factory="offboard_gr00t.droid:droid",
        options="offboard_gr00t.droid:DroidOptions",
    )
    yield CodecEntry(
        name="libero",
        summary="Pose and grip in; pose deltas out, for LIBERO checkpoints. Serving only.",
        factory="offboard_gr00t.libero:libero",
        options="offboard_gr00t.libero:LiberoOptions",
    )
    yield CodecEntry(
        name="native",
        summary="GR00T's own keys go in, its own groups of actions come out.",
        factory="offboard_gr00t.native:native",
        options="offboard_gr00t.native:GR00TNativeOptions",
    )
