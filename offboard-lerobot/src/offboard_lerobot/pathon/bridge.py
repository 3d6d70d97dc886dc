"""Between the names of LeRobot's robots and the served model's codec."""

from __future__ import annotations

from dataclasses import replace

from offboard_core.frontends import (
    Joined,
    KeySet,
    ResolvedCodec,
    Translated,
    check_own,
    check_translation,
    check_vector,
    reads_own,
)


def bridge(keys: KeySet | None, codec: ResolvedCodec) -> ResolvedCodec:
    """The codec of a session, whose actions are one vector.

    ``keys`` None, or a model that reads the robot's own names: everything passes through. Else the key set is
    translated. Raises DialectUnsupported where that cannot be.
    """
    inner = codec.codec
    if keys is not None and reads_own(keys, codec):
        _check_own(keys, codec)
    elif keys is not None:
        check_translation(keys, codec, _try(keys, codec))
        inner = Translated(keys) | inner
    return replace(codec, codec=Joined(inner.meta.action) | inner)


def _check_own(keys: KeySet, codec: ResolvedCodec) -> None:
    check_own(keys, codec, _try(keys, codec))
    check_vector(keys, codec, _try(keys, codec))


def _try(keys: KeySet, codec: ResolvedCodec) -> str:
    # A close frame holds the first hundred characters of a refusal: what to do comes first.
    return f"try without --lerobot.pathon.codec {keys.name}, or another --codec than {codec.name}: "
