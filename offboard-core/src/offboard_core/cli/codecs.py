"""``offboard codecs``, and ``offboard codecs NAME``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import tyro
from offboard_client.cli import show_contract
from offboard_client.errors import LoadFailed, OffboardError
from offboard_client.plugins import build, describe
from offboard_client.terminal import emit_facts, emit_json, emit_table, parse, say, tell
from tyro.conf import Positional

from ..engine import contract
from ..plugins import CODEC, CodecEntry, Offer, Plugins
from ..types import Checkpoint, Codec, Field

_UNTOLD = "what the checkpoint says"


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``offboard codecs``."""

    name: Annotated[Positional[str | None], tyro.conf.arg(metavar="[NAME]")] = None
    """Show this one as its handshake does; without it all of them are listed."""
    json: bool = False
    """Print one JSON object on stdout."""


def run(arguments: list[str]) -> int:
    """List every codec that the installed plugins offer, or show one.

    Raises ConfigurationError for one that there is not, and what making it raises.
    """
    options = parse(Options, arguments, "codecs", "List the codecs, or show one: what it reads, makes and takes.")
    plugins = Plugins.discover()
    if options.name is not None:
        _show(plugins.get(CODEC, options.name), as_json=options.json)
        return 0
    found = [_describe(offer) for offer in plugins.offers(CODEC)]
    if options.json:
        emit_json({"codecs": found})
    else:
        emit_facts("codecs", [(codec["name"], "\n".join(_lines(codec))) for codec in found])
    return 0


def _show(offer: Offer[CodecEntry], *, as_json: bool) -> None:
    """One codec with its default options, for a checkpoint that declares nothing."""
    options, codec = _options(offer), _make(offer)
    said = contract(codec.meta)
    if as_json:
        about = {"name": offer.name, "summary": offer.entry.summary, "provider": str(offer.provider)}
        emit_json({**about, **said, "options": options, "one_way": codec.one_way})
        return
    say(f"{offer.name}, by the plugin {offer.provider}")
    tell(offer.entry.summary)
    show_contract(said, _UNTOLD)
    if codec.one_way:
        tell(f"the way back (encode_actions): {codec.one_way}")
    emit_table(
        ("option", "type", "default", "changeable in a session"),
        [
            (each["name"], each["type"], json.dumps(each["default"]), "yes" if each["changeable"] else "no")
            for each in options
        ]
        or [("none", "", "", "")],
    )
    if options:
        tell(
            "these are the default options; with others: offboard probe ws://HOST:PORT/api/v1/session?codec.OPTION=VALUE"
        )


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
        described["options"] = _options(offer)
        meta = _make(offer).meta
    except LoadFailed:  # it is for checkpoints that declare something
        return described
    except OffboardError as error:
        described["cause"] = error.text
        return described
    described["reads"] = _fields(meta.observation)
    described["makes"] = _fields(meta.action)
    return described


def _options(offer: Offer[CodecEntry]) -> list[dict[str, Any]]:
    return [
        {"name": option.name, "type": option.type, "default": option.default, "changeable": option.changeable}
        for option in describe(offer.options())
    ]


def _make(offer: Offer[CodecEntry]) -> Codec:
    return offer.make(build(offer.options(), {}, f"the codec {offer.name}"), Checkpoint(id=""))


def _fields(fields: Mapping[str, Field]) -> dict[str, Any] | None:
    return {name: {"shape": f.shape, "unit": f.unit, "kind": f.kind} for name, f in fields.items()} or None


def _names(fields: Mapping[str, Any] | None) -> str:
    return ", ".join(fields) if fields else _UNTOLD
