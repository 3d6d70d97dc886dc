"""What a policy that does not batch by itself inherits."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
from offboard_client.errors import OffboardError, PolicyFailed

from .types import Chunk, Session

log = logging.getLogger(__name__)


def infer_each(batch: Sequence[tuple[Session, Mapping[str, Any]]]) -> list[Chunk | None | OffboardError]:
    """Run the sessions one by one; what one raises is its own answer."""
    results: list[Chunk | None | OffboardError] = []
    for session, inputs in batch:
        try:
            results.append(session.infer(inputs))
        except OffboardError as error:
            results.append(error)
        except Exception as error:
            log.exception("the policy failed on one observation")
            results.append(PolicyFailed(f"{type(error).__name__}: {error}"))
    return results


def shape_key(inputs: Mapping[str, Any]) -> Hashable:
    """Names with shapes and dtypes; anything that is not an array counts by its type only."""
    return tuple(
        (name, value.shape, value.dtype.str) if isinstance(value, np.ndarray) else (name, type(value).__name__)
        for name, value in sorted(inputs.items())
    )
