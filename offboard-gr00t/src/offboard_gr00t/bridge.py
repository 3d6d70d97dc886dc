"""Between a GR00T client's names and the served model's codec."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

from offboard_client.errors import DialectUnsupported
from offboard_core.codecs import Rename
from offboard_core.frontends import (
    ResolvedCodec,
    Translated,
    Untouched,
    check_translation,
    field_width,
    reads_own,
    spell_widths,
)
from offboard_core.types import Codec, Field

from .blocks import Instruction
from .keysets import GR00TKeys


def bridge(keys: GR00TKeys | None, codec: ResolvedCodec) -> ResolvedCodec:
    """The codec of a session.

    ``keys`` None, or a model that reads the robot's own names: everything passes through. The codec that makes the same
    key set: the model gets and answers exactly what it would without offboard. Else the key set is translated.
    Raises DialectUnsupported where that cannot be.
    """
    if keys is None:
        _check_names(codec)
        return codec
    if codec.name == f"gr00t.{keys.name}":
        return replace(codec, codec=_untouched(keys, codec))
    if codec.name == "gr00t.native" or reads_own(keys, codec):
        _check_own(keys, codec)
        return codec
    check_translation(keys, codec, _try(keys, codec))
    return replace(codec, codec=Translated(keys) | codec.codec)


def _try(keys: GR00TKeys, codec: ResolvedCodec) -> str:
    return f"try another --gr00t.codec ({keys.name}) or --codec ({codec.name}): "


def _check_names(codec: ResolvedCodec) -> None:
    """Without a key set the robot's keys are the model's."""
    foreign = sorted(name for name in _required(codec) if not name.startswith(("video.", "state.")))
    if foreign:
        raise DialectUnsupported(
            f"serve with --gr00t.codec, or another --codec ({codec.name}): the model reads {', '.join(foreign[:6])}, "
            "and GR00T's robots send video.CAMERA and state.GROUP"
        )


def _check_own(keys: GR00TKeys, codec: ResolvedCodec) -> None:
    """A model that reads the robot's own names reads and answers what the robot has, as far as anybody knows it."""
    reads = {name: field.shape for name, field in _required(codec).items()}
    if missing := sorted(reads.keys() - keys.keys):
        raise DialectUnsupported(
            f"{_try(keys, codec)}the model reads {', '.join(missing[:6])}, which the robot does not send"
        )
    has = keys.fields(keys.provides)
    for name, shape in reads.items():
        if shape is not None and -1 not in shape and shape != has[name].shape:
            raise DialectUnsupported(
                f"{_try(keys, codec)}{name} is {has[name].shape} for the robot, {shape} for the model"
            )
    answers = {name: field_width(field) for name, field in codec.meta.action.items()}
    if answers and None not in answers.values() and answers != keys.layout:
        raise DialectUnsupported(
            f"{_try(keys, codec)}the robot plays {spell_widths(keys.layout)}, the model answers {spell_widths(answers)}"
        )


def _required(codec: ResolvedCodec) -> dict[str, Field]:
    return {name: field for name, field in codec.meta.observation.items() if field.required and field.dtype != "str"}


def _untouched(keys: GR00TKeys, codec: ResolvedCodec) -> Codec:
    """GR00T scales images itself, and may want several frames of one: the policy's own checks know."""
    read = {
        name: replace(field, shape=None) if field.dtype == "uint8" else field
        for name, field in keys.fields(keys.provides).items()
    }
    action = {name: Field(shape=(width,), kind="vector") for name, width in keys.layout.items()}
    key = _key(codec.codec)
    own = Untouched(observation=read, action=action, fps=codec.meta.action_fps)
    if key is None or key == keys.instruction:
        return own
    return Rename({keys.instruction: key}) | replace(
        own, observation={key if name == keys.instruction else name: field for name, field in read.items()}
    )


def _key(codec: Codec) -> str | None:
    """What the model calls its instruction, where one of the codec's parts knows."""
    if isinstance(codec, Instruction):
        return codec.key
    held: Any = codec
    parts = [getattr(held, part.name) for part in fields(held)] if is_dataclass(held) else []
    keys = (_key(part) for part in parts if isinstance(part, Codec))
    return next((key for key in keys if key is not None), None)
