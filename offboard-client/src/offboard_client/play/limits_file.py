"""What one robot may be sent, in a file of its own: limits, its home, and what it does when answers do not come."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Collection, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ..errors import ConfigurationError, InvalidAction, unknown
from ..plugins import build
from ..robots import Channel, Kinematics, Robot, RobotSpec, Vector
from .guard import Guard
from .homing import check_reach, read_place
from .ladder import Patience
from .safety import SafetyLimits

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

if TYPE_CHECKING:
    from ..robots.sim import ModelFile

_TABLES = ("kinematics", "ladder", "safe_action", "home")
_LIMITS = tuple(each.name for each in dataclasses.fields(SafetyLimits))
#: TOML has no null; and which limits may be switched off so.
_NONE = "none"
_MAY_BE_NONE = tuple(each.name for each in dataclasses.fields(SafetyLimits) if "None" in str(each.type))


@dataclass(frozen=True)
class RobotLimits:
    """What a robot may be sent, and where it goes by itself.

    ``kinematics``: for a robot that has none of its own. ``home``: where the arm is brought before an episode;
    ``safe_action``: where it goes when answers do not come; both as :func:`~offboard_client.play.read_place` reads
    them. ``patience``: how long it waits for them. ``file``: where all this is from.
    """

    limits: SafetyLimits = field(default_factory=SafetyLimits)
    kinematics: ModelFile | None = None
    patience: Patience | None = None
    safe_action: Mapping[str, Vector] | None = None
    home: Mapping[str, Vector] | None = None
    file: Path | None = None

    def narrowed(self, limits: SafetyLimits) -> RobotLimits:
        """The same with ``limits``, each of which may be stricter than that of the file.

        Raises ConfigurationError for one that is not.
        """
        for name in _LIMITS:
            old, new = getattr(self.limits, name), getattr(limits, name)
            if not _as_strict(name, old, new):
                raise ConfigurationError(
                    f"{name} is {_text(old)} in {self.file or 'the limits'}, and {_text(new)} is wider; "
                    "what is given beside the file may only be narrower. Edit the file, or use another one"
                )
        return dataclasses.replace(self, limits=limits)

    def guard(self, robot: Robot, meta: Mapping[str, Any]) -> Guard:
        """What stands between a policy and the robot. ``meta``: the session's ``metadata``.

        Raises ConfigurationError for what these limits cannot hold or speak of something else, home and safe action
        included.
        """
        if (spec := getattr(robot, "spec", None)) is not None:
            self.check_joints(spec)
        guard = Guard(robot, self.limits, meta, self.kinematics)
        with self._named():
            for name, place in self._places.items():
                guard.check_place(place, f"[{name}]")
        return guard

    @property
    def _places(self) -> dict[str, Mapping[str, Vector]]:
        places = {"safe_action": self.safe_action, "home": self.home}
        return {name: place for name, place in places.items() if place is not None}

    def check_joints(self, spec: RobotSpec) -> None:
        """Whether these are the limits of a robot with such joints; more than that takes a policy (:meth:`guard`).

        Raises ConfigurationError that names the file and the key.
        """
        channel = spec.measures.get("robot_state.q") or spec.plays.get("target_joints")
        if channel is None:
            return
        with self._named():
            if (count := channel.shape[-1]) >= 0:
                self.limits.check_joint_count(count)
                for name, place in self._places.items():
                    if (q := place.get("target_joints")) is not None and len(q) != count:
                        raise ConfigurationError(
                            f"target_joints of [{name}] are {len(q)} joints; this robot has {count}"
                        )
            self._check_order(channel)

    def unheld(self, robot: Robot, names: Collection[str]) -> str | None:
        """What of these limits nobody can hold for the actions ``names``, and why; None: all of them are held."""
        kinematics = getattr(robot, "kinematics", None) or self.kinematics
        if "target_pose" not in names or hasattr(kinematics, "solve"):
            return None
        return (
            "joint_velocity cannot be held for target_pose: nothing says to which joints the robot goes for one, and "
            "how fast. Its kinematics with solve(pose, near) would; until then its own controller has to"
        )

    def check_reach(self, kinematics: Kinematics | None) -> None:
        """Whether the joints go as far as home and safe action. ``kinematics``: the robot's own.

        Raises ConfigurationError that names the file and the key.
        """
        with self._named():
            for name, place in self._places.items():
                try:
                    check_reach(place, kinematics or self.kinematics, f"[{name}]")
                except InvalidAction as error:
                    raise ConfigurationError(error.text) from None

    def _check_order(self, channel: Channel) -> None:
        model, count, order = self.kinematics, channel.shape[-1], channel.order
        if model is None:
            return
        if count not in (-1, len(model.joints)):
            raise ConfigurationError(
                f"{model.path} has {len(model.joints)} joints between its world and {model.tip} "
                f"({', '.join(model.joints)}); robot_state.q has {count}. Name the tip of the arm"
            )
        if set(order) == set(model.joints) and order != model.joints:
            raise ConfigurationError(
                f"the robot's joints come as {', '.join(order)}, those of {model.path} as {', '.join(model.joints)}; "
                f"say [kinematics] joints = {list(order)}"
            )

    @contextmanager
    def _named(self) -> Generator[None]:
        """Within, what is wrong with these limits is told with their file."""
        try:
            yield
        except ConfigurationError as error:
            raise ConfigurationError(error.text if self.file is None else f"{self.file}: {error.text}") from error

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data."""
        model = self.kinematics
        places: dict[str, Any] = dict.fromkeys(("safe_action", "home"))
        for name, place in self._places.items():
            places[name] = {key: value.tolist() for key, value in place.items()}
        return {
            **dataclasses.asdict(self.limits),
            "kinematics": model and {"file": str(model.path), "tip": model.tip, "joints": list(model.joints)},
            "ladder": dataclasses.asdict(self.patience or Patience()),
            **places,
            "file": None if self.file is None else str(self.file),
        }


def load_limits(path: str | PathLike[str]) -> RobotLimits:
    """What the file says of a robot: TOML with the fields of SafetyLimits, and tables.

    ``[kinematics]``: ``file``, a URDF or an MJCF, relative to this file, ``tip``, and ``joints`` where the robot has
    them in another order. ``[ladder]``: the fields of :class:`Patience`. ``[safe_action]``, ``[home]``: actions.
    ``"none"`` is None. Raises ConfigurationError that names the file and the key.
    """
    path = Path(path)
    found = _read(path)
    try:
        for key in found:
            if key not in (*_LIMITS, *_TABLES):
                raise ConfigurationError(unknown("limit or table", key, (*_LIMITS, *_TABLES)))
            if found[key] == _NONE and key not in _MAY_BE_NONE:
                raise ConfigurationError(f"{key} cannot be {_NONE}; these can: {', '.join(_MAY_BE_NONE)}")
        tables = {name: _table(found, name) for name in _TABLES if name in found}
        values = {name: None if value == _NONE else value for name, value in found.items() if name in _LIMITS}
        return RobotLimits(
            build(SafetyLimits, values, "the limits", ConfigurationError),
            _kinematics(path.parent, tables["kinematics"]) if "kinematics" in tables else None,
            build(Patience, tables["ladder"], "[ladder]", ConfigurationError) if "ladder" in tables else None,
            *(read_place(tables[name], f"[{name}]") if name in tables else None for name in ("safe_action", "home")),
            file=path,
        )
    except ConfigurationError as error:
        raise ConfigurationError(f"{path}: {error.text}") from error


@dataclass(frozen=True)
class _Model:
    file: str
    tip: str
    joints: tuple[str, ...] | None = None


def _kinematics(folder: Path, table: Mapping[str, Any]) -> ModelFile:
    model = build(_Model, table, "[kinematics]", ConfigurationError)
    try:
        from ..robots.sim import read_model_file  # whose MuJoCo reads it; nobody else needs that
    except ConfigurationError as error:
        raise ConfigurationError(f"{model.file} cannot be read: {error.text}") from error
    return read_model_file(folder / Path(model.file).expanduser(), model.tip, model.joints)


def _table(found: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    table: Any = found[name]
    if not isinstance(table, Mapping):
        raise ConfigurationError(f"{name} is {table!r:.40}; expected a table, [{name}]")
    return cast("Mapping[str, Any]", table)


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(f"the limits file {path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"the limits file {path} is not TOML: {error}") from error


def _as_strict(name: str, old: Any, new: Any) -> bool:
    """Whether ``new`` forbids all that ``old`` does."""
    if old is None or new is None:
        return old is None
    low, high = np.asarray(old, dtype=np.float64), np.asarray(new, dtype=np.float64)
    if low.ndim == high.ndim == 1 and len(low) != len(high):
        return False
    return bool((low <= high).all() if name.endswith("_low") else (high <= low).all())


def _text(value: Any) -> str:
    return _NONE if value is None else f"{value}"
