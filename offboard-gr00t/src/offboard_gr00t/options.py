"""The flags of ``offboard serve --vendor gr00t``, and those of GR00T's port, ``--gr00t.NAME``."""

from __future__ import annotations

import math
import os
import shlex
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal

from offboard_core.process import check_names, check_words

from .variants import CONFIGS

#: The key sets that are known.
Keys = Literal[
    "ee_quat", "ee_quat_joints", "ee_rot6d", "ee_rot6d_joints", "ee_quat_traj", "ee_rot6d_traj", "ee_quat_joints_traj",
    "ee_rot6d_joints_traj", "joints_traj", "droid", "libero",
]  # fmt: skip

_GENERATIONS = ("n1.5", "n1.6", "n1.7")
#: Seconds: more than any start or inference takes, and less than a socket's own limit.
_LONGEST = 86400
#: The options that are about a server that is started here.
_FOR_A_CHILD = {
    "gr00t_root", "gr00t_python", "gr00t_command", "gr00t_args", "gr00t_env", "gr00t_port", "data_config",
    "modality_config_path", "restarts",
}  # fmt: skip
#: What GR00T's server is told anyway.
_OURS = {
    "--model-path", "--embodiment-tag", "--data-config", "--modality-config-path", "--host", "--port", "--server",
    "--api-token",
}  # fmt: skip
#: What would make another server of it.
_OTHER = {"--client", "--http-server", "--dataset-path"}
#: What GR00T, and what it is made of, reads of its environment, beside what any program needs.
ENVIRONMENT = (
    "GR00T_*", "TORCH*", "PYTORCH_*", "TRITON_*", "HF_*", "TRANSFORMERS_*", "FLASH_*", "TENSORRT_*", "TRT_*", "UV_*",
    "DOCKER_*", "NO_ALBUMENTATIONS_UPDATE",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class GR00TOptions:
    """Which GR00T runs, and how."""

    generation: Literal["n1.5", "n1.6", "n1.7"] | None = None
    """Of which generation the checkpoint, or the server to attach to, is; without it what its config.json says."""
    embodiment_tag: str | None = None
    """The embodiment that is served, as the checkpoint's files call it; else the recorded one, the only one, or
    new_embodiment."""
    data_config: str | None = None
    """N1.5's data config that the checkpoint was trained with, a name or MODULE:CLASS; else the recorded one."""
    modality_config: str | None = None
    """Positronic's modality config that the checkpoint was trained with: ee, ee_q, ee_rot6d, ee_rot6d_rel, ee_rot6d_q
    or ee_rot6d_q_rel; else the recorded one. One that its files contradict is refused."""
    modality_config_path: str | None = None
    """A modality config that GR00T's server is handed; stock ones read it from the checkpoint."""
    gr00t_root: Path | None = None
    """GR00T's checkout; without it $GR00T_ROOT, else ../Isaac-GR00T beside the working directory."""
    gr00t_python: str | None = field(default=None, metadata={"program": True})
    """The interpreter of GR00T's environment, or the environment's folder; without it ROOT/.venv/bin/python, else
    `uv run --frozen --project ROOT`."""
    gr00t_command: str | None = None
    """What runs a Python script of GR00T's, instead: `docker run … python`."""
    gr00t_args: str = ""
    """More arguments of GR00T's server, after an equals sign: --gr00t-args="--denoising-steps 8" (N1.5's alone)."""
    gr00t_env: tuple[str, ...] = ()
    """Names of more variables that GR00T gets from here (HF_TOKEN …); without it none that holds a secret."""
    gr00t_port: int = 0
    """The port of GR00T's own server, on loopback; 0 takes a free one."""
    attach: str | None = None
    """tcp://HOST:PORT of a GR00T server that runs already; nothing is started, and --checkpoints-dir is left away. Its
    token, if it has one, is read from the variable GR00T_API_TOKEN."""
    startup_timeout: float = 900.0
    """Seconds until GR00T has answered its first inference; weights, downloads and compilation included."""
    gr00t_timeout: float = 55.0
    """Seconds one inference may take; after that GR00T is restarted."""
    restarts: int = 3
    """How often GR00T is restarted in a row, before the sessions are told that the model is lost."""

    def __post_init__(self) -> None:
        if self.generation not in (None, *_GENERATIONS):
            raise ValueError(f"generation is {self.generation!r:.40}, expected n1.5, n1.6 or n1.7")
        if not 0 <= self.gr00t_port <= 65535:
            raise ValueError(f"gr00t_port is {self.gr00t_port}, expected 0 to 65535")
        for name in ("startup_timeout", "gr00t_timeout"):
            if not 0 < getattr(self, name) <= _LONGEST:
                raise ValueError(f"{name} is {getattr(self, name)}, expected seconds above 0, and {_LONGEST} at most")
        if self.restarts < 0:
            raise ValueError(f"restarts is {self.restarts}, expected 0 or more")
        if self.modality_config is not None and self.modality_config not in CONFIGS:
            raise ValueError(f"modality_config is {self.modality_config!r:.40}, expected one of {', '.join(CONFIGS)}")
        if self.gr00t_python is not None and self.gr00t_command is not None:
            raise ValueError("gr00t_python and gr00t_command both say what runs GR00T: leave one of them away")
        check_words("gr00t_python", self.gr00t_python)
        check_words("gr00t_command", self.gr00t_command)
        check_names("gr00t_env", self.gr00t_env)
        if self.gr00t_args:
            check_words("gr00t_args", self.gr00t_args)
        for word in self.words:
            flag = word.partition("=")[0].replace("_", "-")
            if flag in _OURS:
                raise ValueError(f"gr00t_args holds {flag}, which the server is told anyway, by an option of its own")
            if flag in _OTHER:
                raise ValueError(f"gr00t_args holds {flag}, with which it would be no server of a model over ZMQ")
        if self.attach is not None:
            self._check_attach(self.attach)

    def _check_attach(self, address: str) -> None:
        host, _, port = address.removeprefix("tcp://").rpartition(":")
        if not address.startswith("tcp://") or not host or not (port.isdecimal() and 0 < int(port[:6]) <= 65535):
            raise ValueError(f"attach is {address!r:.80}, expected tcp://HOST:PORT")
        for option in fields(self):
            if option.name in _FOR_A_CHILD and getattr(self, option.name) != option.default:
                raise ValueError(f"attach starts nothing, so {option.name} would say nothing: leave one of them away")

    @property
    def words(self) -> list[str]:
        """``gr00t_args``, word by word."""
        return shlex.split(self.gr00t_args)

    @property
    def sim_wrapper(self) -> bool:
        """Whether GR00T's wrapper for simulators, which has other names, is put before the model."""
        return any(word.replace("_", "-") == "--use-sim-policy-wrapper" for word in self.words)

    @property
    def root(self) -> Path:
        """GR00T's checkout, wherever that was said."""
        return find_root(self.gr00t_root)


def find_root(given: Path | None) -> Path:
    """``given``, else $GR00T_ROOT, else ../Isaac-GR00T beside the working directory."""
    if given is not None:
        return given.expanduser().absolute()
    named = os.environ.get("GR00T_ROOT")
    return Path(named).expanduser().absolute() if named else Path.cwd().parent / "Isaac-GR00T"


@dataclass(frozen=True, kw_only=True)
class GR00TListenerOptions:
    """How GR00T's clients are understood."""

    codec: Keys | None = None
    """Which keys the robots send and which actions they play: those of the codec of this name. null: their keys are the
    model's, and pass through as they are."""
    model: str | None = None
    """The model that the robots drive; null: the server's default. GR00T's protocol has no word for it."""
    generation: Literal["n1.5", "n1.6", "n1.7"] | None = None
    """Of which generation the clients are. null: told by each client's first observation; only one that asks for the
    modalities before that, and is of N1.5, needs it said."""
    silence: float = 120.0
    """Seconds after which a robot that says nothing is taken for gone, and lets go of the model."""

    def __post_init__(self) -> None:
        if self.generation not in (None, "n1.5", "n1.6", "n1.7"):
            raise ValueError(f"generation is {self.generation!r:.40}, expected n1.5, n1.6 or n1.7")
        if not (0 < self.silence < math.inf):
            raise ValueError(f"silence is {self.silence!r:.40}, expected seconds above 0")
