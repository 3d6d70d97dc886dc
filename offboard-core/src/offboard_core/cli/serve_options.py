"""The command line of ``offboard serve``: core's options, the vendor's on top, and the codec's.

It is read twice, because the vendor decides which options there are: first for ``--vendor`` and
``--checkpoints-dir`` alone, then as a whole. What begins with ``--codec.`` or with the name of a frontend, a
listener or an observer and a dot is taken out before: which options these have is checked where they are made.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import tyro
from offboard_client.errors import OffboardError
from offboard_client.plugins import UsageError, describe
from offboard_client.terminal import parse, peek, refuse_habits, split_dotted
from tyro.conf import Positional

from ..catalog import choose_vendor, expand, options_beside
from ..plugins import FRONTEND, LISTENER, OBSERVER, LoaderEntry, Offer, Plugins

_SUMMARY = (
    "Serve a policy. Either one source by flags, or several that a models.toml names. A vendor's own options are shown "
    "by `offboard serve --vendor NAME --help`; --codec.NAME VALUE sets an option of the codec (`offboard codecs` lists "
    "them), --codec.map FROM=TO, which may be repeated, an entry of one that is a map."
)


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Options of ``offboard serve``."""

    models: Annotated[Positional[Path | None], tyro.conf.arg(metavar="[MODELS.TOML | VARIANT]")] = None
    """A file of several sources, instead of flags; beside flags a vendor's word for a codec and options of its own."""
    vendor: str | None = None
    """Which vendor's checkpoints these are; without it the files decide."""
    checkpoints_dir: str | None = None
    """The folder that holds the checkpoints."""
    checkpoint: str | None = None
    """The checkpoint that a session without a model id gets; without it the newest when the server starts."""
    codec: str | None = None
    """The codec; without it the one recorded beside the checkpoint, else the vendor's default."""
    fps: float | None = None
    """Steps per second of the actions, where nothing beside the checkpoint says it."""
    replicas: Annotated[int | None, tyro.conf.arg(help_behavior_hint="(default: 1)")] = None
    """How many policies of a model are loaded beside each other; each session is with one."""
    isolate: bool = False
    """Run the model in a process of its own: what ends that does not end the server."""
    python: str | None = None
    """The interpreter of another environment, or its folder, to run the model in; a process of its own with it."""
    env: str | None = None
    """The environment to run the model in, made at the load (see `offboard envs`); auto: what a checkpoint wants."""
    inherit: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A variable that this process gets, beside the few that any program needs. May be repeated."""
    host: str = "127.0.0.1"
    """Where to listen. 0.0.0.0 is every interface of this machine."""
    port: int = 8000
    """Where to listen. 0 takes a free port."""
    auth_token_file: Path | None = None
    """A file that holds the token clients must send; without it OFFBOARD_AUTH_TOKEN counts, if it is set."""
    allowed_host: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A name under which this server is asked, where it has no token and cannot know the name. May be repeated."""
    listen: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """A listener, which has a port of its own: NAME, or NAME:PORT. May be repeated."""
    observe: tyro.conf.UseAppendAction[tuple[str, ...]] = ()
    """An observer, which watches what goes through. May be repeated."""
    timings: Path | None = None
    """A CSV file to write a line into for each step, with where its time went."""
    recording_dir: Path | None = None
    """A folder to record each session into as MCAP: what the robot said, the model saw and answered, the robot got."""
    ssl_certfile: Path | None = None
    """Serve over TLS with this certificate."""
    ssl_keyfile: Path | None = None
    """The certificate's key."""
    infer_timeout: float = 60.0
    """How long one inference may take, in seconds."""
    load_timeout: float = 1200.0
    """How long a load may go without news of its progress, in seconds; while there is some it may take any time."""
    idle_timeout: float = 600.0
    """How long a session may be silent while a client waits for another model, in seconds."""
    request_timeout: float = 5.0
    """How long a connection may take for its request, the handshake of TLS with it, in seconds."""
    max_sessions: int = 256
    """How many sessions there may be at once."""
    no_shared_memory: bool = False
    """Have clients on this machine send their observations, too, instead of sharing memory with them."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """How much to log, on stderr."""
    json: bool = False
    """Print one JSON object on stdout once the server listens."""


#: Who owns the options ``--codec.NAME``.
CODEC = "codec"
_SOURCE = (
    "vendor", "checkpoints_dir", "checkpoint", "codec", "fps", "replicas", "isolate", "python", "env", "inherit",
)  # fmt: skip


@dataclass(frozen=True)
class Parsed:
    """``serve``; ``vendor``: an instance of the vendor's options class, None where a file names the sources.

    ``codec``: the codec's options that were given. ``others``: the name of a frontend,
    listener or observer → its options that were given. ``variant``: the vendor's word for a codec and options.
    """

    serve: ServeOptions
    vendor: Any
    codec: dict[str, Any]
    others: dict[str, dict[str, Any]]
    variant: str | None = None


def parse_serve(arguments: Sequence[str], plugins: Plugins) -> Parsed:
    """The whole command line. Raises UsageError or ConfigurationError; SystemExit after help."""
    refuse_habits(arguments)
    owners = [(offer.name, kind.noun) for kind in (FRONTEND, LISTENER, OBSERVER) for offer in plugins.offers(kind)]
    rest, dotted = split_dotted(arguments, [CODEC, *(name for name, _ in owners)])
    codec = dotted.pop(CODEC, {})
    for name in dotted:
        if len(nouns := [noun for owner, noun in owners if owner == name]) > 1:
            raise UsageError(f"{name} is both {' and '.join(nouns)}: write its options into a models.toml")
    summary = _SUMMARY + _frontends_help(plugins) + _listeners_help(plugins) + _observers_help(plugins)
    vendor, location = peek(rest, "vendor"), peek(rest, "checkpoints_dir")
    if vendor is None and location is None:
        serve = parse(ServeOptions, rest, "serve", summary)
        given = [name for name in _SOURCE if getattr(serve, name) not in (None, False, ())] + [
            f"codec.{name}" for name in codec
        ]
        if serve.models is not None and given:
            names = ", ".join(f"--{name.replace('_', '-')}" for name in given)
            if serve.models.is_dir():
                raise UsageError(f"{serve.models} is a folder: --checkpoints-dir {serve.models}")
            raise UsageError(f"{names} cannot be combined with {serve.models}: write it into the file")
        return Parsed(serve, None, codec, dotted)
    offer = choose_vendor(plugins, vendor, None if location is None else expand(location))
    summary += _variants_help(offer)
    declared = options_beside(offer, ServeOptions)
    both = dataclasses.make_dataclass(
        "Options",
        [
            ("serve", Annotated[ServeOptions, tyro.conf.arg(name="")]),
            ("vendor_options", Annotated[declared, tyro.conf.arg(name="")]),
        ],
        frozen=True,
    )
    try:
        parsed = cast("Any", parse(both, rest, "serve", summary))
    except ValueError as refused:  # tyro reports it itself only for options that have a prefix of their own
        raise UsageError(f"the vendor {offer.name} refuses its options: {refused}") from refused
    word = parsed.serve.models
    if word is None:
        return Parsed(parsed.serve, parsed.vendor_options, codec, dotted)
    if not offer.entry.variants and len(word.parts) == 1 and not word.suffix and not word.exists():
        raise UsageError(f"the vendor {offer.name} has no such words as {word}: leave it away; --codec names a codec")
    if not offer.entry.variants or word.suffix == ".toml":
        raise UsageError(f"give either {word} or --vendor and --checkpoints-dir")
    serve = dataclasses.replace(parsed.serve, models=None)
    return Parsed(serve, parsed.vendor_options, codec, dotted, variant=str(word))


def _variants_help(offer: Offer[LoaderEntry]) -> str:
    """The vendor's words, and what each says."""
    said = [
        f"{word} ({' '.join(_flag(name, value) for name, value in says.items())})"
        for word, says in offer.entry.variants.items()
    ]
    return f" Its variants: {'; '.join(said)}." if said else ""


def _flag(name: str, value: Any) -> str:
    return f"--{name.replace('_', '-')} {value}"


def _frontends_help(plugins: Plugins) -> str:
    """What other protocols are spoken, and how they are set."""
    said = [(offer, f"on {', '.join(offer.entry.paths)}") for offer in plugins.offers(FRONTEND)]
    return _others_help("Other protocols on the same port", said)


def _listeners_help(plugins: Plugins) -> str:
    said = [(offer, f"on {offer.entry.port}") for offer in plugins.offers(LISTENER)]
    return _others_help("Those that --listen gives a port of its own", said)


def _observers_help(plugins: Plugins) -> str:
    said = [(offer, "") for offer in plugins.offers(OBSERVER)]
    return _others_help("Those that --observe, or an option of theirs, has watch", said)


def _others_help(title: str, offers: Sequence[tuple[Offer[Any], str]]) -> str:
    said: list[str] = []
    for offer, where in offers:
        try:
            options = [f"--{offer.name}.{option.name}" for option in describe(offer.options())]
        except OffboardError:
            continue  # the server says what is wrong with it; help is for the others
        said.append(f"{offer.name} {where}".rstrip() + f" ({', '.join(options)})" * bool(options))
    return f" {title}: {'; '.join(said)}." if said else ""
