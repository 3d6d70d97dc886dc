"""A policy's weights, read as LeRobot reads them, and seen to be all there."""

# LeRobot, transformers and torch leave much of what they take and give untyped.
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import sys
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from offboard_client.errors import LoadFailed
from offboard_core.checkpoints import INDEX, WEIGHTS, some
from offboard_core.process import OwnFolder

from .fast import CLASS, ActionTokens

log = logging.getLogger(__name__)

#: One file of weights → the several that are read in its place.
_SPREAD: dict[str, Sequence[Path]] = {}
_load_one = safetensors.torch.load_file
_open_one = safetensors.safe_open


def read_weights(kind: type[Any], config: Any, parts: Sequence[Path]) -> Any:
    """The policy with the weights of these files, by LeRobot's own ``from_pretrained``, which knows its older names.

    That leaves what is missing random, and in some policies whatever it fails at; here it is an error.
    Raises LoadFailed.
    """
    _print_nothing()
    run_no_code()
    results: list[tuple[Iterable[str], Iterable[str]]] = []
    unlike: list[str] = []

    def load_state_dict(self: Any, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        if wrong := next(_unlike(self.state_dict(keep_vars=True), state_dict), None):
            unlike.append(wrong)
            raise ValueError(wrong)  # some policies go on without their weights then
        result = super(watched, self).load_state_dict(state_dict, strict=False, assign=assign)
        results.append((result.missing_keys, result.unexpected_keys))
        return result

    watched: Any = type(kind.__name__, (kind,), {"load_state_dict": load_state_dict, "__module__": kind.__module__})
    shown = parts[0].with_name(WEIGHTS if _is_one(parts) else INDEX)
    with _as_one(parts) as folder:
        try:
            model = watched.from_pretrained(folder, config=config, local_files_only=True, strict=False)
        finally:
            if unlike:
                raise LoadFailed(f"{shown} does not fit its config: {unlike[0]}", permanent=True)
    model.__class__ = kind
    if not results:
        raise LoadFailed(f"{shown}: LeRobot could not read its weights; the log says why", permanent=True)
    missing, unexpected = map(set[str], results[-1])
    missing -= _tied(model, missing)
    if missing or unexpected:
        raise LoadFailed(
            f"{shown} does not fit its config: "
            f"it lacks {some(missing)}, and has {some(unexpected)} that the policy does not have",
            permanent=True,
        )
    return model


def _unlike(there: Mapping[str, Any], given: Mapping[str, Any]) -> Iterator[str]:
    """Tensors of another shape; and whole numbers for others, which torch would take as they are."""
    for name in there.keys() & given.keys():
        own, of_file = there[name], given[name]
        if own.shape != of_file.shape:
            yield f"{name} is {list(of_file.shape)} there, and its config makes it {list(own.shape)}"
        if own.is_floating_point() != of_file.is_floating_point():
            yield f"{name} is {of_file.dtype} there, and the policy has {own.dtype}"


@contextlib.contextmanager
def _as_one(parts: Sequence[Path]) -> Generator[str]:
    """A folder in which these files are the one that LeRobot looks for.

    Its loaders read it each in its own way, and all by safetensors' ``load_file``; FastWAM's looks at the shapes
    before, by ``safe_open``. Of several they get what these hold together; what they see is a link to the index, which
    no other way of reading takes for weights.
    """
    with OwnFolder("load") as own:
        folder = str(own)
        place = Path(folder, WEIGHTS)
        place.symlink_to((parts[0] if _is_one(parts) else parts[0].with_name(INDEX)).absolute())
        if _is_one(parts):
            yield folder
            return
        safetensors.torch.load_file = _load_file
        safetensors.__dict__["safe_open"] = _open
        _SPREAD[str(place)] = parts
        try:
            yield folder
        finally:
            del _SPREAD[str(place)]


def _is_one(parts: Sequence[Path]) -> bool:
    return [part.name for part in parts] == [WEIGHTS]


def _load_file(filename: str | os.PathLike[str], *args: Any, **how: Any) -> dict[str, torch.Tensor]:
    parts = _SPREAD.get(os.fspath(filename), (filename,))
    return {name: tensor for part in parts for name, tensor in _load_one(part, *args, **how).items()}


def _open(filename: str | os.PathLike[str], *args: Any, **how: Any) -> Any:
    parts = _SPREAD.get(os.fspath(filename))
    return _open_one(filename, *args, **how) if parts is None else _Several([_open_one(p, *args, **how) for p in parts])


class _Several(contextlib.ExitStack):
    """What is looked at of several files as of one."""

    def __init__(self, files: Sequence[Any]) -> None:
        super().__init__()
        self._files = files
        self._of: dict[str, Any] = {}

    def __enter__(self) -> _Several:
        opened = [self.enter_context(file) for file in self._files]
        self._of = {name: file for file in opened for name in file.keys()}  # noqa: SIM118 (no mapping)
        return self

    def keys(self) -> list[str]:
        return [*self._of]

    def get_slice(self, name: str) -> Any:
        return self._of[name].get_slice(name)


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
