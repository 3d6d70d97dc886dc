"""``offboard models URL``."""

from __future__ import annotations

from dataclasses import dataclass

from .arguments import parse
from .habits import refuse_address_flags
from .line import Line
from .output import emit_json, say
from .server import ServerOptions


@dataclass(frozen=True, kw_only=True)
class Options(ServerOptions):
    """Options of ``offboard models``."""


def run(arguments: list[str]) -> int:
    """Print the ids that a session URL may name, one per line, oldest first."""
    refuse_address_flags("models", arguments)
    options = parse(Options, arguments, "models", "List the models that a server offers, oldest first.")
    with Line() as line, options.client(line) as client:
        models = client.list_models()
    if options.json:
        emit_json({"models": models})
    else:
        for model in models:
            say(model)
    return 0
