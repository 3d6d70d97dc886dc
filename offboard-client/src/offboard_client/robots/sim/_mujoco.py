"""MuJoCo, with an error that says what to install. Its bindings carry no types, hence ``Any``."""

from __future__ import annotations

import importlib
import os
from typing import Any

from ...errors import ConfigurationError

try:
    mj: Any = importlib.import_module("mujoco")
except ModuleNotFoundError as error:
    raise ConfigurationError("the simulation needs MuJoCo: pip install 'offboard-client[sim]'") from error
except Exception as error:  # with MUJOCO_GL set, MuJoCo loads that OpenGL at once, and it fails in many ways
    raise ConfigurationError(
        f"MuJoCo cannot be imported ({type(error).__name__}: {error}); MUJOCO_GL is {os.environ.get('MUJOCO_GL')!r}, "
        "and without it no OpenGL is needed"
    ) from error

#: mujoco.MjModel and mujoco.MjData.
Model = Any
Data = Any
