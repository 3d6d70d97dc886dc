"""Whether the model behind an address is still the one that a codec was chosen for."""

from __future__ import annotations

from typing import Any

from offboard_client.errors import brief
from offboard_core.types import Checkpoint


def another(now: Checkpoint, then: Checkpoint) -> str | None:
    """Why a codec that was chosen for one is not the other's; None where it is."""
    if not then.outputs:
        return "it did not say what its model is when this server started, and the codec is chosen by that"
    was, is_now = _facts(then), _facts(now)
    other = [
        f"{name} {brief(is_now.get(name), 200)}, not {brief(was.get(name), 200)}"
        for name in {**was, **is_now}
        if was.get(name) != is_now.get(name)
    ]
    return f"it is not the model that it was when this server started: it has {'; '.join(other)}" if other else None


def _facts(found: Checkpoint) -> dict[str, Any]:
    """What a server says of its model; of widths and sizes it says nothing."""
    inputs, outputs = ", ".join(found.inputs), ", ".join(found.outputs)
    return {"inputs": inputs, "outputs": outputs, "steps": found.chunk_length, **found.extras}
