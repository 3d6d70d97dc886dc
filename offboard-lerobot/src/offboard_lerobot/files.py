"""What the files of a LeRobot checkpoint say, read without torch or lerobot.

A ``pretrained_model`` folder as LeRobot 0.4 writes it: ``config.json`` (policy type, features), ``model.safetensors``
(or several files, and an index of them), and for each of ``policy_preprocessor`` and ``policy_postprocessor`` a JSON
that lists steps and names a safetensors file per step that has numbers. Before 0.4 the statistics were part of the
weights and there were no processors.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from offboard_client.errors import ConfigurationError
from offboard_core.checkpoints import INDEX, WEIGHTS, Incomplete, Place, Unfit, check_record, header, read_json, weights
from offboard_core.types import Checkpoint, Field

from .adapters import ADAPTED, ADAPTER, Adapter, read_adapter
from .features import ACTION, CONFIG, EMPTY, POSTPROCESSOR, PREPROCESSOR, as_sent, features
from .places import PRETRAINED, run_of, step_of
from .seen import seen
from .words import ANNOUNCED, STATE_IN_PROMPT

#: The command that moves a checkpoint's normalization from its weights into its processors; its folder comes behind.
MIGRATE = "python -m lerobot.processor.migrate_policy_normalization --pretrained-path"
#: What offboard itself knows about a checkpoint; see ``docs/how-to/serve-lerobot.md``.
RECORDED = "offboard.json"

#: What `lerobot-train` was told, beside what it trained. Read where it alone says which LeRobot that was.
TRAINED = "train_config.json"

#: What the handshake has of cameras that the config lists and the training did not have.
UNTRAINED = "untrained_cameras"

#: For the error about a folder that holds no checkpoint.
EXPECTED = f"{PRETRAINED}/ (its config, whole weights and processors)"

#: Files of a checkpoint that is saved in a way in which it cannot be served → what it is, and what to do about that.
_OTHER_KINDS = {
    ADAPTER: (
        f"it is a PEFT adapter, and there is no {CONFIG} that says so (use_peft)",
        "save beside it what lerobot-train does: the policy's config with use_peft, and both processors",
    ),
    "pytorch_model.bin": (
        f"its weights are a pickle (pytorch_model.bin), which may run code and is not read; there is no {WEIGHTS}",
        f"load it where you trust it, and save it as {WEIGHTS}",
    ),
}
#: What the folder of one checkpoint holds, of whatever kind.
MARKS = (CONFIG, WEIGHTS, INDEX, *_OTHER_KINDS)

_BEFORE_0_4 = ("normalize_inputs.", "normalize_targets.", "unnormalize_outputs.")
#: Policy type → the key of its config that says how many steps one chunk has.
_CHUNK_KEYS = {
    "diffusion": "n_action_steps", "fastwam": "action_horizon", "molmoact2": "n_action_steps",
    "multi_task_dit": "n_action_steps", "pi0_fast": "n_action_steps", "vqbet": "action_chunk_size",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Files:
    """A complete ``pretrained_model`` folder. ``steps``: file name → its processing steps; {} before 0.4.

    ``weights``: the files that hold them, several where an index names them; none for an adapter, whose base has them.
    ``tensors``: the header's entry of each of them.
    ``seen``: the config's ``input_features`` as :func:`.seen.seen` has them; ``inputs`` are these as robots send them.
    ``trained``: what lerobot-train was told, of policies whose prompt has the state, and is there. ``fill``: of the
    same, how many numbers it is filled up to there; None until :func:`.prompts.decided` has seen to it.
    """

    location: str
    config: Mapping[str, Any]
    inputs: Mapping[str, Field]
    outputs: Mapping[str, Field]
    steps: Mapping[str, list[Mapping[str, Any]]]
    recorded: Mapping[str, Any]
    weights: Sequence[str] = (WEIGHTS,)
    tensors: Mapping[str, Any] = field(default_factory=dict[str, Any])
    seen: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, Mapping[str, Any]])
    adapter: Adapter | None = None
    trained: Mapping[str, Any] | None = None
    fill: int | None = None

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
        beside = (ADAPTER, ADAPTED) if self.adapter else () if tuple(self.weights) == (WEIGHTS,) else (INDEX,)
        trained = () if self.trained is None else (TRAINED,)
        return {CONFIG, *beside, *trained, *self.weights, *self.steps, *self.states}

    @property
    def type(self) -> str:
        """LeRobot's name of the policy class (``act``)."""
        return str(self.config["type"])

    def _untrained(self) -> list[str]:
        """The cameras of its config that its training had no pictures of."""
        return [name for name in self.config["input_features"] if EMPTY not in name and name not in self.seen]

    def _chunk_length(self) -> Any:
        config = self.config
        if self.type in ("sac", "gaussian_actor"):
            return 1
        if self.type == "tdmpc":
            repeats = config.get("n_action_repeats", 0)
            return repeats if repeats != 1 or not config.get("use_mpc") else config.get("horizon")
        if self.type == "groot":
            said = [config.get(name) for name in ("chunk_size", "n_action_steps")]
            return min(n for n in said if type(n) is int) if any(type(n) is int for n in said) else None
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
                **({UNTRAINED: left_out} if (left_out := self._untrained()) else {}),
                **({} if revision is None else {"revision": revision}),
            },
        )


def read(place: Place) -> Files:
    """Raises Incomplete that names the file and what is wrong with it; of a remote place also ConfigurationError."""
    config = {} if place.size(CONFIG) is None else read_json(place, CONFIG)
    adapter = read_adapter(place) if config.get("use_peft") else None
    if adapter is None:
        _check_kind(place)
    config = config or read_json(place, CONFIG)
    if "input_shapes" in config:
        raise Unfit(
            f"{CONFIG} is of a LeRobot from before 2025, which described a policy by its input_shapes",
            "describe it as LeRobot 0.3 did (type, input_features, output_features, normalization_mapping), then "
            f"migrate it ({MIGRATE} {place.location}), or train it anew",
        )
    for key, kind in (("type", str), ("input_features", dict), ("output_features", dict)):
        if not isinstance(config.get(key), kind) or not config[key]:
            raise Incomplete(f"{CONFIG} has no {key}: it is no policy that LeRobot trained")
    names, tensors = weights(place) if adapter is None else ((), adapter.tensors)
    features(config["input_features"])
    steps, shapes = _steps(place, tensors)
    shown = seen(config["type"], config["input_features"], steps, shapes, place)
    told = config["type"] in STATE_IN_PROMPT and place.size(TRAINED) is not None
    beside = (place, step_of(place), run_of(place))
    recorded = next((at for at in beside if at is not None and at.size(RECORDED) is not None), None)
    return Files(
        location=place.location,
        config=config,
        inputs=as_sent(features(shown), steps.get(PREPROCESSOR, [])),
        outputs=_played(config["output_features"]),
        steps=steps,
        recorded={} if recorded is None else _recorded(recorded),
        weights=names,
        tensors={} if adapter else tensors,
        seen=shown,
        adapter=adapter,
        trained=read_json(place, TRAINED) if told else None,
    )


def _played(described: Mapping[str, Any]) -> dict[str, Field]:
    """LeRobot lists each column of a data set whose name begins as its actions', and learns and plays ``action``."""
    found = features(described)
    columns = {name for name, of in described.items() if name.startswith(ACTION) and of["type"] == "ACTION"} - {ACTION}
    return {name: field for name, field in found.items() if ACTION not in found or name not in columns}


def _recorded(place: Place) -> dict[str, Any]:
    record = read_json(place, RECORDED)
    try:
        check_record(record)
    except ConfigurationError as error:
        raise Unfit(*error.text.rsplit(". ", 1)) from None
    return record


def _check_kind(place: Place) -> None:
    """Raises Unfit for a checkpoint without weights of its own in the files that they must be in."""
    if place.size(WEIGHTS) is not None or place.size(INDEX) is not None:
        return
    for name, (problem, remedy) in _OTHER_KINDS.items():
        if place.size(name) is not None:
            raise Unfit(problem, remedy)


def _steps(place: Place, tensors: Mapping[str, Any]) -> tuple[dict[str, list[Mapping[str, Any]]], Mapping[str, Any]]:
    """The steps of both files, and what the headers say of the numbers that the preprocessor's have."""
    names = [name for name in (PREPROCESSOR, POSTPROCESSOR) if place.size(name) is not None]
    if not names and any(key.startswith(_BEFORE_0_4) for key in tensors):
        return {}, {}
    if not names:
        raise Incomplete(
            f"{PREPROCESSOR} and {POSTPROCESSOR} are missing",
            "a policy's save_pretrained does not write them: save both processors there, too, or copy policy_* from "
            "where it was trained",
        )
    found: dict[str, list[Mapping[str, Any]]] = {}
    shapes: dict[str, Any] = {}
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
            numbers = header(place, state)
            if name == PREPROCESSOR:
                shapes |= numbers
    return found, shapes
