"""A policy's weights, read as LeRobot reads them, and seen to be all there."""

# LeRobot, transformers and torch leave much of what they take and give untyped.
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from offboard_client.errors import LoadFailed

from .fast import CLASS, ActionTokens

log = logging.getLogger(__name__)


def read_weights(kind: type[Any], config: Any, folder: Path, shown: Path) -> Any:
    """The policy of a ``pretrained_model`` folder, by LeRobot's own ``from_pretrained``, which knows its older names.

    That leaves what is missing random, and in some policies whatever it fails at; here it is an error.
    ``shown``: the folder to speak of. Raises LoadFailed.
    """
    _print_nothing()
    run_no_code()
    results: list[tuple[Iterable[str], Iterable[str]]] = []

    def load_state_dict(self: Any, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        result = super(watched, self).load_state_dict(state_dict, strict=False, assign=assign)
        results.append((result.missing_keys, result.unexpected_keys))
        return result

    watched: Any = type(kind.__name__, (kind,), {"load_state_dict": load_state_dict, "__module__": kind.__module__})
    model = watched.from_pretrained(str(folder), config=config, local_files_only=True, strict=False)
    model.__class__ = kind
    if not results:
        raise LoadFailed(f"{shown}: LeRobot could not read its weights; the log says why", permanent=True)
    missing, unexpected = map(set[str], results[-1])
    missing -= _tied(model, missing)
    if missing or unexpected:
        raise LoadFailed(
            f"{shown} does not fit its config: "
            f"it lacks {_some(missing)}, and has {_some(unexpected)} that the policy does not have",
            permanent=True,
        )
    return model


def _tied(model: torch.nn.Module, missing: Iterable[str]) -> set[str]:
    """Which of these tensors are others that are not missing under another name: a file holds such a one once."""
    tensors = model.state_dict(keep_vars=True)
    missing = set(missing)
    there = {tensor.data_ptr() for name, tensor in tensors.items() if name not in missing and tensor.numel()}
    return {name for name in missing if name in tensors and tensors[name].data_ptr() in there}


def _print_nothing() -> None:
    """LeRobot prints how its loading goes on; what the server prints is for programs to read."""
    for name, module in [*sys.modules.items()]:
        if name.startswith("lerobot.policies."):
            module.__dict__["print"] = _logged


def _logged(*words: object, **_: Any) -> None:
    log.info("%s", " ".join(map(str, words)))


def run_no_code() -> None:
    """A tokenizer's repository may bring code, and LeRobot trusts it; a checkpoint is data, and so is what it names."""
    if "transformers" in sys.modules:
        dynamic = importlib.import_module("transformers.dynamic_module_utils")
        dynamic.__dict__["get_class_in_module"] = _without_code


def _without_code(class_name: str, *_: Any, **__: Any) -> type[ActionTokens]:
    if class_name == CLASS:
        return ActionTokens
    raise LoadFailed(
        f"the checkpoint names a tokenizer that brings code of its own ({class_name}), and none is run that comes "
        "with a checkpoint",
        permanent=True,
    )


def _some(names: Iterable[str]) -> str:
    listed = sorted(names)
    return ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "") if listed else "nothing"
