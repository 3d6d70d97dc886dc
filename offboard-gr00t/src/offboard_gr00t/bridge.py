"""Between a GR00T client's names and the served model's codec."""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any

from offboard_client.errors import DialectUnsupported
from offboard_core.codecs import Rename
from offboard_core.frontends import (
    ResolvedCodec,
    Translated,
    Untouched,
    check_own,
    check_translation,
    field_width,
    reads_own,
    spell_widths,
)
from offboard_core.types import Chunk, Codec, Field, Observation

from .blocks import Instruction
from .keysets import KEYSETS, GR00TKeys


def bridge(keys: GR00TKeys | None, codec: ResolvedCodec) -> ResolvedCodec:
    """The codec of a session.

    ``keys`` None, or a model that reads the robot's own names: everything passes through, past a codec that makes those
    of them. The model gets and answers exactly what it would without offboard. Else the key set is translated.
    Raises DialectUnsupported where that cannot be, with the key sets with which it could.
    """
    try:
        return _bridged(keys, codec)
    except DialectUnsupported as error:
        fit = [name for name, each in KEYSETS.items() if _fits(each, codec)]
        said = f"the key sets that fit this model: {', '.join(fit)}" if fit else "no key set fits this model"
        raise DialectUnsupported(f"{error.text}; {said}") from None


def answers_pass(keys: GR00TKeys | None, codec: ResolvedCodec) -> bool:
    """Whether a robot of :func:`bridge` hears the model's own numbers."""
    own = KEYSETS.get(codec.name.removeprefix("gr00t."))
    return codec.name == "gr00t.native" or (own is not None and keys in (None, own))


def _fits(keys: GR00TKeys, codec: ResolvedCodec) -> bool:
    try:
        _bridged(keys, codec)
    except DialectUnsupported:
        return False
    return True


def _bridged(keys: GR00TKeys | None, codec: ResolvedCodec) -> ResolvedCodec:
    own = KEYSETS.get(codec.name.removeprefix("gr00t."))
    if own is not None and answers_pass(keys, codec):
        return replace(codec, codec=_untouched(own, codec))
    if keys is None:
        _check_names(codec)
        return codec
    if codec.name == "gr00t.native" or reads_own(keys, codec):
        _check_own(keys, codec)
        return codec
    check_translation(keys, codec, _try(keys, codec))
    return replace(codec, codec=Translated(keys) | codec.codec)


def _try(keys: GR00TKeys, codec: ResolvedCodec) -> str:
    return f"try another --gr00t.codec than {keys.name}, or another --codec than {codec.name}: "


def _check_names(codec: ResolvedCodec) -> None:
    """Without a key set the robot's keys are the model's."""
    read = codec.meta.observation.items()
    foreign = sorted(
        name
        for name, field in read
        if field.required and field.dtype != "str" and not name.startswith(("video.", "state."))
    )
    if foreign:
        raise DialectUnsupported(
            f"serve with --gr00t.codec, or another --codec than {codec.name}: the model reads "
            f"{', '.join(foreign[:6])}, and GR00T's robots send video.CAMERA and state.GROUP"
        )


def _check_own(keys: GR00TKeys, codec: ResolvedCodec) -> None:
    """A model that reads the robot's own names reads and answers what the robot has, as far as anybody knows it."""
    check_own(keys, codec, _try(keys, codec))
    answers = {name: field_width(field) for name, field in codec.meta.action.items()}
    if answers and None not in answers.values() and answers != keys.layout:
        raise DialectUnsupported(
            f"{_try(keys, codec)}the robot plays {spell_widths(keys.layout)}, the model answers {spell_widths(answers)}"
        )


def _untouched(keys: GR00TKeys, codec: ResolvedCodec) -> Codec:
    """GR00T scales images itself, and may want several frames of one: the policy's own checks know."""
    read = {
        name: replace(field, shape=None) if field.dtype == "uint8" else field
        for name, field in keys.fields(keys.provides).items()
    }
    action = {name: Field(shape=(width,), kind="vector") for name, width in keys.layout.items()}
    key = _key(codec.codec)
    own = _Played(observation=read, action=action, fps=codec.meta.action_fps, unplayed=keys.unplayed)
    if key is None or key == keys.instruction:
        return own
    return Rename({keys.instruction: key}) | replace(
        own, observation={key if name == keys.instruction else name: field for name, field in read.items()}
    )


@dataclass(frozen=True, kw_only=True)
class _Played(Untouched):
    """``unplayed``: what of an answer is not handed on, where there is such a thing."""

    unplayed: frozenset[str]

    def decode(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.decode`."""
        return chunk.only(chunk.columns().keys() - self.unplayed) if self.unplayed else chunk


def _key(codec: Codec) -> str | None:
    """What the model calls its instruction, where one of the codec's parts knows."""
    if isinstance(codec, Instruction):
        return codec.key
    held: Any = codec
    parts = [getattr(held, part.name) for part in fields(held)] if is_dataclass(held) else []
    keys = (_key(part) for part in parts if isinstance(part, Codec))
    return next((key for key in keys if key is not None), None)
