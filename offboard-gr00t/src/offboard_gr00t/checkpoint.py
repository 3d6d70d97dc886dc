"""What the files of a checkpoint say before anything is loaded: its generation, its embodiments, what each reads.

N1.6 and N1.7 save ``processor_config.json`` (the modalities of each embodiment) and ``statistics.json`` at the root of
a checkpoint, or in its ``processor/``; GR00T reads the root's where there are both. N1.5 saves
``experiment_cfg/metadata.json`` (groups, widths and image sizes of the data); which of them the model takes only its
``--data-config`` knows, which is code.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from offboard_client.errors import BadMessage, ConfigurationError, LoadFailed, brief
from offboard_core.checkpoints import Incomplete, Place, Unfit, check_record, read_json
from offboard_core.types import Checkpoint

from .checks import known
from .generation import Generation
from .modality import ActionKind, Modalities
from .modality import read as read_modalities
from .tags import choose

CONFIG, PROCESSOR, STATISTICS = "config.json", "processor_config.json", "statistics.json"
METADATA = "experiment_cfg/metadata.json"
#: What offboard itself knows about a checkpoint; see ``docs/how-to/serve-gr00t.md``.
RECORDED = "offboard.json"
#: Texts that it may hold beside the codec and its rate.
_RECORDED = ("embodiment_tag", "data_config", "modality_config")
#: N1.5's steps where its config says none: its action head has no other number.
_STEPS = 16
#: As GR00T's own are; it becomes a word of the server's command line.
_TAG = re.compile(r"[A-Za-z0-9]\w{0,99}", re.ASCII)


@dataclass(frozen=True)
class Described:
    """One embodiment of a checkpoint. ``tags``: all that it has."""

    generation: Generation
    tag: str
    modalities: Modalities
    tags: tuple[str, ...]


@dataclass(frozen=True)
class Contents:
    """What the files say of all embodiments. ``recorded``: what ``offboard.json`` holds, {} without one.

    ``generation``: None where neither they nor anybody else says it; ``called``: how ``config.json`` calls the model.
    """

    generation: Generation | None
    called: Any
    embodiments: Mapping[str, Mapping[str, Any]]
    statistics: Mapping[str, Any]
    steps: int
    recorded: Mapping[str, Any]

    def meant(self, named: str | None) -> Described:
        """The embodiment that is ``named``, or recorded, or the only one, or ``new_embodiment``.

        Raises ConfigurationError that names those that exist, Incomplete for one that cannot be served.
        """
        if self.generation is None:
            raise _unnamed(self.called)
        tags = tuple(self.embodiments)
        tag = choose(tags, named, self.recorded.get("embodiment_tag"))
        said = self.embodiments[tag]
        old = self.generation is Generation.N1_5
        return Described(self.generation, tag, self._old(tag, said) if old else self._new(tag, said), tags)

    def _new(self, tag: str, configs: Mapping[str, Any]) -> Modalities:
        if tag not in self.statistics:
            raise Unfit(
                f"{STATISTICS} has nothing of the embodiment {tag}, and GR00T scales its numbers by that (it has: "
                f"{', '.join(map(str, self.statistics)) or 'nothing'})",
                f"copy the {STATISTICS} of the training run there",
            )
        try:
            found = read_modalities(configs)
        except BadMessage as error:
            raise Unfit(
                f"{PROCESSOR} does not describe the embodiment {tag} as a model that is served here: {error.text}",
                "name another --embodiment-tag, or train it with another modality config",
            ) from None
        check_frames(tag, found)
        widths = {
            f"{kind}.{group}": width
            for kind, groups in (("state", found.state), ("action", found.action))
            for group in groups
            if (width := _length(self.statistics, tag, kind, group, "mean"))
        }
        return replace(found, widths=widths)

    def _old(self, tag: str, said: Mapping[str, Any]) -> Modalities:
        try:
            parts: dict[str, Mapping[str, Any]] = {kind: dict(said["modalities"][kind]) for kind in _KINDS}
            sizes = {camera: (int(w), int(h)) for camera, (w, h) in _each(parts["video"], "resolution")}
            widths = {
                f"{kind}.{group}": int(shape[0])
                for kind in ("state", "action")
                for group, shape in _each(parts[kind], "shape")
            }
            absolute = {group: bool(group_said.get("absolute", True)) for group, group_said in parts["action"].items()}
        except (LookupError, TypeError, ValueError, AttributeError):
            raise Incomplete(f"{METADATA} does not describe the modalities of {tag}") from None
        if min([*widths.values(), *(side for size in sizes.values() for side in size)], default=1) < 1 or not absolute:
            raise Incomplete(f"{METADATA} describes {tag} with no actions, or with a group or camera without numbers")
        return Modalities(
            video=tuple(parts["video"]), state=tuple(parts["state"]), action=tuple(parts["action"]), language=(),
            horizon=self.steps, widths=widths, image_sizes=sizes,
            kinds={group: ActionKind("ABSOLUTE" if is_so else "DELTA") for group, is_so in absolute.items()},
        )  # fmt: skip


_KINDS = ("video", "state", "action")


def read_contents(place: Place, told: Generation | None = None) -> Contents:
    """Raises Incomplete that names the file and what is wrong with it; of a store also ConfigurationError.

    ``told``: the generation, for a checkpoint whose config does not say it. Where nobody does, its files are read as
    those of a generation that has such files.
    """
    generation, config = _generation(place, told)
    recorded, folder = _recorded(place), _processor(place)
    if generation is Generation.N1_5 or (generation is None and folder is None):
        embodiments = _embodiments(METADATA, read_json(place, METADATA))
        return Contents(generation, _called(config), embodiments, {}, _steps(config), recorded)
    folder = folder or ""
    said = read_json(place, folder + PROCESSOR)
    kwargs: Any = said.get("processor_kwargs")
    configs: Any = cast("dict[str, Any]", kwargs).get("modality_configs") if isinstance(kwargs, dict) else None
    if not isinstance(configs, dict):
        raise Incomplete(f"{folder}{PROCESSOR} has no processor_kwargs.modality_configs")
    embodiments = _embodiments(folder + PROCESSOR, cast("dict[Any, Any]", configs))
    return Contents(generation, _called(config), embodiments, read_json(place, folder + STATISTICS), 0, recorded)


def read(place: Place, tag: str | None, told: Generation | None = None) -> Described:
    """The embodiment of a checkpoint that ``tag`` names; see :meth:`Contents.meant`.

    Raises Incomplete, and ConfigurationError that names what exists.
    """
    return read_contents(place, told).meant(tag)


def described(checkpoint: Checkpoint, found: Described) -> Checkpoint:
    """The checkpoint, with what one of its embodiments reads and answers."""
    generation, tags = found.generation.value, list(found.tags)
    made = known(checkpoint, found.modalities, generation=generation, embodiment_tag=found.tag, embodiment_tags=tags)
    if found.generation is not Generation.N1_5:
        return made
    # Which of them the model takes, and which it answers, only its data config knows.
    inputs, outputs = (
        {name: replace(field, required=False) for name, field in each.items()} for each in (made.inputs, made.outputs)
    )
    return replace(made, inputs=inputs, outputs=outputs)


def served(modalities: Modalities, found: Described) -> Modalities:
    """What a server says of the model that it has loaded, with the widths and sizes that the files add.

    Raises LoadFailed where the server speaks of other cameras, groups or frames than the files do.
    """
    files = found.modalities
    old = found.generation is Generation.N1_5
    for kind in _KINDS:
        here, there = getattr(files, kind), getattr(modalities, kind)
        if not set(there) <= set(here) or not (old or set(here) <= set(there)):
            hint = "is --data-config the one that it was trained with?" if old else "is it another checkpoint?"
            raise LoadFailed(
                f"GR00T serves the {kind} {', '.join(there)}, the checkpoint's files say {', '.join(here)} for the "
                f"embodiment {found.tag}: {hint}",
                permanent=True,
            )
    if modalities.horizon != files.horizon:
        raise LoadFailed(
            f"GR00T answers {modalities.horizon} steps, the checkpoint's files say {files.horizon}: "
            "is it another checkpoint?",
            permanent=True,
        )
    check_frames(found.tag, modalities)
    wanted = {f"{kind}.{name}" for kind in ("state", "action") for name in getattr(modalities, kind)}
    return replace(
        modalities,
        widths={name: width for name, width in files.widths.items() if name in wanted},
        image_sizes={name: size for name, size in files.image_sizes.items() if name in modalities.video},
        kinds=modalities.kinds or files.kinds,
    )


def _processor(place: Place) -> str | None:
    """The folder of the processor's files, as GR00T looks for it; None where there are none."""
    return next((at for at in ("", "processor/") if place.size(at + PROCESSOR) is not None), None)


def _generation(place: Place, told: Generation | None) -> tuple[Generation | None, Mapping[str, Any]]:
    config, folder = read_json(place, CONFIG), _processor(place)
    found = Generation.of(config)
    if found is None and folder is not None:
        said = read_json(place, folder + PROCESSOR).get("processor_class")
        found = Generation.of({"model_type": str(said).removesuffix("Processor")})
    if found is None and "type" in config:
        raise Unfit(f"{CONFIG} is LeRobot's (type {brief(config['type'], 40)})", "serve it with --vendor lerobot")
    if found is None and told is None and folder is None and place.size(METADATA) is None:
        raise _unnamed(_called(config))
    if found is not None and told is not None and found is not told:
        raise Unfit(f"--generation says {told.value}, {CONFIG} says {found.value}", "leave --generation away")
    return found or told, config


def _called(config: Mapping[str, Any]) -> Any:
    return config.get("model_type") or config.get("architectures")


def _unnamed(called: Any) -> Unfit:
    return Unfit(
        f"{CONFIG} names a model_type {brief(called, 60)}, which no generation of GR00T has that is served here",
        "those are gr00t_n1_5, Gr00tN1d6 and Gr00tN1d7; if it is one of them, say which (--generation)",
    )


def _steps(config: Mapping[str, Any]) -> int:
    head = config.get("action_head_cfg")
    said = [
        config.get("action_horizon"),
        cast("dict[str, Any]", head).get("action_horizon") if isinstance(head, dict) else None,
    ]
    return next((steps for steps in said if type(steps) is int and steps > 0), _STEPS)


def _embodiments(name: str, found: Mapping[Any, Any]) -> dict[str, Mapping[str, Any]]:
    """Those that could be asked for; one of an odd name is none that a server knows."""
    sound: dict[str, Any] = {
        tag: said for tag, said in found.items() if _TAG.fullmatch(str(tag)) and isinstance(said, dict)
    }
    if not sound:
        raise Incomplete(f"{name} describes no embodiment" + (f" but {brief(next(iter(found)), 40)}" if found else ""))
    return sound


def _recorded(place: Place) -> Mapping[str, Any]:
    """What is recorded beside the checkpoint or, for one of a run, beside the run's."""
    above = place.above() if place.location.rpartition("/")[2].startswith("checkpoint-") else None
    at = next((at for at in (place, above) if at is not None and at.size(RECORDED) is not None), None)
    if at is None:
        return {}
    record = read_json(at, RECORDED)
    try:
        check_record(record, *_RECORDED)
    except ConfigurationError as error:
        raise Unfit(*error.text.rsplit(". ", 1)) from None
    for name in _RECORDED:
        if not isinstance(record.get(name, ""), str):
            raise Unfit(f"{RECORDED} has {name} {brief(record[name], 40)}, expected a text", "correct it")
    return record


def check_frames(tag: str, modalities: Modalities) -> None:
    """Raises Unfit where the embodiment wants a frame that is yet to come."""
    ahead = [frame for frame in (*modalities.frames, *modalities.state_frames) if frame > 0]
    if ahead:
        raise Unfit(f"the embodiment {tag} wants the frame {ahead[0]} steps ahead", "no robot has seen that")


def _each(said: Mapping[str, Any], what: str) -> list[tuple[str, Any]]:
    return [(str(name), part[what]) for name, part in said.items()]


def _length(found: Any, *names: str) -> int | None:
    """How many numbers a statistic has; of one that has a row for each step, a row."""
    try:
        for name in names:
            found = found[name]
        while isinstance(found[0], list):
            found = found[0]
        return len(found)
    except (LookupError, TypeError):
        return None
