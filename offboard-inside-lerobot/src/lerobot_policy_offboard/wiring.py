"""Which of LeRobot's numbers is which of the server's: by their names or by a person's word, and never by a guess."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from offboard_client.errors import BadObservation, ConfigurationError, InvalidAction
from offboard_client.wire import columns

from .side import ACTION, IMAGES, STATE, TASK, Side, bare

Array = np.ndarray[Any, Any]
#: One of LeRobot's names, and which of its numbers; None: all of it, as of an image and the task.
Some = tuple[str, "tuple[int, ...] | None"]
#: One of LeRobot's names, or some of its numbers: ``observation.state[0:7]``, ``action[7]``.
_SOME = re.compile(r"([^\[\]]+?)(?:\[(\d{1,4})(?::(\d{1,4}))?\])?")
#: What a handshake calls the motors' vectors, and under which of its conventions their names are.
_MOTORS, _TARGETS = "motors", "target_motors"
_UNITS = {"degrees": "degrees", "-100 to 100": "range", "rad": "rad"}


@dataclass(frozen=True)
class Wiring:
    """``reads``: the server's name → what LeRobot has there.
    ``plays``: the server's action → LeRobot's columns. ``width``: how many columns there are. ``holds``: the columns
    of the state that are where LeRobot's actions would keep the robot; None: nobody can say.
    """

    reads: Mapping[str, Some]
    plays: Mapping[str, tuple[int, ...]]
    width: int
    holds: tuple[int, ...] | None

    def observation(self, batch: Mapping[str, Array], row: int, task: str | None) -> dict[str, Any]:
        """What one robot's server is sent. Raises BadObservation for what is not there, or not finite."""
        made = dict[str, Any]()
        for name, (source, picked) in self.reads.items():
            if source == TASK:
                if task:
                    made[name] = task
                continue
            value = batch.get(source)
            if value is None:
                raise BadObservation(f"LeRobot handed in no {source} this time")
            made[name] = value[row] if picked is None else value[row][list(picked)]
            if value.ndim == 2 and not np.isfinite(made[name]).all():
                raise BadObservation(f"{source} is {made[name].tolist()}: not all finite numbers. Nothing was sent")
        return made

    def actions(self, rows: Sequence[Mapping[str, Any]]) -> Array:
        """The chunk (T, width) float32 in LeRobot's order, of the server's rows. Raises InvalidAction."""
        try:
            found = columns(cast("Any", rows))
        except ValueError as error:
            raise InvalidAction(f"the server's rows are not of one chunk: {error}") from None
        if found.keys() != self.plays.keys():
            raise InvalidAction(f"the server answered {', '.join(found)}; expected {', '.join(self.plays)}")
        made = np.full((len(rows), self.width), np.nan, np.float64)
        for name, picked in self.plays.items():
            part = found[name].reshape(len(rows), -1)
            if part.shape[1] != len(picked):
                raise InvalidAction(f"the server answered {part.shape[1]} numbers as {name}; expected {len(picked)}")
            made[:, list(picked)] = part
        with np.errstate(over="ignore"):
            played = made.astype(np.float32)
        if not np.isfinite(played).all():
            raise InvalidAction("the server's chunk is not finite as float32: nothing of it may reach a robot")
        return played

    def prefix(self, rows: Array) -> dict[str, Array]:
        """The server's actions by their names, of LeRobot's (T, width)."""
        return {name: np.ascontiguousarray(rows[:, list(picked)]) for name, picked in self.plays.items()}


def wire(side: Side, meta: Mapping[str, Any], given: Mapping[str, str], hold: bool) -> Wiring:
    """``given``: a person's map. Raises ConfigurationError, naming both sides, for whatever does not fit."""
    said = {name: _read(name, text) for name, text in given.items()}
    observed = cast("Mapping[str, Mapping[str, Any]]", meta.get("observation") or {})
    answered = cast("Mapping[str, Mapping[str, Any]]", meta.get("action") or {})
    _check_given(said, observed, answered)
    check_rate(side, meta)
    motors = _motors(meta)
    reads = _reads(side, observed, {name: each for name, each in said.items() if each[0] != ACTION}, motors)
    width = side.actions
    if width is None:
        raise ConfigurationError(
            "LeRobot does not say how many numbers its actions have, and there is no observation.state to go by: say "
            "what each is, --policy.names"
        )
    plays = _plays(side, width, answered, {name: each for name, each in said.items() if each[0] == ACTION}, motors)
    for name in [*reads, *plays]:
        _check_unit(side, name, (observed.get(name) or answered.get(name) or {}).get("unit"), name in said)
    holds = _holds(side, width)
    if hold and holds is None:
        raise ConfigurationError(
            "--policy.on_failure=hold sends a robot where it stands, and of these actions nobody can say that: "
            f"{', '.join(side.names.get(ACTION, ())) or 'their names are not known'}; expected positions that "
            f"observation.state has, too ({', '.join(side.names.get(STATE, ())) or 'no names'})"
        )
    return Wiring(reads, plays, width, holds)


def _read(name: str, text: str) -> Some:
    found = _SOME.fullmatch(text)
    if found is None:
        raise ConfigurationError(
            f"--policy.map has {name}: {text!r:.80}; expected one of LeRobot's names, or some of its numbers: "
            "observation.state[0:7], action[7]"
        )
    source, first, end = found.groups()
    if first is None:
        return source, None
    picked = range(int(first), int(first) + 1 if end is None else int(end))
    if not picked:
        raise ConfigurationError(f"--policy.map has {name}: {text}, which is no number at all")
    return source, tuple(picked)


def _check_given(said: Mapping[str, Any], observed: Mapping[str, Any], answered: Mapping[str, Any]) -> None:
    for name, (source, _) in said.items():
        there, what = (answered, "answers") if source == ACTION else (observed, "reads")
        if there and name not in there:
            raise ConfigurationError(f"--policy.map names {name}; the server {what} {', '.join(there)}")


def check_rate(side: Side, meta: Mapping[str, Any]) -> None:
    """Raises ConfigurationError where LeRobot plays more or fewer actions per second than the model means, or may."""
    fps = meta.get("action_fps")
    if fps is None:
        return
    if side.fps is None:
        raise ConfigurationError(
            f"the policy's actions are played {fps:g} times per second, and LeRobot does not tell how often it plays "
            f"one: give --policy.fps={fps:g} if that is its --fps (of lerobot-eval the environment's), or change that"
        )
    if abs(side.fps - fps) > 1e-3 * fps:
        raise ConfigurationError(
            f"the policy's actions are played {fps:g} times per second, and LeRobot plays {side.fps:g}: the motion "
            "would be another one. Give LeRobot that rate, or serve with the right --fps"
        )


def _motors(meta: Mapping[str, Any]) -> tuple[str, ...]:
    text = cast("Mapping[str, str]", meta.get("conventions") or {}).get(_MOTORS, "")
    return tuple(text.split(", ")) if text else ()


def _reads(
    side: Side,
    observed: Mapping[str, Mapping[str, Any]],
    said: Mapping[str, Some],
    motors: tuple[str, ...],
) -> dict[str, Some]:
    if not observed:  # a model that declares nothing gets what LeRobot has, as LeRobot calls it
        own: dict[str, Some] = {name: (name, None) for name in (*side.vectors, *sorted(side.images), TASK)}
        return dict(said) if said else own
    made, missing = dict[str, Some](), list[str]()
    for name, declared in observed.items():
        found = _checked(side, name, said[name]) if name in said else _own(side, name, motors)
        if found is not None:
            made[name] = found
        elif declared.get("required", True):
            missing.append(name)
    if missing:
        unnamed = _MOTORS in missing and STATE in side.vectors and STATE not in side.names
        raise ConfigurationError(
            f"the server's model needs {', '.join(missing)}, and LeRobot has {side.has}"
            + (f" {side.names[STATE]}" if STATE in side.names else "")
            + ". Nothing is matched by likeness: "
            + (
                f"say what each number of observation.state is, --policy.names='[{', '.join(motors)}]' if that is the "
                "robot's own order"
                if unnamed
                else "say what is what, --policy.map='{\"" + missing[0] + '": "observation.…"}\', or serve with a '
                "codec that reads LeRobot's names (native, motors)"
            )
        )
    return made


def _checked(side: Side, name: str, found: Some) -> Some:
    source, picked = found
    if source not in side.vectors and source not in side.images and source != TASK:
        raise ConfigurationError(f"--policy.map says that {name} is {source}; LeRobot has {side.has}")
    if picked is not None and (source not in side.vectors or picked[-1] >= side.vectors[source]):
        raise ConfigurationError(f"--policy.map wants number {picked[-1]} of {source}; LeRobot has {side.has}")
    return found


def _own(side: Side, name: str, motors: tuple[str, ...]) -> Some | None:
    """What LeRobot has by this very name, or by the one that the server's codecs have for LeRobot's."""
    if name in side.vectors or name in side.images or name == TASK:
        return name, None
    if name.startswith("image.") and (camera := IMAGES + name.removeprefix("image.")) in side.images:
        return camera, None
    names = side.names.get(STATE)
    if names is None or STATE not in side.vectors:
        return None
    if name == _MOTORS:
        return (STATE, _picked(motors, names)) if motors and set(motors) == set(bare(names)) else None
    return (STATE, _picked([name], names)) if bare([name])[0] in bare(names) else None


def _picked(wanted: Sequence[str], names: Sequence[str]) -> tuple[int, ...]:
    order = bare(names)
    return tuple(order.index(name) for name in bare(wanted))


def _plays(
    side: Side,
    width: int,
    answered: Mapping[str, Mapping[str, Any]],
    said: Mapping[str, Some],
    motors: tuple[str, ...],
) -> dict[str, tuple[int, ...]]:
    names = side.names.get(ACTION)
    every = tuple(range(width))
    made = dict[str, tuple[int, ...]]()
    for name in answered or said or (ACTION,):
        shape = (answered.get(name) or {}).get("shape")
        if name in said:
            picked = every if (some := said[name][1]) is None else some
        elif name == ACTION:
            picked = every
        elif names is not None and name == _TARGETS and motors and set(motors) == set(bare(names)):
            picked = _picked(motors, names)
        elif names is not None and bare([name])[0] in bare(names):
            picked = _picked([name], names)
        else:
            raise ConfigurationError(
                f"the server's model answers {', '.join(answered)}, and LeRobot plays {_played(names, width)}: nothing "
                f"says which of these {name} is. " + (
                    f"Say what each is, --policy.names='[{', '.join(motors)}]' if that is the robot's own order"
                    if names is None and motors
                    else f"Say it, --policy.map='{{\"{name}\": \"action[0:{width}]\"}}', or serve with a codec that "
                    "makes LeRobot's actions (native, motors)"
                )
            )  # fmt: skip
        expected = len(picked) if shape is None or -1 in shape else math.prod(cast("Sequence[int]", shape))
        if expected != len(picked):
            raise ConfigurationError(
                f"the server's model answers {expected} numbers as {name}, and LeRobot plays {len(picked)} there: "
                f"{_played(names, width)}"
            )
        made[name] = picked
    covered = sorted(column for picked in made.values() for column in picked)
    if covered != list(every):
        raise ConfigurationError(
            f"LeRobot plays {_played(names, width)}, and the server's {', '.join(made)} make the columns {covered} of "
            f"them: each of the {width} is played once"
        )
    return made


def _played(names: tuple[str, ...] | None, width: int) -> str:
    return f"{width} numbers" if names is None else ", ".join(names)


def _check_unit(side: Side, name: str, unit: str | None, said: bool) -> None:
    theirs = next((known for text, known in _UNITS.items() if unit is not None and unit.startswith(text)), None)
    if theirs is None or theirs == side.units:
        return
    if side.units is not None:
        raise ConfigurationError(
            f"the server's {name} is in {unit}, and LeRobot's joints count in {side.units}: have the robot count as "
            "the policy does (--robot.use_degrees), or serve with a codec that makes the policy's numbers of these"
        )
    if not said:
        raise ConfigurationError(
            f"the server's {name} is in {unit}, and nothing says what LeRobot's joints count in: give "
            f"--policy.units={theirs} if that is so (SO-100 and SO-101: --robot.use_degrees)"
        )


def _holds(side: Side, width: int) -> tuple[int, ...] | None:
    names, state = side.names.get(ACTION), side.names.get(STATE)
    if names is None or state is None or len(names) != width or len(state) != side.vectors.get(STATE):
        return None
    if any(name.endswith(".vel") for name in names) or not set(bare(names)) <= set(bare(state)):
        return None
    return _picked(names, state)
