"""How a person says what a stock openpi server's keys and columns are, and the layouts that openpi's own robots have.

::

    KEY=PART[,PART ...]   observation/state=robot_state.q:7,grip:1   observation/image=image.wrist   prompt=task
    MAP:KEY=PART          images:cam_high=image.exterior
    PART                  target_joints:7   1-target_grip:1   target_pose:rotvec

A part is a name of the protocol with how many numbers it has, or with how its rotation is written. ``1-`` before it:
the server has it the other way round.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import get_args

from ..errors import ConfigurationError, unknown
from ..wire import ACTIONS, POSES, WIDTHS, Rotation
from .meta import RATE, is_rate
from .openpi_layout import WITHIN, Instruction, Layout, Part, Picture, Source

_WIDEST = 1024
_SIDE = 8192
_NUMBERS = "write it NAME:WIDTH, as robot_state.q:7; a pose as robot_state.ee_pose:ROTATION, with one of "


def said_layout(
    layout: str | None = None,
    *,
    fps: float | None = None,
    keys: Sequence[str] = (),
    actions: Sequence[str] = (),
    steps: int | None = None,
    channels_first: bool = False,
    resize: int | tuple[int, ...] | None = None,
) -> Layout:
    """The layout that these say. ``layout``: one of :data:`LAYOUTS`, of which the others change what they say.

    Raises ConfigurationError, and says what is missing: nothing is guessed.
    """
    if layout is not None and layout not in LAYOUTS:
        raise ConfigurationError(unknown("layout", layout, LAYOUTS))
    known = None if layout is None else LAYOUTS[layout]
    columns = tuple(_part(text, "--actions", ACTIONS) for text in actions)
    _check_once("--actions", (part.name for part in columns))
    found = dict(_key(text) for text in keys)
    _check_once("--keys", (text.partition("=")[0] for text in keys))
    if known is None:
        given = {"--fps HZ": fps is not None, "--keys KEY=NAME:WIDTH …": found, "--actions NAME:WIDTH …": columns}
        if lacking := [flag for flag, there in given.items() if not there]:
            raise ConfigurationError(
                "an openpi server does not say what it observes, what its numbers are or how fast they are played: say "
                f"{', '.join(lacking)}; or --layout {', '.join(LAYOUTS)}, for a policy of such a robot"
            )
        known = Layout(keys={}, actions=(), fps=0.0)
    if fps is not None and not is_rate(fps):
        raise ConfigurationError(f"--fps is {fps:g}; expected {RATE}")
    if steps is not None and steps < 1:
        raise ConfigurationError(f"--steps is {steps}; expected 1 or more")
    return replace(
        known,
        keys={**known.keys, **found},
        actions=columns or known.actions,
        fps=known.fps if fps is None else float(fps),
        steps=known.steps if steps is None else steps,
        channels_first=known.channels_first or channels_first,
        resize=None if resize is None else _size(resize),
    )


def _key(text: str) -> tuple[str, Source]:
    key, equals, sources = text.partition("=")
    within, separator, name = key.partition(WITHIN)
    if not equals or not within or (separator and not name):
        raise ConfigurationError(f"--keys {text}: write KEY=NAME, the server's key and what is sent there")
    if sources == "task":
        return key, Instruction()
    if sources.partition(".")[0] == "image" and "," not in sources:
        return key, Picture(sources)
    return key, tuple(_part(part, f"--keys {text}") for part in sources.split(","))


def _part(text: str, where: str, known: Iterable[str] | None = None) -> Part:
    """``known``: the names that there are, before a dot and an arm's own."""
    flipped = text.startswith("1-")
    name, separator, how = text.removeprefix("1-").partition(":")
    first = name.partition(".")[0]
    if known is not None and first not in known:
        raise ConfigurationError(f"{where}: {unknown('action', first, known)}")
    posed = first in POSES if known is not None else name.rpartition(".")[2] == "ee_pose"
    scale, offset = (-1.0, 1.0) if flipped else (1.0, 0.0)
    if not name or not separator or (posed and (how not in WIDTHS or flipped)):
        raise ConfigurationError(f"{where}: {text!r} does not say how it is written; {_NUMBERS}{', '.join(WIDTHS)}")
    if posed:
        rotation = next(one for one in get_args(Rotation) if one == how)
        return Part(name=name, width=3 + WIDTHS[rotation], rotation=rotation)
    if name == "task" or first == "image":
        raise ConfigurationError(f"{where}: {name} is no part of a vector; it has a key of its own, KEY={name}")
    if not how.isascii() or not how.isdecimal() or len(how) > 4 or not 1 <= int(how) <= _WIDEST:
        raise ConfigurationError(f"{where}: {text!r} has no width; {_NUMBERS}{', '.join(WIDTHS)}")
    part = Part(name=name, width=int(how), scale=scale, offset=offset)
    if (first in ("grip", "target_grip") and part.width != 1) or (flipped and first not in ("grip", "target_grip")):
        raise ConfigurationError(f"{where}: {text!r}: a grip is 1 number, and only a grip can be the other way round")
    return part


def _check_once(flag: str, names: Iterable[str]) -> None:
    seen = set[str]()
    for name in names:
        if name in seen:
            raise ConfigurationError(f"{flag} says twice what {name} is")
        seen.add(name)


def _size(resize: int | tuple[int, ...]) -> tuple[int, int]:
    size = (resize, resize) if isinstance(resize, int) else resize
    if len(size) != 2 or not all(0 < side <= _SIDE for side in size):
        raise ConfigurationError(f"--resize is {resize}; expected 1 to {_SIDE} pixels: one number, or width and height")
    return size


def _arms(*parts: str, known: Iterable[str] | None = None) -> tuple[Part, ...]:
    return tuple(_part(part, "aloha", known) for part in parts)


_PROMPT = {"prompt": Instruction()}
_DROID: dict[str, Source] = {
    "observation/joint_position": (Part(name="robot_state.q", width=7),),
    "observation/gripper_position": (Part(name="grip", width=1),),
    "observation/wrist_image_left": Picture("image.wrist"),
    "observation/exterior_image_1_left": Picture("image.exterior"),
    **_PROMPT,
}
#: Name → what the policies of openpi's own robots take and answer. Read in openpi 15a9616; as offboard-openpi's codecs.
LAYOUTS: dict[str, Layout] = {
    # DROID's controller cuts its velocities to [-1, 1] and plays 0.2 rad times them in each step.
    "droid": Layout(
        keys=_DROID,
        actions=(
            Part(name="joint_delta", width=7, clip=1.0, far=3.0, scale=0.2),
            Part(name="target_grip", width=1, binary=True),
        ),
        fps=15.0,
        steps=8,
        conventions={"joint_delta": "DROID's joint velocity, clipped to [-1, 1] as its controller does, times 0.2 rad"},
    ),
    "droid_jointpos": Layout(
        keys=_DROID,
        actions=(Part(name="target_joints", width=7), Part(name="target_grip", width=1, binary=True)),
        fps=15.0,
    ),
    # robosuite's controller cuts to [-1, 1] and plays 0.05 m and 0.5 rad times that; a finger opens by 0.04 m.
    "libero": Layout(
        keys={
            "observation/state": (
                Part(name="robot_state.ee_pose", width=6, rotation="rotvec"),
                Part(name="grip", width=2, scale=(-0.04, 0.04), offset=(0.04, -0.04)),
            ),
            "observation/wrist_image": Picture("image.wrist"),
            "observation/image": Picture("image.exterior"),
            **_PROMPT,
        },
        actions=(
            Part(name="pose_delta", width=6, rotation="rotvec", clip=1.0, scale=(0.05,) * 3 + (0.5,) * 3),
            Part(name="target_grip", width=1, clip=1.0, scale=0.5, offset=0.5),
        ),
        fps=20.0,
        steps=5,
        mirrored=True,
        conventions={
            "frame": "LIBERO's world (robosuite)",
            "pose_delta": "clipped to [-1, 1] as robosuite does, times 0.05 m and 0.5 rad",
        },
    ),
    "aloha": Layout(
        keys={
            "state": _arms("robot_state.left.q:6", "1-grip.left:1", "robot_state.right.q:6", "1-grip.right:1"),
            "images:cam_high": Picture("image.exterior"),
            "images:cam_low": Picture("image.low", required=False),
            "images:cam_left_wrist": Picture("image.left.wrist", required=False),
            "images:cam_right_wrist": Picture("image.right.wrist", required=False),
            **_PROMPT,
        },
        actions=_arms(
            "target_joints.left:6", "1-target_grip.left:1", "target_joints.right:6", "1-target_grip.right:1",
            known=ACTIONS,
        ),
        fps=50.0,
        steps=25,
        channels_first=True,
    ),
}  # fmt: skip
