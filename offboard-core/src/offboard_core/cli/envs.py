"""``offboard envs``."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from offboard_client.errors import ConfigurationError, counted, log_to_stderr, unknown
from offboard_client.plugins import UsageError
from offboard_client.terminal import Line, emit_facts, emit_json, parse, say, terminable
from offboard_client.wire import Status
from tyro.conf import Positional

from .. import environments as envs
from ..plugins import ENVIRONMENT, EnvironmentEntry, Offer, Plugins
from ..types import sized

_SUMMARY = "List the environments that vendors describe, make one ahead of its first use, or remove one."


@dataclass(frozen=True, kw_only=True)
class Options:
    """Options of ``offboard envs``."""

    action: Annotated[Positional[Literal["list", "make", "remove"]], tyro.conf.arg(metavar="[list|make|remove]")] = (
        "list"
    )
    """What to do. A list also shows what is left over of lists that have changed."""
    name: Annotated[Positional[str | None], tyro.conf.arg(metavar="[NAME]")] = None
    """Which environment to make, or to remove."""
    json: bool = False
    """Print one JSON object on stdout."""


def run(arguments: list[str]) -> int:
    """List what there is, make one, or remove one.

    Raises ConfigurationError for one that there is not, LoadFailed for one that cannot be made.
    """
    options = parse(Options, arguments, "envs", _SUMMARY)
    plugins = Plugins.discover()
    if (options.name is None) != (options.action == "list"):
        raise UsageError(f"{options.action} " + ("needs a NAME" if options.name is None else "takes no name"))
    if options.name is None:
        _list(plugins, as_json=options.json)
    elif options.action == "make":
        _make(envs.choose(plugins, options.name), as_json=options.json)
    else:
        _remove(plugins, options.name)
        if options.json:
            emit_json({"removed": options.name})
        else:
            say(f"removed {options.name}")
    return 0


def _list(plugins: Plugins, *, as_json: bool) -> None:
    offers = plugins.offers(ENVIRONMENT)
    described, left = [_describe(offer) for offer in offers], envs.leftovers(offers)
    if as_json:
        emit_json({"environments": described, "leftovers": left})
        return
    facts = [(each["name"], "\n".join(_lines(each))) for each in described]
    emit_facts("environments", facts or [("none", "no installed plugin describes one")])
    if left:
        shown = [(name, sized(size) if size else "not whole") for name, size in left.items()]
        emit_facts("left over (offboard envs remove NAME)", shown)


def _describe(offer: Offer[EnvironmentEntry]) -> dict[str, Any]:
    entry = offer.entry
    described: dict[str, Any] = {
        "name": offer.name,
        "summary": entry.summary,
        "vendor": entry.vendor or offer.provider.name,
        "python": entry.python,
        "platforms": list(entry.platforms),
        "path": None,
        "made": None,
        "added": [],
        "cause": None,
    }
    try:
        place = envs.place_of(offer)
    except ConfigurationError as error:
        described["cause"] = error.text
        return described
    if (there := envs.made(place)) is not None:
        described |= {"path": str(place), "made": asdict(there), "added": envs.added(offer)}
    return described


def _lines(described: Mapping[str, Any]) -> list[str]:
    made = described["made"]
    if described["cause"]:
        state = f"cannot be used: {described['cause']}"
    elif made is None:
        state = "not made yet"
    else:
        what = f"Python {made['python']}, {counted(made['packages'], 'package')}, {sized(made['size'])}"
        state = f"made {made['made'][:16].replace('T', ' ')} UTC: {what}"
        if described["added"]:
            state += f"; installed beside its list: {', '.join(described['added'])}"
    where = f"for {described['vendor']}; Python {described['python']}; {', '.join(described['platforms'])}"
    return [described["summary"], where, state, *([described["path"]] if made else [])]


def _make(offer: Offer[EnvironmentEntry], *, as_json: bool) -> None:
    with Line() as line, terminable():
        if not line.live:
            log_to_stderr("info")
        python = envs.make(offer, lambda text: line.status(Status("loading", text, text)))
    if as_json:
        there = envs.made(envs.place_of(offer))
        emit_json({"name": offer.name, "python": str(python), "made": there and asdict(there)})
    else:
        say(str(python))


def _remove(plugins: Plugins, name: str) -> None:
    """The environment of this name, or the folder of this name that is left over."""
    offers = plugins.offers(ENVIRONMENT)
    places: dict[str, Path] = {}
    for offer in offers:
        with contextlib.suppress(ConfigurationError):
            places[offer.name] = envs.place_of(offer)
    there = {name: place for name, place in places.items() if place.exists()}
    left = envs.leftovers(offers, made_now=True)
    if name in there:
        envs.remove(there[name])
    elif name in left:
        envs.remove_leftover(name)
    elif name in places:
        raise ConfigurationError(f"the environment {name} is not made")
    else:
        raise ConfigurationError(unknown("environment", name, [*places, *left]))
