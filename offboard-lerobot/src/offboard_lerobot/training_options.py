"""The flags of ``offboard train --vendor lerobot``, and what of LeRobot's own stands beside them."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from offboard_client.errors import ConfigurationError, LoadFailed
from offboard_core.process import check_names, check_words

from .versions import installed

_MODULE = "lerobot.scripts.lerobot_train"


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """The flags of ``offboard train --vendor lerobot``; all others are LeRobot's own, and are passed on."""

    dataset: Path | None = None
    """The LeRobot data set, a folder."""
    input_path: Path | None = None
    """The same, as Positronic calls it."""
    output_dir: Path
    """The folder of this run, or with --exp-name of all runs."""
    exp_name: str | None = None
    """The name of this run; the checkpoints go to OUTPUT_DIR/EXP_NAME/checkpoints."""
    policy: str | None = None
    """A type (act, diffusion, smolvla …) to begin with random weights, or ORG/NAME or ./FOLDER to begin with those that
    are there; act if nothing is said."""
    num_train_steps: int | None = None
    """How many steps; LeRobot's number (100000) if nothing is said."""
    backbone: str | None = None
    """The ResNet of act, diffusion or vqbet (resnet18 …), with ImageNet's weights."""
    resume: bool = False
    """Go on with the newest whole checkpoint of this run."""
    overwrite: bool = False
    """Throw this run's checkpoints away and begin anew."""
    wandb: bool = False
    """Report to Weights & Biases; without it nothing is reported."""
    lerobot_python: str | None = None
    """The interpreter of another environment that has LeRobot, or that environment's folder."""
    lerobot_command: str | None = None
    """What runs a Python module instead, as several GPUs want it: "accelerate launch --num_processes 2"."""
    lerobot_env: tuple[str, ...] = ()
    """Names of more variables that LeRobot gets from here."""
    extra_args: str = ""
    """LeRobot's own options as one text, where they should not stand beside these."""

    def __post_init__(self) -> None:
        if self.num_train_steps is not None and self.num_train_steps < 1:
            raise ValueError(f"num_train_steps is {self.num_train_steps}, expected 1 or more")
        if self.exp_name is not None and (
            Path(self.exp_name).name != self.exp_name or self.exp_name in ("", ".", "..")
        ):
            raise ValueError(f"exp_name is {self.exp_name!r}, expected the name of a folder")
        if self.lerobot_python is not None and self.lerobot_command is not None:
            raise ValueError("lerobot_python and lerobot_command both say what runs LeRobot: leave one of them away")
        check_words("lerobot_python", self.lerobot_python)
        check_words("lerobot_command", self.lerobot_command)
        check_words("extra_args", self.extra_args or None)
        check_names("lerobot_env", self.lerobot_env)


def their_own(options: TrainOptions) -> dict[str, str]:
    """LeRobot's own options, by their names. Raises ConfigurationError for what says the same twice."""
    words = shlex.split(options.extra_args)
    found: dict[str, str] = {}
    while words:
        name, equals, value = words.pop(0).partition("=")
        if not name.startswith("--"):
            raise ConfigurationError(f"{name!r:.80} is no option of LeRobot's: they begin with --")
        if not equals:
            value = words.pop(0) if words and not words[0].startswith("--") else "true"
        found[name[2:].replace("-", "_")] = value
    said = {
        "dataset.root": ("--dataset", options.dataset),
        "steps": ("--num-train-steps", options.num_train_steps),
        "policy.vision_backbone": ("--backbone", options.backbone),
        "policy.path": ("--policy", options.policy),
        "policy.type": ("--policy", options.policy),
    }
    for name, (flag, value) in said.items():
        if name in found and value is not None and found[name] != str(value):
            raise ConfigurationError(f"{flag} {value} and --{name}={found[name]}: leave one of them away")
    for name, flag in {"config_path": "--resume", "resume": "--resume", "output_dir": "--output-dir"}.items():
        if name in found:
            raise ConfigurationError(f"--{name} is said by {flag} here: leave it away")
    return found


def run_of(options: TrainOptions) -> Path:
    """The folder of the run."""
    run = options.output_dir if options.exp_name is None else options.output_dir / options.exp_name
    return run.absolute()


def program(options: TrainOptions) -> list[str]:
    """What runs ``lerobot-train``. Raises ConfigurationError where that is not there."""
    if options.lerobot_command is not None:
        words = shlex.split(options.lerobot_command)
    elif options.lerobot_python is not None:
        place = Path(options.lerobot_python).expanduser()
        words = [str(place / "bin" / "python") if place.is_dir() else str(place)]
    else:
        try:
            installed()
        except LoadFailed as error:
            raise ConfigurationError(f"{error.text}; or say with --lerobot-python where it is") from None
        words = [sys.executable]
    if shutil.which(words[0]) is None:
        flag = "--lerobot-command" if options.lerobot_command is not None else "--lerobot-python"
        raise ConfigurationError(f"{flag} says {words[0]}, and there is no such program")
    return [*words, "-m", _MODULE]


def kind_of(options: TrainOptions, theirs: Mapping[str, str]) -> str | None:
    """The type of a new policy; None where it begins with weights that are there."""
    if "policy.path" in theirs or "/" in (options.policy or ""):
        return None
    return theirs.get("policy.type") or options.policy or "act"
