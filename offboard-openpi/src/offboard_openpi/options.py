"""The flags of ``offboard serve --vendor openpi``, and those of openpi's protocol, ``--openpi.NAME``."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal

from offboard_client.wire import WireLimits
from offboard_core.process import check_names, check_words
from websockets.exceptions import WebSocketException
from websockets.uri import parse_uri

#: Seconds: more than any start or inference takes, and less than a socket's own limit.
_LONGEST = 86400
#: The options that are about a server that is started here.
_FOR_A_CHILD = {
    "openpi_root", "openpi_ws_port", "openpi_command", "openpi_env", "gpu_memory_fraction", "restarts",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class OpenPIOptions:
    """Which openpi runs, and how."""

    config_name: str | None = None
    """openpi's config that the checkpoint was trained with; else the recorded one, else pi05_positronic_lowmem."""
    openpi_root: Path | None = None
    """openpi's checkout; without it $OPENPI_ROOT, else ../openpi beside the working directory."""
    openpi_ws_port: int = 0
    """The port of openpi's own server, which listens on every interface; 0 takes a free one."""
    openpi_command: str | None = None
    """What runs a Python script of openpi's, instead of `uv run --frozen --project ROOT -- python`."""
    openpi_env: tuple[str, ...] = ()
    """Names of more variables that openpi gets from here (HF_TOKEN …); without it none that holds a secret."""
    attach: str | None = None
    """ws://HOST:PORT of an openpi server that runs already; nothing is started, and --checkpoints-dir is left away."""
    gpu_memory_fraction: float | None = None
    """How much of the GPU's memory JAX takes at once; it takes 0.75 of it if nothing is said."""
    startup_timeout: float = 900.0
    """Seconds until openpi has answered its first inference; weights, downloads and compilation included."""
    openpi_timeout: float = 55.0
    """Seconds one inference may take; after that openpi is restarted."""
    restarts: int = 3
    """How often openpi is restarted in a row, before the sessions are told that the model is lost."""

    def __post_init__(self) -> None:
        if not 0 <= self.openpi_ws_port <= 65535:
            raise ValueError(f"openpi_ws_port is {self.openpi_ws_port}, expected 0 to 65535")
        for name in ("startup_timeout", "openpi_timeout"):
            if not 0 < getattr(self, name) <= _LONGEST:
                raise ValueError(f"{name} is {getattr(self, name)}, expected seconds above 0, and {_LONGEST} at most")
        if self.gpu_memory_fraction is not None and not 0 < self.gpu_memory_fraction <= 1:
            raise ValueError(f"gpu_memory_fraction is {self.gpu_memory_fraction}, expected above 0 and at most 1")
        if self.restarts < 0:
            raise ValueError(f"restarts is {self.restarts}, expected 0 or more")
        if self.attach is not None:
            self._check_attach(self.attach)
        check_words("openpi_command", self.openpi_command)
        check_names("openpi_env", self.openpi_env)

    def _check_attach(self, url: str) -> None:
        try:
            parse_uri(url)
        except (ValueError, WebSocketException):
            raise ValueError(f"attach is {url!r}, expected ws://HOST:PORT") from None
        for field in fields(self):
            if field.name in _FOR_A_CHILD and getattr(self, field.name) != field.default:
                raise ValueError(f"attach starts nothing, so {field.name} would say nothing: leave one of them away")

    @property
    def root(self) -> Path:
        """openpi's checkout, wherever that was said."""
        return find_root(self.openpi_root)


#: No answer has more steps, for no robot reads more (R-25 of the protocol).
MOST_STEPS = WireLimits().chunk_steps
#: The key sets that are known.
Keys = Literal[
    "ee", "ee_joints", "ee_traj", "ee_joints_traj", "joints_traj", "droid", "droid_jointpos", "libero", "aloha"
]


@dataclass(frozen=True, kw_only=True)
class OpenPIFrontendOptions:
    """How openpi's clients are understood."""

    codec: Keys | None = None
    """Which keys the robots send and which actions they play: those of the codec of this name. null: names pass through
    as they are."""
    action_horizon: int | None = None
    """How many steps of each answer the robots play: the action_horizon of their ActionChunkBroker, which would run out
    of steps in mid-episode where an answer has fewer. null: as many as the metadata's chunk_length says."""
    short_chunks: Literal["refuse", "hold"] = "refuse"
    """What becomes of answers with fewer steps. refuse: they are an error, and a model that is known to give some gets
    no session. hold: they are filled with steps that hold the robot, the last target again or no movement, up to
    action_horizon, else to the longest that the model answers."""
    dialect: Literal["openpi", "roboarena"] = "openpi"
    """What is spoken on /: openpi's protocol, or RoboArena's flavour of it, whose robots know a host and a port. The
    latter is spoken on /roboarena besides."""

    def __post_init__(self) -> None:
        if self.dialect not in ("openpi", "roboarena"):
            raise ValueError(f"dialect is {self.dialect!r:.40}, expected openpi or roboarena")
        steps = self.action_horizon
        if steps is not None and not (type(steps) is int and 1 <= steps <= MOST_STEPS):
            raise ValueError(f"action_horizon is {steps!r:.40}, expected a whole number from 1 to {MOST_STEPS}")
        if self.short_chunks not in ("refuse", "hold"):
            raise ValueError(f"short_chunks is {self.short_chunks!r:.40}, expected refuse or hold")


#: What openpi, and what it is made of, reads of its environment, beside what any program needs.
ENVIRONMENT = (
    "OPENPI_*", "JAX_*", "XLA_*", "TF_*", "TORCH*", "PYTORCH_*", "TRITON_*", "HF_*", "TRANSFORMERS_*", "UV_*",
    "DOCKER_*",
)  # fmt: skip


def find_root(given: Path | None) -> Path:
    """``given``, else $OPENPI_ROOT, else ../openpi beside the working directory."""
    if given is not None:
        return given.expanduser().absolute()
    named = os.environ.get("OPENPI_ROOT")
    return Path(named).expanduser().absolute() if named else Path.cwd().parent / "openpi"
