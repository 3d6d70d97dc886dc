"""The state in the prompt of pi0.5 and pi0-FAST, which read it as words.

LeRobot 0.4 fills it up with zeros before it puts it into words; newer ones, and openpi, do not. A policy is asked as it
was trained, whichever LeRobot serves it. What it was trained by is read from its files; its processors do not say it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from offboard_client.errors import LoadFailed

from .features import CONFIG, PREPROCESSOR
from .files import TRAINED, Files
from .versions import releases, wrote
from .words import STATE_IN_PROMPT

#: Of the step's option max_state_dim, which LeRobot saves nowhere.
_DEFAULT = 32
#: A field of train_config.json from LeRobot 0.5 on, which added no field to the configs of these policies.
_SINCE_0_5 = "cudnn_deterministic"


def decided(files: Files, said: str | None) -> Files:
    """With the length that the state is filled up to in the prompt (0: it is not), for policies that have it there.

    ``said``: ``filled`` or ``bare``, by whoever serves it; it rules. Raises LoadFailed where nothing says it.
    """
    if (step := _step(files)) is None:
        return files
    filled = _filled(files) if said is None else said == "filled"
    if filled is None:
        raise LoadFailed(
            f"{files.location} does not say how its {files.type!r} policy was shown the state in its prompt: its files "
            f"are as LeRobot 0.4 writes them, which fills it up with zeros, and there is no {TRAINED}. Copy that from "
            "where it was trained; or, if LeRobot 0.4 trained it, serve it with --lerobot.state-in-prompt filled; if "
            "openpi did, or LeRobot 0.5 or newer, with --lerobot.state-in-prompt bare"
        )
    return replace(files, fill=_length(files, step) if filled else 0)


def shown(fill: int) -> str:
    """How such a policy is shown the state, in words."""
    return f"filled up to {fill}" if fill else "bare"


def _step(files: Files) -> Mapping[str, Any] | None:
    named = STATE_IN_PROMPT.get(files.type)
    return next((step for step in files.steps.get(PREPROCESSOR, ()) if step.get("registry_name") == named), None)


def _filled(files: Files) -> bool | None:
    if wrote(files.config, files.steps) is releases()[-1]:
        return False
    return None if files.trained is None else _SINCE_0_5 not in files.trained


def _length(files: Files, step: Mapping[str, Any]) -> int:
    """LeRobot trains a new policy with the config's length, and plays it with the default."""
    options = step.get("config")
    said = cast("Mapping[str, Any]", options).get("max_state_dim") if isinstance(options, Mapping) else None
    length, trained = (_DEFAULT if said is None else said), files.config.get("max_state_dim", _DEFAULT)
    if type(length) is not int or length != trained:
        raise LoadFailed(
            f"{files.location} says max_state_dim ({trained!r:.40}) in {CONFIG}, and the step "
            f"{step['registry_name']!r} of {PREPROCESSOR} has {length!r:.40} for it, for LeRobot saves it without. "
            "Write into the step's config there up to how many numbers the state was filled in its prompt, and into "
            f"{CONFIG} the same"
        )
    return length
