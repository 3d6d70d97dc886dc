"""``offboard models SERVER``."""

from __future__ import annotations

from dataclasses import dataclass

from ..terminal import Line, ServerOptions, emit_json, parse, refuse_address_flags, say


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
