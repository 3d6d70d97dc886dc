"""A codec, and how codecs are put together: one after the other (``a | b``) or side by side (``a & b``).

A part may have one half only. One that does not encode lets observations through in a sequence and adds nothing side
by side, likewise one that does not decode. Both are associative, also in ``decode``'s inverse.
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from offboard_client.errors import BadObservation

from .blocking import MayBlock
from .chunk import Chunk
from .later import Later
from .merging import both, common, completed, merge_sizes, side_by_side, union
from .values import CodecMeta, Feature, Field, Observation


class Codec(MayBlock, abc.ABC):
    """How a robot's data become a model's, and back. Pure and immutable: one codec serves many sessions.

    Compose with ``a | b`` (b reads what a encoded) and ``a & b`` (both read the same, what they make is merged).
    Errors: :class:`~offboard_client.errors.kinds.BadObservation` from :meth:`encode` and :meth:`encode_actions`, whose
    arguments are a robot's; :class:`~offboard_client.errors.kinds.InvalidAction` from :meth:`decode`.
    """

    promised = frozenset({"encode", "decode"})  # of MayBlock

    @property
    def meta(self) -> CodecMeta:
        """What this codec reads and makes."""
        return CodecMeta()

    def encode(self, observation: Observation) -> dict[str, Any]:
        """A robot's observation as the model's input. Never writes into its argument."""
        raise NotImplementedError(f"{type(self).__name__} does not encode")

    def decode(self, chunk: Chunk, observation: Observation) -> Chunk:
        """A model's chunk in the robot's terms; vectorised over T. ``observation`` is what :meth:`encode` was given."""
        raise NotImplementedError(f"{type(self).__name__} does not decode")

    def encode_actions(self, chunk: Chunk, observation: Observation) -> Chunk:
        """A robot's actions in the model's terms, without timestamps where this codec states the rate.

        The inverse of :meth:`decode`: what that makes of the result are these actions again, a rotation with either
        sign of its quaternion. ``observation`` is the one that they are to be played from. A part that knows some of
        the numbers of a model's vector leaves the others NaN: side by side, parts complete each other.
        """
        raise NotImplementedError(self.one_way or f"{type(self).__name__} decodes nothing")

    @property
    def one_way(self) -> str | None:
        """Why :meth:`encode_actions` cannot be; None where it can.

        What :meth:`decode` clips or rounds cannot be told from what it would have left as it is: a codec that does such
        a thing says so here, and a policy that wants to be told the robot's actions is not told them through it.
        """
        if decodes(self) and type(self).encode_actions is Codec.encode_actions:
            return f"{type(self).__name__} decodes actions and has no inverse (encode_actions)"
        return None

    # -- the training half -------------------------------------------------------------------------------
    @property
    def features(self) -> Mapping[str, Feature]:
        """The columns that :meth:`label` makes, by name."""
        return {}

    @property
    def trained_on(self) -> frozenset[str]:
        """The recorded names that :meth:`label` cannot do without: observed and commanded ones, and images.

        ``task`` is not among them, for a frame always has one.
        """
        return frozenset()

    def label(self, frame: Observation) -> dict[str, Any]:
        """One recorded frame (canonical names, and the commanded ``target_*``) as a training row."""
        return {}

    def __or__(self, other: Codec) -> Codec:
        return Sequential(self, other)

    def __and__(self, other: Codec) -> Codec:
        return Parallel(self, other)


class Stage(Codec):
    """A codec that changes some names and lets all others through; made to stand on the left of ``a | b``."""

    def over(self, inner: CodecMeta) -> CodecMeta:
        """The meta of ``self | codec`` for a codec whose own meta is ``inner``."""
        return inner


@dataclass(frozen=True)
class Sequential(Codec):
    """``first | second``: encode with first, then second; decode with second, then first.

    ``second`` decodes with ``first``'s encoding as its observation, which is made only if it is looked at.
    Raises ConfigurationError where the two contradict each other.
    """

    first: Codec
    second: Codec
    # Asked for every observation, so found out once.
    encodes: bool = field(init=False, repr=False, compare=False)
    decodes: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _find_halves(self, self.first, self.second)
        _ = self.meta, self.features

    @property
    def meta(self) -> CodecMeta:
        """What the first part asks for, and what comes back through it."""
        return _over(self.first, self.second.meta)

    def encode(self, observation: Observation) -> dict[str, Any]:
        """See :meth:`Codec.encode`."""
        if not self.encodes:
            return super().encode(observation)
        seen = self.first.encode(observation) if encodes(self.first) else observation
        return self.second.encode(seen) if encodes(self.second) else dict(seen)

    def decode(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.decode`."""
        if not self.decodes:
            return super().decode(chunk, observation)
        if decodes(self.second):
            chunk = self.second.decode(chunk, self._seen(observation))
        return self.first.decode(chunk, observation) if decodes(self.first) else chunk

    def encode_actions(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.encode_actions`."""
        if not self.decodes:
            return super().encode_actions(chunk, observation)
        if decodes(self.first):
            chunk = self.first.encode_actions(chunk, observation)
        return self.second.encode_actions(chunk, self._seen(observation)) if decodes(self.second) else chunk

    @property
    def one_way(self) -> str | None:
        """What either part says."""
        return _one_way(self.first, self.second)

    def _seen(self, observation: Observation) -> Observation:
        """What the second part takes for the observation."""
        return Later(lambda: self.first.encode(observation)) if encodes(self.first) else observation

    @property
    def features(self) -> Mapping[str, Feature]:
        """The columns of both parts."""
        return union("training column", self.first.features, self.second.features)

    @property
    def trained_on(self) -> frozenset[str]:
        """What the first part labels, and what the second is trained on in the names that the first reads."""
        inner = CodecMeta(observation={name: Field() for name in self.second.trained_on})
        return self.first.trained_on | _needed(_over(self.first, inner))

    def label(self, frame: Observation) -> dict[str, Any]:
        """The first part labels the frame, the second what the first encodes of it."""
        seen = self.first.encode(frame) if encodes(self.first) else frame
        return self.first.label(frame) | self.second.label(seen)


@dataclass(frozen=True)
class Parallel(Codec):
    """``left & right``: both read the same, and what they make is merged. A name that both make is an error.

    The error is a ConfigurationError at composition for actions and training columns, which are declared, else
    a BadObservation or InvalidAction when it happens.
    """

    left: Codec
    right: Codec
    encodes: bool = field(init=False, repr=False, compare=False)
    decodes: bool = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        _find_halves(self, self.left, self.right)
        _ = self.features
        if decodes(self.left) and decodes(self.right):
            union("action", self.left.meta.action, self.right.meta.action)
        _ = self.meta

    @property
    def meta(self) -> CodecMeta:
        """What either part asks for, and what either makes."""
        left, right = self.left.meta, self.right.meta
        observation = dict(left.observation)
        for name, asked in right.observation.items():
            observation[name] = both(name, observation[name], asked) if name in observation else asked
        return replace(
            common(left, right),
            observation=observation,
            action={**left.action, **right.action},
            image_sizes=merge_sizes(left, right, observation),
        )

    def encode(self, observation: Observation) -> dict[str, Any]:
        """See :meth:`Codec.encode`."""
        parts = [part for part in (self.left, self.right) if encodes(part)]
        if not parts:
            return super().encode(observation)
        encoded: dict[str, Any] = {}
        for part in parts:
            made = part.encode(observation)
            if twice := encoded.keys() & made.keys():
                raise BadObservation(
                    f"two codecs side by side both make {', '.join(sorted(twice))} of this observation"
                )
            encoded |= made
        return encoded

    def decode(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.decode`."""
        parts = [part for part in (self.left, self.right) if decodes(part)]
        if not parts:
            return super().decode(chunk, observation)
        made = [part.decode(chunk, observation) for part in parts]
        return made[0] if len(made) == 1 else side_by_side(*made)

    def encode_actions(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.encode_actions`. Each part gets the actions that it makes."""
        parts = [part for part in (self.left, self.right) if decodes(part)]
        if len(parts) < 2:
            return (parts[0] if parts else super()).encode_actions(chunk, observation)
        return completed(*(part.encode_actions(chunk.only(part.meta.action), observation) for part in parts))

    @property
    def one_way(self) -> str | None:
        """What either part says; and of two that decode, both must declare which actions are theirs."""
        parts = [part for part in (self.left, self.right) if decodes(part)]
        if len(parts) == 2 and not all(part.meta.action for part in parts):
            return "of two codecs side by side one does not declare which actions it makes"
        return _one_way(*parts)

    @property
    def features(self) -> Mapping[str, Feature]:
        """The columns of both parts."""
        return union("training column", self.left.features, self.right.features)

    @property
    def trained_on(self) -> frozenset[str]:
        """What either part is trained on."""
        return self.left.trained_on | self.right.trained_on

    def label(self, frame: Observation) -> dict[str, Any]:
        """The row's columns from both parts."""
        return self.left.label(frame) | self.right.label(frame)


def encodes(codec: Codec) -> bool:
    """Whether a codec has the half that makes a model's input."""
    if isinstance(codec, (Sequential, Parallel)):
        return codec.encodes
    return type(codec).encode is not Codec.encode


def decodes(codec: Codec) -> bool:
    """Whether a codec has the half that makes a robot's actions."""
    if isinstance(codec, (Sequential, Parallel)):
        return codec.decodes
    return type(codec).decode is not Codec.decode


def _find_halves(codec: Sequential | Parallel, *parts: Codec) -> None:
    object.__setattr__(codec, "encodes", any(encodes(part) for part in parts))
    object.__setattr__(codec, "decodes", any(decodes(part) for part in parts))
    object.__setattr__(codec, "blocking", any(part.blocking for part in parts))


def _one_way(*parts: Codec) -> str | None:
    return "; ".join(reason for part in parts if (reason := part.one_way) is not None) or None


def _needed(meta: CodecMeta) -> frozenset[str]:
    """The names that an observation must have, but for the instruction."""
    return frozenset(name for name, declared in meta.observation.items() if declared.required) - {"task"}


def _over(codec: Codec, inner: CodecMeta) -> CodecMeta:
    """The meta of ``codec | x`` for an x of meta ``inner``. Folding from the right makes ``|`` associative."""
    if isinstance(codec, Sequential):
        return _over(codec.first, _over(codec.second, inner))
    if isinstance(codec, Stage):
        return codec.over(inner)
    own = codec.meta
    reads = own if encodes(codec) else inner
    return replace(
        common(own, inner),
        observation=reads.observation,
        action=own.action if decodes(codec) and own.action else inner.action,
        image_sizes=reads.image_sizes,
    )
