"""Gymnasium, with an error that says what to install."""

from __future__ import annotations

import importlib
from typing import Any

from ...errors import ConfigurationError, told

try:
    gym: Any = importlib.import_module("gymnasium")
except ModuleNotFoundError as error:
    raise ConfigurationError("this robot needs Gymnasium: pip install 'offboard-client[gym]'") from error
except Exception as error:
    raise ConfigurationError(f"Gymnasium cannot be imported: {told(error)}") from error
