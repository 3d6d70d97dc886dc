"""Whether a robot and a policy speak of the same things, by what both declare: before anything moves."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..errors import ConfigurationError, nearest, unknown
from ..protocol import FPS_RANGE
from ..robots import Channel, RobotSpec
from ..wire import ACTIONS, canonical, fits_dtype, fits_shape, measured_unit
from .meanings import Meaning, compare_joints, differences, read_meaning

#: The actions that the limits know.
KNOWN = frozenset(("target_pose", "target_joints", "joint_delta", "target_grip"))
_OF_JOINTS = frozenset(("q", "dq", "target_joints", "joint_delta", "joint_velocity"))
#: Whose order is told by the convention of this name.
_OF_MOTORS = frozenset(("motors", "target_motors"))
_CODEC = "serve with a codec that makes what the robot plays (`offboard codecs` lists them)"
_MEASURE = "measure it, or serve with a codec that reads what the robot measures"
_RESHAPE = "measure it in this shape, or serve with a codec that reads what the robot measures"
_CONVERT = "convert it in the robot, once"
#: Which of its units a motor's numbers are in is an option of the arm, and a fact of the checkpoint.
_COUNT = (
    "have the arm count as the policy does (LeRobot's: --robot.use_degrees true or false); --codec.units of the server "
    "says what the policy was trained in, and converts nothing"
)

_REORDER = "the order is another: give them as the policy does"
_RENAME = "the joints have other names: if they are the same ones, name them in the robot as the policy does"


@dataclass(frozen=True)
class Mismatch:
    """What a robot and a policy declare differently of one name, or only one of them declares."""

    name: str
    robot: str
    policy: str
    advice: str


@dataclass(frozen=True)
class Doubt:
    """What nobody can judge before it happens, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class Fit:
    """What became of the comparison. Without ``doubts`` everything that is declared was judged."""

    mismatches: tuple[Mismatch, ...]
    doubts: tuple[Doubt, ...]

    @property
    def fits(self) -> bool:
        """Whether nothing is known to be wrong."""
        return not self.mismatches

    def check(self) -> None:
        """Raises ConfigurationError, naming all that does not fit."""
        if self.mismatches:
            said = "; ".join(f"{each.name}: {each.robot}, {each.policy}" for each in self.mismatches)
            raise ConfigurationError(f"the robot and the policy do not fit: {said}. See `offboard check`")

    def as_dict(self) -> dict[str, Any]:
        """Plain JSON data."""
        return {"fits": self.fits, **asdict(self)}


def compare(spec: RobotSpec, meta: Mapping[str, Any], instruction: str | None) -> Fit:
    """A robot's spec against a handshake's ``meta``: what the policy observes, what it answers, and how fast.

    ``instruction``: what the policy is told as ``task``, None if nothing. What the protocol says of its own names holds
    where a declaration is silent.
    """
    found = [*_observed(spec, meta, instruction), *_answered(spec, meta)]
    return Fit(
        tuple(each for each in found if isinstance(each, Mismatch)),
        tuple(each for each in found if isinstance(each, Doubt)),
    )


def action_rate(meta: Mapping[str, Any]) -> float:
    """Actions per second. Raises ConfigurationError where the handshake does not say it."""
    fps = meta.get("action_fps")
    low, high = FPS_RANGE
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not low <= fps <= high:
        said = "null" if fps is None else repr(fps)
        raise ConfigurationError(
            f"the policy does not say at which rate its actions are played (action_fps is {said}, and can be "
            f"{low:g} to {high:g}); serve with --fps, or InferenceServer(…, fps=…), or give --fps beside --policy"
        )
    return float(fps)


def unchecked(name: str) -> str:
    """Why an action that the limits do not know is not played."""
    return (
        f"{unknown('action', name, KNOWN, 'that the limits know')}. What nothing checks is not played: serve "
        "with a codec that makes these, have the robot say from where to where its numbers may be (low and high of the "
        "Channel in its spec), or check it in a loop of your own"
    )


def _observed(spec: RobotSpec, meta: Mapping[str, Any], instruction: str | None) -> Iterator[Mismatch | Doubt]:
    wanted: Mapping[str, Mapping[str, Any]] = meta.get("observation") or {}
    if not wanted:
        yield Doubt("observation", "the policy declares nothing of what it observes: its first answer will tell")
    measured: dict[str, Channel] = canonical(spec.measures, wanted)
    if instruction is not None:
        measured.setdefault("task", Channel(shape=(), dtype="str"))
    for name, field in wanted.items():
        if name in measured:
            unit = "RGB" if name.startswith("image.") else measured_unit(name)
            yield from _held(name, measured[name], field, unit, meta, played=False)
        elif field.get("required", True):
            yield _missing(name, field, spec)


def _missing(name: str, field: Mapping[str, Any], spec: RobotSpec) -> Mismatch:
    if name == "task":
        return Mismatch(name, "is given no instruction", "needs one", "say it: --task TEXT")
    if name.startswith("image."):
        has = f"has the cameras {', '.join(spec.cameras)}" if spec.cameras else "has no camera"
        return Mismatch(name, has, _said(field), "name the camera so, or serve with a codec that reads another")
    near = nearest(name, spec.measures)
    return Mismatch(name, f"has {', '.join(near)}, not this" if near else "does not measure it", _said(field), _MEASURE)


def _answered(spec: RobotSpec, meta: Mapping[str, Any]) -> Iterator[Mismatch | Doubt]:
    made: Mapping[str, Mapping[str, Any]] = meta.get("action") or {}
    if not made:
        yield Doubt("action", "the policy declares nothing of what it answers: each answer is checked as it comes")
    for name, field in made.items():
        if name not in spec.plays:
            yield Mismatch(name, f"plays {', '.join(spec.plays)}", _said(field), _CODEC)
            continue
        if name not in KNOWN and not spec.plays[name].is_bounded:
            yield Mismatch(name, "plays it", _said(field), unchecked(name))
        kind, unit = ACTIONS.get(name.partition(".")[0], (None, None))
        if kind is not None and field.get("kind") not in (None, kind):
            yield Mismatch(name, f"plays {kind}", f"means {field['kind']}", _CODEC)
        yield from _held(name, spec.plays[name], field, unit, meta, played=True)
    yield from _paced(spec, meta)


def _paced(spec: RobotSpec, meta: Mapping[str, Any]) -> Iterator[Mismatch]:
    takes = f"takes {1 / spec.control_period:g} set-points per second"
    try:
        fps = action_rate(meta)
    except ConfigurationError as error:
        yield Mismatch("action_fps", takes, "does not say its rate", error.text)
        return
    if fps * spec.control_period > 1 + 1e-6:
        yield Mismatch(
            "action_fps",
            takes,
            f"makes {fps:g} actions per second",
            "some would not be played: have it take them as often, or serve what makes fewer; a lower --fps is slower "
            "motion, right only where the policy's rate was not known",
        )


def _held(
    name: str, channel: Channel, field: Mapping[str, Any], unit: str | None, meta: Mapping[str, Any], played: bool
) -> Iterator[Mismatch | Doubt]:
    """One name that both have. ``unit``: what the protocol says of it."""
    yield from _shaped(name, channel, field, _CODEC if played else _RESHAPE)
    yield from _ordered(name, channel, meta)
    robot = read_meaning(name, unit, channel.unit, channel.frame, {})
    policy = read_meaning(name, unit, field.get("unit"), None, meta.get("conventions") or {})
    differ, unclear = differences(robot, policy)
    for what, ours, theirs in differ:
        yield Mismatch(name, f"{what} {ours}", f"{what} {theirs}", _COUNT if name in _OF_MOTORS else _CONVERT)
    yield from _as_named(name, unit, robot, policy)
    for what, ours, theirs in unclear:
        yield Doubt(name, f"{what}: the robot says {ours or 'nothing'}, the policy {theirs or 'nothing'}")


def _as_named(name: str, unit: str | None, robot: Meaning, policy: Meaning) -> Iterator[Mismatch]:
    """What both mean alike, and the protocol, and so the limits, otherwise."""
    protocol = read_meaning(name, None, unit, None, {}).facts
    for what in sorted(protocol.keys() & robot.facts.keys() - {"frame"}):
        ours = robot.facts[what]
        if ours != protocol[what] and policy.facts.get(what) == ours:
            yield Mismatch(
                name, f"{what} {ours}", f"{what} {ours}",
                f"the protocol has {name} as {protocol[what]}, and limits are held in that: convert it in both, or "
                "give it another name in both",
            )  # fmt: skip


def _shaped(name: str, channel: Channel, field: Mapping[str, Any], advice: str) -> Iterator[Mismatch | Doubt]:
    shape: Sequence[int] | None = field.get("shape")
    if shape is not None:
        axes = tuple(shape)
        free = len(channel.shape) == len(axes) and any(
            ours == -1 != theirs for ours, theirs in zip(channel.shape, axes, strict=True)
        )
        known = tuple(t if o == -1 else o for o, t in zip(channel.shape, axes, strict=True)) if free else channel.shape
        if not fits_shape(known, axes):
            yield Mismatch(name, _axes(channel.shape), _axes(axes), _reshape(name, advice))
        elif free:
            yield Doubt(name, f"shape: the robot leaves {_axes(channel.shape)} open, the policy says {_axes(axes)}")
    dtype = field.get("dtype")
    if not fits_dtype(channel.dtype, dtype):
        yield Mismatch(name, channel.dtype, str(dtype), _CONVERT)


def _reshape(name: str, advice: str) -> str:
    if name.startswith("image."):
        return "have the camera deliver this size"
    return "this policy was made for another robot" if _of_joints(name) else advice


def _ordered(name: str, channel: Channel, meta: Mapping[str, Any]) -> Iterator[Mismatch | Doubt]:
    theirs, ours = tuple(meta.get("joint_names") or ()), channel.order
    if name in _OF_MOTORS:
        conventions: Mapping[str, str] = meta.get("conventions") or {}
        said = conventions.get("motors", "")
        theirs = tuple(said.split(", ")) if said else ()
    elif not _of_joints(name):
        return
    if not theirs or not ours:
        if name in _OF_MOTORS and (ours or theirs):
            # Of joints there is one order, from the base on; motors are in whatever order a data set has them.
            said = f"the robot says {', '.join(ours) or 'nothing'}, the policy {', '.join(theirs) or 'nothing'}"
            yield Doubt(name, f"order: {said}")
        return
    relation = compare_joints(ours, theirs)
    if relation == "uneven":
        yield Doubt(name, f"order: the robot names {len(ours)} joints, the policy {len(theirs)}")
    elif relation == "alike":
        yield Doubt(name, f"order: the same if {', '.join(ours)} are what the policy calls {', '.join(theirs)}")
    elif relation != "same":
        advice = _REORDER if relation == "order" else _RENAME
        yield Mismatch(name, ", ".join(ours), ", ".join(theirs), advice)


def _of_joints(name: str) -> bool:
    return bool(_OF_JOINTS & {name, name.rpartition(".")[2] if name.startswith("robot_state.") else ""})


def _axes(shape: Sequence[int]) -> str:
    return "(" + ", ".join("any" if axis == -1 else str(axis) for axis in shape) + ")"


def _said(field: Mapping[str, Any]) -> str:
    shape = field.get("shape")
    parts = ("" if shape is None else _axes(shape), field.get("dtype"), field.get("unit"))
    return " ".join(part for part in parts if part) or "says nothing of it"
