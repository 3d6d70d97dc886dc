"""An environment of Gymnasium as a robot: observed and played by the names that a file gives its spaces."""

from __future__ import annotations

import importlib
import json
import logging
import threading
import warnings
from collections.abc import Mapping
from typing import Any, cast

import numpy as np

from ...errors import ConfigurationError, InvalidAction, RobotFailed, brief, told
from .. import Asked, Channel, Robot, RobotSpec, Vector, mean_pose, number, truth
from ._gymnasium import gym
from .layout import ActionLayout, Part, measured_parts, spelled
from .options import GymOptions
from .spaces_file import SpacesFile, read_spaces

log = logging.getLogger(__name__)
_STEP = ("observation", "reward", "terminated", "truncated", "info")


class GymRobot(Robot):
    """One environment. Time passes in :meth:`apply` only, a step each control period, and waits for the policy.

    It is made, reset and rendered once before it is connected, for only then it is known what it holds. What is beyond
    the bounds of its action space is refused, never clipped.
    """

    realtime = False

    def __init__(self, env_id: str, spaces: SpacesFile) -> None:
        """``env_id``: Gymnasium's. Raises ConfigurationError where the file does not say all about its spaces."""
        self.spaces = spaces
        self._stopped = threading.Event()
        self._closed = False
        rendered = any(part.render for part in spaces.observation.values())
        if rendered and spaces.make.get("render_mode") == "human":  # which would open a window
            raise ConfigurationError(
                '[make] says render_mode = "human", which is for eyes and gives no picture, and [observation] names '
                'what is rendered: leave render_mode out, which makes it with "rgb_array"'
            )
        self._env = _made(env_id, spaces, rendered)
        try:
            self._action = ActionLayout(self._env.action_space, spaces.action)
            with Asked("the first reset"):
                self._reset(0)
            with Asked("render"):
                picture = self._first_picture(env_id) if rendered else None
            self._parts = measured_parts(self._env.observation_space, spaces.observation, spaces.ignore, picture)
            self.spec = RobotSpec(
                measures={name: part.channel for name, part in self._parts.items()},
                plays={name: part.channel for name, part in self._action.parts.items()},
                control_period=1 / spaces.fps,
                simulated=True,
            )
            self._read(self._parts)
        except RobotFailed as error:
            self._let_go()
            raise ConfigurationError(error.text) from error
        except BaseException:
            self._let_go()
            raise

    def observe(self) -> dict[str, Any]:
        """What the last step, or the reset, has left; rendered now."""
        self._stopped.clear()
        return self._read(self._parts)

    def state(self) -> dict[str, Any]:
        """See :meth:`Robot.state`. One that was stopped stays so."""
        return self._read({name: part for name, part in self._parts.items() if not part.channel.is_image})

    def apply(self, action: Mapping[str, Any], seconds: float) -> None:
        """A step each control period; none where nothing was commanded yet whose last command could be held.

        What is ``absolute`` goes there in a straight line, a ``velocity`` is the same in each step, of a ``delta`` each
        has an equal share. None follows the one that has ended the episode.
        """
        goal = self._goal(self.checked(action))
        if goal is None:
            return
        steps = round(seconds / self.control_period)
        start = {name: self._last.get(name, value) for name, value in goal.items()}
        for step in range(1, steps + 1):
            if self._stopped.is_set() or self.over:
                return
            values: dict[str, Vector] = {}
            for name, part in self._action.parts.items():
                values[name] = goal[name]
                if part.kind == "absolute":
                    self._last[name] = values[name] = _between(name, start[name], goal[name], step / steps)
                elif part.kind == "delta":
                    values[name] = goal[name] / steps
            self._step(values)

    def stop(self) -> None:
        """See :meth:`Robot.stop`: no step follows the one under way."""
        self._stopped.set()

    def close(self) -> None:
        """Close the environment."""
        if not self._closed:
            self._closed = True
            self._env.close()

    def reset(self, seed: int) -> None:
        """The environment anew."""
        self._reset(seed)
        self._read(self._parts)

    # -- inside ----------------------------------------------------------------------------------------
    def _let_go(self) -> None:
        """After an error, which is what is told: of closing only that it has failed, too."""
        try:
            self.close()
        except Exception as error:
            log.warning("the environment's close failed, too: %s", told(error))

    def _reset(self, seed: int) -> None:
        self._observation, self.info = _given(self._env.reset(seed=seed), "reset", ("observation", "info"))
        #: Whether the environment has ended the episode: it can be stepped no more.
        self.over = self.terminated = False
        #: What its info says of success, where the file says so; of the last step.
        self.done = False
        #: Of the steps since.
        self.rewards: list[float] = []
        self._last: dict[str, Vector] = {}

    def _goal(self, action: dict[str, Vector]) -> dict[str, Vector] | None:
        """Every number of the next steps; None where there is nothing to be done."""
        parts = self._action.parts
        lacking = [name for name, part in parts.items() if part.kind == "absolute" and name not in action | self._last]
        if lacking and action:
            raise InvalidAction(
                f"{', '.join(action)} without {', '.join(lacking)}, of which nothing was said before: the environment "
                "takes all of it in each step"
            )
        if lacking:
            return None
        still = {name: np.zeros(part.channel.shape) for name, part in parts.items()}
        return still | self._last | action

    def _step(self, values: dict[str, Vector]) -> None:
        found = _given(self._env.step(self._action.build(values)), "step", _STEP)
        self._observation, reward, terminated, truncated, self.info = found
        self.terminated = truth(terminated, "terminated of the environment's step")
        self.over = truth(truncated, "truncated of the environment's step") or self.terminated
        self.rewards.append(number(reward, "the reward of the environment's step"))
        key = None if self.spaces.success is None else self.spaces.success.info
        if key is None:
            return
        if key not in self.info:
            raise RobotFailed(
                f"success is {key} of the environment's info, and that has {', '.join(sorted(map(str, self.info)))}"
            )
        self.done = truth(self.info[key], f"success, {key} of the environment's info,")

    def _first_picture(self, env_id: str) -> tuple[int, ...]:
        try:
            picture = self._env.render()
        except NotImplementedError:  # as gymnasium.Env has it, where nobody has written one
            picture = None
        if picture is None:
            modes = ", ".join(map(str, self._env.metadata.get("render_modes") or ["in no way"]))
            made = self.spaces.make.get("render_mode")
            raise ConfigurationError(
                f"{env_id} renders nothing"
                + ("" if made is None else f" with [make] render_mode = {json.dumps(made)}")
                + f", and [observation] names what it renders; it can render {modes}: "
                + ("" if made is None else "leave render_mode out of [make], or ")
                + "take an image of its observation, or an environment that renders rgb_array"
            )
        shape, dtype = np.shape(picture), getattr(picture, "dtype", type(picture).__name__)
        if not (isinstance(picture, np.ndarray) and Channel(shape=shape, dtype=str(dtype)).is_image):
            raise ConfigurationError(f"{env_id} renders {shape} {dtype}; expected an image (height, width, 3) uint8")
        return shape

    def _read(self, parts: Mapping[str, Part]) -> dict[str, Any]:
        if self._closed:
            raise RobotFailed("the environment is closed")
        return {name: self._value(name, part) for name, part in parts.items()}

    def _value(self, name: str, part: Part) -> Any:
        channel = part.channel
        if part.kind == "render":
            with Asked("render"):
                value = np.array(self._env.render())
        else:
            try:
                value = np.array(part.of(self._observation))
            except (KeyError, IndexError, TypeError, ValueError) as error:
                raise RobotFailed(f"the environment's observation has no {name}: {told(error)}") from error
        if value.dtype.kind == np.dtype(channel.dtype).kind == "f":
            with np.errstate(over="ignore"):  # what is beyond the narrower one is not finite there
                value = value.astype(channel.dtype)  # many say one width in their space and give the other
        if value.shape != channel.shape or value.dtype != np.dtype(channel.dtype):
            raise RobotFailed(
                f"{name} came as {value.shape} {value.dtype}; its space says {channel.shape} {channel.dtype}"
            )
        if value.dtype.kind == "f" and not np.isfinite(value).all():
            raise RobotFailed(f"{name} holds a number that is not finite")
        return value


def _between(name: str, start: Vector, goal: Vector, share: float) -> Vector:
    """So much of the way; of a pose, whose rotation has length 1 on all of it, too."""
    if name.partition(".")[0] == "target_pose" and share < 1:
        return mean_pose(np.array([start, goal]), np.array([1 - share, share]))
    # Rounding leads beyond neither end, where the space may end, too.
    return np.clip(start * (1 - share) + goal * share, np.minimum(start, goal), np.maximum(start, goal))


def _given(found: Any, method: str, names: tuple[str, ...]) -> Any:
    """What a method returned, if it is what Gymnasium says: so many values, the last of them a map."""
    if not isinstance(found, tuple) or len(cast("tuple[Any, ...]", found)) != len(names):
        raise RobotFailed(
            f"the environment's {method} returned {brief(found)}; expected ({', '.join(names)}), as Gymnasium has it"
        )
    values = cast("tuple[Any, ...]", found)
    if not isinstance(values[-1], Mapping):
        raise RobotFailed(f"the info of the environment's {method} is {brief(values[-1])}; expected a map")
    return values


def make_gym(options: GymOptions, env_id: str | None) -> GymRobot:
    """What ``offboard run gymnasium:ID`` drives. Raises ConfigurationError."""
    if env_id is None:
        raise ConfigurationError("say which environment: gymnasium:ID, as in gymnasium:gym_pusht/PushT-v0")
    if options.spaces is None:
        raise ConfigurationError(
            f"gymnasium:{env_id} needs --spaces FILE, which names what its spaces hold. {_held(env_id)}"
        )
    spaces = read_spaces(options.spaces.expanduser())
    try:
        return GymRobot(env_id, spaces)
    except ConfigurationError as error:
        raise ConfigurationError(f"{options.spaces}: {error.text}") from error


def _held(env_id: str) -> str:
    try:
        env = _made(env_id, None, rendered=False)
    except ConfigurationError as error:
        return f"And {error.text}"
    try:
        return f"It observes {spelled(env.observation_space)}; it plays {spelled(env.action_space)}"
    finally:
        env.close()


def _made(env_id: str, spaces: SpacesFile | None, rendered: bool) -> Any:
    """The environment, not reset yet."""
    if spaces is not None and spaces.module is not None:
        try:
            importlib.import_module(spaces.module)
        except (Exception, SystemExit) as error:
            raise ConfigurationError(f"the module {spaces.module} cannot be imported: {told(error)}") from error
    try:
        gym.spec(env_id)
    except gym.error.Error as error:
        raise ConfigurationError(
            f"Gymnasium does not know {env_id}: {told(error).rstrip('.?')}. What registers it has to be imported: say "
            'module = "NAME" in the file'
        ) from error
    except (Exception, SystemExit) as error:  # an id may name a module, MODULE:ID, which is imported
        raise ConfigurationError(f"{env_id} cannot be had: {told(error)}") from error
    given: dict[str, Any] = {"render_mode": "rgb_array"} if rendered else {}
    try:
        with warnings.catch_warnings():
            # What it cannot render is said below, once.
            warnings.filterwarnings("ignore", message=".*render", category=UserWarning)
            return gym.make(env_id, **{**given, **({} if spaces is None else spaces.make)}, disable_env_checker=True)
    except (Exception, SystemExit) as error:
        raise ConfigurationError(f"{env_id} cannot be made: {told(error)}") from error
