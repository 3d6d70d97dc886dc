"""One place that models come from: which vendor, which checkpoints, which codec."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from offboard_client.errors import ConfigurationError, LoadFailed, OffboardError, unknown
from offboard_client.plugins import build

from ..checkpoints import EnrichedRegistry, MemoryRegistry, not_there
from ..plugins import ENVIRONMENT, LOADER, REGISTRY, LoaderEntry, Offer, Plugins
from ..types import ALONE, Checkpoint, CheckpointLoader, ModelRegistry, Placement, Policy, ReportProgress
from ..workers import Isolation, recipe_of
from .codec_choice import CodecChoice
from .placed import AUTO, PlacedLoader
from .variants import with_variant

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """One place that models come from. ``pinned``: the checkpoint that a session without a model id gets.

    ``replicas``: how many policies of a model are loaded beside each other; each session is with one of them.
    ``isolation``: where each model gets a process of its own, and what that is.
    Raises ConfigurationError for a number that the loader cannot have.
    """

    vendor: str
    registry: ModelRegistry
    loader: CheckpointLoader
    codec: CodecChoice
    pinned: str | None = None
    replicas: int = 1
    isolation: Isolation | None = None

    def __post_init__(self) -> None:
        most = self.loader.max_replicas
        if type(self.replicas) is not int or self.replicas < 1:
            raise ConfigurationError(f"replicas is {self.replicas!r:.40}; expected a whole number from 1 up")
        if most is not None and self.replicas > most:
            raise ConfigurationError(
                f"replicas is {self.replicas}, and what the vendor {self.vendor} serves here can be there {most} "
                f"time{'s' * (most != 1)} only"
            )

    def default(self) -> Checkpoint:
        """What a session without a model id gets: the pinned checkpoint, else the registry's default.

        Raises ModelNotFound, ConfigurationError, or LoadFailed for one that can be seen not to load; reads the disk.
        """
        found = self.registry.default() if self.pinned is None else self.registry.resolve(self.pinned)
        self.loader.check(found)
        return found

    def load(self, checkpoint: Checkpoint, report: ReportProgress, place: Placement = ALONE) -> Policy[Any]:
        """See :meth:`CheckpointLoader.load`. Raises LoadFailed also where no options of the codec fit what is there."""
        policy = self.loader.load(checkpoint, report, place)
        try:
            found = self.loader.loaded(checkpoint, policy)
            if found != checkpoint:
                self._hold(found)
        except OffboardError as error:
            policy.close()
            raise LoadFailed(error.text, permanent=True) from None
        except BaseException:
            policy.close()
            raise
        return policy

    def _hold(self, found: Checkpoint) -> None:
        """Raises an OffboardError where the codec fits ``found`` with no session's options."""
        try:
            self.codec.resolve(found, {}, loaded=True)
        except LoadFailed as error:
            if error.permanent:
                raise
            # Each session is held against it with its own options; who has none has to hear of it before a robot comes.
            log.warning("every session without options of its own will be refused: %s", error.text)

    def runs_in(self, checkpoint: Checkpoint) -> str | None:
        """Where a process of this model's own runs, for people; None where it gets none. Reads the disk."""
        isolation = self.isolation
        name = self.loader.environment(checkpoint) if isinstance(self.loader, PlacedLoader) else None
        if name is None and isolation is not None:
            name = isolation.environment
        if name:
            return f"in the environment {name}"
        if isolation is None:
            return None
        return f"with {isolation.python}" if isinstance(isolation.python, Path) else "in the server's own environment"


def from_flags(
    plugins: Plugins,
    *,
    vendor: str | None = None,
    checkpoints_dir: str | None = None,
    checkpoint: str | None = None,
    codec: str | None = None,
    codec_options: Mapping[str, Any] | None = None,
    variant: str | None = None,
    fps: float | None = None,
    replicas: int = 1,
    loader_options: Mapping[str, Any] | Any = None,
    isolation: Isolation | None = None,
    env: str | None = None,
    worker: Isolation | None = None,
    folder: Path | None = None,
) -> ModelSource:
    """The source that a command line or a table of ``models.toml`` describes.

    ``checkpoints_dir``: a path (``~`` is the home) or URL. ``loader_options``: names and values, or an instance of
    the vendor's options class. ``variant``: the vendor's word for a codec and options of its loader, instead of these.
    ``isolation``: where each model gets a process of its own, and what that is.
    ``env``: the environment that it runs in, which is made when it is loaded; "auto": whichever a checkpoint wants that
    cannot be loaded here. ``worker``: what a process in an environment gets that a checkpoint asked for by itself.
    ``folder``: what the paths in ``loader_options`` are relative to; without it the working directory.
    Without ``vendor`` the files decide.
    Raises ConfigurationError.
    """
    location = expand(checkpoints_dir) if checkpoints_dir is not None else None
    offer = choose_vendor(plugins, vendor, location)
    entry = offer.entry
    options: Any = {} if loader_options is None else loader_options
    if variant is not None:
        codec, options = with_variant(offer, variant, codec, options)
    if isinstance(options, Mapping):
        given = cast("Mapping[str, Any]", options)
        options = build(offer.options(), given, f"the vendor {offer.name}", ConfigurationError, folder)
    loader = offer.make(options)
    standalone = loader.standalone_checkpoint() or (
        Checkpoint(id=offer.name, type=offer.name) if entry.registry is None else None
    )
    if standalone is not None:
        if location is not None:
            why = "" if entry.registry is None else " with these options"
            raise ConfigurationError(f"the vendor {offer.name} reads no files{why}; leave --checkpoints-dir away")
        registry: ModelRegistry = MemoryRegistry([standalone])
    elif entry.registry is None or location is None:
        raise ConfigurationError(
            f"the vendor {offer.name} needs --checkpoints-dir: the folder that holds its checkpoints"
        )
    else:
        registry = plugins.get(REGISTRY, entry.registry, offer.provider.name).make(location)
    chooses = type(loader).environment is not CheckpointLoader.environment
    if env == AUTO and not chooses:
        raise ConfigurationError(
            f"env is {AUTO}, and the vendor {offer.name} does not say which environment a checkpoint wants: name one "
            "(`offboard envs` lists them)"
        )
    if env is not None and env != AUTO:
        from ..environments import maker

        there = [each.name for each in plugins.offers(ENVIRONMENT)]
        if chooses and env not in there:
            raise ConfigurationError(unknown("environment", env, [AUTO, *there]))
        isolation = isolation or Isolation()
        if isolation.python is not None:
            raise ConfigurationError(f"python is given and env is {env}: both say what to run in; give one of them")
        isolation = replace(isolation, python=maker(plugins, env, offer.name), environment=env)
    elsewhere = isolation is not None and isolation.python is not None
    if env == AUTO and elsewhere:
        raise ConfigurationError(f"python is given and env is {AUTO}: both say what to run in; give one of them")
    inner = loader
    if isolation is not None:
        from ..workers import WorkerLoader, look_for

        if isinstance(isolation.python, Path):
            offered = [(each, each.entry.vendor or each.provider.name) for each in plugins.offers(ENVIRONMENT)]
            names = [each.name for each, whose in offered if whose == offer.name]
            # Which of them a checkpoint wants is not for a person to guess.
            wanted = f'--env {AUTO} (models.toml: env = "{AUTO}")' if chooses else None
            instead = wanted or " or ".join(f"--env {name}" for name in names)
            look_for(entry.needs, isolation.python, isolation.inherit, offer.name, instead)
        loader = WorkerLoader(loader, recipe_of(offer, options), isolation)
    if chooses and not elsewhere:
        limits = isolation or worker or Isolation()
        recipe = partial(recipe_of, offer, options)
        loader = PlacedLoader(inner, loader, recipe, limits, plugins, makes=env == AUTO)
    return ModelSource(
        vendor=offer.name,
        registry=EnrichedRegistry(registry, loader.enrich),
        loader=loader,
        pinned=checkpoint,
        replicas=replicas,
        isolation=isolation,
        codec=CodecChoice(
            plugins, offer.provider.name, entry.default_codec, asked=codec, options=codec_options, fps=fps
        ),
    )


def choose_vendor(plugins: Plugins, vendor: str | None, location: str | None) -> Offer[LoaderEntry]:
    """The vendor of this name, else the one that knows the files. Raises ConfigurationError naming those there are."""
    if vendor is not None:
        return plugins.get(LOADER, vendor)
    if location is None:
        names = ", ".join(offer.name for offer in plugins.offers(LOADER))
        raise ConfigurationError(
            f"say what to serve: where checkpoints lie (--checkpoints-dir) or a vendor (--vendor {names or ': none'})"
        )
    if "://" in location:
        raise ConfigurationError(f"a URL does not tell whose checkpoints are in {location}; say so with --vendor")
    place = Path(location)
    if not place.exists():
        raise not_there(place)
    return plugins.get(LOADER, plugins.recognise(place))


def options_beside(offer: Offer[LoaderEntry], ours: type[Any]) -> type[Any]:
    """The vendor's options class, beside ``ours`` on a command line. Raises ConfigurationError for a name of both."""
    declared = offer.options()
    if clash := sorted({field.name for field in fields(declared)} & {field.name for field in fields(ours)}):
        raise ConfigurationError(
            f"the plugin {offer.provider} declares options that are core's own: {', '.join(clash)}"
        )
    return declared


def expand(location: str) -> str:
    """A path with ``~`` replaced; a URL as it is."""
    return location if "://" in location else str(Path(location).expanduser())
