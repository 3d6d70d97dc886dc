"""Robots that have names of their own, in front of models that have canonical ones: the inverse of a vendor's codecs.

A codec makes a model's names of a robot's canonical ones. A key set is for the robot that sends such a model's names
already: it says which canonical names they hold, and how the canonical actions become what that robot plays.
Nothing is converted by guess: where the two differ in what an action is, in a frame or in the rate of a step, there is
no session.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from offboard_client.errors import BadObservation, DialectUnsupported, InvalidAction
from offboard_client.wire import POSES, check_actions

from ..catalog import ResolvedCodec
from ..codecs import CONVENTIONS
from ..types import Array, Chunk, Codec, CodecMeta, Field, Observation, Stage


@dataclass(frozen=True, kw_only=True)
class KeySet:
    """One robot's names for things.

    ``vectors``: the robot's vector → the canonical names it holds, in order, with the numbers each has there.
    ``images``: the robot's image → the canonical one; under ``nested``, if the robot sends them in a map of that name.
    ``instruction``: what the robot calls ``task``. ``actions``: canonical action → the numbers it has for the robot, in
    order. ``columns``: what the robot calls the same numbers, and how many each has; empty: as ``actions``.
    ``conventions``: what the numbers mean. ``fps``: the rate that the size of a step belongs to, for robots that play
    steps instead of targets.
    """

    name: str
    vectors: Mapping[str, Mapping[str, int]]
    images: Mapping[str, str]
    instruction: str
    actions: Mapping[str, int]
    columns: Mapping[str, int] = field(default_factory=dict[str, int])
    conventions: Mapping[str, str] = field(default_factory=lambda: dict(CONVENTIONS))
    nested: str | None = None
    fps: float | None = None

    @property
    def provides(self) -> set[str]:
        """The canonical names that such a robot sends."""
        return {"task", *self.images.values(), *(name for parts in self.vectors.values() for name in parts)}

    @property
    def keys(self) -> set[str]:
        """The robot's own names."""
        return {self.instruction, *self.vectors, *([self.nested] if self.nested else self.images)}

    @property
    def layout(self) -> dict[str, int]:
        """What the robot plays: its own names, in order, and how many numbers each has."""
        return dict(self.columns or self.actions)

    def fields(self, needed: set[str]) -> dict[str, Field]:
        """The robot's names, of which those that hold one of the canonical names ``needed`` are required."""
        fields = {
            key: Field(shape=(sum(parts.values()),), dtype="float32", required=bool(needed & parts.keys()))
            for key, parts in self.vectors.items()
        }
        if self.nested is not None:
            fields[self.nested] = Field(required=bool(needed & set(self.images.values())))
        else:
            for key, name in self.images.items():
                fields[key] = Field(shape=(-1, -1, 3), dtype="uint8", unit="RGB", required=name in needed)
        return {**fields, self.instruction: Field(shape=(), dtype="str", required="task" in needed)}

    def to_canonical(self, observation: Mapping[str, Any]) -> dict[str, Any]:
        """The observation under canonical names; what the robot does not send is not there. Raises BadObservation."""
        found: dict[str, Any] = {name: value for name, value in observation.items() if name not in self.keys}
        for key, parts in self.vectors.items():
            if observation.get(key) is not None:
                split = np.split(np.asarray(observation[key]).reshape(-1), np.cumsum(list(parts.values()))[:-1])
                found |= {name: self._part(name, value) for name, value in zip(parts, split, strict=True)}
        given: Any = observation if self.nested is None else observation.get(self.nested) or {}
        if not isinstance(given, Mapping):
            raise BadObservation(f"{self.nested} is a {type(given).__name__}, expected a map of camera names to images")
        images = cast("Mapping[str, Any]", given)
        for key, name in self.images.items():
            if images.get(key) is not None:
                found[name] = self._image(key, images[key])
        if observation.get(self.instruction) is not None:
            found["task"] = observation[self.instruction]
        return found

    def from_canonical(self, columns: Mapping[str, Array]) -> dict[str, Array]:
        """Canonical actions (T, …) as those of :attr:`layout`, each (T, D). Raises InvalidAction."""
        if columns.keys() != self.actions.keys():
            raise InvalidAction(
                f"the model answers {', '.join(columns)}; a robot with the key set {self.name} plays "
                f"{', '.join(self.actions)}, and one is never made of the other"
            )
        steps = [self._step(name, columns[name].reshape(len(columns[name]), -1)) for name in self.actions]
        widths = [part.shape[1] for part in steps]
        if widths != [*self.actions.values()]:
            answers = dict(zip(self.actions, widths, strict=True))
            raise InvalidAction(
                f"the model answers {spell_widths(answers)}, the robot plays {spell_widths(self.actions)}"
            )
        return _regrouped(steps, self.layout)

    def actions_to_canonical(self, played: Mapping[str, Array]) -> dict[str, Array]:
        """What :meth:`from_canonical` makes these of. Raises BadObservation for other names or widths."""
        layout = self.layout
        if {name: column.shape[1:] for name, column in played.items()} != {n: (w,) for n, w in layout.items()}:
            found = ", ".join(f"{name} {column.shape}" for name, column in played.items()) or "nothing"
            raise BadObservation(f"the actions hold {found}, expected {spell_widths(layout)}")
        parts = _regrouped([played[name] for name in layout], self.actions)
        return {name: self._step_back(name, part) for name, part in parts.items()}

    def misfit(self, options: Any) -> str | None:
        """Why a codec that was made with these options takes for canonical what such a robot's are not."""
        return None

    def _part(self, name: str, value: Array) -> Array:
        """What the robot sends of ``name``, in canonical terms."""
        return value

    def _image(self, key: str, image: Any) -> Any:
        """The robot's picture as (h, w, 3)."""
        return image

    def _step(self, name: str, steps: Array) -> Array:
        """A canonical action (T, …) as the robot plays it."""
        return steps

    def _step_back(self, name: str, steps: Array) -> Array:
        """The inverse of :meth:`_step`."""
        return steps


@dataclass(frozen=True)
class Translated(Stage):
    """A robot's key set in front of a codec that reads canonical names and makes canonical actions."""

    keys: KeySet

    def over(self, inner: CodecMeta) -> CodecMeta:
        """The robot's names, required where the inner codec needs what they hold."""
        needed = {name for name, field in inner.observation.items() if field.required}
        sizes = inner.image_sizes
        if isinstance(sizes, Mapping):
            sizes = {key: sizes[name] for key, name in self.keys.images.items() if name in sizes} or None
        action = {name: Field(shape=(width,)) for name, width in self.keys.layout.items()}
        return replace(inner, observation=self.keys.fields(needed), action=action, image_sizes=sizes)

    def encode(self, observation: Observation) -> dict[str, Any]:
        """See :meth:`Codec.encode`."""
        return self.keys.to_canonical(observation)

    def decode(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.decode`."""
        columns = chunk.columns()
        check_actions(columns)
        return Chunk(self.keys.from_canonical(columns), chunk.timestamp)

    def encode_actions(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.encode_actions`."""
        return Chunk(self.keys.actions_to_canonical(chunk.columns()), chunk.timestamp)


@dataclass(frozen=True, kw_only=True)
class Untouched(Codec):
    """What the robot sends goes to the model as it is, and what that answers comes back; both are said, not checked."""

    blocking = False

    observation: Mapping[str, Field]
    action: Mapping[str, Field]
    fps: float | None = None

    @property
    def meta(self) -> CodecMeta:
        """What it was made of."""
        return CodecMeta(observation=self.observation, action=self.action, action_fps=self.fps)

    def encode(self, observation: Observation) -> dict[str, Any]:
        """See :meth:`Codec.encode`."""
        return dict(observation)

    def decode(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.decode`."""
        return chunk

    def encode_actions(self, chunk: Chunk, observation: Observation) -> Chunk:
        """See :meth:`Codec.encode_actions`."""
        return chunk


def check_translation(keys: KeySet, codec: ResolvedCodec, advice: str) -> None:
    """Raises DialectUnsupported where :class:`Translated` cannot stand before ``codec``. ``advice``: what to try."""
    meta = codec.meta
    missing = sorted(n for n, f in meta.observation.items() if f.required and n not in keys.provides)
    if missing:
        raise DialectUnsupported(f"{advice}the model reads {', '.join(missing)}, which the robot does not send")
    answers = {name: field_width(field) for name, field in meta.action.items()}
    if answers and answers != {name: 7 if name in POSES else width for name, width in keys.actions.items()}:
        raise DialectUnsupported(
            f"{advice}the robot plays {spell_widths(keys.layout)}, the model answers {spell_widths(answers)}; "
            f"the robot's are made of {', '.join(keys.actions)} only"
        )
    for name in sorted(meta.conventions.keys() & keys.conventions.keys()):
        if meta.conventions[name] != keys.conventions[name]:
            raise DialectUnsupported(
                f"{advice}{name} is {keys.conventions[name]!r} for the robot, {meta.conventions[name]!r} for the model"
            )
    if (why := keys.misfit(codec.options)) is not None:
        raise DialectUnsupported(f"{advice}{why}")
    if keys.fps is not None and meta.action_fps not in (None, keys.fps):
        raise DialectUnsupported(
            f"{advice}the robot plays {keys.fps:g} steps per second, the model's are made for {meta.action_fps:g}; "
            "the size of a step belongs to its rate"
        )


def reads_own(keys: KeySet, codec: ResolvedCodec) -> bool:
    """Whether the model's codec reads the robot's names as they are."""
    required = _required(codec)
    return bool(required) and required.keys() <= keys.keys


def check_own(keys: KeySet, codec: ResolvedCodec, advice: str) -> None:
    """Raises DialectUnsupported where a model with names of its own reads others than the robot's, or other numbers.

    Of a model that declares nothing nobody knows. ``advice``: what to try.
    """
    required, has = _required(codec), keys.fields(keys.provides)
    if missing := sorted(required.keys() - keys.keys):
        raise DialectUnsupported(f"{advice}the model reads {', '.join(missing)}, which the robot does not send")
    for name, read in required.items():
        shape, own = read.shape, has[name].shape
        if shape is not None and own is not None and -1 not in (*shape, *own) and shape != own:
            raise DialectUnsupported(f"{advice}{name} is {own} for the robot, {shape} for the model")


def _required(codec: ResolvedCodec) -> dict[str, Field]:
    """What a model cannot do without, but for its instruction."""
    return {name: read for name, read in codec.meta.observation.items() if read.required and read.dtype != "str"}


def field_width(field: Field) -> int | None:
    """How many numbers a step has of it; None where nothing says that."""
    return field.shape[0] if field.shape is not None and len(field.shape) == 1 and field.shape[0] >= 0 else None


def spell_widths(widths: Mapping[str, int | None]) -> str:
    """Names and widths, for an error."""
    return ", ".join(f"{name} ({'any' if width is None else width})" for name, width in widths.items())


def _regrouped(parts: list[Array], widths: Mapping[str, int]) -> dict[str, Array]:
    """Columns side by side, divided anew."""
    if [part.shape[1] for part in parts] == [*widths.values()]:
        return dict(zip(widths, parts, strict=True))
    whole = np.concatenate(parts, axis=1)
    return dict(zip(widths, np.split(whole, np.cumsum([*widths.values()])[:-1], axis=1), strict=True))
