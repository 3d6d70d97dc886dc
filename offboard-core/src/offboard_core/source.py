"""One place that models come from: which vendor, which checkpoints, which codec, chosen how."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from offboard_client.errors import BadParameter, ConfigurationError

from .adapt import CallableLoader, as_build
from .bound import BoundCodec
from .codecs.timing import rate
from .declared import declared
from .options import build, describe
from .plugins import CODEC, LOADER, REGISTRY, CodecEntry, LoaderEntry, Offer, Plugins
from .registries import DescribedRegistry, MemoryRegistry, not_there
from .types import Checkpoint, CheckpointLoader, ModelRegistry

#: How many codecs with different options one source keeps; codecs are pure, so a dropped one is made again.
_KEPT = 64


class CodecChoice:
    """Which codec serves a checkpoint, and the options it is made with.

    The codec that the checkpoint's ``offboard.json`` records is the one it was trained with and always rules;
    then the one that was asked for; then the vendor's default.
    """

    def __init__(
        self,
        plugins: Plugins,
        vendor: str | None,
        default: str,
        *,
        asked: str | None = None,
        options: Mapping[str, Any] | None = None,
        fps: float | None = None,
    ) -> None:
        """``asked``, ``options`` and ``fps``: ``--codec``, ``--codec.NAME`` and ``--fps``.

        Raises ConfigurationError if the codec asked for does not exist, or has no such option, or for no such rate.
        """
        self._plugins = plugins
        self._vendor = vendor
        self._default = default
        self._asked = asked
        self._options = dict(options or {})
        if fps is not None:
            _check_rate("--fps", fps)
        if fps is not None and self._options.setdefault("fps", fps) != fps:
            raise ConfigurationError(f"--fps says {fps:g}, --codec.fps says {self._options['fps']}; give one of them")
        self._made: OrderedDict[tuple[str, str], tuple[Checkpoint, BoundCodec]] = OrderedDict()
        self._lock = threading.Lock()
        if asked is not None:
            offer = plugins.get(CODEC, asked, vendor)
            build(offer.options(), self._options, f"the codec {offer.name}", ConfigurationError)

    def bind(self, checkpoint: Checkpoint, overrides: Mapping[str, Any]) -> BoundCodec:
        """The codec for this checkpoint, with a session's ``overrides`` of its options (plain JSON data).

        Raises BadParameter for an override that does not fit, ConfigurationError if what was asked for
        contradicts what the checkpoint records. May read the disk: never called on the event loop.
        """
        if (bound := self.bound(checkpoint, overrides)) is not None:
            return bound
        try:
            bound = self._bind(checkpoint, overrides)
        except ConfigurationError as error:
            if overrides:  # without them the server would not have started
                raise BadParameter(error.text) from error
            raise
        with self._lock:
            self._made[_key(checkpoint, overrides)] = (checkpoint, bound)
            while len(self._made) > _KEPT:
                self._made.popitem(last=False)
        return bound

    def bound(self, checkpoint: Checkpoint, overrides: Mapping[str, Any]) -> BoundCodec | None:
        """What :meth:`bind` has made of the same before, if it is kept still; reads nothing."""
        key = _key(checkpoint, overrides)
        with self._lock:
            made_for, bound = self._made.get(key, (None, None))
            if bound is None or made_for != checkpoint:
                return None
            self._made.move_to_end(key)
            return bound

    def _bind(self, checkpoint: Checkpoint, overrides: Mapping[str, Any]) -> BoundCodec:
        offer, source = self._choose(checkpoint)
        where, declared = f"the codec {offer.name}", offer.options()
        names = tuple(option.name for option in describe(declared))
        build(declared, overrides, where, BadParameter)
        given = {**self._options, **overrides}
        recorded = _recorded_fps(checkpoint)
        if recorded is not None:
            if given.get("fps") not in (None, recorded):
                raise ConfigurationError(
                    f"fps {given['fps']} is asked for, but the checkpoint {checkpoint.id} was trained at {recorded:g}, "
                    "its offboard.json says; leave fps away, or correct offboard.json"
                )
            if "fps" in names:
                given["fps"] = recorded
        options = build(declared, given, where, ConfigurationError)
        bound = BoundCodec(offer.make(options, checkpoint), offer.name, source, names)
        made = bound.meta.action_fps
        if made is not None:
            _check_rate(f"{where} makes actions at a rate that no client plays", made)
        if recorded is not None and made != recorded:
            raise ConfigurationError(
                f"{where} makes actions at {made} Hz, but the checkpoint {checkpoint.id} was trained at "
                f"{recorded:g} Hz, its offboard.json says"
            )
        return bound

    def _choose(self, checkpoint: Checkpoint) -> tuple[Offer[CodecEntry], Literal["checkpoint", "option", "default"]]:
        asked = None if self._asked is None else self._plugins.get(CODEC, self._asked, self._vendor)
        recorded = checkpoint.recorded.get("codec")
        if recorded is None:
            if asked is not None:
                return asked, "option"
            return self._plugins.get(CODEC, self._default, self._vendor), "default"
        try:
            offer = self._plugins.get(CODEC, str(recorded), self._vendor)
        except ConfigurationError as error:
            raise ConfigurationError(
                f"offboard.json of the checkpoint {checkpoint.id} names a codec that is not here: {error.text}"
            ) from None
        if asked is not None and asked.name != offer.name:
            raise ConfigurationError(
                f"--codec asks for {asked.name}, but the checkpoint {checkpoint.id} was trained with {offer.name}, "
                "its offboard.json says; leave --codec away, or correct offboard.json"
            )
        return offer, "checkpoint"


def _key(checkpoint: Checkpoint, overrides: Mapping[str, Any]) -> tuple[str, str]:
    return checkpoint.id, json.dumps(overrides, sort_keys=True, default=repr)


def _recorded_fps(checkpoint: Checkpoint) -> float | None:
    fps = checkpoint.recorded.get("action_fps")
    if fps is None:
        return None
    _check_rate(f"action_fps in offboard.json of the checkpoint {checkpoint.id}", fps)
    return float(fps)


def _check_rate(where: str, fps: Any) -> None:
    try:
        rate(fps)
    except ValueError as error:
        raise ConfigurationError(f"{where}: {error}") from None


@dataclass(frozen=True, kw_only=True)
class ModelSource:
    """One place that models come from. ``pinned``: the checkpoint that a session without a model id gets."""

    vendor: str
    registry: ModelRegistry
    loader: CheckpointLoader
    codec: CodecChoice
    pinned: str | None = None

    def default(self) -> Checkpoint:
        """What a session without a model id gets: the pinned checkpoint, else the registry's default.

        Raises ModelNotFound, ConfigurationError, or LoadFailed for one that can be seen not to load; reads the disk.
        """
        found = self.registry.default() if self.pinned is None else self.registry.resolve(self.pinned)
        self.loader.check(found)
        return found


def from_flags(
    plugins: Plugins,
    *,
    vendor: str | None = None,
    checkpoints_dir: str | None = None,
    checkpoint: str | None = None,
    codec: str | None = None,
    codec_options: Mapping[str, Any] | None = None,
    fps: float | None = None,
    loader_options: Mapping[str, Any] | Any = None,
) -> ModelSource:
    """The source that a command line or a table of ``models.toml`` describes.

    ``checkpoints_dir``: a path (``~`` is the home) or URL. ``loader_options``: names and values, or an instance of
    the vendor's options class. Without ``vendor`` the files decide. Raises ConfigurationError.
    """
    location = expand(checkpoints_dir) if checkpoints_dir is not None else None
    offer = choose_vendor(plugins, vendor, location)
    entry = offer.entry
    options: Any = loader_options
    if options is None or isinstance(options, Mapping):
        options = build(offer.options(), loader_options or {}, f"the vendor {offer.name}", ConfigurationError)
    loader = offer.make(options)
    alone = loader.alone() or (Checkpoint(id=offer.name, type=offer.name) if entry.registry is None else None)
    if alone is not None:
        if location is not None:
            why = "" if entry.registry is None else " with these options"
            raise ConfigurationError(f"the vendor {offer.name} reads no files{why}; leave --checkpoints-dir away")
        registry: ModelRegistry = MemoryRegistry([alone])
    elif entry.registry is None or location is None:
        raise ConfigurationError(
            f"the vendor {offer.name} needs --checkpoints-dir: the folder that holds its checkpoints"
        )
    else:
        registry = plugins.get(REGISTRY, entry.registry, offer.provider.name).make(location)
    return ModelSource(
        vendor=offer.name,
        registry=DescribedRegistry(registry, loader.describe),
        loader=loader,
        pinned=checkpoint,
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
        raise ConfigurationError(f"nobody can see from here whose checkpoints are in {location}; say so with --vendor")
    place = Path(location)
    if not place.exists():
        raise not_there(place)
    return plugins.get(LOADER, plugins.recognise(place))


def expand(location: str) -> str:
    """A path with ``~`` replaced; a URL as it is."""
    return location if "://" in location else str(Path(location).expanduser())


def from_callables(models: Mapping[str, Any], fps: float | None = None) -> ModelSource:
    """The source behind ``InferenceServer({"name": …})``; see :mod:`offboard_core.adapt` for what may stand there.

    The first key is the default model. Observations reach the policy under their canonical names.
    ``fps``: steps per second of what it answers, for the timestamps; None where the answers bring their own or none.
    Raises ConfigurationError for a value that is no policy and makes none, and for a name that is no text.
    """
    for name in models:
        if not isinstance(name, str) or not name:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(f"a model is named {name!r:.60}; expected a text, which sessions ask for it by")
    builds = {name: as_build(name, value) for name, value in models.items()}
    return ModelSource(
        vendor="python",
        registry=MemoryRegistry([_of_callable(name, value) for name, value in models.items()]),
        loader=CallableLoader(builds),
        codec=CodecChoice(Plugins.of(), None, "native", fps=fps),
    )


def _of_callable(name: str, value: Any) -> Checkpoint:
    inputs, outputs = declared(value) or ({}, {})
    return Checkpoint(id=name, type="python", inputs=inputs, outputs=outputs)
