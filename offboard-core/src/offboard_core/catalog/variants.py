"""One word for what belongs together: a vendor's codec, and the options of its loader."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from offboard_client.errors import ConfigurationError, unknown

from ..plugins import LoaderEntry, Offer

Options = TypeVar("Options")
#: What a variant may say of core's own; the rest are the vendor's options.
_CODEC = "codec"


def with_variant(offer: Offer[LoaderEntry], word: str, codec: str | None, options: Options) -> tuple[str, Options]:
    """``codec`` and ``options`` as the vendor's variant ``word`` says them.

    ``options``: names and values, or an instance of the vendor's options class. Raises ConfigurationError for a word
    that it has not, and where one of them is said besides: the two could contradict each other.
    """
    if word not in offer.entry.variants:
        raise ConfigurationError(unknown(f"variant of {offer.name}", word, offer.entry.variants))
    says = {**offer.entry.variants[word]}
    named = says.pop(_CODEC)
    twice = [_CODEC] if codec is not None else []
    twice += [name for name in says if _is_said(options, name)]
    if twice:
        flags = ", ".join(f"--{name.replace('_', '-')}" for name in twice)
        raise ConfigurationError(f"{word} says {flags} already; leave one of them away")
    if isinstance(options, Mapping):
        return named, cast("Options", {**cast("Mapping[str, Any]", options), **says})
    return named, cast("Options", dataclasses.replace(cast("Any", options), **says))


def _is_said(options: Any, name: str) -> bool:
    if isinstance(options, Mapping):
        return name in cast("Mapping[str, Any]", options)
    defaults = {field.name: field.default for field in dataclasses.fields(options)}
    return getattr(options, name) != defaults[name]
