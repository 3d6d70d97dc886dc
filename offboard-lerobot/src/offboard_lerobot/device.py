"""The device that a model runs on: what may not be there yet, and when it has gone wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any

import torch
from offboard_client.errors import told

from .room import is_full
from .step_verdict import options

#: Steps that hand pictures to what reads them from the machine's own memory → the option that has them read elsewhere.
_READ_BY_NUMPY = {"eo1_qwen_processor": "use_fast_processor"}


def wants_the_cpu(steps: Sequence[Mapping[str, Any]]) -> bool:
    """Whether what a robot sent has to be on the CPU until the step that moves it, as in LeRobot's training."""
    before = takewhile(lambda step: step["registry_name"] != "device_processor", steps)
    named = {str(step["registry_name"]): options(step) for step in before}
    return any(name in named and not named[name].get(option) for name, option in _READ_BY_NUMPY.items())


def broken(device: torch.device) -> str | None:
    """Why nothing can be computed on ``device`` in this process any more; None if something can.

    A failed assertion or a wrong address in one kernel of CUDA makes every later call of the process fail. Being full
    is no such thing.
    """
    try:
        torch.ones(1, device=device).add(1).item()
    except Exception as error:
        if is_full(error):  # where there is no room for CUDA itself, too
            return None
        why = told(error).strip().partition("\n")[0]
        return (
            f"{device} fails at whatever this process asks of it ({why}), because of the first error there, which is "
            "in the log. Restart the server"
        )
    return None
