"""Between an openpi client's names and the served model's codec, and how the actions become openpi's one vector."""

from __future__ import annotations

from dataclasses import replace

from offboard_client.errors import DialectUnsupported
from offboard_core.codecs import action_field
from offboard_core.frontends import (
    Joined,
    ResolvedCodec,
    Translated,
    Untouched,
    VectorLayout,
    check_own,
    check_translation,
    check_vector,
    reads_own,
    vector_layout,
)
from offboard_core.types import Field

from .keysets import OpenPIKeys
from .lengths import Still, still
from .native import ACTION_SPACE


def bridge(keys: OpenPIKeys | None, codec: ResolvedCodec) -> tuple[ResolvedCodec, VectorLayout, Still | None]:
    """The codec of a session, what the columns of its actions are (name and width), and what of them holds the robot.

    ``keys`` None, or a model that reads the robot's own names: everything passes through. The codec that makes the same
    key set: the model gets and answers exactly what it would without offboard. Else the key set is translated.
    Raises DialectUnsupported where that cannot be.
    """
    if keys is None:
        action = codec.meta.action
        return replace(codec, codec=Joined(action) | codec.codec), vector_layout(action), still(action)
    stay = still({name: action_field(name, width) for name, width in keys.actions.items()})
    if codec.name == f"openpi.{keys.name}":
        untouched = _untouched(keys, codec.meta.action_fps)
        return replace(codec, codec=Joined(untouched.action) | untouched), [*keys.layout.items()], stay
    if codec.name == "openpi.native" or reads_own(keys, codec):
        _check_own(keys, codec)
        action = codec.meta.action
        return replace(codec, codec=Joined(action) | codec.codec), vector_layout(action), stay
    check_translation(keys, codec, _try(keys, codec))
    translated = Translated(keys) | codec.codec
    return replace(codec, codec=Joined(translated.meta.action) | translated), [*keys.layout.items()], stay


def _check_own(keys: OpenPIKeys, codec: ResolvedCodec) -> None:
    """A model that reads the robot's own names answers the robot's own numbers, as far as anybody knows them."""
    check_own(keys, codec, _try(keys, codec))
    space = codec.meta.conventions.get(ACTION_SPACE, keys.action_space)
    if space != keys.action_space:
        raise DialectUnsupported(f"{_try(keys, codec)}the robot plays {keys.action_space}, the model answers {space}")
    check_vector(keys, codec, _try(keys, codec))


def _try(keys: OpenPIKeys, codec: ResolvedCodec) -> str:
    # openpi's client shows no more than the first hundred characters of a refusal: what to do comes first.
    return f"try another --openpi.codec than {keys.name}, or --codec than {codec.name}: "


def _untouched(keys: OpenPIKeys, fps: float | None) -> Untouched:
    """openpi takes images of either order of axes, and makes its own checks."""
    observation = {
        name: replace(field, shape=(-1, -1, -1)) if field.dtype == "uint8" else field
        for name, field in keys.fields(keys.provides).items()
    }
    action = {"action": Field(shape=(sum(keys.actions.values()),), kind="vector")}
    return Untouched(observation=observation, action=action, fps=fps)
