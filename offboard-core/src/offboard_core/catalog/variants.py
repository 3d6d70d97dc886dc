"""One word for what belongs together: a vendor's codec, and the options of its loader."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar, cast

from offboard_client.errors import ConfigurationError, unknown

from ..plugins import LoaderEntry, Offer

Options = TypeVar("Options")
#: What a variant may say of core's own; the rest are the vendor's options.
_CODEC = "codec"


def with_variant(offer: Offer[LoaderEntry], word: str, codec: str | None, options: Options) -> tuple[str, Options]:
    """``codec`` and ``options`` as the vendor's variant ``word`` says them.

    ``options``: names and values, or an instance of the vendor's options class. Raises ConfigurationError for a word
    that it has not, and where one of them is said besides: the two could contradict each other; or where the options
    have no such name.
    """
    if word not in offer.entry.variants:
        raise ConfigurationError(unknown(f"variant of {offer.name}", word, offer.entry.variants))
    says = {**offer.entry.variants[word]}
    named = says.pop(_CODEC)
    if not isinstance(options, Mapping) and (lacks := says.keys() - _names(options)):
        raise ConfigurationError(f"{word} says {_flags(lacks)}, which there is not here: say --codec {named}")
    twice = [_CODEC] if codec is not None else []
    twice += [name for name in says if _is_said(options, name)]
    if twice:
        raise ConfigurationError(f"{word} says {_flags(twice)} already; leave one of them away")
    if isinstance(options, Mapping):
        return named, cast("Options", {**cast("Mapping[str, Any]", options), **says})
    return named, cast("Options", replace(cast("Any", options), **says))


def codec_of(offer: Offer[LoaderEntry], options: Any) -> str | None:
    """The codec that options say by themselves, where a variant has it with just these; None where none or several do.

    ``options``: an instance of an options class of the vendor's.
    """
    found = {
        says[_CODEC]
        for says in offer.entry.variants.values()
        if len(says) > 1 and all(getattr(options, name, None) == says[name] for name in says.keys() - {_CODEC})
    }
    return found.pop() if len(found) == 1 else None


def _is_said(options: Any, name: str) -> bool:
    if isinstance(options, Mapping):
        return name in cast("Mapping[str, Any]", options)
    defaults = {field.name: field.default for field in fields(options)}
    return getattr(options, name) != defaults[name]


def _names(options: Any) -> set[str]:
    return {field.name for field in fields(options)}


def _flags(names: Iterable[str]) -> str:
    return ", ".join(f"--{name.replace('_', '-')}" for name in names)
