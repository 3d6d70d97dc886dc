"""Write down what the installed LeRobot knows: the fields of each policy type, and each processor's options.

offboard-lerobot reads checkpoints without LeRobot, and of the version that is not installed. What each release knows
is a table in its package; this writes the row of the release that is installed where this runs::

    .venv/bin/python tools/lerobot_fields.py        in an environment for each release of LeRobot
"""

# LeRobot has no type stubs.
# pyright: reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import ast
import contextlib
import dataclasses
import importlib
import inspect
import json
import pkgutil
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

TABLE = Path(__file__).parent.parent / "offboard-lerobot/src/offboard_lerobot/releases.json"


def known(whole: bool = True) -> dict[str, Any]:
    """Types → fields → defaults, steps → options, and what an rtc_config says, of the installed LeRobot.

    Raises ImportError where a package is missing that some of it wants; not ``whole``: without what wants it.
    """
    import lerobot.policies
    import lerobot.processor
    from lerobot.configs.policies import PreTrainedConfig
    from lerobot.configs.types import FeatureType, NormalizationMode
    from lerobot.policies.rtc.configuration_rtc import RTCConfig
    from lerobot.processor.pipeline import ProcessorStepRegistry

    found = set(registered().values())
    for package in (lerobot.policies, lerobot.processor):
        names = (module.name for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."))
        found |= {name for name in names if ".configuration_" in name or "lerobot.processor." in name}
    for name in sorted(found):
        with contextlib.nullcontext() if whole else contextlib.suppress(ImportError):
            importlib.import_module(name)
    types = {name: PreTrainedConfig.get_choice_class(name) for name in PreTrainedConfig.get_known_choices()}
    types = {name: config for name, config in types.items() if config.__module__.startswith("lerobot.")}
    names = step_names()
    return {
        "types": {name: {"type": None, **dict(sorted(_defaults(types[name]).items()))} for name in sorted(types)},
        "steps": {name: sorted(inspect.signature(ProcessorStepRegistry.get(name)).parameters) for name in names},
        "features": sorted(each.value for each in FeatureType),
        "normalizations": sorted(each.value for each in NormalizationMode),
        "rtc_config": dict(sorted(_defaults(RTCConfig).items())),
    }


def registered() -> dict[str, str]:
    """Each step that the installed LeRobot registers, of robots and simulators too → the module that does.

    Read in its source: what drives a robot is imported only where its makers' packages are.
    """
    [root] = importlib.import_module("lerobot").__path__
    return {
        name: ".".join(("lerobot", *path.relative_to(root).with_suffix("").parts)).removesuffix(".__init__")
        for path in sorted(Path(root).rglob("*.py"))
        if "ProcessorStepRegistry" in (text := path.read_text("utf-8"))
        for name in _registered(ast.parse(text))
    }


def _registered(module: ast.Module) -> Iterator[str]:
    for node in module.body:
        for decorator in node.decorator_list if isinstance(node, ast.ClassDef) else ():
            if isinstance(decorator, ast.Call) and ast.unparse(decorator.func) == "ProcessorStepRegistry.register":
                said = [*decorator.args, *(each.value for each in decorator.keywords)]
                yield ast.literal_eval(said[0]) if said else node.name  # pyright: ignore[reportAttributeAccessIssue]


def step_names() -> list[str]:
    """Of the steps that are imported, without those that stand for removed ones, which loading a GR00T makes."""
    from lerobot.processor.pipeline import ProcessorStepRegistry

    every = sorted(ProcessorStepRegistry.list())
    return [name for name in every if not ProcessorStepRegistry.get(name).__name__.startswith("_Removed")]


def _defaults(kind: type) -> dict[str, Any]:
    """Plain data only: a default that is an object is what its checkpoint always writes out."""
    found: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        default = field.default
        if field.default_factory is not dataclasses.MISSING:
            default = field.default_factory()
        try:
            found[field.name] = json.loads(json.dumps(default))
        except TypeError:
            found[field.name] = None
    return found


def main() -> None:
    """Put this release's row in its place."""
    table: dict[str, Any] = json.loads(TABLE.read_text("utf-8")) if TABLE.exists() else {}
    table[version("lerobot")] = known()
    rows = [f"{json.dumps(release)}: {_row(table[release])}" for release in sorted(table)]
    TABLE.write_text("{" + ",\n".join(rows) + "}\n", "utf-8")


def _row(release: dict[str, Any]) -> str:
    """One line for each type and step, so that a change can be read."""
    parts: list[str] = []
    for name, value in release.items():
        if isinstance(value, dict):
            each: dict[str, Any] = value
            lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(of)}" for key, of in each.items())
            parts.append(f" {json.dumps(name)}: {{\n{lines}}}")
        else:
            parts.append(f" {json.dumps(name)}: {json.dumps(value)}")
    return "{\n" + ",\n".join(parts) + "}"


if __name__ == "__main__":
    main()
