"""``offboard plugins``."""

from __future__ import annotations

from dataclasses import dataclass

from offboard_client.terminal import emit_facts, emit_json, parse

from ..plugins import KINDS, LOADER, PluginRow, Plugins


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``offboard plugins``."""

    json: bool = False
    """Print one JSON object on stdout."""


def run(arguments: list[str]) -> int:
    """List every plugin. A broken one is a row, not a failure: the exit status is 0."""
    options = parse(Options, arguments, "plugins", "List the installed plugins, what they offer, and what is wrong.")
    rows = Plugins.discover().rows()
    if options.json:
        emit_json({"plugins": [_plain(row) for row in rows]})
        return 0
    emit_facts("plugins", [(row.provider.name, "\n".join(_lines(row))) for row in rows])
    return 0


def _lines(row: PluginRow) -> list[str]:
    """What there is to say about a plugin, for people."""
    cause = [f"cannot be used: {row.cause}"] if row.cause else []
    offers = [f"{heading} {', '.join(names)}" for heading, names in _offers(row).items() if names]
    return [f"{row.provider.distribution} {row.provider.version}", *cause, *offers]


def _offers(row: PluginRow) -> dict[str, tuple[str, ...]]:
    kinds = sorted(KINDS.values(), key=lambda kind: kind is not LOADER)  # whose models it serves is what matters most
    return {kind.heading: row.offers[kind] for kind in kinds}


def _plain(row: PluginRow) -> dict[str, object]:
    return {
        "name": row.provider.name,
        "distribution": row.provider.distribution,
        "version": row.provider.version,
        **_offers(row),
        "cause": row.cause,
    }
