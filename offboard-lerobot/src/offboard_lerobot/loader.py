"""From a checkpoint's files to a warm policy. Importing this imports neither torch nor lerobot."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from offboard_client.errors import ConfigurationError, LoadFailed, told
from offboard_core.checkpoints import INDEX, Incomplete, LocalPlace, Place, check_listed, stamps
from offboard_core.checkpoints.remote import RemotePlace, fetch, is_url, open_folder, open_place
from offboard_core.types import ALONE, Checkpoint, CheckpointLoader, Placement, Policy, ReportProgress

from . import normalization, prompts, verdict
from .adapters import base_of
from .compile_options import TorchCompileOptions
from .features import CONFIG, FOR_GOOD
from .files import MIGRATE, Files, read
from .offline import offline
from .plugins import PREFIX, is_third_party
from .room import step_for
from .versions import INSTALL

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class LeRobotOptions(TorchCompileOptions):
    """The flags of ``offboard serve --vendor lerobot``."""

    device: str | None = None
    """cuda, cuda:1, mps or cpu; without it the first of cuda, mps, cpu that is there."""
    max_batch_size: int = 16
    """How many robots one inference may serve; a policy with a history serves one at a time."""
    state_in_prompt: Literal["filled", "bare"] | None = None
    """Of a pi0.5 or pi0-FAST whose files do not say it: filled up with zeros (LeRobot 0.4), or bare (all others)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_batch_size < 1:
            raise ValueError(f"max_batch_size is {self.max_batch_size}, expected 1 or more")


class LeRobotLoader(CheckpointLoader):
    """Loads ``pretrained_model`` folders with the installed LeRobot; remote ones are fetched into the cache first."""

    def __init__(self, options: LeRobotOptions) -> None:
        self._options = options

    def environment(self, checkpoint: Checkpoint) -> str | None:
        """Which of offboard-lerobot's environments a checkpoint wants (``lerobot-0.6``); None: it fits none of them.

        That of the LeRobot that wrote it, else of one that can serve it. Reads its files alone, and needs no LeRobot.
        Raises LoadFailed for what is no whole checkpoint.
        """
        return verdict.environment(self._whole(open_place(checkpoint.location)))

    def also_needs(self, checkpoint: Checkpoint) -> str | None:
        """See :meth:`CheckpointLoader.also_needs`: of a third party's type its author's package."""
        return PREFIX if is_third_party(self._whole(open_place(checkpoint.location)).type) else None

    def check(self, checkpoint: Checkpoint) -> None:
        """See :meth:`CheckpointLoader.check`."""
        self._servable(open_place(checkpoint.location))

    def load(self, checkpoint: Checkpoint, report: ReportProgress, place: Placement = ALONE) -> Policy[Any]:
        """See :meth:`CheckpointLoader.load`."""
        folder = self._fetched(checkpoint, report) if is_url(checkpoint.location) else Path(checkpoint.location)
        before = stamps(folder, (path.name for path in folder.glob("*")))
        files = self._servable(LocalPlace(folder), None if is_url(checkpoint.location) else checkpoint, report)
        report("importing LeRobot")
        try:
            read = [(folder, files.names, before), *_base(files)]
            policy = self._built(files, report, place)
            if not (written := [at for at, names, then in read if _is_written(at, names, then)]):
                return policy
            policy.close()
            del policy
            failure, permanent = (
                f"{written[0]} was written to while it was loaded: load it again when that has ended",
                False,
            )
        except LoadFailed as error:
            failure, permanent = error.text + step_for(error.__cause__), error.permanent
        except ImportError as error:
            failure, permanent = f"LeRobot is not wholly installed ({error}): {INSTALL}", True
        except Exception as error:
            log.exception("the checkpoint %s cannot be loaded", folder)
            why = f"{told(error)}{step_for(error)}"
            failure, permanent = f"{folder} cannot be loaded: {why}", isinstance(error, FOR_GOOD)
        # Raised anew, because the traceback of the first error holds the model, and would for as long as it lives.
        raise LoadFailed(failure, permanent=permanent)

    def _fetched(self, checkpoint: Checkpoint, report: ReportProgress) -> Path:
        """A local copy of what a load reads. Whether that can be served is seen before it is fetched."""
        try:
            remote = open_folder(checkpoint.location)
            files = self._servable(RemotePlace(remote, remote.files()), checkpoint, report)
            return fetch(remote, report, files.names.__contains__)
        except ConfigurationError as error:
            raise LoadFailed(error.text) from None

    def _servable(self, place: Place, listed: Checkpoint | None = None, report: ReportProgress | None = None) -> Files:
        """A whole checkpoint that the installed LeRobot can load. Raises LoadFailed with what to do about any other.

        ``listed``: what it was when it was listed. ``report``: as :func:`.verdict.understood` has it.
        """
        files = self._whole(place)
        understood = verdict.understood(files, report)
        normalization.check(understood, place)
        if listed is not None:
            revision = listed.extras.get("revision")
            now = files.checkpoint(listed.id, listed.experiment, revision)
            if is_url(files.location) and not now.recorded:  # its own folder is listed here, and nothing beside it
                now = replace(now, recorded=listed.recorded)
            check_listed(now, listed)
        return understood

    def _whole(self, place: Place) -> Files:
        """A whole checkpoint of some LeRobot, of which all is known that is asked of it. Raises LoadFailed."""
        return prompts.decided(_whole(place), self._options.state_in_prompt)

    def _built(self, files: Files, report: ReportProgress, place: Placement) -> Policy[Any]:
        """Fetches nothing. Raises LoadFailed also for what is not in the Hub's cache, with what to type."""
        from .build import build

        with offline() as absent:
            try:
                return build(files, self._options.device, self._options.max_batch_size, report, place, self._options)
            except (AttributeError, OSError, TypeError, ValueError) as error:  # all made of an absent file
                if (what := absent.of(error)) is None:
                    raise
                log.exception("the checkpoint %s cannot be loaded", files.folder)
                raise LoadFailed(f"{files.folder} cannot be loaded: {what}") from None
            except LoadFailed as error:  # of the first inference, which looks for files, too
                if error.__cause__ is None or (what := absent.of(error.__cause__)) is None:
                    raise
                raise LoadFailed(f"{files.folder} cannot be loaded: {what}") from None


def _base(files: Files) -> Iterator[tuple[Path, set[str], Mapping[str, object]]]:
    """Where an adapter's base lies, what a load reads of it, and the stamps of that. Raises ValueError."""
    if files.adapter is not None:
        folder, weights = base_of(files.adapter, files.type, local=True)
        names = {CONFIG, INDEX, *weights}
        yield folder, names, stamps(folder, names)


def _is_written(folder: Path, names: Iterable[str], before: Mapping[str, object]) -> bool:
    return any(before.get(name) != now for name, now in stamps(folder, names).items())


def _whole(place: Place) -> Files:
    """A whole checkpoint of some LeRobot. Raises LoadFailed with what to do about any other."""
    try:
        files = read(place)
    except Incomplete as error:
        raise LoadFailed(f"{place.location} {error.verdict}: {error}") from None
    if set(files.outputs) != {"action"}:
        raise LoadFailed(
            f"{files.location} answers {', '.join(files.outputs)}; only policies that answer 'action' are served"
        )
    if not files.steps:
        raise LoadFailed(
            f"{files.location} was written by LeRobot before 0.4, with its statistics among the weights. Migrate "
            f"{'a copy of ' if is_url(files.location) else ''}it: {MIGRATE} {files.location}"
        )
    for name, steps in files.steps.items():
        for step in steps:
            # LeRobot would import any class that is named here; a checkpoint is data and brings no code.
            if not isinstance(step.get("registry_name"), str):
                raise LoadFailed(
                    f"{files.location}/{name} has a step that is not in LeRobot's registry ({step.get('class')!r}); "
                    "only registered steps are run"
                )
    return files
