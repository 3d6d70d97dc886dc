"""How a model id finds its checkpoint."""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from offboard_client.errors import ModelNotFound

from .types import Checkpoint


def resolve(model_id: str, checkpoints: Sequence[Checkpoint]) -> Checkpoint:
    """Literally, else by number. Raises ModelNotFound naming what exists, nearest names first."""
    for checkpoint in checkpoints:
        if checkpoint.id == model_id:
            return checkpoint
    if model_id.isascii() and model_id.isdigit():
        # Compared as text: a client may send thousands of digits, and int() takes quadratic time for them, or refuses.
        number = model_id.lstrip("0")
        for checkpoint in checkpoints:
            if checkpoint.id.isdigit() and checkpoint.id.lstrip("0") == number:
                return checkpoint
    names = [checkpoint.id for checkpoint in checkpoints]
    near = difflib.get_close_matches(model_id[:200], names, n=3)
    raise ModelNotFound(
        f"there is no model {model_id[:200]!r} here; "
        + (f"did you mean {', '.join(near)}? " if near else "")
        + (f"there are: {', '.join(names[-20:])}" if names else "there are none")
        + (f" (and {len(names) - 20} more)" if len(names) > 20 else "")
    )


def newest(checkpoints: Sequence[Checkpoint]) -> Checkpoint:
    """The last of a list that is oldest first."""
    if not checkpoints:
        raise ModelNotFound("there is no complete checkpoint here yet")
    return checkpoints[-1]
