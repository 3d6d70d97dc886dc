"""Where a checkpoint is served: here, or in the environment that its files ask for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from offboard_client.errors import ConfigurationError, LoadFailed

from ..environments import added, available, choose, described, maker
from ..plugins import EnvironmentEntry, Offer, Plugins
from ..types import ALONE, Checkpoint, CheckpointLoader, Placement, Policy, ReportProgress
from ..workers import Isolation, Recipe, asked_for

log = logging.getLogger(__name__)

#: What ``--env`` says so that an environment that a checkpoint asks for is made.
AUTO = "auto"


def workers_for(
    limits: Isolation, isolate: bool, python: str | None, inherit: Sequence[str], env: str | None
) -> tuple[Isolation | None, Isolation]:
    """What a command line or a file asks for: where every model gets a worker, that; and what one gets that is chosen.

    Raises ConfigurationError as :func:`offboard_core.workers.asked_for`, and for both ``python`` and ``env``.
    """
    if env is not None and python is not None:  # before the interpreter is started to see what it is
        raise ConfigurationError(f"python is given and env is {env}: both say what to run in; give one of them")
    chosen = env == AUTO and not isolate
    asked = asked_for(limits, isolate=isolate or env is not None, python=python, inherit=inherit)
    return (None if chosen else asked), asked or limits


class PlacedLoader(CheckpointLoader):
    """Loads here what can be loaded here, and anything else in the environment that its vendor says it wants."""

    def __init__(
        self,
        inner: CheckpointLoader,
        here: CheckpointLoader,
        recipe: Callable[[], Recipe],
        isolation: Isolation,
        plugins: Plugins,
        *,
        makes: bool,
    ) -> None:
        """``inner``: the vendor's. ``here``: the same, or its worker in this environment. ``isolation``: what a worker
        in another one gets. ``makes``: whether an environment is made that is not there."""
        self._inner, self._here, self._recipe, self._isolation = inner, here, recipe, isolation
        self._plugins, self._makes = plugins, makes
        self.max_replicas = inner.max_replicas

    def load(self, checkpoint: Checkpoint, report: ReportProgress, place: Placement = ALONE) -> Policy[Any]:
        """See :meth:`CheckpointLoader.load`. Each checkpoint is looked at anew."""
        elsewhere = self._elsewhere(checkpoint)
        if elsewhere is None:
            return self._here.load(checkpoint, report, place)
        name, why = elsewhere
        from ..workers import WorkerLoader

        recipe = self._recipe()
        python = maker(self._plugins, name, recipe.vendor)
        # Two sources may each have a step of this name.
        which = f"{checkpoint.id} ({checkpoint.location})" if checkpoint.location else checkpoint.id
        log.info("%s is served in the environment %s, for %s", which, name, why)
        worker = WorkerLoader(self._inner, recipe, replace(self._isolation, python=python, environment=name))
        return worker.load(checkpoint, report, place)

    def check(self, checkpoint: Checkpoint) -> None:
        """See :meth:`CheckpointLoader.check`."""
        self.environment(checkpoint)

    def environment(self, checkpoint: Checkpoint) -> str | None:
        """The environment that it is served in; None: here. Raises LoadFailed where it is served in neither."""
        elsewhere = self._elsewhere(checkpoint)
        return None if elsewhere is None else elsewhere[0]

    def _elsewhere(self, checkpoint: Checkpoint) -> tuple[str, str] | None:
        """As :meth:`environment`, with why it is not served here, in a few words."""
        try:
            self._here.check(checkpoint)
            return None
        except LoadFailed as error:
            why = error.text.rstrip(".")
            short = (
                "what loads it is not installed here" if error.permanent else "it does not fit what is installed here"
            )
            name = self._inner.environment(checkpoint)
            if name is None:
                raise
        try:
            vendor = self._recipe().vendor
            offer = described(self._plugins, name, vendor)
            there = available(offer)
            self._require(checkpoint, offer, why)
            if there:
                return name, short
            if self._makes:
                return choose(self._plugins, name, vendor).name, short
        except ConfigurationError as error:
            raise LoadFailed(f"{why}. It wants the environment {name}: {error.text}") from None
        what = offer.entry.summary.rstrip(".")
        raise LoadFailed(
            f"{why}. It can be served in the environment {name}, which is not made yet: {what}. "
            f"Have it made with --env {name}, or --env {AUTO} for whatever a checkpoint wants (models.toml: env = "
            f'"{AUTO}"), or ahead with `offboard envs make {name}`'
        )

    def _require(self, checkpoint: Checkpoint, offer: Offer[EnvironmentEntry], why: str) -> None:
        """Raises LoadFailed where a checkpoint wants a package there that nobody has installed."""
        wanted = self._inner.also_needs(checkpoint)
        if wanted is not None and not any(name.startswith(wanted) for name in added(offer)):
            raise LoadFailed(
                f"{why}. In the environment {offer.name} there is none either; installed there it is served: "
                f'uv pip install --python "$(offboard envs make {offer.name})" {wanted}…',
                permanent=True,
            )

    def enrich(self, checkpoint: Checkpoint) -> Checkpoint:
        """See :meth:`CheckpointLoader.enrich`."""
        return self._inner.enrich(checkpoint)

    def loaded(self, checkpoint: Checkpoint, policy: Policy[Any]) -> Checkpoint:
        """See :meth:`CheckpointLoader.loaded`."""
        return self._inner.loaded(checkpoint, policy)

    def standalone_checkpoint(self) -> Checkpoint | None:
        """See :meth:`CheckpointLoader.standalone_checkpoint`."""
        return self._inner.standalone_checkpoint()
