"""Which openpi checkpoints lie at a place."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from offboard_client.errors import ConfigurationError
from offboard_core.checkpoints import WEIGHTS, numbered_folders
from offboard_core.checkpoints.remote import RemoteFile, RemoteFolder, is_url
from offboard_core.types import Checkpoint, ModelRegistry

from . import files

_STEP = re.compile(r"[0-9]{1,18}")


class OpenPIRegistry(ModelRegistry):
    """The steps of one experiment, by number; or the one step that ``location`` itself is.

    ``location``: a folder, ``s3://…``, ``gs://…`` or ``hf://org/name@revision``. Steps that are half written are not
    listed. Remote ones are listed where they are, and fetched when they are loaded.
    """

    def __init__(self, location: str) -> None:
        self._place: _Local | _Remote = _Remote(location) if is_url(location) else _Local(Path(location).expanduser())

    def checkpoints(self) -> Sequence[Checkpoint]:
        """The complete ones, oldest first. Raises ConfigurationError if there is none, or nowhere to look."""
        return self._place.checkpoints()

    def resolve(self, model_id: str) -> Checkpoint:
        """See :meth:`ModelRegistry.resolve`. Looks at the one that is named; at all of them to say which there are."""
        return self._place.named(model_id) or super().resolve(model_id)


def as_listed(step: Path) -> Checkpoint:
    """A step on this machine, whole or not. Raises BadRecord."""
    run = step.resolve().parent
    recorded = next((p / files.RECORDED for p in (step, run) if (p / files.RECORDED).is_file()), None)
    record: dict[str, Any] = {}
    if recorded is not None:
        with recorded.open("rb") as file:
            record = files.read_record(file.read(files.LONGEST_RECORD + 1), str(recorded))
    return _checkpoint(step.name, str(step.resolve()), run.name, files.names_in(step), record)


def _meant(model_id: str, names: Iterable[str]) -> list[str]:
    """Which of these steps an id may mean: the one that is called so, then those of that number."""
    number = model_id.lstrip("0") if model_id.isascii() and model_id.isdigit() else None
    steps = sorted((name for name in names if _STEP.fullmatch(name)), key=lambda name: (int(name), name))
    same = [name for name in steps if name.lstrip("0") == number]
    return sorted(same, key=lambda name: name != model_id)


class _Local:
    def __init__(self, place: Path) -> None:
        self._place = place

    def checkpoints(self) -> list[Checkpoint]:
        if self._is_one():
            step = self._place.resolve()
            if lack := files.local_problem(step):
                raise ConfigurationError(f"{step} is no complete checkpoint: {lack}")
            return [as_listed(step)]
        whole: dict[Path, Checkpoint] = {}

        def problem(step: Path) -> str | None:
            if isinstance(found := self._look(step), str):
                return found
            whole[step] = found
            return None

        return [whole[step] for _, step in numbered_folders(self._place, problem, expected=files.EXPECTED)]

    def named(self, model_id: str) -> Checkpoint | None:
        """The complete step that an id names; None if there is none, or nothing to choose from."""
        try:
            steps = [] if self._is_one() else _meant(model_id, os.listdir(self._place))
        except OSError:
            return None
        looked = (self._look(self._place / name) for name in steps if (self._place / name).is_dir())
        return next((found for found in looked if isinstance(found, Checkpoint)), None)

    def _is_one(self) -> bool:
        return files.is_step(self._place) or files.is_other_kind(self._place)

    def _look(self, step: Path) -> Checkpoint | str:
        """The checkpoint, or what is wrong with it."""
        if (lack := files.local_problem(step)) is not None:
            return lack
        try:
            return as_listed(step)
        except files.BadRecord as error:
            return error.text


class _Remote:
    def __init__(self, url: str) -> None:
        self._folder = RemoteFolder(url)

    def checkpoints(self) -> list[Checkpoint]:
        everything = self._folder.files()
        if files.PARAMS in everything or WEIGHTS in everything:
            if problem := files.missing(everything):
                raise ConfigurationError(f"{self._folder.url} is no complete checkpoint: {problem}")
            return [self._checkpoint(self._folder, everything, everything)]
        steps = _steps(everything)
        problems = {name: files.missing(steps[name]) for name in sorted(steps, key=int)}
        whole: list[Checkpoint] = []
        for name in [name for name, problem in problems.items() if problem is None]:
            try:
                whole.append(self._checkpoint(self._folder.below(name), steps[name], everything))
            except files.BadRecord as error:
                problems[name] = error.text
        if not whole:
            there = ", ".join(sorted({path.partition("/")[0] for path in everything})[:8]) or "nothing"
            wrong = [f"of {name}, {problem}" for name, problem in problems.items()][-3:]
            wrong += [kind] if not steps and (kind := files.other_kind(everything)) else []
            told = f"there is no complete checkpoint in {self._folder.url}: it holds {there}; "
            raise ConfigurationError(
                told + "; ".join([f"expected folders called <number>, each with {files.EXPECTED}", *wrong])
            )
        return whole

    def named(self, model_id: str) -> Checkpoint | None:
        """See :meth:`_Local.named`. The store is listed once, and one step's ``offboard.json`` read."""
        everything = self._folder.files()
        if files.PARAMS in everything or WEIGHTS in everything:
            return None
        steps = _steps(everything)
        for name in _meant(model_id, steps):
            if files.missing(steps[name]) is None:
                with contextlib.suppress(files.BadRecord):
                    return self._checkpoint(self._folder.below(name), steps[name], everything)
        return None

    def _checkpoint(
        self, step: RemoteFolder, names: Mapping[str, RemoteFile], everything: Mapping[str, RemoteFile]
    ) -> Checkpoint:
        beside = step.url != self._folder.url and files.RECORDED in everything
        place = step if files.RECORDED in names else self._folder if beside else None
        record: dict[str, Any] = {}
        if place is not None:
            content = place.read(files.RECORDED, 0, files.LONGEST_RECORD + 1)
            record = files.read_record(content, f"{place.url}/{files.RECORDED}")
        run = step.url.rsplit("/", 2)[-2] if step.url.count("/") > 2 else ""
        return _checkpoint(step.name, step.url, run, names, record)


def _steps(everything: Mapping[str, RemoteFile]) -> dict[str, dict[str, RemoteFile]]:
    """The files of each step, by its name and their own relative to it."""
    steps: dict[str, dict[str, RemoteFile]] = {}
    for path, file in everything.items():
        name, _, rest = path.partition("/")
        if rest and _STEP.fullmatch(name):
            steps.setdefault(name, {})[rest] = file
    return steps


def _checkpoint(id: str, location: str, run: str, names: Iterable[str], record: Mapping[str, Any]) -> Checkpoint:
    kept = list(names)
    return Checkpoint(
        id=id,
        location=location,
        experiment=run,
        type="openpi",
        recorded=record,
        extras={"format": files.format_of(kept), "asset_ids": files.asset_ids(kept)},
    )
