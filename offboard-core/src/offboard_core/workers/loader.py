"""A vendor's loader whose policies run in workers."""

from __future__ import annotations

import contextlib
import logging
import sys
from dataclasses import asdict
from typing import Any

from offboard_client.errors import LoadFailed

from ..cache import cache_folder, use
from ..types import Checkpoint, CheckpointLoader, Placement, Policy, ReportProgress
from .channel import check_crosses
from .forms import checkpoint_out
from .interpreter import python_of
from .isolation import Isolation
from .packages import linked
from .policy import WorkerPolicy
from .recipe import Recipe
from .worker import Worker


class WorkerLoader(CheckpointLoader):
    """Loads in workers what ``inner`` would load here; all else ``inner`` does itself, from files."""

    def __init__(self, inner: CheckpointLoader, recipe: Recipe, isolation: Isolation) -> None:
        """``recipe``: what makes such a loader as ``inner`` in another process."""
        self._inner, self._recipe, self._isolation = inner, recipe, isolation
        self.max_replicas = inner.max_replicas

    def load(self, checkpoint: Checkpoint, report: ReportProgress, place: Placement) -> Policy[Any]:
        """See :meth:`CheckpointLoader.load`: the vendor's own, in a worker."""
        python = python_of(self._isolation.python, report)
        whole = self._isolation.python is None
        # In the same environment it finds what this process finds; in another one nothing of this but what is linked.
        links = None if whole else linked(self._recipe)
        kept = contextlib.ExitStack()
        if links is not None:
            kept.callback(links.remove)
        place_of_python = python.parent.parent
        if place_of_python.is_relative_to(cache_folder()) and (used := use(place_of_python)) is not None:
            kept.enter_context(used)  # one of our environments, which nobody removes meanwhile
        recipe = {
            **asdict(self._recipe),
            "checkpoint": checkpoint_out(checkpoint),
            "place": [place.replica, place.replicas],
        }
        start = {
            "path": sys.path if links is None else [str(links.path)],
            "whole": whole,
            "level": logging.getLogger().getEffectiveLevel(),
        }
        which = f" {place.replica + 1}" if place.replicas > 1 else ""
        worker = Worker(recipe, start, python, self._isolation, name=f"{self._recipe.vendor}'s worker{which}")
        try:
            report("starting a worker")
            worker.open(report)
            return WorkerPolicy(worker, kept.close)
        except BaseException as error:
            worker.close()
            kept.close()
            if isinstance(error, LoadFailed) and not whole and str(python) not in error.text:
                where = self._isolation.environment or f"of {python}"
                raise LoadFailed(f"in the environment {where}: {error.text}", permanent=error.permanent) from None
            if isinstance(error, (ValueError, TypeError, LookupError, AttributeError)):
                raise LoadFailed(f"the worker describes its policy in a way that cannot be: {error}") from None
            raise

    def check(self, checkpoint: Checkpoint) -> None:
        """See :meth:`CheckpointLoader.check`. What another environment can load, this one does not know."""
        elsewhere = self._isolation.python is not None
        try:
            if not elsewhere or self._inner.environment(checkpoint) is None:
                self._inner.check(checkpoint)
        except LoadFailed as error:
            # What this process lacks, the other environment may have.
            if not (elsewhere and error.permanent):
                raise
        try:
            check_crosses(checkpoint_out(checkpoint))
        except (TypeError, ValueError, OverflowError) as error:
            raise LoadFailed(
                f"{checkpoint.id} cannot be told to a worker: its registry says {error}", permanent=True
            ) from None

    def environment(self, checkpoint: Checkpoint) -> str | None:
        """See :meth:`CheckpointLoader.environment`."""
        return self._inner.environment(checkpoint)

    def enrich(self, checkpoint: Checkpoint) -> Checkpoint:
        """See :meth:`CheckpointLoader.enrich`."""
        return self._inner.enrich(checkpoint)

    def loaded(self, checkpoint: Checkpoint, policy: Policy[Any]) -> Checkpoint:
        """See :meth:`CheckpointLoader.loaded`."""
        return self._inner.loaded(checkpoint, policy)

    def standalone_checkpoint(self) -> Checkpoint | None:
        """See :meth:`CheckpointLoader.standalone_checkpoint`."""
        return self._inner.standalone_checkpoint()


__all__ = ["WorkerLoader"]
