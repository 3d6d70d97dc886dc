"""What LeRobot has on its side: features by their names, and what it says of their numbers."""

# LeRobot leaves what its configs are made of untyped.
# pyright: reportMissingTypeStubs=false

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from offboard_client.errors import BadObservation, ConfigurationError

STATE, ACTION, TASK, IMAGES = "observation.state", "action", "task", "observation.images."
_POSITION = ".pos"
#: What rollouts hand to policies of what a robot measures and plays (LeRobot 0.6, ``build_rollout_context``).
_ROLLED_OUT = (".pos", ".vel")


@dataclass(frozen=True)
class Side:
    """``vectors``: name → how many numbers. ``images``: names. ``names``: ``observation.state`` and ``action`` → what
    each of their numbers is, as far as it is known. ``actions``: how many numbers are played. ``fps``, ``units``:
    how often they are played, and what joints count in, as far as that is known.
    """

    vectors: Mapping[str, int] = field(default_factory=dict[str, int])
    images: frozenset[str] = frozenset()
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, "tuple[str, ...]"])
    actions: int | None = None
    fps: float | None = None
    units: str | None = None

    @property
    def has(self) -> str:
        """Its names, for a person."""
        widths = [f"{name} ({width})" for name, width in self.vectors.items()]
        return ", ".join([*widths, *sorted(self.images), TASK])


def from_dataset(features: Mapping[str, Mapping[str, Any]], fps: float | None) -> Side:
    """Of the features of a data set that LeRobot records into."""
    vectors, images, names = dict[str, int](), set[str](), dict[str, tuple[str, ...]]()
    for name, each in features.items():
        if each["dtype"] in ("image", "video"):
            images.add(name)
            continue
        shape = tuple(each["shape"])
        if len(shape) != 1 or not (name == ACTION or name.startswith("observation.")):
            continue
        if name != ACTION:
            vectors[name] = int(shape[0])
        if (listed := _listed(each.get("names"))) is not None and len(listed) == shape[0]:
            names[name] = listed
    width = len(names[ACTION]) if ACTION in names else _width(features.get(ACTION))
    return Side(vectors, frozenset(images), names, width, None if fps is None else float(fps))


def from_policy_features(inputs: Mapping[str, Any] | None, outputs: Mapping[str, Any] | None) -> Side:
    """Of ``config.input_features`` and ``config.output_features``, which say no numbers' names."""
    vectors, images = dict[str, int](), set[str]()
    for name, each in (inputs or {}).items():
        if len(each.shape) == 3:
            images.add(name)
        elif len(each.shape) == 1:
            vectors[name] = int(each.shape[0])
    action = (outputs or {}).get(ACTION)
    return Side(vectors, frozenset(images), {}, None if action is None else int(action.shape[0]))


def from_batch(known: Side, shapes: Mapping[str, tuple[int, ...]]) -> Side:
    """What is handed in, by the shapes of its tensors, and of the rest what is known."""
    images = {name for name, shape in shapes.items() if len(shape) == 4}
    vectors = {name: shape[1] for name, shape in shapes.items() if len(shape) == 2}
    return replace(known, vectors=vectors, images=frozenset(images))


def robot_in_this_process() -> Any:
    """LeRobot's robot, where there is exactly one; else None. LeRobot hands a policy none of what its robot says."""
    from lerobot.robots import Robot

    # By its type: asking some libraries' proxies for their class imports them.
    kind: type = Robot
    found = [each for each in gc.get_objects() if issubclass(type(each), kind)]
    return found[0] if len(found) == 1 else None


def with_robot(side: Side, robot: Any) -> Side:
    """The same, with what the robot says of its numbers where LeRobot has said nothing."""
    names = dict(side.names)
    for feature, declared in ((STATE, robot.observation_features), (ACTION, robot.action_features)):
        numbers = tuple(name for name, kind in declared.items() if kind is float)
        handed = tuple(name for name in numbers if name.endswith(_ROLLED_OUT))
        width = side.vectors.get(STATE) if feature == STATE else side.actions
        fits = [each for each in (handed, numbers) if width is None or len(each) == width]
        if feature not in names and fits and fits[0]:
            names[feature] = fits[0]
    degrees = getattr(getattr(robot, "config", None), "use_degrees", None)
    units = ("degrees" if degrees else "range") if isinstance(degrees, bool) else None
    return replace(side, names=names, units=side.units or units)


def with_words(side: Side, names: Sequence[str] | None, fps: float | None, units: str | None) -> Side:
    """The same, with what a person has said. Raises ConfigurationError where LeRobot says something else."""
    said = dict(side.names)
    for feature in (STATE, ACTION) if names else ():
        known = said.get(feature)
        if known is not None and bare(known) != bare(names or ()):
            raise ConfigurationError(
                f"--policy.names are {', '.join(names or ())}; LeRobot's {feature} has {', '.join(known)}"
            )
        said.setdefault(feature, tuple(names or ()))
    for what, theirs, ours in (("fps", side.fps, fps), ("units", side.units, units)):
        if theirs is not None and ours is not None and theirs != ours:
            raise ConfigurationError(f"--policy.{what} is {ours}; LeRobot has {theirs}")
    return replace(side, names=said, fps=side.fps or fps, units=side.units or units)


def sized(side: Side) -> Side:
    """The same with its names held against its numbers, and ``actions``: as many as the names, else as the state has.

    Raises ConfigurationError.
    """
    for feature, width in ((STATE, side.vectors.get(STATE)), (ACTION, side.actions)):
        names = side.names.get(feature)
        if names is not None and width is not None and len(names) != width:
            raise ConfigurationError(f"{feature} has {width} numbers, and there are {len(names)} names: {names}")
    if side.actions is not None:
        return side
    names = side.names.get(ACTION)
    return replace(side, actions=side.vectors.get(STATE) if names is None else len(names))


def bare(names: Sequence[str]) -> tuple[str, ...]:
    """The motors' names, as a policy has them."""
    return tuple(name.removesuffix(_POSITION) for name in names)


class Arrays(Mapping[str, "np.ndarray[Any, Any]"]):
    """The tensors of a batch as arrays, images (B, H, W, 3) uint8; each is made when it is first looked at.

    Whatever is no observation of this moment is left out. Looking raises BadObservation for what LeRobot never has.
    """

    def __init__(self, batch: Mapping[str, Any]) -> None:
        self._tensors = {
            name: value for name, value in batch.items() if name.startswith("observation.") and hasattr(value, "detach")
        }
        self._made: dict[str, np.ndarray[Any, Any]] = {}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Those of the tensors."""
        return {name: tuple(value.shape) for name, value in self._tensors.items()}

    def __getitem__(self, name: str) -> np.ndarray[Any, Any]:
        if name not in self._made:
            array = cast("np.ndarray[Any, Any]", self._tensors[name].detach().cpu().numpy())
            self._made[name] = _picture(name, array) if array.ndim == 4 else array
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._tensors)

    def __len__(self) -> int:
        return len(self._tensors)


def _picture(name: str, array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    last = array.transpose(0, 2, 3, 1)
    if array.dtype == np.uint8:
        return np.ascontiguousarray(last)
    if array.dtype.kind != "f" or not (array.min(initial=0) >= 0 and array.max(initial=0) <= 1):
        raise BadObservation(
            f"{name} is {array.dtype} from {array.min(initial=0):.4g} to {array.max(initial=0):.4g}; LeRobot's images "
            "are floats from 0 to 1 before anything has normalised them"
        )
    return np.rint(last * np.float32(255)).astype(np.uint8)


def _listed(names: Any) -> tuple[str, ...] | None:
    if isinstance(names, dict):  # {"motors": […]}, as older data sets have it
        values = list(cast("dict[str, Any]", names).values())
        names = values[0] if len(values) == 1 else None
    if isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in cast("list[Any]", names)):
        return tuple(cast("list[str]", names))
    return None


def _width(feature: Mapping[str, Any] | None) -> int | None:
    shape = () if feature is None else tuple(feature["shape"])
    return int(shape[0]) if len(shape) == 1 else None
