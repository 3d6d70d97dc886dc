"""The codec that a data set is made by, or that its training records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from offboard_client.errors import ConfigurationError, LoadFailed
from offboard_client.plugins import build, describe

from ..codecs import rate
from ..data_sets import check_codec
from ..plugins import CODEC, Plugins
from ..types import Checkpoint, Codec


@dataclass(frozen=True)
class TrainingCodec:
    """``name``: in full. ``plugin``: that offers it. ``fps``: rows a second."""

    name: str
    plugin: str
    codec: Codec
    options: Any
    fps: float


def training_codec(
    plugins: Plugins, asked: str, vendor: str | None, given: Mapping[str, Any], fps: float | None
) -> TrainingCodec:
    """The codec called ``asked`` with the options that were ``given``, and its rate: ``fps``, else its own.

    Raises ConfigurationError for a codec that is for serving only, for what only a simulation knows, and for no rate or
    another one than the codec's.
    """
    offer = plugins.get(CODEC, asked, vendor)
    where, declared, given = f"the codec {offer.name}", offer.options(), dict(given)
    if fps is not None and any(option.name == "fps" for option in describe(declared)):
        given = {"fps": fps, **given}
    if fps is not None and given.get("fps", fps) is not fps and given["fps"] != fps:
        raise ConfigurationError(f"--fps says {fps:g}, --codec.fps says {given['fps']}; give one of them")
    options = build(declared, given, where, ConfigurationError)
    try:
        codec = offer.make(options, Checkpoint(id="training"))
    except LoadFailed as error:
        raise ConfigurationError(
            f"{where} is made of a checkpoint, and there is none before training ({error.text}); choose another"
        ) from error
    check_codec(offer.name, codec)
    own = codec.meta.action_fps
    wanted = own if fps is None else fps
    if wanted is None:
        raise ConfigurationError(f"{where} says no rate: say it with --fps")
    if own not in (None, wanted):
        raise ConfigurationError(f"{where} plays {own} steps per second, and the data set has {wanted}")
    try:
        return TrainingCodec(offer.name, offer.provider.name, codec, options, rate(wanted))
    except ValueError as error:
        raise ConfigurationError(f"{where}: {error}") from None
