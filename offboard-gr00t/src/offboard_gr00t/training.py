"""GR00T's own training, run by its own script in its own environment."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from offboard_client.errors import ConfigurationError
from offboard_core.checkpoints import begin_run, make_folder, throw_away, write_record
from offboard_core.process import Child, check_names, check_words, run_to_end
from offboard_core.training import Trainer, made_with
from offboard_core.types import ReportProgress

from . import arm
from .checkout import generation_of, resumes_by_flag, training, training_script
from .data_set import check_data_set
from .diagnosis import explain_training
from .generation import Generation
from .modality_config import FILE, modality_config
from .options import ENVIRONMENT, find_root
from .variants import CONFIGS, config_of

#: What errors call the child.
NAME = "GR00T subprocess"
#: The embodiment that everybody's own robot is.
TAG = "new_embodiment"
#: NVIDIA's weights to begin with.
BASES = {
    Generation.N1_5: "nvidia/GR00T-N1.5-3B",
    Generation.N1_6: "nvidia/GR00T-N1.6-3B",
    Generation.N1_7: "nvidia/GR00T-N1.7-3B",
}
#: What a run is reported with.
_REPORTING = ("WANDB_*", "WANDB_API_KEY")
_CHECKPOINT = re.compile(r"checkpoint-([0-9]{1,18})")
#: More than there are: GR00T keeps the newest five unless it is told otherwise.
_KEEP_ALL = "9999"
#: Fewer steps than this between two checkpoints are not chosen by themselves.
_FEWEST = 2000


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """The flags of ``offboard train --vendor gr00t``."""

    input_path: Path
    """The LeRobot data set, as the codec made it."""
    output_path: Path
    """Where the results go."""
    exp_name: str
    """The name of this run; the checkpoints go to OUTPUT_PATH/EXP_NAME."""
    modality_config: str | None = None
    """ee_rot6d_rel or ee_rot6d_q_rel (poses relative to the state), or FILE.py of your own; else the codec's."""
    data_config: str | None = None
    """N1.5's instead: NAME or MODULE:CLASS, with the groups that the codec makes."""
    base_model_path: str | None = None
    """The weights to begin with; NVIDIA's of this generation (nvidia/GR00T-N1.6-3B) if nothing is said."""
    num_train_steps: int | None = None
    """How many steps; GR00T's number if nothing is said."""
    learning_rate: float | None = None
    """GR00T's own if nothing is said."""
    save_steps: int | None = None
    """Steps from one checkpoint to the next; a twentieth of all, 2000 at least, where those are said."""
    global_batch_size: int | None = None
    """Samples of one step; GR00T's number if nothing is said."""
    num_workers: int | None = None
    """How many processes load data; GR00T's number if nothing is said."""
    resume: bool = False
    """Go on with the newest checkpoint of this run."""
    overwrite: bool = False
    """Throw this run's checkpoints away and begin anew."""
    keep_optimizers: int = 2
    """Of how many of the newest checkpoints the optimiser is kept, which is twice as large as the model."""
    generation: Literal["n1.5", "n1.6", "n1.7"] | None = None
    """Of which generation GR00T is; without it what its checkout holds."""
    gr00t_root: Path | None = None
    """GR00T's checkout; without it $GR00T_ROOT, else ../Isaac-GR00T beside the working directory."""
    gr00t_python: str | None = None
    """The interpreter of GR00T's environment, or the environment's folder; without it ROOT/.venv/bin/python, else
    `uv run` in ROOT."""
    gr00t_command: str | None = None
    """What runs a Python script of GR00T's, instead: `docker run … python`."""
    gr00t_env: tuple[str, ...] = ()
    """Names of more variables that GR00T gets from here (HF_TOKEN …); of secrets else only WANDB_API_KEY."""
    extra_args: str = ""
    """More arguments for GR00T's script, as one text after an equals sign:
    --extra-args="--tune-visual --warmup-ratio 0.1"."""

    def __post_init__(self) -> None:
        for name, least in (("num_train_steps", 1), ("save_steps", 1), ("global_batch_size", 1), ("num_workers", 0)):
            value: int | None = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} is {value}, expected {least} or more")
        if self.keep_optimizers < 1:
            raise ValueError(f"keep_optimizers is {self.keep_optimizers}, expected 1 or more: none would go on from it")
        if not self.exp_name or Path(self.exp_name).name != self.exp_name or self.exp_name in (".", ".."):
            raise ValueError(f"exp_name is {self.exp_name!r}, expected the name of a folder")
        if self.gr00t_python is not None and self.gr00t_command is not None:
            raise ValueError("gr00t_python and gr00t_command both say what runs GR00T: leave one of them away")
        check_words("gr00t_python", self.gr00t_python)
        check_words("gr00t_command", self.gr00t_command)
        check_words("extra_args", self.extra_args or None)
        check_names("gr00t_env", self.gr00t_env)


class GR00TTrainer(Trainer):
    """Runs ``launch_finetune.py``, or N1.5's ``gr00t_finetune.py``. Both compute their statistics themselves."""

    train_options = TrainOptions

    def said_of(self, options: TrainOptions) -> Mapping[str, Any]:
        """See :meth:`Trainer.said_of`."""
        return made_with(options.input_path)

    def train(self, options: TrainOptions, record: Mapping[str, Any], report: ReportProgress) -> Path:
        """Train into ``OUTPUT_PATH/EXP_NAME``, which is returned, with ``offboard.json`` in it."""
        root = find_root(options.gr00t_root)
        generation = generation_of(root, options.generation)
        command = training(root, generation, options.gr00t_python, options.gr00t_command)
        codec = _own(record)
        config = _config(options, generation, codec)
        data = options.input_path.absolute()
        check_data_set(data, codec, record["action_fps"])
        run = make_folder(options.output_path) / options.exp_name
        record = {**record, "embodiment_tag": TAG, **config.record}
        how = begin_run(
            run, [path.name for path in _checkpoints(run)], record, resume=options.resume, overwrite=options.overwrite
        )
        if how == "overwrite":
            throw_away(run)
        make_folder(run)
        write_record(run, record)  # before there is a checkpoint that could be without it
        if config.written is not None:
            (run / FILE).write_text(config.written, "utf-8")
        resuming = ["--resume-from-checkpoint"] if resumes_by_flag(root, generation) else []
        arguments = _old(options) if generation is Generation.N1_5 else _new(options, config.path or run / FILE)
        said = ["--dataset-path", str(data), "--output-dir", str(run), "--base-model-path"]
        said += [options.base_model_path or BASES[generation], *arguments, *_numbers(options, generation)]
        if how == "resume":
            said += ["--resume"] if generation is Generation.N1_5 else resuming
        child = Child(
            [*command, *said, *shlex.split(options.extra_args)],
            name=NAME,
            cwd=root if root.is_dir() else run,
            inherit=(*ENVIRONMENT, *_REPORTING, *options.gr00t_env),
            grace=10.0,
        )
        where = {"data": str(data), "root": str(root), "script": training_script(generation)}
        explain = partial(explain_training, generation=generation.value, **where)
        run_to_end(child, report, explain, lambda: _drop_optimizers(run, options.keep_optimizers))
        if not _checkpoints(run):
            raise ConfigurationError(f"GR00T ended well, and left no checkpoint-N in {run}")
        return run


@dataclass(frozen=True)
class _Config:
    """What GR00T is told of the data. ``written``: the modality config to write; ``path``: one that is there.

    ``record``: what is recorded of it.
    """

    record: Mapping[str, str]
    path: Path | None = None
    written: str | None = None


def _own(record: Mapping[str, Any]) -> str | None:
    """The arm codec that is meant; None for another."""
    plugin, _, name = str(record["codec"]).rpartition(".")
    return name if plugin == "gr00t" and name in arm.LAYOUTS else None


def _config(options: TrainOptions, generation: Generation, codec: str | None) -> _Config:
    """Raises ConfigurationError for what does not fit the codec, or the generation."""
    asked = options.modality_config
    if generation is Generation.N1_5:
        if asked is not None or options.data_config is None:
            instead = "" if asked is None else f", and leave --modality-config {asked} away"
            if asked is not None and asked in CONFIGS:
                codec = CONFIGS[asked].codec
                instead = f", and --codec {codec} in place of --modality-config {asked}, or of the word for it"
            raise ConfigurationError(
                "N1.5 reads what the data set holds from a data config, not from a modality config: say --data-config "
                f"NAME or MODULE:CLASS{instead}"
            )
        return _Config({"data_config": options.data_config})
    if options.data_config is not None:
        raise ConfigurationError(f"--data-config is N1.5's, and GR00T is {generation.value}: leave it away")
    if asked is not None and asked.endswith(".py"):
        path = Path(asked).expanduser().absolute()
        if options.gr00t_command is None and not path.is_file():
            raise ConfigurationError(f"--modality-config {path} is not there")
        return _Config({}, path=path)
    if codec is None:
        raise ConfigurationError(
            "the codec is none of GR00T's own: say with --modality-config FILE.py which modality config it was made for"
        )
    base = codec.removesuffix("_traj")
    if asked is not None and config_of(asked).codec != base:
        raise ConfigurationError(
            f"--modality-config {asked} belongs to the codec {CONFIGS[asked].codec}, and the data set was made with "
            f"{codec}: give --codec {CONFIGS[asked].codec}, or another --modality-config"
        )
    relative = asked is not None and CONFIGS[asked].relative
    # The joints' codec has none: Positronic had no such config when the others were made.
    fitting = [name for name, each in CONFIGS.items() if each.codec == base and each.relative == relative]
    recorded = {"modality_config": fitting[0]} if fitting else dict[str, str]()
    return _Config(recorded, written=modality_config(codec, relative=relative))


def _old(options: TrainOptions) -> list[str]:
    """What only N1.5 is told."""
    assert options.data_config is not None
    reporting = "wandb" if os.environ.get("WANDB_API_KEY") else "tensorboard"
    return ["--embodiment-tag", TAG, "--data-config", options.data_config, "--num-gpus", "1", "--report-to", reporting]


def _new(options: TrainOptions, config: Path) -> list[str]:
    """What N1.6 and N1.7 are told."""
    arguments = ["--embodiment-tag", TAG.upper(), "--modality-config-path", str(config), "--num-gpus", "1"]
    arguments += ["--save-total-limit", _KEEP_ALL]
    return [*arguments, "--use-wandb"] if os.environ.get("WANDB_API_KEY") else arguments


def _numbers(options: TrainOptions, generation: Generation) -> list[str]:
    save = options.save_steps
    if save is None and options.num_train_steps is not None:
        save = max(options.num_train_steps // 20, _FEWEST)
    batch = "--batch-size" if generation is Generation.N1_5 else "--global-batch-size"
    numbers = {
        "--max-steps": options.num_train_steps,
        "--learning-rate": options.learning_rate,
        "--save-steps": save,
        batch: options.global_batch_size,
        "--dataloader-num-workers": options.num_workers,
    }
    return [word for flag, value in numbers.items() if value is not None for word in (flag, f"{value}")]


def _checkpoints(run: Path) -> list[Path]:
    """The folders ``checkpoint-N``, oldest first."""
    found = (
        [(match, path) for path in run.iterdir() if (match := _CHECKPOINT.fullmatch(path.name))] if run.is_dir() else []
    )
    return [path for _, path in sorted(found, key=lambda each: int(each[0][1]))]


def _drop_optimizers(run: Path, keep: int) -> None:
    for folder in _checkpoints(run)[:-keep]:
        with contextlib.suppress(OSError):
            (folder / "optimizer.pt").unlink(missing_ok=True)
