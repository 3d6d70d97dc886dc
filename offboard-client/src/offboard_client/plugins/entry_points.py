"""The object that a text names."""

from __future__ import annotations

import importlib
from typing import Any


def import_attr(path: str) -> Any:
    """The object that ``"module:attr"`` names. Raises ImportError that says which half is wrong."""
    module, _, attr = path.partition(":")
    if not module or not attr:
        raise ImportError(f"{path!r} is not of the form 'module:attr'")
    found: Any = importlib.import_module(module)
    for part in attr.split("."):
        if not hasattr(found, part):
            raise ImportError(f"the module {module} has no {attr!r}", name=module)
        found = getattr(found, part)
    return found
