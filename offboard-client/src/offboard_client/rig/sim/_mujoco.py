"""MuJoCo, with an error that says what to install. Its bindings carry no types, hence ``Any``."""

from __future__ import annotations

import importlib
from typing import Any

from offboard_client.errors import ConfigurationError

try:
    mj: Any = importlib.import_module("mujoco")
except ModuleNotFoundError as error:
    raise ConfigurationError("the simulation needs MuJoCo: pip install 'offboard-client[sim]'") from error

#: mujoco.MjModel and mujoco.MjData.
Model = Any
Data = Any
