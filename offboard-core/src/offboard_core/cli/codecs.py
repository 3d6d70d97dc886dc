"""``offboard codecs``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from offboard_client.errors import OffboardError
from offboard_client.plugins import describe
from offboard_client.terminal import emit_facts, emit_json, parse

from ..plugins import CODEC, CodecEntry, Offer, Plugins
from ..types import Checkpoint, Field


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``offboard codecs``."""

    json: bool = False
    """Print one JSON object on stdout."""


def run(arguments: list[str]) -> int:
    """List every codec that the installed plugins offer."""
    options = parse(Options, arguments, "codecs", "List the codecs: what they read, make and take.")
    found = [_describe(offer) for offer in Plugins.discover().offers(CODEC)]
    if options.json:
        emit_json({"codecs": found})
        return 0
    emit_facts("codecs", [(codec["name"], "\n".join(_lines(codec))) for codec in found])
    return 0


def _lines(codec: Mapping[str, Any]) -> list[str]:
    """What there is to say about a codec, for people."""
    if codec["cause"]:
        return [codec["summary"], f"cannot be used: {codec['cause']}"]
    options = " ".join(f"{o['name']}={json.dumps(o['default'])}" for o in codec["options"])
    return [
        codec["summary"],
        f"reads {_names(codec['reads'])}",
        f"makes {_names(codec['makes'])}",
        *([f"options {options}"] if options else []),
    ]


def _describe(offer: Offer[CodecEntry]) -> dict[str, Any]:
    """One codec as plain data; ``reads`` and ``makes`` are null where only a checkpoint can tell.

    They are those of the codec with its default options and a checkpoint that declares nothing.
    """
    described: dict[str, Any] = {
        "name": offer.name,
        "summary": offer.entry.summary,
        "reads": None,
        "makes": None,
        "options": [],
        "cause": None,
    }
    try:
        declared = offer.options()
        described["options"] = [
            {"name": option.name, "type": option.type, "default": option.default} for option in describe(declared)
        ]
        meta = offer.make(declared(), Checkpoint(id="")).meta
    except OffboardError as error:
        described["cause"] = error.text
        return described
    described["reads"] = _fields(meta.observation)
    described["makes"] = _fields(meta.action)
    return described


def _fields(fields: Mapping[str, Field]) -> dict[str, Any] | None:
    return {name: {"shape": f.shape, "unit": f.unit, "kind": f.kind} for name, f in fields.items()} or None


def _names(fields: Mapping[str, Any] | None) -> str:
    return ", ".join(fields) if fields else "what the checkpoint says"
