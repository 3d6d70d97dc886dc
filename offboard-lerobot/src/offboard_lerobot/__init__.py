"""LeRobot policies behind offboard. Importing this imports neither torch nor lerobot."""

from __future__ import annotations

from collections.abc import Iterator

from offboard_core import (
    CodecEntry,
    DataSetEntry,
    EnvironmentEntry,
    FrontendEntry,
    ListenerEntry,
    LoaderEntry,
    RegistryEntry,
    TrainerEntry,
    hookimpl,
)

from .registry import recognises

#: What LeRobot, and what fetches its checkpoints, read of the environment. What looks like a secret is named in whole.
INHERIT = (
    "HF_*", "HUGGINGFACE_*", "TORCH_*", "PYTORCH_*", "LEROBOT_*", "TRANSFORMERS_*", "TOKENIZERS_*", "AWS_*", "GOOGLE_*",
    "TORCHINDUCTOR_*", "TRITON_*", "CC", "CXX",
    "HF_TOKEN", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "GOOGLE_APPLICATION_CREDENTIALS",
)  # fmt: skip


@hookimpl
def offboard_checkpoint_loaders() -> Iterator[LoaderEntry]:
    """LeRobot in this process."""
    yield LoaderEntry(
        name="lerobot",
        summary="LeRobot checkpoints of every policy type, in this process.",
        factory="offboard_lerobot.loader:LeRobotLoader",
        options="offboard_lerobot.loader:LeRobotOptions",
        registry="lerobot",
        recognises=recognises,
        inherit=INHERIT,
        needs={"lerobot": "lerobot>=0.4.4,<0.7"},
        demo="offboard_lerobot.demo:RECIPE",
    )


@hookimpl
def offboard_listeners() -> Iterator[ListenerEntry]:
    """LeRobot's asynchronous inference, for the robots that run its client."""
    yield ListenerEntry(
        name="lerobot",
        summary="LeRobot's async_inference over gRPC: robots that run its robot_client drive any model.",
        factory="offboard_lerobot.async_inference:make_listener",
        port=8080,
        options="offboard_lerobot.async_inference.options:RobotClientOptions",
    )


@hookimpl
def offboard_model_registries() -> Iterator[RegistryEntry]:
    """What ``lerobot-train`` writes."""
    yield RegistryEntry(
        name="lerobot",
        summary="The output folder of lerobot-train, or one pretrained_model folder; local, hf://, s3:// or gs://.",
        factory="offboard_lerobot.registry:open_registry",
    )


@hookimpl
def offboard_trainers() -> Iterator[TrainerEntry]:
    """LeRobot's own training."""
    yield TrainerEntry(
        name="lerobot",
        summary="LeRobot's own lerobot-train, with all of its options.",
        factory="offboard_lerobot.training:LeRobotTrainer",
    )


@hookimpl
def offboard_environments() -> Iterator[EnvironmentEntry]:
    """The LeRobots that checkpoints were written by, for a server that has another one, or none."""
    for release, python, size in (("0.4", ">=3.10,<3.12", "8"), ("0.6", ">=3.12,<3.14", "5")):
        yield EnvironmentEntry(
            name=f"lerobot-{release}",
            summary=f"LeRobot {release} with what its policies need, PyTorch's CUDA libraries included ({size} GB).",
            requirements=f"offboard_lerobot:environments/lerobot-{release}.txt",
            python=python,
            platforms=("linux-x86_64", "linux-aarch64"),
        )


@hookimpl
def offboard_data_sets() -> Iterator[DataSetEntry]:
    """LeRobot's own."""
    yield DataSetEntry(
        name="lerobot",
        summary="A LeRobot data set (v3.0), written by LeRobot itself.",
        factory="offboard_lerobot.data_set:open_data_set",
    )


@hookimpl
def offboard_codecs() -> Iterator[CodecEntry]:
    """The checkpoint's own names, and Positronic's four layouts for one arm with a gripper."""
    yield CodecEntry(
        name="native",
        summary="The checkpoint's own features; images letterboxed to the size that it declares.",
        factory="offboard_lerobot.native:native",
        options="offboard_core.codecs:NativeOptions",
    )
    yield CodecEntry(
        name="motors",
        summary="The motors of an arm in LeRobot's unit, for SO-100, SO-101, Koch and the like; images by camera.",
        factory="offboard_lerobot.motors:motors",
        options="offboard_lerobot.motors:MotorsOptions",
    )
    for name, summary in {
        "ee": "End-effector pose and grip in; absolute poses out.",
        "joints": "Joints and grip in; absolute poses out.",
        "ee_traj": "As ee, trained on the trajectory that was driven; grip out is 0 or 1.",
        "joints_traj": "Joints and grip in; absolute joints out, trained on the trajectory; grip out is 0 or 1.",
    }.items():
        yield CodecEntry(
            name=name,
            summary=summary,
            factory=f"offboard_lerobot.codecs:{name}",
            options="offboard_lerobot.codecs:ArmOptions",
        )


@hookimpl
def offboard_frontends() -> Iterator[FrontendEntry]:
    """PathOn-AI's protocol, for the robots that run its client."""
    yield FrontendEntry(
        name="pathon",
        summary="PathOn-AI's protocol (awesome-lerobot): its robots drive any model, one step at a time.",
        factory="offboard_lerobot.pathon.frontend:PathOnFrontend",
        paths=("/pathon",),
        options="offboard_lerobot.pathon.options:PathOnOptions",
    )
