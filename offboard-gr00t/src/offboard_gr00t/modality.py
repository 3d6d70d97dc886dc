"""What a GR00T model reads and answers: its cameras, its groups of numbers, the instruction, and which frames of each.

Everywhere the same four modalities, ``video``, ``state``, ``action`` and ``language``, each with the keys that it has
and the frames that it wants (``delta_indices``, counted in steps from the present one). N1.5 writes ``state.arm`` where
later generations write ``arm``; here the names have no prefix.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard, cast

from offboard_client.errors import BadMessage, brief

#: More of these has no model, and a list that long is no description of one.
_MOST_KEYS, _MOST_FRAMES, _FARTHEST, _LONGEST_NAME = 64, 512, 100_000, 200


@dataclass(frozen=True)
class ActionKind:
    """What the numbers of a group of actions are, as its checkpoint was trained.

    ``representation``: ``ABSOLUTE``, ``RELATIVE`` (to the state when it was asked) or ``DELTA`` (to the step before). A
    server's answers are absolute whatever this says, but for ``DELTA``. ``format``: ``DEFAULT``, ``XYZ_ROT6D`` or
    ``XYZ_ROTVEC``, of a pose (``kind`` ``EEF``). ``state``: the group of the state that it is relative to, where it is
    said.
    """

    representation: str = "ABSOLUTE"
    kind: str = "NON_EEF"
    format: str = "DEFAULT"
    state: str | None = None

    @property
    def said(self) -> dict[str, str | None]:
        """As GR00T writes it."""
        return {"rep": self.representation, "type": self.kind, "format": self.format, "state_key": self.state}


@dataclass(frozen=True, kw_only=True)
class Modalities:
    """One embodiment of a checkpoint.

    ``frames``, ``state_frames``: which frames of the cameras and the state it wants, in steps, 0 the present one, in
    order. ``horizon``: how many steps it answers. ``kinds``: of the groups of ``action``, where they are known.
    ``widths``: how many numbers the groups of ``state`` and ``action`` have (``"state.arm"``), where they are known.
    ``image_sizes``: (w, h) of the cameras whose images have to have just that size.
    """

    video: tuple[str, ...]
    state: tuple[str, ...]
    action: tuple[str, ...]
    language: tuple[str, ...]
    horizon: int
    frames: tuple[int, ...] = (0,)
    state_frames: tuple[int, ...] = (0,)
    kinds: Mapping[str, ActionKind] = field(default_factory=dict[str, ActionKind])
    widths: Mapping[str, int] = field(default_factory=dict[str, int])
    image_sizes: Mapping[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])

    @property
    def instruction(self) -> str | None:
        """The key of the instruction; of several the first, which is what GR00T reads of them."""
        return self.language[0] if self.language else None


def read(configs: Mapping[str, Any], **known: Any) -> Modalities:
    """What the four modalities say, as ``get_modality_config`` or a checkpoint's ``processor_config.json`` has them.

    ``known``: other fields of :class:`Modalities`. Raises BadMessage for what describes no model.
    """
    for name in ("state", "action"):
        if name not in configs:
            there = ", ".join(map(str, list(configs)[:8])) or "none"
            raise BadMessage(f"there is no modality {name}; there are: {there}")
    video, frames = _modality(configs, "video")
    state, state_frames = _modality(configs, "state")
    action, steps = _modality(configs, "action")
    language, _ = _modality(configs, "language")
    if not action or not steps:
        raise BadMessage("the modality action has no keys or no steps: nothing would be answered")
    if steps != tuple(range(len(steps))):
        # Its rows would be played as if they followed each other: too fast, or too early.
        said = ", ".join(map(str, steps[:5])) + (" …" if len(steps) > 5 else "")
        raise BadMessage(
            f"the modality action answers the steps {said}; only models that answer each step, from the present one on "
            "(0, 1, 2 …), are served"
        )
    return Modalities(
        video=video, state=state, action=action, language=language, horizon=len(steps), frames=frames or (0,),
        state_frames=state_frames or (0,), kinds=_kinds(configs["action"], action), **known,
    )  # fmt: skip


def bare(name: str, key: str) -> str:
    """A key without the prefix that N1.5 gives it. Instructions have none, and keep their dots."""
    return key.removeprefix(f"{name}.") if name != "language" else key


def _modality(configs: Mapping[str, Any], name: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    config = configs.get(name)
    if config is None:
        return (), ()
    if not isinstance(config, Mapping):
        raise BadMessage(f"the modality {name} is {brief(config, 60)}, expected a map")
    found = cast("Mapping[str, Any]", config)
    keys, steps = found.get("modality_keys"), found.get("delta_indices")
    if not _is_list(keys, str, _MOST_KEYS) or any(not 0 < len(key) <= _LONGEST_NAME for key in keys):
        raise BadMessage(f"modality_keys of {name} is {brief(keys, 80)}, expected at most {_MOST_KEYS} names")
    if not _is_list(steps, int, _MOST_FRAMES) or any(abs(step) > _FARTHEST for step in steps):
        raise BadMessage(
            f"delta_indices of {name} is {brief(steps, 80)}, expected at most {_MOST_FRAMES} whole numbers"
        )
    bared = tuple(bare(name, key) for key in keys)
    if len(set(bared)) != len(bared) or list(steps) != sorted(set(steps)):
        raise BadMessage(f"the modality {name} names a key or a step twice, or its steps out of order")
    return bared, tuple(steps)


def _is_list(value: Any, kind: type, most: int) -> TypeGuard[list[Any]]:
    return (
        isinstance(value, list)
        and len(cast("list[Any]", value)) <= most
        and all(type(part) is kind for part in cast("list[Any]", value))
    )


def _kinds(config: Mapping[str, Any], keys: tuple[str, ...]) -> dict[str, ActionKind]:
    """What ``action_configs`` says of each key; nothing where there are none."""
    said = config.get("action_configs")
    if said is None:
        return {}
    if not isinstance(said, list) or len(cast("list[Any]", said)) != len(keys):
        raise BadMessage(f"action_configs is {brief(said, 80)}, expected one for each of {', '.join(keys)}")
    return dict(zip(keys, map(_kind, cast("list[Any]", said)), strict=True))


def _kind(said: Any) -> ActionKind:
    if not isinstance(said, Mapping):
        raise BadMessage(f"an entry of action_configs is {brief(said, 60)}, expected a map")
    found = cast("Mapping[str, Any]", said)
    parts = [found.get(name, default) for name, default in _PARTS]
    if not all(isinstance(part, str) for part in parts):
        raise BadMessage(f"an entry of action_configs is {brief(said, 80)}, expected texts for rep, type and format")
    state = found.get("state_key")
    if state is not None and (not isinstance(state, str) or len(state) > _LONGEST_NAME):
        raise BadMessage(f"an entry of action_configs has the state_key {brief(state, 80)}, expected a name or nothing")
    representation, kind, format = (part.upper() for part in parts)
    return ActionKind(representation, kind, format, state)


_PARTS = (("rep", "ABSOLUTE"), ("type", "NON_EEF"), ("format", "DEFAULT"))
