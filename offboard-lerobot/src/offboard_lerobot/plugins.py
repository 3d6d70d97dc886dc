"""Policy types of third parties: packages called ``lerobot_policy_…``, which LeRobot imports to have them register.

Which are installed is seen without an import. What they register is known once they are imported, with a load; a name
that comes from a checkpoint is never imported.
"""

# LeRobot leaves much of what it gives untyped.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import contextlib
import importlib
import inspect
import logging
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, replace
from importlib.metadata import distributions
from typing import Any, cast

from offboard_client.errors import LoadFailed, nearest, told
from offboard_core.types import ReportProgress

from .versions import Release, releases

log = logging.getLogger(__name__)

#: How the name of such a package begins, by LeRobot's rule.
PREFIX = "lerobot_policy_"
#: Ours, for LeRobot's own commands: what it registers a server plays, and no checkpoint is of it.
_OURS = "lerobot_policy_offboard"
ADVICE = f"Install its author's package (usually called {PREFIX}…) where the server, or the worker, runs"


def is_third_party(kind: str) -> bool:
    """Whether a type is in none of LeRobot's releases that are served."""
    return all(kind not in release.types for release in releases())


def installed_plugins() -> list[str]:
    """The packages of this environment that LeRobot imports for their policies."""
    names: set[Any] = {dist.metadata["Name"] for dist in distributions()}
    return sorted(name for name in names if isinstance(name, str) and name.startswith(PREFIX) and name != _OURS)


def with_plugins(here: Release, kind: str, report: ReportProgress) -> Release:
    """What ``here`` knows, with a third party's type and with the steps that third parties have registered.

    Imports LeRobot and what its own discovery finds; ``report`` is told of each, for one may hang. Raises LoadFailed
    where nothing registers that type.
    """
    configs: Any = importlib.import_module("lerobot.configs.policies").PreTrainedConfig
    why = "".join(
        f"; {name} cannot be imported ({error}), the log has more" for name, error in _imported(report).items()
    )
    known = configs.get_known_choices()
    if kind not in known:
        near = "".join(f" (did you mean {name}?)" for name in nearest(kind, sorted(known))[:1])
        raise LoadFailed(
            f"of what is installed where this was to be loaded, {', '.join(installed_plugins())} registers no policy "
            f"type {kind!r:.80}{near}{why}. {ADVICE}",
            permanent=True,
        )
    # Where the type's module is imported, with its steps: none of them need be imported by their package itself.
    try:
        importlib.import_module("lerobot.policies.factory").get_policy_class(kind)
    except Exception as error:
        whose = configs.get_choice_class(kind).__module__
        raise LoadFailed(
            f"LeRobot makes no policy of the type {kind!r:.80} that {whose} registers ({told(error)}){why}. Mend or "
            "remove that package",
            permanent=True,
        ) from None
    registry: Any = importlib.import_module("lerobot.processor.pipeline").ProcessorStepRegistry
    known = {name for release in releases() for name in release.steps}
    own = {
        name: sorted(inspect.signature(registry.get(name)).parameters) for name in registry.list() if name not in known
    }
    names = {"type": None, **dict.fromkeys(field.name for field in fields(configs.get_choice_class(kind)))}
    return replace(here, types={**here.types, kind: names}, own_steps=own)


def _imported(report: ReportProgress) -> dict[str, str]:
    """Imports what LeRobot's discovery finds, each by itself. Those that cannot be imported → why."""
    failed: dict[str, str] = {}
    # A program that reads what a server says of itself on stdout has no use for what they print.
    with contextlib.redirect_stdout(sys.stderr):
        for name in installed_plugins():
            report(f"importing the package {name}")
            try:
                importlib.import_module(name)
            except BaseException as error:  # its SystemExit, too, which ends neither a server nor the others' import
                log.exception("the package %s cannot be imported", name)
                failed[name] = f"{told(error):.300}"
        if not failed:
            importlib.import_module("lerobot.utils.import_utils").register_third_party_plugins()
    return failed


def remembers(model: Any, ask: Callable[[], object]) -> list[str]:
    """What of a third party's model ``ask``, an inference, leaves otherwise than the one before: its own memory.

    Several robots would share that. The first inference fills caches.
    """
    ask()
    before = dict(_state(model))
    ask()
    after = dict(_state(model))
    return sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))


def _state(model: Any) -> Iterator[tuple[str, object]]:
    for where, module in model.named_modules():
        for name, value in cast("dict[str, Any]", vars(module)).items():
            yield f"{where}.{name}".lstrip("."), _mark(value, 4)


def _mark(value: Any, depth: int) -> object:
    """What compares unequal once the value is another or was changed in place, as far as that shows."""
    if isinstance(value, (bool, int, float, str, bytes, type(None))):
        return value
    if isinstance(value, Mapping) and depth:
        return {key: _mark(of, depth - 1) for key, of in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, (list, tuple, deque)) and depth:
        return [_mark(of, depth - 1) for of in cast("list[Any]", value)]
    return _Same(value)


class _Same:
    """Equal to what holds the same object, and if it is a tensor, as it was. Keeps it, or another could have its id."""

    def __init__(self, value: Any) -> None:
        self._value = value
        try:
            self._version = getattr(value, "_version", None)
        except RuntimeError:  # one that was made in an inference, of which torch counts no changes
            self._version = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self._value is other._value and self._version == other._version

    __hash__ = None  # pyright: ignore[reportAssignmentType]
