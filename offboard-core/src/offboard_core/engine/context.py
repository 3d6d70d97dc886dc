"""What an observation brings for the inference itself: refused where the policy does not take it, else told to it.

Names and sizes are section 7 of the protocol. All of it is checked before the observation is encoded, which costs more:
:meth:`ContextReader.split` first, :meth:`ContextReader.tell` once the rest is known to be sound.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
from offboard_client.errors import BadObservation, InvalidAction, LoadFailed, brief
from offboard_client.wire import CONTEXT, OFFSETS, are_offsets, check_actions, is_finite

from ..catalog import ResolvedCodec
from ..types import Array, Chunk, InferContext, Observation, Policy, fits, is_array
from .checks import MAX_STEPS, check_observation
from .past import Past

log = logging.getLogger(__name__)

_NAMES = frozenset(CONTEXT.values())
#: What a seed is below: the largest that msgpack, JSON's readers and random generators all take.
_SEEDS = 2**63

#: What an observation brought, by the fields of :class:`InferContext`, checked and in the robot's terms.
Brought = Mapping[str, Any]
#: An observation as a model's input.
Encode = Callable[[Observation], Mapping[str, Any]]
#: What an answer means whose observation brings no history, where the server keeps it (M-27).
_KEPT = (
    "the server tells the model what this session observed nearest to each moment, by obs_time, else by when that "
    "came: send an observation at these moments, or the history"
)


class ContextReader:
    """What one session may bring: what its policy takes, as far as its codec can say it in the model's terms.

    Raises LoadFailed for a policy that cannot go without a history behind a codec with which there is none.
    """

    def __init__(self, policy: Policy[Any], codec: ResolvedCodec) -> None:
        self._codec = codec
        self._max_delay = policy.max_delay_steps
        self._steps = policy.history_steps
        self._offsets = _offsets(policy, codec.meta.action_fps)
        # What changes from moment to moment: a text does not.
        self._seen = [name for name, field in codec.meta.observation.items() if field.dtype != "str"]
        self._refused = dict(self._lost(policy.context))
        self._taken = sorted(policy.context - self._refused.keys())
        if policy.history_kept and (why := self._refused.get("history")) is not None:
            raise LoadFailed(f"no session can be answered without a history, and there is none: {why}")
        keeps = policy.history_kept and "history" in self._taken
        self._past = Past(self._offsets, self._seen) if keeps else None
        self._made_by, self._has_warned = codec, False
        #: Whether the server keeps what was observed: :meth:`recall` does nothing without, and there are no warnings.
        self.remembers = keeps

    def _lost(self, asked: frozenset[str]) -> Iterator[tuple[str, str]]:
        """What the policy takes and is not told, and why."""
        codec = self._codec
        if "prefix" in asked and (reason := codec.codec.one_way) is not None:
            yield "prefix", f"the codec {codec.name} cannot tell the model what the robot was sent: {reason}"
        if "history" in asked and not self._seen:
            yield "history", f"the codec {codec.name} does not declare what it reads"
        elif "history" in asked and (why := self._not_timed()) is not None:
            yield "history", why

    def _not_timed(self) -> str | None:
        """Why a history in steps cannot be one in seconds; None where it can, and where it is one."""
        fps = self._codec.meta.action_fps
        ago = "1 step" if list(self._steps) == [-1] else f"{', '.join(str(-at) for at in self._steps)} steps"
        wanted = f"the model wants what was observed {ago} ago"
        if self._steps and fps is None:
            return f"{wanted}, and nothing says how many are a second: set --fps"
        if not are_offsets(self._offsets):
            return f"{wanted}, at {fps:g} steps a second; a history is of {OFFSETS}"
        return None

    def meta(self) -> dict[str, Any]:
        """Its part of the handshake (M-22, M-23, M-26)."""
        said: dict[str, Any] = {"context": self._taken}
        if self._refused:
            said["context_refused"] = self._refused
        if self._max_delay is not None and "delay_steps" in self._taken:
            said["max_delay_steps"] = self._max_delay
        if "history" in self._taken:
            said["history"] = {"offsets_sec": list(self._offsets), "observation": self._seen}
        if self._past is not None:
            said["context_absent"] = {"history": _KEPT}
        return said

    def split(self, observation: Observation) -> tuple[Observation, Brought]:
        """The observation without what it brings, and that. Raises BadObservation for what is not taken or odd."""
        if _NAMES.isdisjoint(observation):
            return observation, {}
        rest = {name: value for name, value in observation.items() if name not in _NAMES}
        brought = {name: given for name, wire in CONTEXT.items() if (given := observation.get(wire)) is not None}
        for name in brought:
            if name not in self._taken:
                raise BadObservation(self._not_taken(name))
        for name, check in (("seed", self._seed), ("delay_steps", self._delay), ("prefix", self._prefix)):
            if name in brought:
                brought[name] = check(brought[name])
        if "history" in brought:
            brought["history"] = self._history(brought["history"], rest)
        return rest, brought

    def recall(
        self, told: InferContext, observation: Observation, inputs: Mapping[str, Any], codec: ResolvedCodec, at: float
    ) -> InferContext:
        """``told``, with the history that a robot left out where the server keeps it. ``observation``: a sound one.

        ``inputs``: what ``codec``, the session's as it is now, made of it. ``at``: when it came, in seconds on any
        clock.
        """
        if self._past is None or told.history:
            return told
        if codec is not self._made_by:
            self._past.forget()  # what the former options made of a moment is not what these would
            self._made_by = codec
        return replace(told, history=tuple(self._past.before(observation, inputs, at)))

    def warnings(self) -> list[str]:
        """What of the last observation's history its robot's operator should know, once in a session."""
        amiss = None if self._past is None or self._has_warned else self._past.amiss
        if amiss is None:
            return []
        self._has_warned = True
        text = (
            f"the model wants what was observed {-amiss[0]:g} s ago, and nothing had been sent about then: it was told "
            f"what is {amiss[1]:.3g} s from it. Send observations at the moments of meta.history, or offboard.history"
        )
        log.warning("a session's history: %s", text)
        return [text]

    def forget(self) -> None:
        """Another episode begins."""
        if self._past is not None:
            self._past.forget()

    def tell(self, brought: Brought, observation: Observation, codec: ResolvedCodec, encode: Encode) -> InferContext:
        """What the policy is told, in its own terms. ``observation``: what :meth:`split` left of it.

        ``codec``: the session's, whose options may have changed since it opened, but nothing of its meta.
        """
        told = dict(brought)
        if "prefix" in told:
            told["prefix"] = _in_models_terms(told["prefix"], observation, codec)
        if "history" in told:
            told["history"] = tuple(map(encode, told["history"]))
        return InferContext(**told)

    def _not_taken(self, name: str) -> str:
        why = self._refused.get(name, "this model does not take it")
        takes = ", ".join(CONTEXT[taken] for taken in self._taken) or "nothing of the kind"
        return f"the observation brings {CONTEXT[name]}, and {why}. It takes {takes}; leave out the rest"

    def _seed(self, value: Any) -> int:
        return _whole(value, "seed", _SEEDS - 1, "from 0 to 2**63 - 1")

    def _delay(self, value: Any) -> int:
        most = MAX_STEPS if self._max_delay is None else self._max_delay
        return _whole(value, "delay_steps", most, f"of steps from 0 to {most}: no later may this model's answer come")

    def _prefix(self, value: Any) -> Chunk:
        what, declared = CONTEXT["prefix"], self._codec.meta.action
        columns = cast("dict[str, Any]", value)
        if not isinstance(value, dict) or not columns or not all(map(_is_column, columns.items())):
            raise BadObservation(f"{what} is no map from the names of actions to arrays of one row for each step")
        if declared and columns.keys() != declared.keys():
            raise BadObservation(f"{what} holds {', '.join(columns)}; the actions are {', '.join(declared)}")
        for name, column in cast("dict[str, Array]", columns).items():
            shape = None if name not in declared else declared[name].shape
            # Where nothing is declared, what every action has: a vector of numbers for each step.
            if not (len(column.shape) == 2 and column.shape[1] if shape is None else fits(column.shape[1:], shape)):
                expected = "D" if shape is None else ", ".join(map(str, shape))
                raise BadObservation(f"{what}: {name} has the shape {column.shape}, expected (K, {expected})")
            if not 0 < len(column) <= MAX_STEPS:
                raise BadObservation(f"{what} has {len(column):,} steps, expected 1 to {MAX_STEPS:,}; or leave it out")
            if column.dtype.kind not in "fiu" or not is_finite(column):
                raise BadObservation(f"{what}: {name} holds what is no finite number")
        try:
            check_actions(columns)
            return Chunk(columns)
        except (InvalidAction, ValueError) as error:
            raise BadObservation(f"{what}: {error}") from None

    def _history(self, value: Any, observation: Observation) -> list[Observation]:
        """The moments, oldest first, each with what does not change from the observation itself."""
        what, moments = CONTEXT["history"], cast("list[Any]", value)
        if not isinstance(value, list) or len(moments) != len(self._offsets):
            expected = ", ".join(f"{offset:g} s" for offset in self._offsets)
            raise BadObservation(f"{what} is no list of {len(self._offsets)} observations, one from each of {expected}")
        frames: list[Observation] = []
        expected = {name for name in self._seen if observation.get(name) is not None}
        for i, moment in enumerate(moments):
            found = cast("dict[str, Any]", moment)
            if not isinstance(moment, dict) or found.keys() != expected:
                names = ", ".join(map(str, found)) if isinstance(moment, dict) else type(moment).__name__
                raise BadObservation(
                    f"{what}[{i}] holds {names or 'nothing'}; expected what the observation has of what changes: "
                    f"{', '.join(sorted(expected))}"
                )
            frame = {**observation, **found}
            try:
                check_observation(frame, self._codec.meta)
            except BadObservation as error:
                raise BadObservation(f"{what}[{i}]: {error.text}") from None
            frames.append(frame)
        return frames


def _offsets(policy: Policy[Any], fps: float | None) -> Sequence[float]:
    return policy.history_sec if fps is None or not policy.history_steps else [at / fps for at in policy.history_steps]


def _is_column(item: tuple[Any, Any]) -> bool:
    name, column = item
    return isinstance(name, str) and is_array(column) and column.ndim > 0


def _in_models_terms(prefix: Chunk, observation: Observation, codec: ResolvedCodec) -> Chunk:
    made = codec.encode_actions(prefix, observation)
    columns = made.columns()
    if len(made) != len(prefix) or not all(map(is_finite, columns.values())):
        raise BadObservation(f"the codec {codec.name} cannot say all of {CONTEXT['prefix']} to the model")
    return Chunk(columns["action"]) if columns.keys() == {"action"} else Chunk(columns)


def _whole(value: Any, name: str, most: int, expected: str) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 0 <= value <= most:
        raise BadObservation(f"{CONTEXT[name]} is {brief(value, 40)}; expected a whole number {expected}")
    return int(cast("int", value))
