"""The generations of GR00T, which share a port and no wire."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any, cast


class Generation(enum.Enum):
    """Which GR00T a checkpoint is of, and so which of its servers serves it."""

    N1_5 = "n1.5"
    """A flat map in and out, no ``reset``."""
    N1_6 = "n1.6"
    """Maps in maps in, a list of two out."""
    N1_7 = "n1.7"
    """The wire of N1.6."""

    @classmethod
    def of(cls, config: Mapping[str, Any]) -> Generation | None:
        """What the ``config.json`` of a checkpoint says; None where it is none of these."""
        architectures = config.get("architectures")
        said = [
            config.get("model_type"),
            *(cast("list[Any]", architectures) if isinstance(architectures, list) else []),
        ]
        return next((_NAMES[name] for name in said if isinstance(name, str) and name in _NAMES), None)


#: ``model_type`` and the class of each, as their ``config.json`` have them.
_NAMES = {
    "gr00t_n1_5": Generation.N1_5,
    "GR00T_N1_5": Generation.N1_5,
    "Gr00tN1d6": Generation.N1_6,
    "Gr00tN1d7": Generation.N1_7,
}
