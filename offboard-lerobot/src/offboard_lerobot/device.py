"""The device that a model runs on, when it has gone wrong."""

from __future__ import annotations

import torch
from offboard_client.errors import told


def broken(device: torch.device) -> str | None:
    """Why nothing can be computed on ``device`` in this process any more; None if something can.

    A failed assertion or a wrong address in one kernel of CUDA makes every later call of the process fail. Being full
    is no such thing.
    """
    try:
        torch.ones(1, device=device).add(1).item()
    except torch.OutOfMemoryError:
        return None
    except Exception as error:
        why = told(error).strip().partition("\n")[0]
        return (
            f"{device} fails at whatever this process asks of it ({why}), because of the first error there, which is "
            "in the log. Restart the server"
        )
    return None
