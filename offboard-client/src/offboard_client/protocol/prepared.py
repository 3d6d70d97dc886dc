"""What a user's ``prepare`` makes of an observation before it is sent."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, cast

from ..errors import BadMessage, BadObservation, OffboardError, told
from ..wire import check_form
from .settings import Prepare


def prepared(prepare: Prepare, observation: Mapping[str, Any], meta: Mapping[str, Any]) -> Mapping[str, Any]:
    """The map that is sent. Raises BadObservation for anything else, or what ``prepare`` raises."""
    check_form(observation)
    try:
        # Of its own, as ``meta`` is: neither the robot's observation nor the session's facts are changed by it.
        made: Any = prepare(dict(observation), meta)
    except BadMessage as error:  # of an image that is none, say
        raise BadObservation(f"nothing was sent: {error.text}") from error
    except OffboardError:
        raise
    except Exception as error:
        raise BadObservation(f"nothing was sent: prepare failed: {told(error)}") from error
    if not isinstance(made, Mapping):
        if inspect.iscoroutine(made):
            made.close()
        raise BadObservation(
            f"nothing was sent: prepare returned a {type(made).__name__}; it returns what is sent, a map, and is no "
            "coroutine"
        )
    return cast("Mapping[str, Any]", made)
