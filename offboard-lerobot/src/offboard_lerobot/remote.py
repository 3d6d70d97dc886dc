"""Which LeRobot checkpoints lie on the Hub or in an object store. Their weights are not fetched to tell."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from offboard_client.errors import ConfigurationError, ModelNotFound
from offboard_core.checkpoints import Incomplete
from offboard_core.checkpoints.remote import RemoteFile, RemotePlace, open_folder
from offboard_core.types import Checkpoint, ModelRegistry

from .features import CONFIG
from .files import EXPECTED, MARKS, Files, read
from .places import CHECKPOINTS, PRETRAINED

_STEP = re.compile(rf"([0-9]{{1,18}})/{PRETRAINED}/.")


class RemoteRegistry(ModelRegistry):
    """The checkpoints of a training run, by step; or the one checkpoint of a folder or repository.

    ``url``: ``hf://org/name@revision`` or ``s3://bucket/run``, laid out as ``lerobot-train`` writes it, or a
    ``pretrained_model`` by itself. What a revision of the Hub names is looked up here, once; a branch that moves later
    is for the next registry. Raises ConfigurationError.
    """

    def __init__(self, url: str) -> None:
        self._root = open_folder(url)
        above, _, name = self._root.url.rpartition("/")
        self._inside = name == PRETRAINED and "://" in above
        if self._inside:  # what offboard.json says may lie beside it
            self._root = open_folder(above)
        self._known: dict[str, tuple[tuple[str, ...], Files | Incomplete]] = {}

    def checkpoints(self) -> Sequence[Checkpoint]:
        """The complete ones, oldest first. Raises ConfigurationError if there is none, or nowhere to look."""
        listing = self._root.files()
        if (single := self._single(listing)) is not None:
            found = self._look(single)
            if isinstance(found, Incomplete):
                raise ConfigurationError(f"{single.location} {found.verdict}: {found}")
            return [self._checkpoint(single, found)]
        steps = self._steps(listing)
        looks = {step: self._look(place) for step, place in steps.items()}
        whole = [self._checkpoint(steps[step], look) for step, look in looks.items() if isinstance(look, Files)]
        if not whole:
            there = sorted({path.partition("/")[0] for path in listing})[:8]
            reasons = [f"of {step}, {look}" for step, look in looks.items()][-1:]
            raise ConfigurationError(
                f"there is no complete checkpoint in {self._root.url}: it holds {', '.join(there) or 'nothing'}; "
                + "; ".join([f"expected {CONFIG} and what belongs to it, or folders <number>/{EXPECTED}", *reasons])
            )
        return whole

    def resolve(self, model_id: str) -> Checkpoint:
        """See :meth:`ModelRegistry.resolve`; for a step that is there but not complete the error says why."""
        try:
            return super().resolve(model_id)
        except ModelNotFound:
            for step, place in self._steps(self._root.files()).items():
                look = self._look(place)
                if isinstance(look, Incomplete) and model_id.isdecimal() and int(step) == int(model_id):
                    raise ModelNotFound(f"the checkpoint {step} {look.verdict}: {look}") from None
            raise

    def _single(self, listing: Mapping[str, RemoteFile]) -> RemotePlace | None:
        """The ``pretrained_model`` that the place is, or has."""
        for path in (PRETRAINED,) if self._inside else ("", PRETRAINED):
            place = RemotePlace(self._root, listing, path)
            if self._inside or any(place.size(name) is not None for name in MARKS):
                return place
        return None

    def _steps(self, listing: Mapping[str, RemoteFile]) -> dict[str, RemotePlace]:
        """By the name of their folder, oldest first."""
        under = f"{CHECKPOINTS}/" if any(path.startswith(f"{CHECKPOINTS}/") for path in listing) else ""
        below = [path.removeprefix(under) for path in listing if path.startswith(under)]
        names = {match[1] for path in below if (match := _STEP.match(path))}
        return {
            name: RemotePlace(self._root, listing, f"{under}{name}/{PRETRAINED}") for name in sorted(names, key=int)
        }

    def _look(self, place: RemotePlace) -> Files | Incomplete:
        """What the files say; read again only when they changed."""
        step = place.above() if place.path.rpartition("/")[2] == PRETRAINED else None
        version, known = (step or place).version(), self._known.get(place.path)
        if known is not None and known[0] == version:
            return known[1]
        try:
            look: Files | Incomplete = read(place)
        except Incomplete as error:
            look = error.with_traceback(None)
        self._known[place.path] = version, look
        return look

    def _checkpoint(self, place: RemotePlace, files: Files) -> Checkpoint:
        """Named as the same folder would be on this machine."""
        parts = place.location.partition("://")[2].replace(f"@{self._root.revision}", "").split("/")
        if parts[-1] == PRETRAINED:
            parts.pop()
        run = parts[-3] if len(parts) > 2 and parts[-2] == CHECKPOINTS else None
        if run is None and place.path not in ("", PRETRAINED):
            run = parts[-2]
        return files.checkpoint(parts[-1], run or parts[-1], self._root.revision)
