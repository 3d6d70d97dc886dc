"""openpi's own statistics and training, run by its own scripts in its own environment."""

from __future__ import annotations

import contextlib
import os
import shlex
import tempfile
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from offboard_client.errors import ConfigurationError
from offboard_core.checkpoints import begin_run, make_folder, throw_away, write_record
from offboard_core.process import Child, check_names, check_words, run_to_end
from offboard_core.training import Trainer, check_finite, check_numbers, made_with
from offboard_core.types import ReportProgress

from .checkout import check_config, script
from .diagnosis import explain_training
from .families import DEFAULT_CONFIG
from .files import STATS
from .options import ENVIRONMENT, find_root

#: What errors call the child.
NAME = "OpenPI subprocess"
_STATS, _TRAIN = "compute_norm_stats.py", "train.py"
#: What a run is reported with.
_REPORTING = ("WANDB_*", "WANDB_API_KEY")


@dataclass(frozen=True, kw_only=True)
class _Common:
    """What both of openpi's scripts need."""

    input_path: Path
    """The LeRobot data set, as the codec made it."""
    output_path: Path
    """Where the results go."""
    config_name: str = DEFAULT_CONFIG
    """openpi's config."""
    repo_id: str = "lerobot"
    """What the config calls its data set; Positronic's calls it lerobot."""
    openpi_root: Path | None = None
    """openpi's checkout; without it $OPENPI_ROOT, else ../openpi beside the working directory."""
    openpi_command: str | None = None
    """What runs a Python script of openpi's, instead of `uv run --frozen --project ROOT -- python`."""
    openpi_env: tuple[str, ...] = ()
    """Names of more variables that openpi gets of this environment, such as HF_TOKEN or GOOGLE_APPLICATION_CREDENTIALS;
    without it none that holds a secret but WANDB_API_KEY."""

    def __post_init__(self) -> None:
        check_words("openpi_command", self.openpi_command)
        check_names("openpi_env", self.openpi_env)
        if not PurePosixPath(self.repo_id).parts or self.repo_id.startswith("/") or ".." in self.repo_id:
            raise ValueError(f"repo_id is {self.repo_id!r}, expected a name such as lerobot or org/name")


@dataclass(frozen=True, kw_only=True)
class StatsOptions(_Common):
    """The flags of ``offboard stats --vendor openpi``."""

    max_frames: int | None = None
    """How many frames to look at; all of them if nothing is said."""


@dataclass(frozen=True, kw_only=True)
class TrainOptions(_Common):
    """The flags of ``offboard train --vendor openpi``."""

    exp_name: str
    """The name of this run; the checkpoints go to OUTPUT_PATH/CONFIG_NAME/EXP_NAME."""
    stats_path: Path | None = None
    """The folder assets/ that `offboard stats` wrote; without it the statistics that the config names."""
    num_train_steps: int | None = None
    """How many steps; the config's number if nothing is said."""
    resume: bool = False
    """Go on with the newest checkpoint of this run."""
    overwrite: bool = False
    """Throw this run's checkpoints away and begin anew."""
    gpu_memory_fraction: float = 0.9
    """How much of the GPU's memory JAX takes at once; openpi's README gives it 0.9 to train with."""
    extra_args: str = ""
    """More arguments for openpi's train.py, as one text after an equals sign: --extra-args="--batch-size 16"."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_words("extra_args", self.extra_args or None)


class OpenPITrainer(Trainer):
    """Runs ``compute_norm_stats.py`` and ``train.py``."""

    stats_options = StatsOptions
    train_options = TrainOptions

    def said_of(self, options: TrainOptions) -> Mapping[str, Any]:
        """See :meth:`Trainer.said_of`."""
        return made_with(options.input_path)

    def stats(self, options: StatsOptions, report: ReportProgress) -> Path:
        """The statistics, in ``OUTPUT_PATH/assets/CONFIG_NAME/REPO_ID``; returns ``OUTPUT_PATH/assets``."""
        command = [*_command(options, _STATS), "--config-name", options.config_name]
        if options.max_frames is not None:
            command += ["--max-frames", str(options.max_frames)]
        output = make_folder(options.output_path)
        with _data_set(options) as env:
            # The script writes to assets/ below the folder it runs in, and has no option for it.
            _run(_STATS, command, options, env, output, report)
        assets = output / "assets"
        if not _statistics(assets, options.config_name):
            raise ConfigurationError(f"openpi ended well, and left no {STATS} below {assets / options.config_name}")
        _check(assets, options.config_name)
        return assets

    def train(self, options: TrainOptions, record: Mapping[str, Any], report: ReportProgress) -> Path:
        """Train into ``OUTPUT_PATH/CONFIG_NAME/EXP_NAME``, which is returned, with ``offboard.json`` in it."""
        command = [*_command(options, _TRAIN), options.config_name, "--exp-name", options.exp_name]
        output = make_folder(options.output_path)
        run = output / options.config_name / options.exp_name
        record = {**record, "config_name": options.config_name}
        command += ["--checkpoint-base-dir", str(output)]
        steps = [path.name for path in run.iterdir() if path.name.isdigit()] if run.is_dir() else []
        how = begin_run(run, sorted(steps, key=int), record, resume=options.resume, overwrite=options.overwrite)
        command += [] if how == "begin" else [f"--{how}"]
        if options.stats_path is not None:
            command += ["--assets-base-dir", str(_checked_statistics(options.stats_path, options.config_name))]
        if options.num_train_steps is not None:
            command += ["--num-train-steps", str(options.num_train_steps)]
        if not os.environ.get("WANDB_API_KEY"):
            command += ["--no-wandb-enabled"]
        command += shlex.split(options.extra_args)

        def watch() -> None:
            # openpi makes the folder when it begins; after that no checkpoint is without a record.
            if run.is_dir():
                write_record(run, record)

        with _data_set(options) as env:
            env["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{options.gpu_memory_fraction:g}"
            if how == "overwrite":  # while openpi did that itself, the record would come and go between
                throw_away(run)
            _run(_TRAIN, command, options, env, output, report, watch)
        return run


def _statistics(assets: Path, config: str) -> list[Path]:
    return sorted((assets / config).rglob(STATS))


def _check(assets: Path, config: str) -> None:
    for path in _statistics(assets, config):
        check_finite(path, "openpi's statistics")


def _checked_statistics(assets: Path, config: str) -> Path:
    if not _statistics(assets, config):
        inner = assets / "assets"
        hint = f"; is {inner} meant?" if _statistics(inner, config) else "; `offboard stats` writes it"
        raise ConfigurationError(f"--stats-path {assets} holds no {config}/…/{STATS}{hint}")
    _check(assets, config)
    return assets.absolute()


@contextlib.contextmanager
def _data_set(options: _Common) -> Generator[dict[str, str]]:
    """Variables that let openpi find the data set under the name that its config gives it.

    LeRobot looks for data sets by that name below HF_LEROBOT_HOME, so the data set gets a link there.
    """
    data = options.input_path.absolute()
    if not (data / "meta" / "info.json").is_file():
        raise ConfigurationError(f"{data} is no LeRobot data set: it has no meta/info.json")
    check_numbers(data)
    with tempfile.TemporaryDirectory(prefix="offboard-") as home:
        link = Path(home) / options.repo_id
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(data, target_is_directory=True)
        yield {"HF_LEROBOT_HOME": home}


def _command(options: _Common, name: str) -> list[str]:
    """What runs a script of openpi's. Raises ConfigurationError: openpi is not there, or has no such config."""
    root = find_root(options.openpi_root)
    command = script(root, options.openpi_command, name)
    check_config(root, options.config_name)
    return command


def _run(
    name: str,
    command: Sequence[str],
    options: _Common,
    env: Mapping[str, str],
    cwd: Path,
    report: ReportProgress,
    watch: Callable[[], None] = lambda: None,
) -> None:
    """Run openpi's script ``name`` to its end. Raises ConfigurationError: the end of its log, and the likely cause."""
    inherit = (*ENVIRONMENT, *_REPORTING, *options.openpi_env)
    child = Child(command, name=NAME, cwd=cwd, inherit=inherit, env=env, grace=10.0)
    where = {"config": options.config_name, "data": str(options.input_path.absolute())}
    root = str(find_root(options.openpi_root))
    run_to_end(child, report, partial(explain_training, script=name, root=root, **where), watch)
