"""What a worker is to load, in names and plain data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from offboard_client.errors import ConfigurationError, OffboardError
from offboard_client.plugins import import_attr

from ..plugins import LoaderEntry, Offer
from ..process import OURS_ALONE
from ..types import NoParams
from .forms import values_out


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A vendor's loader: ``factory`` and ``options`` as ``"module:attr"``, and the ``values`` of its options.

    ``vendor``: its full name. ``distribution``: that of its plugin, or "". ``inherit``: as of its entry.
    """

    vendor: str
    distribution: str
    factory: str
    options: str
    values: Mapping[str, Any]
    inherit: tuple[str, ...] = ()

    @property
    def modules(self) -> set[str]:
        """The modules that it names."""
        return {name.partition(":")[0] for name in (self.factory, self.options)}


def recipe_of(offer: Offer[LoaderEntry], options: Any) -> Recipe:
    """What makes this vendor's loader in another process.

    Raises ConfigurationError for a factory, or options, that no name leads to, for values that do not cross to another
    process, and for an entry whose models were to know the server's own secret.
    """
    from .channel import check_crosses  # which needs shared memory

    if secrets := OURS_ALONE.intersection(offer.entry.inherit):
        raise ConfigurationError(
            f"the vendor {offer.name} cannot run in a worker: its LoaderEntry's inherit names {', '.join(secrets)}, "
            "which is the server's own; no worker gets it"
        )
    values = values_out(options)
    for name, value in values.items():
        try:
            check_crosses(value)
        except (TypeError, ValueError, OverflowError) as error:
            raise ConfigurationError(
                f"the vendor {offer.name} cannot run in a worker: its option {name} does not cross to one: {error}"
            ) from None
    return Recipe(
        vendor=offer.name,
        distribution=offer.provider.distribution,
        factory=_named(offer, "factory", offer.entry.factory),
        options=_named(offer, "options", offer.entry.options),
        values=values,
        inherit=offer.entry.inherit,
    )


def _named(offer: Offer[LoaderEntry], what: str, value: Any) -> str:
    if value is NoParams:
        return f"{NoParams.__module__}:NoParams"
    if isinstance(value, str):
        return value
    name = f"{getattr(value, '__module__', None)}:{getattr(value, '__qualname__', None)}"
    try:
        if import_attr(name) is value:
            return name
    except (OffboardError, ImportError, AttributeError, ValueError):
        pass
    raise ConfigurationError(
        f"the vendor {offer.name} cannot run in a worker: its {what} is {value!r:.80}, which another process cannot "
        f'import; let its LoaderEntry say {what}="module:attr"'
    )


__all__ = ["Recipe", "recipe_of"]
