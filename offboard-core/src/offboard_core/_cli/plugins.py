"""``offboard plugins``."""

from __future__ import annotations

from dataclasses import dataclass

from offboard_client._cli.arguments import parse
from offboard_client._cli.output import emit_json, emit_table

from ..plugins import PluginRow, Plugins


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
    emit_table(
        ("plugin", "distribution", "version", "vendors", "codecs", "registries", "frontends", "trainers", "state"),
        [
            (
                row.provider.name,
                row.provider.distribution,
                row.provider.version,
                "\n".join(row.loaders),
                "\n".join(row.codecs),
                "\n".join(row.registries),
                "\n".join(row.frontends),
                "\n".join(row.trainers),
                row.cause or "ok",
            )
            for row in rows
        ],
    )
    return 0


def _plain(row: PluginRow) -> dict[str, object]:
    return {
        "name": row.provider.name,
        "distribution": row.provider.distribution,
        "version": row.provider.version,
        "vendors": row.loaders,
        "codecs": row.codecs,
        "registries": row.registries,
        "frontends": row.frontends,
        "trainers": row.trainers,
        "cause": row.cause,
    }
