"""Which numbers of an environment's spaces stand under which name, held against the spaces before it is played."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigurationError, unknown
from ...wire import ACTIONS
from .. import RULES, Channel, Vector
from ._gymnasium import gym
from .ignored import check_read, split_ignored
from .spaces_file import Measured, Played

#: What the protocol's names of actions are, as the file says it.
_KINDS = {
    "target_pose": "absolute",
    "target_joints": "absolute",
    "target_grip": "absolute",
    "joint_delta": "delta",
    "joint_velocity": "velocity",
}
#: A Box of Gymnasium, and where it is: the keys of the Dict spaces around it.
Leaf = tuple[tuple[str, ...], Any]


@dataclass(frozen=True)
class Part:
    """One name: ``path``, the keys to its array; ``slice``, which numbers of it, None for all.

    ``kind``: of an action, as the file says it; ``render`` of what is no part of the observation.
    """

    path: tuple[str, ...]
    slice: slice | None
    channel: Channel
    kind: str = ""

    def of(self, observation: Any) -> Any:
        """What an observation holds of it."""
        for key in self.path:
            observation = observation[key]
        return observation if self.slice is None else observation[self.slice]


class ActionLayout:
    """Builds the environment's action of named vectors; each of its numbers has exactly one name."""

    def __init__(self, space: Any, parts: Mapping[str, Played]) -> None:
        self._leaves = dict(leaves(space, "action"))
        self.parts = {name: self._part(name, played) for name, played in parts.items()}
        self._check_covered()

    def build(self, values: Mapping[str, Vector]) -> Any:
        """The action that all names together say."""
        arrays: dict[tuple[str, ...], NDArray[Any]] = {
            path: np.zeros(box.shape, box.dtype) for path, box in self._leaves.items()
        }
        for name, part in self.parts.items():
            arrays[part.path][part.slice] = values[name]
        if () in arrays:
            return arrays[()]
        action: dict[str, Any] = {}
        for path, array in arrays.items():
            place = action
            for key in path[:-1]:
                place = place.setdefault(key, {})
            place[path[-1]] = array
        return action

    def _part(self, name: str, played: Played) -> Part:
        what = f"{name} of [action]"
        _check_kind(name, played.kind)
        path, box = _leaf(self._leaves, played.key, what)
        if len(box.shape) != 1 or np.dtype(box.dtype).kind != "f":
            raise ConfigurationError(
                f"{what} is a {box}; a robot plays rows of floats: wrap the environment so that its action is one"
            )
        numbers = _slice(played.slice, box.shape, what) or slice(0, box.shape[0])
        low, high = (np.asarray(each[numbers], np.float64) for each in (box.low, box.high))
        low, high = _narrowed(low, high, played, what)
        if played.kind != "absolute" and not ((low <= 0) & (high >= 0)).all():
            raise ConfigurationError(f"{what} is a {played.kind}, and 0, which holds still, is beyond its bounds")
        channel = _channel(
            what, (len(low),), "float64", played.unit, played.frame, played.order, tuple(low), tuple(high)
        )
        return Part(path, numbers, channel, played.kind)

    def _check_covered(self) -> None:
        named = {path: np.zeros(box.shape, int) for path, box in self._leaves.items()}
        for part in self.parts.values():
            named[part.path][part.slice] += 1
        for path, times in named.items():
            for count, said in ((0, "has no name"), (2, "has more than one name")):
                if (found := times == count if count == 0 else times >= count).any():
                    raise ConfigurationError(
                        f"number {int(np.flatnonzero(found)[0])} of {_called(path, 'the action')} {said} in [action]; "
                        f"each of its {found.size} has one, so that none is made up"
                    )


def measured_parts(
    space: Any, parts: Mapping[str, Measured], ignore: tuple[str, ...], picture: tuple[int, ...] | None
) -> dict[str, Part]:
    """Name → what is observed under it. ``picture``: the shape of what ``render()`` returns."""
    keys, numbers = split_ignored(ignore)
    boxes = dict(leaves(space, "observation", keys))
    found: dict[str, Part] = {}
    for name, measured in parts.items():
        what = f"{name} of [observation]"
        if measured.render:
            if measured.key is not None or measured.slice is not None:
                raise ConfigurationError(f"{what} is either rendered or a part of the observation, not both")
            assert picture is not None
            found[name] = Part((), None, _channel(what, picture, "uint8", measured.unit or "RGB", None, ()), "render")
            continue
        path, box = _leaf(boxes, measured.key, what)
        cut = _slice(measured.slice, box.shape, what)
        shape = tuple(box.shape) if cut is None else (cut.stop - cut.start,)
        dtype = np.dtype(box.dtype).name
        if name.startswith("image.") and not Channel(shape=shape, dtype=dtype).is_image:
            raise ConfigurationError(
                f"{what} is {shape} {dtype}; an image is (height, width, 3) uint8, RGB: wrap the environment so that "
                "it gives one"
            )
        unit = measured.unit or ("RGB" if name.startswith("image.") else None)
        found[name] = Part(path, cut, _channel(what, shape, dtype, unit, measured.frame, measured.order))
    if unread := boxes.keys() - {part.path for part in found.values() if part.kind != "render"}:
        lacking = sorted(".".join(path) for path in unread)
        # A single array may be rendered only.
        if lacking != [""]:
            raise ConfigurationError(
                f"the environment observes {', '.join(lacking)}, which [observation] does not name; name it, or "
                f"say ignore = {json.dumps(lacking)}"
            )
    read = {path: box.shape for path, box in boxes.items() if path not in unread}
    check_read(read, [(part.path, part.slice) for part in found.values() if part.kind != "render"], numbers)
    return found


def leaves(space: Any, what: str, ignore: frozenset[str] = frozenset()) -> Iterator[Leaf]:
    """The Boxes of a space. Raises ConfigurationError for one of another kind that is not ignored."""
    unread = set(ignore)
    for path, found in _walk(space):
        if (key := ".".join(path)) in ignore:
            unread.discard(key)
            continue
        if not isinstance(found, gym.spaces.Box):
            raise ConfigurationError(
                f"{_called(path, f'the {what}')} is a {found}; only Box spaces can be named, alone or in a Dict: wrap "
                "the environment so that it is one" + (f', or say ignore = ["{key}"]' if what != "action" else "")
            )
        yield path, found
    if unread:
        raise ConfigurationError(f"ignore names {', '.join(sorted(unread))}, which the environment does not observe")


def spelled(space: Any) -> str:
    """A space for a person who writes the file: its keys, and what is under each."""
    return "; ".join(f"{'.'.join(path)}: {found}" if path else str(found) for path, found in _walk(space))


def _walk(space: Any, path: tuple[str, ...] = ()) -> Iterator[Leaf]:
    if isinstance(space, gym.spaces.Dict):
        for key, inner in space.spaces.items():
            yield from _walk(inner, (*path, str(key)))
    else:
        yield path, space


def _check_kind(name: str, kind: str) -> None:
    """Raises ConfigurationError where one of the protocol's names would be played as what it is not."""
    known = name.partition(".")[0]
    if known == "pose_delta":
        raise ConfigurationError(
            f"{name} of [action] turns a pose (the protocol, {RULES[known]}), which is more than renaming: let an "
            "ActionWrapper compute it, under a name of its own"
        )
    if known in _KINDS and kind != _KINDS[known]:
        raise ConfigurationError(
            f"kind = {json.dumps(kind)} of {name} of [action]; the protocol has it as {ACTIONS[known][0]}, "
            f"{ACTIONS[known][1]} ({RULES[known]}): say kind = {json.dumps(_KINDS[known])}, or give what is {kind} "
            "another name"
        )


def _leaf(boxes: Mapping[tuple[str, ...], Any], key: str | None, what: str) -> Leaf:
    keys = {".".join(path): path for path in boxes}
    if (key or "") not in keys:
        if not any(keys):
            raise ConfigurationError(f"{what} names the key {key}; the environment has one array, without any: no key")
        raise ConfigurationError(
            f"{what} says no key; the environment has {', '.join(keys)}"
            if key is None
            else f"{what}: {unknown('key', key, keys)}"
        )
    path = keys[key or ""]
    return path, boxes[path]


def _slice(given: tuple[int, int] | None, shape: tuple[int, ...], what: str) -> slice | None:
    if given is None:
        return None
    if len(shape) != 1 or not 0 <= given[0] < given[1] <= shape[0]:
        raise ConfigurationError(
            f"{what}: slice = {list(given)} of an array of the shape {shape}; expected [from, to] of one row of "
            "numbers, where to is the first that is not part of it"
        )
    return slice(*given)


def _narrowed(low: Vector, high: Vector, played: Played, what: str) -> tuple[Vector, Vector]:
    """The bounds of the space, or those that the file says within them."""
    for name, given in (("low", played.low), ("high", played.high)):
        if given is None:
            continue
        if isinstance(given, tuple) and len(given) != len(low):
            raise ConfigurationError(
                f"{name} of {what} has {len(given)} numbers, and there are {len(low)}; or give one"
            )
        said = np.broadcast_to(np.asarray(given, np.float64), low.shape)
        if (said < low).any() or (said > high).any():
            raise ConfigurationError(
                f"{name} of {what} is {given}, beyond the space's own {low.tolist()} … {high.tolist()}"
            )
        low, high = (said, high) if name == "low" else (low, said)
    if not (np.isfinite([low, high]).all() and (low < high).all()):
        raise ConfigurationError(
            f"{what} goes from {low.tolist()} to {high.tolist()}; say by low and high from where to where: what "
            "nothing bounds is not played"
        )
    return low, high


def _channel(
    what: str,
    shape: tuple[int, ...],
    dtype: str,
    unit: str | None,
    frame: str | None,
    order: tuple[str, ...],
    low: tuple[float, ...] | None = None,
    high: tuple[float, ...] | None = None,
) -> Channel:
    try:
        return Channel(shape=shape, dtype=dtype, unit=unit, frame=frame, order=order, low=low, high=high)
    except ConfigurationError as error:
        raise ConfigurationError(f"{what}: {error.text}") from None


def _called(path: tuple[str, ...], what: str) -> str:
    return f"{'.'.join(path)} of {what}" if path else what
