"""What a checkpoint's processor steps ask for that is known, and not honoured."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

from . import hub, steps
from .features import CONFIG, POSTPROCESSOR, PREPROCESSOR
from .files import Files

#: Of a step's name: what makes an action relative to the state, and what makes it absolute again.
RELATIVE, ABSOLUTE = "relative_actions_processor", "absolute_actions_processor"


def refused(files: Files, local: bool) -> Iterator[str]:
    """Each with why, and what to do. ``local``: whether the checkpoint is on this machine."""
    for file, listed in files.steps.items():
        for step in filter(is_run, listed):
            name = step["registry_name"]
            if (refusal := steps.NOT_RUN.get(name)) is not None:
                yield f"the step {name!r} in {file}, which is not run here: {refusal.why}. {refusal.do}"
                continue
            yield from _forgotten(step, file, files.config)
            yield from _otherwise(step, file, files.config)
            for option, value in options(step).items():
                of = f"{option} ({value!r:.80}) in the step {name!r} of {file}"
                if option in steps.HUB and value not in (None, "", [], {}) and (why := hub.why_not(value, local)):
                    yield f"{of}, which {why}"
                if option in steps.ONLY and value != steps.ONLY[option]:
                    yield f"{of}: {steps.ONLY[option]!r} is the only one that is honoured. Write that, or train it so"
    yield from _unpaired(files)


def is_run(step: Mapping[str, Any]) -> bool:
    """Whether a step does something where nothing is trained."""
    return step["registry_name"] not in steps.LEFT_OUT and options(step).get("enabled") is not False


def options(step: Mapping[str, Any]) -> Mapping[str, Any]:
    """What it is made with."""
    value = step.get("config")
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _forgotten(step: Mapping[str, Any], file: str, config: Mapping[str, Any]) -> Iterator[str]:
    """What LeRobot does not save of a step, where the config says something else than the step is read back with."""
    for option, (field, default) in steps.FORGOTTEN.get(step["registry_name"], {}).items():
        meant, said = config.get(field, default), options(step).get(option, default)
        if meant != said:
            yield (
                f"{field} ({meant!r:.40}) in {CONFIG}, and the step {step['registry_name']!r} of {file} has "
                f"{said!r:.40} for it, for LeRobot saves it without. Write {option} into the step's config there"
            )


def _otherwise(step: Mapping[str, Any], file: str, config: Mapping[str, Any]) -> Iterator[str]:
    """What a step has otherwise than the config, of what can be one thing alone; or what the policy does not have."""
    name, said = step["registry_name"], options(step)
    for option, field in steps.AGREED.get(name, {}).items():
        if field in config and option in said and said[option] != config[field]:
            yield (
                f"{field} ({config[field]!r:.40}) in {CONFIG}, and the step {name!r} of {file} has "
                f"{said[option]!r:.40} for it. Write into both what it was trained with"
            )
    domain, domains = said.get("domain_id"), config.get("num_domains")
    if name == "xvla_add_domain_id" and type(domain) is int and type(domains) is int and not 0 <= domain < domains:
        yield f"domain_id ({domain}) in the step {name!r} of {file}, and {CONFIG} has num_domains {domains}"
    width = config["output_features"]["action"]["shape"][0] if "action" in config["output_features"] else 0
    toggled = [each for each in said.get("toggle_dimensions") or () if not -width <= each < width]
    if toggled:
        yield f"toggle_dimensions {toggled!r:.40} in the step {name!r} of {file}, and an action has {width} numbers"


def _unpaired(files: Files) -> Iterator[str]:
    """Relative actions that nothing makes absolute again, or the other way: a robot would take one for the other."""
    before, after = (
        any(step["registry_name"] == name and options(step).get("enabled") for step in files.steps.get(file, ()))
        for file, name in ((PREPROCESSOR, RELATIVE), (POSTPROCESSOR, ABSOLUTE))
    )
    if before != after:
        yield (
            f"that its actions are relative to the state in one of {PREPROCESSOR} and {POSTPROCESSOR} alone: "
            f"{RELATIVE} and {ABSOLUTE} must both be enabled, or neither. Save both processors anew"
        )
    elif files.type.startswith("pi0") and files.config.get("use_relative_actions") and not after:
        yield (
            f"use_relative_actions (True) in {CONFIG}, and no step of {POSTPROCESSOR} makes its actions absolute "
            f"again. Save both processors anew, with {RELATIVE} and {ABSOLUTE}"
        )
