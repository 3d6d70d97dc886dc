"""What the files of a LeRobot checkpoint say, read without torch or lerobot.

A ``pretrained_model`` folder as LeRobot 0.4 writes it: ``config.json`` (policy type, features),
``model.safetensors``, and for each of ``policy_preprocessor`` and ``policy_postprocessor`` a JSON that lists steps
and names a safetensors file per step that has numbers. Before 0.4 the statistics were part of the weights and
there were no processors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from offboard_core.checkpoints import is_lfs_pointer
from offboard_core.types import Checkpoint, Field

from .features import CONFIG, POSTPROCESSOR, PREPROCESSOR, Incomplete, Unfit, as_sent, features
from .places import PRETRAINED, Place
from .words import ANNOUNCED

WEIGHTS = "model.safetensors"
#: What offboard itself knows about a checkpoint; see ``docs/how-to/serve-lerobot.md``.
RECORDED = "offboard.json"
ADAPTER = "adapter_config.json"

#: For the error about a folder that holds no checkpoint.
EXPECTED = f"{PRETRAINED}/ (its config, whole weights and processors)"

#: Files of a checkpoint that is saved in a way in which it cannot be served → what it is, and what to do about that.
_OTHER_KINDS = {
    ADAPTER: (
        "it is a PEFT adapter, which changes the weights of another policy and has none itself",
        "merge it into that policy (merge_and_unload of peft), and save the whole policy with its processors",
    ),
    f"{WEIGHTS}.index.json": (
        "its weights are spread over several files",
        f"join them: read each with safetensors, and save all tensors in one {WEIGHTS}",
    ),
    "pytorch_model.bin": (
        f"its weights are a pickle (pytorch_model.bin), which may run code and is not read; there is no {WEIGHTS}",
        f"load it where you trust it, and save it as {WEIGHTS}",
    ),
}
#: What the folder of one checkpoint holds, of whatever kind.
MARKS = (CONFIG, WEIGHTS, *_OTHER_KINDS)

_BEFORE_0_4 = ("normalize_inputs.", "normalize_targets.", "unnormalize_outputs.")
# As much as tells a pointer of Git LFS.
_POINTER = 64
# Bytes of a JSON file: far more than a config and two lists of steps have.
_LONGEST_JSON = 16 * 2**20
# The safetensors format's own bound on its JSON header.
_LONGEST_HEADER = 100_000_000
#: Policy type → the key of its config that says how many steps one chunk has.
_CHUNK_KEYS = {
    "diffusion": "n_action_steps", "multi_task_dit": "n_action_steps", "pi0_fast": "n_action_steps",
    "vqbet": "action_chunk_size",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Files:
    """A complete ``pretrained_model`` folder. ``steps``: file name → its processing steps; {} before 0.4."""

    location: str
    config: Mapping[str, Any]
    inputs: Mapping[str, Field]
    outputs: Mapping[str, Field]
    steps: Mapping[str, list[Mapping[str, Any]]]
    recorded: Mapping[str, Any]

    @property
    def folder(self) -> Path:
        """Where it lies on this machine; nowhere, for one that was read elsewhere."""
        return Path(self.location)

    @property
    def states(self) -> set[str]:
        """The files that hold the steps' numbers."""
        return {str(step["state_file"]) for steps in self.steps.values() for step in steps if step.get("state_file")}

    @property
    def names(self) -> set[str]:
        """The files that a load reads."""
        return {CONFIG, WEIGHTS, *self.steps, *self.states}

    @property
    def type(self) -> str:
        """LeRobot's name of the policy class (``act``)."""
        return str(self.config["type"])

    def _chunk_length(self) -> Any:
        config = self.config
        if self.type in ("sac", "gaussian_actor"):
            return 1
        if self.type == "tdmpc":
            repeats = config.get("n_action_repeats", 0)
            return repeats if repeats != 1 or not config.get("use_mpc") else config.get("horizon")
        return config.get(_CHUNK_KEYS.get(self.type, "chunk_size"))

    def checkpoint(self, id: str, experiment: str, revision: str | None = None) -> Checkpoint:
        """The folder as a checkpoint of this id. ``revision``: the commit it was read at, where there are commits."""
        chunk_length = self._chunk_length()
        return Checkpoint(
            id=id,
            location=self.location,
            experiment=experiment,
            type=self.type,
            inputs=self.inputs,
            outputs=self.outputs,
            chunk_length=chunk_length if type(chunk_length) is int else None,
            recorded=self.recorded,
            extras={
                "policy_type": self.type,
                **{name: self.config[name] for name in ANNOUNCED if self.config.get(name) is not None},
                **({} if revision is None else {"revision": revision}),
            },
        )


def read(place: Place) -> Files:
    """Raises Incomplete that names the file and what is wrong with it; of a remote place also ConfigurationError."""
    _check_kind(place)
    config = read_json(place, CONFIG)
    if "input_shapes" in config:
        raise Unfit(
            f"{CONFIG} is of a LeRobot from before 2025, which described a policy by its input_shapes",
            "describe it as LeRobot 0.3 did (type, input_features, output_features, normalization_mapping) and migrate "
            "it (see docs/how-to/serve-lerobot.md), or train it anew",
        )
    for key, kind in (("type", str), ("input_features", dict), ("output_features", dict)):
        if not isinstance(config.get(key), kind) or not config[key]:
            raise Incomplete(f"{CONFIG} has no {key}: it is no policy that LeRobot trained")
    header = _weights_header(place, WEIGHTS)
    steps = _steps(place, header)
    recorded = next((at for at in (place, place.above()) if at is not None and at.size(RECORDED) is not None), None)
    return Files(
        location=place.location,
        config=config,
        inputs=as_sent(features(config["input_features"]), steps.get(PREPROCESSOR, [])),
        outputs=features(config["output_features"]),
        steps=steps,
        recorded={} if recorded is None else read_json(recorded, RECORDED),
    )


def _check_kind(place: Place) -> None:
    """Raises Unfit for a checkpoint without weights of its own in the one file that they must be in."""
    if place.size(WEIGHTS) is not None:
        return
    for name, (problem, remedy) in _OTHER_KINDS.items():
        if place.size(name) is not None:
            raise Unfit(problem, remedy)


def read_json(place: Place, name: str) -> dict[str, Any]:
    """The map in a JSON file. Raises Incomplete."""
    size = _size(place, name)
    if size > _LONGEST_JSON:
        raise Incomplete(f"{name} has {size:,} bytes, and no such file has more than {_LONGEST_JSON:,}")
    text = _read(place, name, 0, size)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Incomplete(f"{name} cannot be read ({error})") from None
    if not isinstance(content, dict):
        raise Incomplete(f"{name} holds no map")
    return cast("dict[str, Any]", content)


def _read(place: Place, name: str, start: int, end: int) -> bytes:
    try:
        content = place.read(name, start, end)
    except OSError as error:
        raise Incomplete(f"{name} cannot be read ({error})") from None
    if start == 0 and is_lfs_pointer(content):
        raise Unfit(
            f"{name} is a Git LFS pointer, not the file itself",
            f"run git lfs pull in {place.location}" if place.is_local else "upload the file that it stands for",
        )
    return content


def _size(place: Place, name: str) -> int:
    size = place.size(name)
    if size is None:
        raise Incomplete(f"{name} is missing")
    return size


def _steps(place: Place, header: Mapping[str, Any]) -> dict[str, list[Mapping[str, Any]]]:
    names = [name for name in (PREPROCESSOR, POSTPROCESSOR) if place.size(name) is not None]
    if not names and any(key.startswith(_BEFORE_0_4) for key in header):
        return {}
    if not names:
        raise Incomplete(
            f"{PREPROCESSOR} and {POSTPROCESSOR} are missing",
            "a policy's save_pretrained does not write them: save both processors there, too, or copy policy_* from "
            "where it was trained",
        )
    found: dict[str, list[Mapping[str, Any]]] = {}
    for name in (PREPROCESSOR, POSTPROCESSOR):
        steps = read_json(place, name).get("steps")
        if not isinstance(steps, list) or not all(isinstance(step, dict) for step in cast("list[Any]", steps)):
            raise Incomplete(f"{name} lists no steps")
        found[name] = cast("list[Mapping[str, Any]]", steps)
        for step in found[name]:
            state = step.get("state_file")
            if state is None:
                continue
            if not isinstance(state, str) or Path(state).name != state:
                raise Incomplete(f"{name} names {state!r}, which is no file of this folder")
            _weights_header(place, state)
    return found


def _weights_header(place: Place, name: str) -> dict[str, Any]:
    """The header of a safetensors file. It states the file's length: one that was cut short is found unread."""
    size = _size(place, name)
    try:
        length = int.from_bytes(_read(place, name, 0, min(_POINTER, size))[:8], "little")
        if size < 8 or length > min(size - 8, _LONGEST_HEADER):
            raise Incomplete(f"{name} ends within its header")
        header = json.loads(_read(place, name, 8, 8 + length))
        ends = [entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"]
        expected = 8 + length + max(ends, default=0)
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        raise Incomplete(f"{name} has no safetensors header") from None
    if size != expected:
        raise Incomplete(f"{name} has {size:,} bytes, its header says {expected:,}")
    return header
