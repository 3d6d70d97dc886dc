"""What a policy that does not batch by itself inherits."""

from __future__ import annotations

import logging
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, cast

import numpy as np
from offboard_client._printable import told
from offboard_client.errors import OffboardError, PolicyFailed

from .types import Array, Chunk, Session

log = logging.getLogger(__name__)

#: How many names of an observation an error lists.
_NAMED = 20


def infer_each(batch: Sequence[tuple[Session, Mapping[str, Any]]]) -> list[Chunk | OffboardError | None]:
    """Run the sessions one by one; what one raises is its own answer, and one's answer is no other's memory."""
    results: list[Chunk | OffboardError | None] = []
    for session, inputs in batch:
        try:
            result = session.infer(inputs)
            results.append(result.copy() if len(batch) > 1 and isinstance(result, Chunk) else result)
        except OffboardError as error:
            results.append(error)
        # SystemExit included: a policy that leaves the program leaves its own call and nothing else.
        except BaseException as error:
            log.exception("the policy failed on one observation")
            results.append(raised(error, inputs))
    return results


def raised(error: BaseException, inputs: Mapping[str, Any] | None = None) -> PolicyFailed:
    """What a robot is told about an exception of the policy, which was given ``inputs``."""
    hint = ""
    text = told(error)
    if isinstance(error, KeyError) and inputs is not None and error.args and error.args[0] not in inputs:
        names = sorted(map(str, inputs))
        more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        hint = f" (it was given {', '.join(names[:_NAMED]) or 'nothing'}{more})"
    if isinstance(error, ValueError) and text.endswith("is read-only"):  # as numpy says it
        hint = " (a Policy's inputs are views on the robot's message: copy an array before writing into it)"
    return PolicyFailed(f"the policy raised {text}{hint}. The server's log has the traceback")


def shape_key(inputs: Mapping[str, Any]) -> Hashable:
    """Names with shapes and dtypes; anything that is not an array counts by its type only."""
    return tuple((name, *_shape(value)) for name, value in sorted(inputs.items()))


def _shape(value: Any) -> tuple[Hashable, ...]:
    if isinstance(value, np.ndarray):
        array = cast("Array", value)
        return array.shape, array.dtype.str
    return (type(value).__name__,)
