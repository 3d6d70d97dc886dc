"""Whether a release of LeRobot can serve a checkpoint, and what of its files that release is given.

LeRobot writes every field of its config, needed or not, and refuses to read one that it does not know, whatever its
value, when the policy is loaded. Here it is seen before, without LeRobot, from the names alone: each has its word
(:mod:`.words`, :mod:`.steps`), and what none of the words cover is left out if it asks for nothing, or named.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from importlib.util import find_spec
from typing import Any, cast

from offboard_client.errors import LoadFailed, nearest
from offboard_core.checkpoints.remote import is_url
from offboard_core.types import ReportProgress

from . import fast, fit, groot, hub, molmoact2, rules, sizes, step_values, step_verdict, steps, values, widths
from .adapters import base_of
from .extras import NOT_IN, lacking
from .features import CONFIG
from .files import Files
from .plugins import ADVICE, installed_plugins, is_third_party, with_plugins
from .versions import Release, installed, releases, who_wrote, wrote
from .words import AS_BEFORE, NAMED, NO_POLICIES, OF_ANOTHER, REFUSED, REPLACED, word_of

_FEATURES = ("input_features", "output_features")
_DESCRIPTION = ("type", "shape")
_STEP = ("registry_name", "class", "config", "state_file")


def understood(files: Files, report: ReportProgress | None = None) -> Files:
    """What the installed LeRobot is given of a checkpoint. Raises LoadFailed with what it cannot honour, and why.

    ``report``: who is told how the load goes on; None where it is not loaded now. Third parties' packages are imported
    for that alone, and what they know is not asked before.
    Where none is installed, that is told; and of a checkpoint that none would serve, what its own cannot honour.
    """
    try:
        here, there = installed(), version("lerobot")
    except LoadFailed:
        if is_third_party(files.type) or environment(files) is None:
            given(files, writer := wrote(files.config, files.steps) or releases()[-1], writer.name)
        raise
    try:
        if is_third_party(files.type) and installed_plugins():
            _check_said(files, here)
            if report is None:
                return files
            here = with_plugins(here, files.type, report)
        understood, why = given(files, here, there), lacking(files.type)
        if why and "pip install" not in why:
            raise LoadFailed(f"{files.location} holds a {files.type!r} policy, which {why}")
    except LoadFailed as error:
        others = [release.name for release in releases() if release is not here and fits(files, release)]
        if not others:
            raise
        raise LoadFailed(f"{error.text}. LeRobot {' and '.join(others)} can serve it as it is") from None
    if why:
        raise LoadFailed(f"{files.location} holds a {files.type!r} policy, which {why}")
    if files.adapter is not None and find_spec("peft") is None:
        raise LoadFailed(f"{files.location} is an adapter, and PEFT is not installed: pip install 'lerobot[peft]'")
    return understood


def environment(files: Files) -> str | None:
    """Which environment a checkpoint wants: of the release that wrote it, else of one that can serve it.

    None: none of those that are served can. Needs no LeRobot here. Of a third party's type the one that
    wrote it, else the newest, may be given its package; raises LoadFailed for what it says and none honours.
    """
    writer = wrote(files.config, files.steps)
    if is_third_party(files.type):
        _check_said(files, last := writer or releases()[-1])
        return last.environment
    made = [each for each in releases() if files.type not in NOT_IN.get(each.environment, ())]
    fitting = [release for release in made if fits(files, release)]
    return next((release.environment for release in (writer, *fitting) if release in fitting and release), None)


def fits(files: Files, release: Release) -> bool:
    """Whether this release can serve a checkpoint."""
    try:
        given(files, release, release.name)
    except LoadFailed:
        return False
    return True


def given(files: Files, here: Release, there: str) -> Files:
    """What LeRobot ``there``, which knows what the release ``here`` does, is given of a checkpoint. Raises LoadFailed.

    The same checkpoint, without what asks for nothing and without what only other releases know.
    """
    _check_kind(files, here, there)
    if foreign := list(_foreign(files, here)):
        raise LoadFailed(
            f"{files.location} was written by {who_wrote(files.config, files.steps)}, this is LeRobot {there}, "
            f"which does not know {', '.join(foreign)}. {_other(files, here)}Train it with "
            f"LeRobot {there}, or, if nothing that it computes depends on that, take it out of the file"
        )
    _check_said(files, here)
    if files.adapter is not None:
        try:
            base_of(files.adapter, files.type, not is_url(files.location))
        except ValueError as error:
            raise LoadFailed(f"{files.location} names {error}") from None
    known = here.types[files.type]
    config = {name: value for name, value in files.config.items() if name in known}
    config.update((name, value) for name, value in REPLACED.items() if name in known)
    if "pretrained_path" in known:
        config["pretrained_path"] = files.location
    config.update(molmoact2.decided(files))
    if (guided := config.get("rtc_config")) and not is_third_party(files.type):
        config["rtc_config"] = {name: value for name, value in guided.items() if name in here.rtc_config}
    for name, value in _defaults(files, here):
        config.setdefault(name, value)
    for key in _FEATURES:
        config[key] = {
            feature: {name: described[name] for name in _DESCRIPTION} for feature, described in config[key].items()
        }
    listed = {
        name: [_plain(step, here) for step in each if step_verdict.is_run(step)] for name, each in files.steps.items()
    }
    return replace(files, config=config, steps=listed)


def _other(files: Files, here: Release) -> str:
    """What the other release does not know, either, of what it is to be served with."""
    other = next((each for each in releases() if each.name != here.name and files.type in each.types), here)
    foreign = [] if other is here else [what.partition(" (here are")[0] for what in _foreign(files, other)]
    return f"LeRobot {other.name} does not know {', '.join(foreign)}. " if foreign else ""


def _check_said(files: Files, here: Release) -> None:
    if wrong := [*values.wrong(files, here), *step_values.wrong(files)]:
        raise LoadFailed(f"{files.location} says {'; '.join(wrong)}")
    others = [why for each in (fast, fit, groot, molmoact2, rules, sizes, widths) for why in each.refused(files)]
    if refused := [*_refused(files, here), *others]:
        raise LoadFailed(f"{files.location} says {'; '.join(refused)}")


def _check_kind(files: Files, here: Release, there: str) -> None:
    if files.type in here.served:
        return
    if is_third_party(files.type):
        near = "".join(f" (did you mean {name}?)" for name in nearest(files.type, here.served)[:1])
        raise LoadFailed(
            f"{files.location} holds a {files.type!r:.80} policy, which is none of LeRobot's own{near}. {ADVICE}; "
            f"these LeRobot policies are served: {', '.join(here.served)} (of LeRobot {there})",
            permanent=True,  # as far as this environment goes
        )
    what = f", which {NO_POLICIES[files.type]}" if files.type in NO_POLICIES else ""
    raise LoadFailed(
        f"{files.location} holds a {files.type!r} policy{what}; these LeRobot policies are served: "
        f"{', '.join(here.served)} (of LeRobot {there})"
    )


def _foreign(files: Files, here: Release) -> Iterator[str]:
    """What this release knows nothing of, though it asks for something."""
    config = files.config
    for name, value in config.items():
        if name not in here.types[files.type] and not _asks_for_nothing(files.type, name, value, config):
            yield f"the field {name!r} of {CONFIG} ({value!r:.40})"
    for key in _FEATURES:
        for feature, described in config[key].items():
            if described["type"] not in here.features:
                yield f"the type {described['type']!r} of {feature}"
            more = (name for name in described if name not in _DESCRIPTION and not _is_neutral(described[name]))
            yield from (f"{name!r} of {feature}" for name in more)
    yield from _normalizations(config.get("normalization_mapping"), CONFIG, here)
    for name, value in _map(config.get("rtc_config")).items() if not is_third_party(files.type) else ():
        if name not in here.rtc_config and not _is_neutral(value):
            yield f"the field {name!r} of rtc_config in {CONFIG} ({value!r:.40})"
    for file, listed in files.steps.items():
        for step in listed:
            yield from _foreign_step(step, file, here)


def _asks_for_nothing(kind: str, name: str, value: Any, config: Mapping[str, Any]) -> bool:
    if word_of(kind, name) == "training" or _is_neutral(value):
        return True
    if name in OF_ANOTHER:
        name, value = OF_ANOTHER[name], config.get(OF_ANOTHER[name])
    return name in AS_BEFORE and value == AS_BEFORE[name]


def _foreign_step(step: Mapping[str, Any], file: str, here: Release) -> Iterator[str]:
    name, options = step["registry_name"], step_verdict.options(step)
    if not step_verdict.is_run(step) or name in steps.NOT_RUN:  # what is refused is told with why, whoever has it
        return
    known = here.own_steps.get(name, steps.RUN.get(name) if name in here.steps else None)
    if known is None:
        run = ", ".join(each for each in steps.RUN if each in here.steps)
        yield f"the step {name!r} of {file} (here are run: {run})"
        return
    for option, value in options.items():
        if option not in known and not _is_neutral(value):
            yield f"the option {option!r} of the step {name!r} of {file}"
    yield from (f"{key!r} of the step {name!r} of {file}" for key in step if key not in _STEP)
    yield from _normalizations(options.get("norm_map"), file, here)


def _normalizations(modes: Any, file: str, here: Release) -> Iterator[str]:
    for kind, mode in _map(modes).items():
        if not isinstance(mode, str) or mode not in here.normalizations:
            yield f"the normalization {mode!r} of {kind} in {file}"


def _refused(files: Files, here: Release) -> Iterator[str]:
    """What is known, and not honoured."""
    if files.adapter is not None and REFUSED["use_peft"].unless == here.name:
        yield from files.adapter.refused
    local = not is_url(files.location)
    for name, value in files.config.items():
        word = word_of(files.type, name)
        if word == "refused" and not _is_honoured(name, value, here):
            yield f"{name} ({value!r:.40}) in {CONFIG}: {REFUSED[name].why}. {REFUSED[name].do}"
        if word == "hub" and (why := hub.wrong(value, here.types.get(files.type, {}).get(name), local)):
            yield f"{name} ({value!r:.80}) in {CONFIG}, {why}"
    for name in NAMED.get(files.type, ()):
        if why := hub.why_not(name, local):
            yield f"that it is a {files.type}, for which LeRobot reads {name}, which {why}"
    yield from step_verdict.refused(files, local)


def _is_honoured(name: str, value: Any, here: Release) -> bool:
    refusal = REFUSED[name]
    return refusal.unless == here.name or any(value is each or value == each for each in refusal.neutral)


def _defaults(files: Files, here: Release) -> Iterator[tuple[str, Any]]:
    """Fields that a checkpoint leaves to its release, where this one would take them otherwise."""
    writer = wrote(files.config, files.steps) or next((each for each in releases() if files.type in each.types), here)
    for name, default in writer.types.get(files.type, {}).items():
        known = here.types[files.type]
        if name in known and known[name] != default and word_of(files.type, name) != "training":
            yield name, default


def _plain(step: Mapping[str, Any], here: Release) -> dict[str, Any]:
    known = here.own_steps.get(step["registry_name"]) or steps.RUN.get(step["registry_name"], ())
    return {**step, "config": {name: value for name, value in step_verdict.options(step).items() if name in known}}


def _map(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def _is_neutral(value: Any) -> bool:
    """Whether a field that nobody here knows asks for nothing: it is null or empty.

    A number or a flag is no such thing: false may switch off what the installed version always does.
    """
    return value is None or (isinstance(value, (str, Sequence, Mapping)) and not value)
