"""The built-in vendor: a pick-and-place controller for the simulated arm, written as a policy.

It has no weights and downloads nothing, so the whole loop from camera to gripper can be tried in seconds:
``offboard serve --vendor scripted``, ``offboard demo``.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from ..plugins import CodecEntry, LoaderEntry, hookimpl

if TYPE_CHECKING:
    from .plan import FPS, MAX_STEPS, MIN_STEPS, SLOWEST, SPEED, TURN_SPEED, State, plan_step
    from .policy import ScriptedLoader, ScriptedParams, ScriptedPolicy, make_codec


@hookimpl
def offboard_checkpoint_loaders() -> Iterator[LoaderEntry]:
    """The controller."""
    yield LoaderEntry(
        name="scripted",
        summary="Stacks the simulated arm's cubes by a hand-written controller; needs no files.",
        factory="offboard_core.scripted.policy:ScriptedLoader",
        default_codec="scripted",
    )


@hookimpl
def offboard_codecs() -> Iterator[CodecEntry]:
    """The codec that the controller is served with."""
    yield CodecEntry(
        name="scripted",
        summary="Poses of the gripper and the cubes in, absolute poses and grip out, at 15 Hz.",
        factory="offboard_core.scripted.policy:make_codec",
    )


__all__ = [
    "FPS",
    "MAX_STEPS",
    "MIN_STEPS",
    "SLOWEST",
    "SPEED",
    "TURN_SPEED",
    "ScriptedLoader",
    "ScriptedParams",
    "ScriptedPolicy",
    "State",
    "make_codec",
    "offboard_checkpoint_loaders",
    "offboard_codecs",
    "plan_step",
]

#: Imported when first asked for: a plugin's declarations are read without numpy.
_LATER = {
    "FPS": "plan",
    "MAX_STEPS": "plan",
    "MIN_STEPS": "plan",
    "SLOWEST": "plan",
    "SPEED": "plan",
    "TURN_SPEED": "plan",
    "State": "plan",
    "plan_step": "plan",
    "ScriptedLoader": "policy",
    "ScriptedParams": "policy",
    "ScriptedPolicy": "policy",
    "make_codec": "policy",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(importlib.import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
