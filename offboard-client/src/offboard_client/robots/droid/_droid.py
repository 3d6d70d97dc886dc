"""DROID's package, with an error that says what to install. It carries no types, hence ``Any``."""

from __future__ import annotations

import importlib
from typing import Any

from ...errors import ConfigurationError, told

_PAGE = "docs/how-to/droid.md says what it needs"


def import_droid() -> tuple[Any, Any]:
    """``droid.misc.parameters``, which a laboratory has filled in, and ``RobotEnv``. Raises ConfigurationError."""
    try:
        parameters = importlib.import_module("droid.misc.parameters")
        return parameters, importlib.import_module("droid.robot_env").RobotEnv
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "droid":
            raise ConfigurationError(
                "this robot needs DROID's own package, which is not on PyPI: git clone "
                f"https://github.com/droid-dataset/droid && pip install --no-deps -e droid; {_PAGE}"
            ) from error
        raise ConfigurationError(
            f"DROID's package imports {error.name}, which is not installed here; {_PAGE}"
        ) from error
    except (Exception, SystemExit) as error:
        # Without pyzed it fails for a name "sl", which nobody would look for.
        lacking = ", which is pyzed, of the ZED SDK" if "'sl'" in str(error) else ""
        raise ConfigurationError(f"DROID's package cannot be imported: {told(error)}{lacking}; {_PAGE}") from error
