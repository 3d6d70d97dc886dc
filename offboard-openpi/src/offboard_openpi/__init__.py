"""openpi policies behind offboard. Importing this imports no model library."""

from __future__ import annotations

from collections.abc import Iterator

from offboard_core import (
    CodecEntry,
    DataSetEntry,
    FrontendEntry,
    LoaderEntry,
    RegistryEntry,
    TrainerEntry,
    hookimpl,
)

from .files import recognises


@hookimpl
def offboard_checkpoint_loaders() -> Iterator[LoaderEntry]:
    """openpi's own server, as a supervised child in openpi's own environment."""
    yield LoaderEntry(
        name="openpi",
        summary="openpi checkpoints (pi0, pi0-FAST, pi0.5), served by openpi's own server as a child.",
        factory="offboard_openpi.loader:OpenPILoader",
        options="offboard_openpi.options:OpenPIOptions",
        default_codec="ee",
        registry="openpi",
        recognises=recognises,
    )


@hookimpl
def offboard_model_registries() -> Iterator[RegistryEntry]:
    """What openpi's ``train.py`` writes."""
    yield RegistryEntry(
        name="openpi",
        summary="An experiment folder of openpi's training, or one step of it; local, s3://, gs:// or hf://.",
        factory="offboard_openpi.registry:OpenPIRegistry",
    )


@hookimpl
def offboard_trainers() -> Iterator[TrainerEntry]:
    """openpi's own scripts."""
    yield TrainerEntry(
        name="openpi",
        summary="openpi's own compute_norm_stats.py and train.py, in openpi's environment.",
        factory="offboard_openpi.training:OpenPITrainer",
    )


@hookimpl
def offboard_data_sets() -> Iterator[DataSetEntry]:
    """What openpi's training reads by the LeRobot of its own environment."""
    yield DataSetEntry(
        name="openpi",
        summary="LeRobot's form v2.1, as openpi's training reads it.",
        factory="offboard_openpi.data_set:OpenPIDataSet",
    )


@hookimpl
def offboard_codecs() -> Iterator[CodecEntry]:
    """Positronic's layouts for one arm, openpi's three platforms, and openpi's own keys."""
    for name, summary in {
        "ee": "Pose and grip in; absolute poses out.",
        "ee_joints": "Pose, grip and joints in; absolute poses out.",
        "ee_traj": "As ee, trained on the trajectory that was driven; grip out is 0 or 1.",
        "ee_joints_traj": "As ee_joints, trained on the trajectory that was driven; grip out is 0 or 1.",
        "joints_traj": "Joints and grip in; absolute joints out, trained on the trajectory; grip out is 0 or 1.",
    }.items():
        yield CodecEntry(
            name=name,
            summary=summary,
            factory=f"offboard_openpi.arm:{name}",
            options="offboard_openpi.arm:ArmOptions",
        )
    yield CodecEntry(
        name="droid",
        summary="Joints and grip in; joint deltas out, for DROID checkpoints (velocity actions). Serving only.",
        factory="offboard_openpi.droid:droid",
        options="offboard_openpi.droid:DroidOptions",
    )
    yield CodecEntry(
        name="droid_jointpos",
        summary="Joints and grip in; absolute joints out, for DROID checkpoints that answer positions. Serving only.",
        factory="offboard_openpi.droid:droid_jointpos",
        options="offboard_openpi.droid:DroidJointsOptions",
    )
    yield CodecEntry(
        name="libero",
        summary="Pose and grip in; pose deltas out, for LIBERO checkpoints. Serving only.",
        factory="offboard_openpi.libero:libero",
        options="offboard_openpi.libero:LiberoOptions",
    )
    yield CodecEntry(
        name="aloha",
        summary="Two arms' joints and grips in; absolute joints out, for ALOHA checkpoints. Serving only.",
        factory="offboard_openpi.aloha:aloha",
        options="offboard_openpi.aloha:AlohaOptions",
    )
    yield CodecEntry(
        name="native",
        summary="openpi's own keys go in, its own action vector comes out.",
        factory="offboard_openpi.native:native",
        options="offboard_openpi.native:OpenPINativeOptions",
    )


@hookimpl
def offboard_frontends() -> Iterator[FrontendEntry]:
    """openpi's protocol, for the robots that run its client."""
    yield FrontendEntry(
        name="openpi",
        summary="openpi's own protocol: robots that run openpi-client drive any model.",
        factory="offboard_openpi.frontend:OpenPIFrontend",
        paths=("/", "/openpi/policy", "/v1/realtime/robot/openpi", "/roboarena"),
        options="offboard_openpi.options:OpenPIFrontendOptions",
    )
