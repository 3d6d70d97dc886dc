"""Which models there are, under which ids, and with which codec they are served."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from offboard_client.errors import ConfigurationError, LoadFailed, ModelNotFound, OffboardError

from ..types import Checkpoint, Policy
from .lookups import Lookups
from .resolved_codec import ResolvedCodec
from .source import ModelSource

log = logging.getLogger(__name__)
T = TypeVar("T")


@dataclass(frozen=True)
class Model:
    """A checkpoint, the ``name`` of the source that has it, and the ``id`` under which sessions ask for it."""

    name: str
    source: ModelSource
    checkpoint: Checkpoint
    id: str

    @property
    def key(self) -> tuple[str, str]:
        """What tells two models apart."""
        return self.name, self.checkpoint.id


@dataclass(frozen=True)
class Listing:
    """The ids that sessions may name. ``problems``: by name of a source, why it could not be listed."""

    ids: list[str]
    problems: dict[str, OffboardError]


class Catalog:
    """The models of all sources. With one source ids are the checkpoint's own; with several they are ``name/id``.

    Lives on one event loop. A place that does not answer harms only who wants something of it that nobody knows yet.
    """

    def __init__(self, sources: Mapping[str, ModelSource]) -> None:
        if not sources:
            raise ConfigurationError("nothing to serve: name at least one model source")
        self._sources = dict(sources)
        self._defaults: dict[str, Model] = {}
        self._problems: dict[str, OffboardError] = {}
        # A codec may be had while a listing hangs, so the two do not wait for each other.
        self._registries = {name: Lookups(name) for name in self._sources}
        self._codecs = {name: Lookups(name) for name in self._sources}

    async def start(self) -> None:
        """Decide and pin each source's default. Raises only if no source has one."""
        for name, found in (await self._of_each(lambda source: source.default)).items():
            if isinstance(found, OffboardError):
                self._problems[name] = found
                log.warning("%s: %s", name, found)
            else:
                self._defaults[name] = self._model(name, found)
        if not self._defaults:
            raise next(iter(self._problems.values()))

    @property
    def default(self) -> Model:
        """What a session without a model id gets."""
        return next(iter(self._defaults.values()))

    async def models(self) -> Listing:
        """Every id a session URL may name, oldest first per source. Raises if no place at all can be listed."""
        ids: list[str] = []
        problems: dict[str, OffboardError] = {}
        for name, found in (await self._of_each(lambda source: source.registry.checkpoints)).items():
            if isinstance(found, OffboardError):
                problems[name] = found
            else:
                ids += [self._model(name, checkpoint).id for checkpoint in found]
        if len(problems) == len(self._sources):
            raise next(iter(problems.values()))
        return Listing(ids, problems)

    async def resolve(self, model_id: str | None, loaded: Model | None = None) -> Model:
        """The model of an id; None is the default. Nobody is asked about the one that is ``loaded``.

        Raises ModelNotFound, InferTimeout or ConfigurationError.
        """
        if model_id is None:
            return self.default
        if loaded is not None and model_id == loaded.id:
            return loaded
        if len(self._sources) == 1:
            name, rest = next(iter(self._sources)), model_id
        else:
            name, slash, rest = model_id.partition("/")
            if name not in self._sources:
                raise ModelNotFound(
                    f"there is no model {model_id[:200]!r} here; "
                    f"ids begin with one of {', '.join(self._sources)} and a slash"
                )
            if not slash:
                if name in self._problems:
                    raise self._problems[name]
                return self._defaults[name]
        registry = self._sources[name].registry
        try:
            return self._model(name, await self._registries[name].ask(lambda: registry.resolve(rest)))
        except ModelNotFound as error:
            if len(self._sources) == 1:
                raise
            text = f"{model_id[:200]}: {error.text}. These are of the source {name}: write {name}/ in front of them"
            raise ModelNotFound(text) from None

    async def resolve_codec(self, model: Model, overrides: Mapping[str, Any]) -> ResolvedCodec:
        """See :meth:`CodecChoice.resolve`."""
        codec, checkpoint = model.source.codec, model.checkpoint
        if (remembered := codec.remembered(checkpoint, overrides)) is not None:
            return remembered
        return await self._codecs[model.name].ask(lambda: codec.resolve(checkpoint, overrides))

    async def hold(self, model: Model, loaded: Model | None, policy: Policy[Any], overrides: Mapping[str, Any]) -> None:
        """Raises as :meth:`CodecChoice.resolve` where a session's codec does not fit what ``policy`` was loaded of.

        ``loaded``: what the model was when it was loaded; LoadFailed where the session's is what was there before.
        """
        if loaded is not None and loaded.checkpoint != model.checkpoint:
            raise LoadFailed(
                f"{model.id} was replaced since this server started, and is loaded as it is now: ask for it by its "
                f"id, {model.id}, or start this server again"
            )
        codec, found = model.source.codec, model.source.loader.loaded(model.checkpoint, policy)
        if found != model.checkpoint and codec.remembered(found, overrides, loaded=True) is None:
            await self._codecs[model.name].ask(lambda: codec.resolve(found, overrides, loaded=True))

    def _model(self, name: str, checkpoint: Checkpoint) -> Model:
        model_id = checkpoint.id if len(self._sources) == 1 else f"{name}/{checkpoint.id}"
        return Model(name, self._sources[name], checkpoint, model_id)

    async def _of_each(self, question: Callable[[ModelSource], Callable[[], T]]) -> dict[str, T | OffboardError]:
        """What each source answers, or why it does not; all are asked at once."""

        async def ask(name: str, source: ModelSource) -> T | OffboardError:
            try:
                return await self._registries[name].ask(question(source))
            except OffboardError as error:
                return error

        answers = await asyncio.gather(*(ask(name, source) for name, source in self._sources.items()))
        return dict(zip(self._sources, answers, strict=True))
