"""``offboard run … --dry-run``: what would have been sent, line by line, and as a picture."""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import printable
from ..play import Answer, EpisodeInfo, Outcome, SafetyLimits, Tick
from ..robots import Channel, RobotSpec, distance, vector
from ..terminal import console, note, say

_MEASURED = {"target_joints": "robot_state.q", "target_pose": "robot_state.ee_pose", "target_grip": "grip"}
_BLOCKS, _PLAIN = "▁▂▃▄▅▆▇█", "_.-=+*%#"
#: Of so many commands each is drawn; of more every second one, and so on.
_DRAWN = 4096
_POSE = ("x", "y", "z", "turn")


@dataclass
class Trace:
    """What one action name was sent: its numbers by axis, of a pose x, y, z and the angle from where it began, rad."""

    axes: tuple[str, ...]
    units: tuple[str, ...]
    limits: tuple[float | None, ...]
    low: NDArray[Any] = field(default_factory=lambda: np.array(math.inf))
    high: NDArray[Any] = field(default_factory=lambda: np.array(-math.inf))
    peak: NDArray[Any] = field(default_factory=lambda: np.array(0.0))
    drawn: list[NDArray[Any]] = field(default_factory=list[Any])
    _every: int = 1
    _count: int = 0

    def sent(self, values: NDArray[Any], velocity: NDArray[Any]) -> None:
        """One command, and how fast it leads there."""
        self.low, self.high = np.minimum(self.low, values), np.maximum(self.high, values)
        self.peak = np.maximum(self.peak, np.abs(velocity))
        if self._count % self._every == 0:
            self.drawn.append(values)
        self._count += 1
        if len(self.drawn) > _DRAWN:
            self.drawn, self._every = self.drawn[::2], 2 * self._every

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {
            "axes": list(self.axes),
            "units": list(self.units),
            "low": self.low.tolist(),
            "high": self.high.tolist(),
            "peak_velocity": self.peak.tolist(),
            "limit": list(self.limits),
        }


class DryRun:
    """Watches a run: prints a line for each chunk, and keeps what was commanded for the end."""

    def __init__(self, spec: RobotSpec, limits: SafetyLimits) -> None:
        self._spec, self._limits = spec, limits
        self.traces: dict[str, Trace] = {}
        self._before: dict[str, NDArray[Any]] = {}
        self._first: dict[str, NDArray[Any]] = {}
        self._chunks = 0

    def started(self, episode: EpisodeInfo) -> None:
        """Each episode begins where the arm is measured."""
        self._before, self._first, self._chunks = {}, {}, 0

    def answered(self, answer: Answer) -> None:
        """A line for each chunk."""
        if not answer.rows:
            return
        self._chunks += 1
        ends: dict[str, list[NDArray[Any]]] = {}
        for row in answer.rows:
            for name, value in row["action"].items():
                ends.setdefault(name, []).append(vector(value, None, name))
        ways = [f"{name} {self._way(name, values)}" for name, values in ends.items()]
        note(
            f"chunk {self._chunks}: {len(answer.rows)} rows until {answer.rows[-1]['timestamp']:.2f} s, "
            f"{answer.round_trip_ms:.0f} ms: {'; '.join(ways)}"
        )

    def ticked(self, tick: Tick) -> None:
        """What would have been sent."""
        for name, value in tick.command.action.items():
            target: NDArray[Any] = np.asarray(value, np.float64)
            before = self._before.get(name)
            if before is None and _MEASURED.get(name) in tick.observation:
                before = np.asarray(tick.observation[_MEASURED[name]], np.float64)
            trace = self.traces.setdefault(name, _trace(name, len(target), self._spec.plays.get(name), self._limits))
            if name == "joint_delta":
                trace.sent(target, target / tick.command.seconds)
                continue
            self._before[name] = target
            moved = np.zeros_like(target) if before is None else target - before
            if name == "target_pose":
                first = self._first.setdefault(name, target)
                turned = 0.0 if before is None else distance(before, target)[1]
                target = np.array([*target[:3], distance(first, target)[1]])
                moved = np.array([*moved[:3], turned])
            trace.sent(target, moved / tick.command.seconds)

    def ended(self, outcome: Outcome) -> None:
        """Nothing."""

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON data, by action name."""
        return {name: trace.as_dict() for name, trace in self.traces.items()}

    def show(self) -> None:
        """What each joint would have done, a line each, as wide as the terminal."""
        say("dry run: nothing was sent. What would have been:" if self.traces else "dry run: nothing would be sent")
        widest = max((len(axis) for trace in self.traces.values() for axis in trace.axes), default=0)
        for name, trace in self.traces.items():
            say(name)
            _draw(trace, widest)

    def _way(self, name: str, values: list[NDArray[Any]]) -> str:
        """How far a chunk leads along its farthest axis."""
        if len(values) < 2 and name != "joint_delta":
            return "once"
        channel = self._spec.plays.get(name)
        if name == "target_pose":
            metres, radians = distance(values[0], values[-1])
            return f"{metres:.3f} m, {math.degrees(radians):.0f} degrees"
        way = np.sum(values, axis=0) if name == "joint_delta" else values[-1] - values[0]
        farthest = int(np.abs(way).argmax())
        return f"{way[farthest]:+.3f} {_axes(name, len(way), channel)[farthest]}"


def _trace(name: str, size: int, channel: Channel | None, limits: SafetyLimits) -> Trace:
    axes = _axes(name, size, channel)
    if name == "target_pose":
        linear, angular = limits.linear_velocity, limits.angular_velocity
        return Trace(axes, ("m", "m", "m", "rad"), (linear, linear, linear, angular))
    if name == "target_grip":
        return Trace(axes, ("",) * size, (limits.grip_velocity,) * size)
    if name not in ("target_joints", "joint_delta"):
        unit = (channel.unit if channel is not None else None) or ""
        return Trace(axes, (printable(unit),) * size, (None,) * size)
    allowed = limits.joint_velocity
    each = (float(allowed),) * size if isinstance(allowed, int | float) else tuple(allowed)
    return Trace(axes, ("rad",) * size, each)


def _axes(name: str, size: int, channel: Channel | None) -> tuple[str, ...]:
    if name == "target_pose":
        return _POSE
    if channel is not None and len(channel.order) == size:
        return tuple(printable(axis) for axis in channel.order)
    return ("closed",) if name == "target_grip" else tuple(f"{number}" for number in range(1, size + 1))


def _draw(trace: Trace, widest: int) -> None:
    values = np.array(trace.drawn)
    for i, axis in enumerate(trace.axes):
        allowed, unit = trace.limits[i], trace.units[i]
        peak = f"{trace.peak[i]:.2f}" + ("" if allowed is None else f" of {allowed:g}") + f" {unit}/s"
        text = f"  {axis:{widest}} {trace.low[i]:7.3f} to {trace.high[i]:6.3f} {unit:3}  {peak:17} "
        say(text + _line(values[:, i], max(console().width - 1 - len(text), 8)))


def _line(values: NDArray[Any], width: int) -> str:
    """The values from left to right, a character for so many of them."""
    try:
        _BLOCKS.encode(sys.stdout.encoding or "ascii")
        marks = _BLOCKS
    except UnicodeEncodeError:
        marks = _PLAIN
    at = np.linspace(0, len(values) - 1, min(width, 60)).round().astype(int)
    low, span = float(values.min()), float(np.ptp(values))
    shares = (values[at] - low) / span if span > 0 else np.zeros(len(at))
    return "".join(marks[round(share * (len(marks) - 1))] for share in shares)
