"""Which codec serves a checkpoint."""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Literal, cast

from offboard_client.errors import BadParameter, ConfigurationError, LoadFailed
from offboard_client.plugins import build, describe
from offboard_client.wire import RESERVED_NAMES

from ..codecs import rate
from ..plugins import CODEC, CodecEntry, Offer, Plugins
from ..types import Checkpoint, CodecMeta
from .resolved_codec import ResolvedCodec

#: How many codecs with different options one source keeps; codecs are pure, so a dropped one is made again.
_KEPT = 64
#: Characters of a name that is declared.
_LONGEST_NAME = 256


class CodecChoice:
    """Which codec serves a checkpoint, and the options it is made with.

    The codec that the checkpoint's ``offboard.json`` records is the one it was trained with and always rules;
    then the one that was asked for; then the vendor's default. Options that it records (``codec_options``) hold where
    nobody says others.
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
        self._made: OrderedDict[tuple[str, str, bool], tuple[Checkpoint, ResolvedCodec]] = OrderedDict()
        self._lock = threading.Lock()
        if asked is not None:
            offer = plugins.get(CODEC, asked, vendor)
            build(offer.options(), self._options, f"the codec {offer.name}", ConfigurationError)

    def resolve(self, checkpoint: Checkpoint, overrides: Mapping[str, Any], *, loaded: bool = False) -> ResolvedCodec:
        """The codec for this checkpoint, with a session's ``overrides`` of its options (plain JSON data).

        ``loaded``: ``checkpoint`` says what is known since it was loaded; what was made of it before is kept beside.

        Raises BadParameter for an override that does not fit, ConfigurationError if what was asked for
        contradicts what the checkpoint records. May read the disk: never called on the event loop.
        """
        if (resolved := self.remembered(checkpoint, overrides, loaded=loaded)) is not None:
            return resolved
        try:
            resolved = self._resolve(checkpoint, overrides)
        except ConfigurationError as error:
            if overrides:  # without them the server would not have started
                raise BadParameter(error.text) from error
            raise
        with self._lock:
            self._made[_key(checkpoint, overrides, loaded)] = (checkpoint, resolved)
            while len(self._made) > _KEPT:
                self._made.popitem(last=False)
        return resolved

    def remembered(
        self, checkpoint: Checkpoint, overrides: Mapping[str, Any], *, loaded: bool = False
    ) -> ResolvedCodec | None:
        """What :meth:`resolve` has made of the same before, if it is kept still; reads nothing."""
        key = _key(checkpoint, overrides, loaded)
        with self._lock:
            made_for, resolved = self._made.get(key, (None, None))
            if resolved is None or made_for != checkpoint:
                return None
            self._made.move_to_end(key)
            return resolved

    def _resolve(self, checkpoint: Checkpoint, overrides: Mapping[str, Any]) -> ResolvedCodec:
        offer, source = self._choose(checkpoint)
        where, declared = f"the codec {offer.name}", offer.options()
        names = tuple(option.name for option in describe(declared))
        build(declared, overrides, where, BadParameter)
        trained = _recorded_options(checkpoint) if source == "checkpoint" else {}
        build(declared, trained, f"offboard.json of the checkpoint {checkpoint.id}: {where}", ConfigurationError)
        given = {**trained, **self._options, **overrides}
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
        try:
            codec = offer.make(options, checkpoint)
        except (ConfigurationError, LoadFailed) as error:
            if source == "default":
                unnamed = f"no --codec and no offboard.json says one, so it is the default, {offer.name}"
                error.args = (f"{unnamed}: {error.text}",)
            raise
        resolved = ResolvedCodec(codec, offer.name, source, options)
        _check_names(where, resolved.meta)
        made = resolved.meta.action_fps
        if made is not None:
            _check_rate(f"{where} makes actions at a rate that no client plays", made)
        if recorded is not None and made != recorded:
            raise ConfigurationError(
                f"{where} makes actions at {made} Hz, but the checkpoint {checkpoint.id} was trained at "
                f"{recorded:g} Hz, its offboard.json says"
            )
        return resolved

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


def _check_names(where: str, meta: CodecMeta) -> None:
    """What is declared can be sent by its name. Raises ConfigurationError."""
    for name in (*meta.observation, *meta.action):
        if name in RESERVED_NAMES:
            why = "which in an observation says something else (section 7 of the protocol)"
        elif len(name) > _LONGEST_NAME or not name.isprintable():
            why = f"and a name is printable text of at most {_LONGEST_NAME} characters"
        else:
            continue
        raise ConfigurationError(
            f"{where} declares {name!r:.80}, {why}: choose another codec, or rename it where the model's names are"
        )


def _key(checkpoint: Checkpoint, overrides: Mapping[str, Any], loaded: bool) -> tuple[str, str, bool]:
    return checkpoint.id, json.dumps(overrides, sort_keys=True, default=repr), loaded


def _recorded_options(checkpoint: Checkpoint) -> dict[str, Any]:
    """What the codec was told when the training data were made: whoever serves need not say it again, but may."""
    found: Any = checkpoint.recorded.get("codec_options", {})
    if not isinstance(found, dict):
        raise ConfigurationError(
            f"codec_options in offboard.json of the checkpoint {checkpoint.id} is {found!r:.80}, expected a map of the "
            "codec's options"
        )
    return cast("dict[str, Any]", found)


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
