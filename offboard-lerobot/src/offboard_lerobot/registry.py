"""Which LeRobot checkpoints lie at a place."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from offboard_client.errors import ConfigurationError
from offboard_core.registries import numbered_folders
from offboard_core.types import Checkpoint, ModelRegistry

from .files import CONFIG, PRETRAINED, Files, Incomplete, read, read_json

_EXPECTED = f"{PRETRAINED}/ (its config, whole weights and processors)"


class LeRobotRegistry(ModelRegistry):
    """The checkpoints of a training run, by step; or the one checkpoint of a folder.

    ``location``: the output folder of ``lerobot-train``, the folder ``checkpoints`` in it, one step's folder or
    its ``pretrained_model``. Checkpoints that are half written are not listed.
    """

    def __init__(self, location: str) -> None:
        if "://" in location:
            raise ConfigurationError(f"{location} is not on this machine; download it and give the folder")
        self._place = Path(location).expanduser()

    def checkpoints(self) -> Sequence[Checkpoint]:
        """The complete ones, oldest first. Raises ConfigurationError if there is none, or nowhere to look."""
        place = self._place
        if (single := _single(place)) is not None:
            return [_one(single)]
        steps = place / "checkpoints" if (place / "checkpoints").is_dir() else place
        run = steps.resolve().parent if steps.name == "checkpoints" else steps.resolve()
        whole: dict[Path, Files] = {}

        def complete(step: Path) -> bool:
            try:
                whole[step] = read(step / PRETRAINED)
            except Incomplete:
                return False
            return True

        found = numbered_folders(steps, complete, expected=_EXPECTED)
        return [whole[path].checkpoint(path.name, run.name) for _, path in found]


def recognises(path: Path) -> bool:
    """Whether a folder looks like LeRobot's; reads names, and one small config at most."""
    if (single := _single(path)) is not None:
        try:
            return "input_features" in read_json(single / CONFIG)
        except Incomplete:
            return False
    return any(place.is_dir() and any(map(_is_step, place.iterdir())) for place in (path / "checkpoints", path))


def _is_step(path: Path) -> bool:
    return path.name.isdigit() and (path / PRETRAINED).is_dir()


def _single(place: Path) -> Path | None:
    """The ``pretrained_model`` folder that ``place`` is, or has."""
    for folder in (place, place / PRETRAINED):
        if folder.is_dir() and (folder.name == PRETRAINED or (folder / CONFIG).is_file()):
            return folder
    return None


def _one(folder: Path) -> Checkpoint:
    folder = folder.resolve()
    step = folder.parent if folder.name == PRETRAINED else folder
    run = step.parent.parent if step.parent.name == "checkpoints" else step
    try:
        return read(folder).checkpoint(step.name, run.name)
    except Incomplete as error:
        raise ConfigurationError(
            f"{folder} is no complete checkpoint: {error}; if it is still being written or copied, wait for that"
        ) from None
