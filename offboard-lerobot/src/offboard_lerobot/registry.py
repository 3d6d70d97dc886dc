"""Which LeRobot checkpoints lie at a place."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from offboard_client.errors import ConfigurationError, ModelNotFound
from offboard_core.checkpoints import Incomplete, LocalPlace, Unfit, numbered_folders, read_json, stamps, still_written
from offboard_core.checkpoints.remote import is_url
from offboard_core.types import Checkpoint, ModelRegistry

from .features import CONFIG
from .files import EXPECTED, MARKS, RECORDED, Files, read
from .places import CHECKPOINTS, LAST, PRETRAINED


def open_registry(location: str) -> ModelRegistry:
    """The registry of a folder or a URL. Raises ConfigurationError for a URL that cannot be opened."""
    if is_url(location):
        from .remote import RemoteRegistry

        return RemoteRegistry(location)
    return LeRobotRegistry(location)


class LeRobotRegistry(ModelRegistry):
    """The checkpoints of a training run, by step; or the one checkpoint of a folder.

    ``location``: the output folder of ``lerobot-train``, the folder ``checkpoints`` in it, one step's folder or
    its ``pretrained_model``. Checkpoints that are half written are not listed.

    Where one lies is said by its folder's own name, whatever was typed, links included: a client takes that for a part
    of which model it is.
    """

    def __init__(self, location: str) -> None:
        self._place = Path(location).expanduser()
        self._known: dict[Path, tuple[object, Files | Incomplete]] = {}

    def checkpoints(self) -> Sequence[Checkpoint]:
        """The complete ones, oldest first. Raises ConfigurationError if there is none, or nowhere to look."""
        if (single := _single(self._place)) is not None:
            return [_one(single)]
        whole: dict[Path, Files] = {}

        def problem(step: Path) -> str | None:
            folder = step.resolve() / PRETRAINED
            try:
                whole[step] = self._read(folder)
            except Incomplete as error:
                return _explained(error, folder)
            return None

        steps = self._steps()
        place = steps.resolve()
        run = (place.parent if place.name == CHECKPOINTS else place).name
        found = numbered_folders(steps, problem, expected=EXPECTED)
        return [whole[path].checkpoint(path.name, run) for _, path in found]

    def resolve(self, model_id: str) -> Checkpoint:
        """See :meth:`ModelRegistry.resolve`; for a step that is there but not complete the error says why."""
        try:
            return super().resolve(model_id)
        except ModelNotFound:
            for step in self._steps().iterdir():
                if (
                    _is_step(step)
                    and model_id.isdecimal()
                    and step.name.isdecimal()
                    and int(step.name) == int(model_id)
                ):
                    _check(step)
                if step.name == model_id and step.is_symlink():
                    raise ModelNotFound(
                        f"{model_id} is a link to {step.resolve().name}, and goes on to the next step when that is "
                        f"saved: ask for {step.resolve().name}, or for none, which is the newest that is complete"
                    ) from None
            raise

    def _read(self, folder: Path) -> Files:
        """What :func:`.files.read` says of a folder, which is read again when a file of it has changed.

        Whoever asks for a model has every step looked at; a long run has thousands.
        """
        try:
            now = stamps(folder, [*os.listdir(folder), f"../{RECORDED}", f"../../../{RECORDED}"])
        except OSError:
            now = None
        before, found = self._known.get(folder, (None, None))
        if found is None or now is None or before != now:
            try:
                found = read(LocalPlace(folder))
            except Incomplete as error:
                found = error
            self._known[folder] = (now, found)
        if isinstance(found, Incomplete):
            raise found.with_traceback(None)
        return found

    def _steps(self) -> Path:
        """The folder that holds the steps' folders."""
        steps = self._place / CHECKPOINTS
        return steps if steps.is_dir() else self._place


def recognises(path: Path) -> bool:
    """Whether a folder looks like LeRobot's; reads names, and one small config at most."""
    if (single := _single(path)) is not None:
        try:
            return not {"input_features", "input_shapes"}.isdisjoint(read_json(LocalPlace(single), CONFIG))
        except Incomplete:
            return False
    places = (place for place in (path / CHECKPOINTS, path) if place.is_dir())
    return any((place / LAST).is_symlink() or any(map(_is_step, place.iterdir())) for place in places)


def _is_step(path: Path) -> bool:
    return (path / PRETRAINED).is_dir()


def _check(step: Path) -> None:
    """Raises ModelNotFound for a step that is not complete."""
    folder = step / PRETRAINED
    try:
        read(LocalPlace(folder))
    except Incomplete as error:
        raise ModelNotFound(f"the checkpoint {step.name} {error.verdict}: {_explained(error, folder)}") from None


def _explained(error: Incomplete, folder: Path) -> str:
    return str(error) if isinstance(error, Unfit) else f"{error}; {still_written(folder, error.remedy)}"


def _single(place: Path) -> Path | None:
    """The ``pretrained_model`` folder that ``place`` is, or has."""
    for folder in (place, place / PRETRAINED):
        if folder.is_dir() and (folder.name == PRETRAINED or any((folder / name).is_file() for name in MARKS)):
            return folder
    return None


def _one(folder: Path) -> Checkpoint:
    folder = folder.resolve()
    step = folder.parent if folder.name == PRETRAINED else folder
    run = step.parent.parent if step.parent.name == CHECKPOINTS else step
    try:
        return read(LocalPlace(folder)).checkpoint(step.name, run.name)
    except Incomplete as error:
        raise ConfigurationError(f"{folder} {error.verdict}: {_explained(error, folder)}") from None
