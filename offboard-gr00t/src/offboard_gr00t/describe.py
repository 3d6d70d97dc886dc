"""What a session reads and answers, in GR00T's terms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from offboard_client.errors import DialectUnsupported
from offboard_core.frontends import chunk_lengths

#: The key that most checkpoints have for the instruction.
_TASK = "annotation.human.task_description"
#: What a ModalityConfig holds beside its keys and frames, since N1.6.
_NO_MORE: dict[str, Any] = {"sin_cos_embedding_keys": None, "mean_std_embedding_keys": None, "action_configs": None}


def frames_of(meta: Mapping[str, Any]) -> dict[str, tuple[int, ...]]:
    """Which frames of its cameras and of its state a session's model wants: steps from the present one, oldest first.

    GR00T's models say it of each; of others what the handshake's ``history`` says is said of both.
    """
    offsets = cast("Mapping[str, Any]", meta.get("history") or {}).get("offsets_sec", [])
    own = cast("Mapping[str, Any]", meta.get("frames") or {})
    before = [round(offset * (meta["action_fps"] or 0)) for offset in offsets]
    if sorted({*before, 0}) != [*before, 0]:  # nothing says the rate, or a moment is less than a step ago
        before = [*range(-len(offsets), 0)]
    return {kind: tuple(own.get(kind, [*before, 0])) if before else (0,) for kind in ("video", "state")}


def describe(meta: Mapping[str, Any], *, prefixed: bool, own: bool = False) -> dict[str, dict[str, Any]]:
    """What a session reads and answers, as GR00T describes modalities. ``prefixed``: with the names of N1.5.

    ``own``: whether its answers are the model's own, of which GR00T's say what the numbers are (``action_configs``).
    Its steps are as many as every answer has, where their number varies. Raises DialectUnsupported where nobody knows
    that.
    """
    horizon, _ = chunk_lengths(meta)
    if not horizon:
        raise DialectUnsupported("the model does not say how many steps it answers, which the modalities have to")
    read, made = cast("Mapping[str, Mapping[str, Any]]", meta["observation"]), cast("Mapping[str, Any]", meta["action"])
    texts = [name for name, field in read.items() if field.get("dtype") == "str"]
    keys: dict[str, list[str]] = {
        "video": [name for name in read if name.startswith("video.")],
        "state": [name for name in read if name.startswith("state.")],
        "action": [name if name.startswith("action.") or not prefixed else f"action.{name}" for name in made],
        "language": [name for name in texts if name != "task"] or [_TASK for _ in texts],
    }
    if not prefixed:
        keys = {kind: [name.removeprefix(f"{kind}.") for name in names] for kind, names in keys.items()}
    frames = {"action": range(horizon), **frames_of(meta)}
    said = {
        kind: {"delta_indices": [*frames.get(kind, [0])], "modality_keys": names, **({} if prefixed else _NO_MORE)}
        for kind, names in keys.items()
    }
    known = cast("Mapping[str, Any]", meta.get("action_configs") or {})
    if own and not prefixed and keys["action"] and known.keys() >= {*keys["action"]}:
        said["action"]["action_configs"] = [known[name] for name in keys["action"]]
    return said
