"""Which LeRobot checkpoints lie at a place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from offboard_client.errors import ConfigurationError, ModelNotFound
from offboard_core.registries import numbered_folders
from offboard_core.remote import is_url
from offboard_core.types import Checkpoint, ModelRegistry

from .files import CONFIG, EXPECTED, Files, Incomplete, read, read_json
from .places import CHECKPOINTS, PRETRAINED, LocalPlace


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
    """

    def __init__(self, location: str) -> None:
        self._place = Path(location).expanduser()

    def checkpoints(self) -> Sequence[Checkpoint]:
        """The complete ones, oldest first. Raises ConfigurationError if there is none, or nowhere to look."""
        if (single := _single(self._place)) is not None:
            return [_one(single)]
        whole: dict[Path, Files] = {}
        reasons: list[str] = []

        def complete(step: Path) -> bool:
            try:
                whole[step] = read(LocalPlace(step / PRETRAINED))
            except Incomplete as error:
                reasons.append(f"of {step.name}, {error}")
                return False
            return True

        steps = self._steps()
        place = steps.resolve()
        run = (place.parent if place.name == CHECKPOINTS else place).name
        try:
            found = numbered_folders(steps, complete, expected=EXPECTED)
        except ConfigurationError as error:
            raise ConfigurationError("; ".join([error.text, *reasons[-1:]])) from None
        return [whole[path].checkpoint(path.name, run) for _, path in found]

    def resolve(self, model_id: str) -> Checkpoint:
        """See :meth:`ModelRegistry.resolve`; for a step that is there but not complete the error says why."""
        try:
            return super().resolve(model_id)
        except ModelNotFound:
            for step in self._steps().iterdir():
                if _is_step(step) and model_id.isdecimal() and int(step.name) == int(model_id):
                    _check(step)
            raise

    def _steps(self) -> Path:
        """The folder that holds the steps' folders."""
        steps = self._place / CHECKPOINTS
        return steps if steps.is_dir() else self._place


def recognises(path: Path) -> bool:
    """Whether a folder looks like LeRobot's; reads names, and one small config at most."""
    if (single := _single(path)) is not None:
        try:
            return "input_features" in read_json(LocalPlace(single), CONFIG)
        except Incomplete:
            return False
    return any(place.is_dir() and any(map(_is_step, place.iterdir())) for place in (path / CHECKPOINTS, path))


def _is_step(path: Path) -> bool:
    return path.name.isascii() and path.name.isdigit() and (path / PRETRAINED).is_dir()


def _check(step: Path) -> None:
    """Raises ModelNotFound for a step that is not complete."""
    try:
        read(LocalPlace(step / PRETRAINED))
    except Incomplete as error:
        raise ModelNotFound(
            f"the checkpoint {step.name} is not complete: {error}; if it is still being written, wait for that"
        ) from None


def _single(place: Path) -> Path | None:
    """The ``pretrained_model`` folder that ``place`` is, or has."""
    for folder in (place, place / PRETRAINED):
        if folder.is_dir() and (folder.name == PRETRAINED or (folder / CONFIG).is_file()):
            return folder
    return None


def _one(folder: Path) -> Checkpoint:
    folder = folder.resolve()
    step = folder.parent if folder.name == PRETRAINED else folder
    run = step.parent.parent if step.parent.name == CHECKPOINTS else step
    try:
        return read(LocalPlace(folder)).checkpoint(step.name, run.name)
    except Incomplete as error:
        raise ConfigurationError(
            f"{folder} is no complete checkpoint: {error}; if it is still being written or copied, wait for that"
        ) from None
