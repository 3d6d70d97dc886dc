"""What is read and made, as tables for a person: that of a policy and its codec, and that of a robot."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from ..chunks import Prefetch, choose_strategy
from ..drivers import Playing
from ..robots import Channel, RobotSpec
from ..terminal import emit_facts, emit_table, say, tell

#: A command line that plays a policy, as far as it is known where none was typed.
RUN = ("offboard", "run", "ROBOT", "SERVER")
_ACTION = ("action_fps", "action_horizon_sec", "chunk_length", "joint_names", "codec", "codec_source")


def show_contract(meta: Mapping[str, Any], undeclared: str = "nothing is declared", run: Sequence[str] = RUN) -> None:
    """Print what to send and what comes back, as a handshake's ``meta`` says it.

    ``undeclared``: what stands where it says nothing. ``run``: the command line that plays this policy.
    """
    observation: Mapping[str, Mapping[str, Any]] = meta.get("observation") or {}
    emit_table(
        ("what to send", "shape", "dtype", "unit", "required"),
        [
            (name, text(f.get("shape")), text(f.get("dtype")), f.get("unit") or "", text(f.get("required", True)))
            for name, f in observation.items()
        ]
        or [(undeclared, "", "", "", "")],
    )
    if meta.get("image_sizes"):
        tell(f"images may be shrunk to {text(meta['image_sizes'])} (w, h)")
    action: Mapping[str, Mapping[str, Any]] = meta.get("action") or {}
    emit_table(
        ("what comes back", "shape", "unit", "kind"),
        [(name, text(f.get("shape")), f.get("unit") or "", text(f.get("kind"))) for name, f in action.items()]
        or [(undeclared, "", "", "")],
    )
    facts = [(name, text(meta[name])) for name in _ACTION if meta.get(name) is not None]
    facts += [(f"what goes along: {name}", said) for name, said in _brought(meta)]
    conventions: Mapping[str, str] = meta.get("conventions") or {}
    facts += [(name, text(value)) for name, value in conventions.items()]
    if facts:
        emit_facts("how", facts)
    show_meant(meta, run)
    if meta.get("action_fps") is None:
        tell("nothing says how many steps per second these actions are: the client has to be told")


@dataclass(frozen=True)
class Meant:
    """How a checkpoint was meant to be played: ``why``, and the options of ``offboard run`` that do so."""

    why: str
    chunks: str
    threshold: float | None = None

    @property
    def options(self) -> list[str]:
        """As they are typed."""
        share = [] if self.threshold is None else ["--chunks-threshold", f"{self.threshold:g}"]
        return ["--chunks", self.chunks, *share]

    def followed(self, playing: Playing) -> bool:
        """Whether it is played so, or the policy is asked more often."""
        if self.threshold is None:
            return playing.chunks == self.chunks
        strategy = choose_strategy(playing.chunks, playing.chunks_threshold)
        return not isinstance(strategy, Prefetch) and strategy.threshold >= self.threshold


def meant(meta: Mapping[str, Any]) -> Meant | None:
    """What a handshake says of how its checkpoint was meant to be played; None where it says nothing."""
    played, steps = meta.get("n_action_steps"), meta.get("chunk_length")
    if meta.get("temporal_ensemble_coeff") is not None:
        return Meant("its checkpoint averages the answers to all observations (temporal_ensemble_coeff)", "ensemble")
    if type(played) is not int or type(steps) is not int or not 0 < played < steps:
        return None
    # `prefetch` would play the rest of the chunk, too. Rounded up: what is less than the share asks a step too late.
    share = -(-(steps - played) * 1000 // steps) / 1000
    why = f"of the {steps} steps of a chunk {played} are meant to be played before the next one (n_action_steps)"
    return Meant(why, "latest", share)


def show_meant(meta: Mapping[str, Any], run: Sequence[str]) -> None:
    """Print how a checkpoint was meant to be played, and the line to type. ``run``: what plays it otherwise."""
    if (said := meant(meta)) is not None:
        tell(f"{said.why}:")
        say(f"  {shlex.join([*run, *said.options])}")


def _brought(meta: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What an observation may bring for the inference itself, and what the policy wants of it and is not told."""
    refused: Mapping[str, str] = meta.get("context_refused") or {}
    without: Mapping[str, str] = meta.get("context_absent") or {}
    for name in meta.get("context") or ():
        said = "optional"
        if name == "history":
            history: Mapping[str, Any] = meta.get("history") or {}
            offsets: Sequence[float] = history.get("offsets_sec") or ()
            before = ", ".join(f"{-at:g}" for at in offsets)
            said = f"what was observed {before} s before (offboard run keeps and sends it)"
        elif name == "delay_steps" and meta.get("max_delay_steps") is not None:
            said = f"{meta['max_delay_steps']} at most"
        yield name, f"{said}; without: {without[name]}" if name in without else said
    for name, why in refused.items():
        yield name, f"not possible: {why}" + (f"; so: {without[name]}" if name in without else "")


def show_spec(spec: RobotSpec) -> None:
    """Print what a robot measures and plays, and how often."""
    for heading, channels in (("what it measures", spec.measures), ("what it plays", spec.plays)):
        rows = [(name, *_channel(channel)) for name, channel in channels.items()] or [("nothing", *[""] * 6)]
        columns = zip((heading, "shape", "unit", "frame", "order", "rate", "from … to"), *rows, strict=True)
        heads, *rows = zip(*(column for column in columns if any(column[1:])), strict=True)
        emit_table(heads, rows)
    tell(f"it takes a set-point every {spec.control_period:g} s ({1 / spec.control_period:g} Hz)")
    if spec.max_skew is not None:
        tell(f"what was taken more than {spec.max_skew:g} s apart is not sent as one observation")
    if spec.stale_after is not None:
        tell(f"what is older than {spec.stale_after:g} s has frozen")


def _channel(channel: Channel) -> tuple[str, ...]:
    return (
        text(channel.shape),
        channel.unit or "",
        channel.frame or "",
        _order(channel.order),
        "" if channel.rate is None else f"{channel.rate:g} Hz",
        _bounds(channel),
    )


def _bounds(channel: Channel) -> str:
    """``0 … 512`` where all numbers have the same, for a narrow terminal has a line for each number otherwise."""
    if channel.low is None or channel.high is None:
        return ""
    each = [f"{low:g} … {high:g}" for low, high in zip(channel.low, channel.high, strict=True)]
    return ", ".join(each if len(set(each)) > 1 else each[:1])


def _order(names: Sequence[str]) -> str:
    """``joint1 … joint7`` of those that are counted, for a narrow terminal has a line for each name otherwise."""
    stem = names[0].rstrip("0123456789") if names else ""
    first = names[0][len(stem) :] if names else ""
    if len(names) > 2 and first and all(name == f"{stem}{i}" for i, name in enumerate(names, int(first))):
        return f"{names[0]} … {names[-1]}"
    return ", ".join(names)


def text(value: Any) -> str:
    """A value of a handshake or a spec, for a person."""
    if value is None:
        return "any"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value and isinstance(value, Mapping):
        items = cast("Mapping[str, Any]", value).items()
        return ", ".join(f"{name} {text(item)}" for name, item in items)
    if isinstance(value, Sequence) and not isinstance(value, str):
        items = cast("Sequence[Any]", value)
        return "(" + ", ".join("any" if item == -1 else str(item) for item in items) + ")"
    return str(value)
