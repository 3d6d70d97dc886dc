"""``offboard serve``."""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import os
import ssl
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from offboard_client.errors import ConfigurationError, OffboardError, log_to_stderr
from offboard_client.play import compare
from offboard_client.plugins import UsageError, describe
from offboard_client.protocol import listen_host
from offboard_client.robots.sim import SPEC
from offboard_client.terminal import Line, emit_json, say, tell, token_from
from offboard_client.wire import Status

from ..catalog import ModelSource, from_flags, read_models, read_options, workers_for
from ..engine import ServiceTimeouts, contract, make_observers
from ..frontends import make_frontends, make_listeners, split_listen
from ..plugins import FRONTEND, LISTENER, OBSERVER, Kind, Plugins
from ..types import CodecMeta
from ..workers import Isolation
from .serve_options import Parsed, ServeOptions, parse_serve

if TYPE_CHECKING:
    from ..server import ServerConfig

log = logging.getLogger(__name__)

TOKEN_VARIABLE = "OFFBOARD_AUTH_TOKEN"
#: Options that are short for an observer's: field → the observer, and its option.
SHORT = {"timings": ("core.timings", "file"), "recording_dir": ("core.recording", "dir")}


def run(arguments: list[str]) -> int:
    """Serve until a signal. Raises ConfigurationError for everything that can be seen to be wrong before."""
    plugins = Plugins.discover()
    parsed = parse_serve(arguments, plugins)
    options = parsed.serve
    log_to_stderr(options.log_level, force=True)
    _check_numbers(options)
    with Line() as line:  # a store that does not answer is asked for most of a minute
        line.show(f"looking at {options.checkpoints_dir or options.models or options.vendor}")
        try:
            sources = make_sources(parsed, plugins)
            checked = {name: _check(name, source, many=len(sources) > 1) for name, source in sources.items()}
        except ConfigurationError as error:
            raise ConfigurationError(error.text + _whose(plugins, options)) from error
    models = [model for one in checked.values() for model in one.models]
    first = next(iter(checked.values()))
    simulated = fits_simulation(first.meta)
    frontends = make_frontends(plugins, other_options(parsed, plugins, FRONTEND))
    asked = make_listeners(plugins, options.listen, other_options(parsed, plugins, LISTENER))
    paths = {o.name: o.entry.paths for o in plugins.offers(FRONTEND) if o.entry.paths[0] in frontends}
    # Starlette and uvicorn take their time: not before everything that is cheap to see is right.
    from ..server import Listeners, run_server

    config, listeners = make_config(options), Listeners(asked)
    if config.auth_token is None and not _is_loopback(config.host):
        log.warning(
            "listening on %s without a token: whoever reaches this machine may use the model. "
            "Set %s or --auth-token-file",
            config.host,
            TOKEN_VARIABLE,
        )
    if asked and config.ssl_certfile is not None:
        log.warning("TLS is for the port %d alone: what comes to %s is not encrypted", config.port, ", ".join(asked))
    observers = make_observers(plugins, asked_observers(parsed, plugins))
    with Line() as line:

        def progress(status: Status | None) -> None:
            if status is None:
                line.stop()
            else:
                line.status(status)

        listens = partial(
            announce, options, models, paths, default=first.default, runs_in=first.runs_in, simulated=simulated,
            listeners=listeners.addresses,
        )  # fmt: skip
        return run_server(sources, config, listens, frontends, progress if line.live else None, listeners, observers)


def _check_numbers(options: ServeOptions) -> None:
    listen_host(options.host)
    if not 0 <= options.port <= 65535:
        raise UsageError(f"--port {options.port} is no port; expected 0 to 65535")
    for name in ("infer_timeout", "load_timeout", "idle_timeout", "request_timeout", "max_sessions"):
        if not getattr(options, name) > 0:
            raise UsageError(f"--{name.replace('_', '-')} {getattr(options, name)} is not above 0")
    if (options.ssl_certfile is None) != (options.ssl_keyfile is None):
        raise UsageError("--ssl-certfile and --ssl-keyfile belong together")
    for text in options.listen:
        try:
            split_listen(text)
        except ConfigurationError as error:
            raise UsageError(f"--listen {error.text}") from None


def make_config(options: ServeOptions) -> ServerConfig:
    """How to listen. Raises ConfigurationError for a token or certificate that cannot be read."""
    from ..server import ServerConfig

    if options.ssl_certfile is not None:
        try:
            # With a password the key of a server that starts by itself would have nobody to type it.
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(options.ssl_certfile, options.ssl_keyfile, "")
        except OSError as error:
            raise ConfigurationError(
                f"{options.ssl_certfile} and {options.ssl_keyfile} are no certificate and its key without a password: "
                f"{error}"
            ) from error
    token = token_from(options.auth_token_file)
    return ServerConfig(
        host=options.host,
        port=options.port,
        auth_token=os.environ.get(TOKEN_VARIABLE) if token is None else token,
        ssl_certfile=options.ssl_certfile,
        ssl_keyfile=options.ssl_keyfile,
        allowed_hosts=options.allowed_host,
        request_timeout=options.request_timeout,
        max_sessions=options.max_sessions,
        shared_memory=not options.no_shared_memory,
        limits=ServiceTimeouts(infer=options.infer_timeout, load=options.load_timeout, idle=options.idle_timeout),
    )


def make_sources(parsed: Parsed, plugins: Plugins) -> dict[str, ModelSource]:
    """What to serve, by name. Raises ConfigurationError."""
    options = parsed.serve
    limits = Isolation(infer_timeout=options.infer_timeout, load_timeout=options.load_timeout)
    if options.models is not None:
        return read_models(options.models, plugins, limits)
    isolation, worker = workers_for(limits, options.isolate, options.python, options.inherit, options.env)
    source = from_flags(
        plugins,
        vendor=options.vendor,
        checkpoints_dir=options.checkpoints_dir,
        checkpoint=options.checkpoint,
        codec=options.codec,
        codec_options=parsed.codec,
        variant=parsed.variant,
        fps=options.fps,
        replicas=1 if options.replicas is None else options.replicas,
        loader_options=parsed.vendor,
        isolation=isolation,
        env=options.env,
        worker=worker,
    )
    return {source.vendor: source}


def other_options(parsed: Parsed, plugins: Plugins, kind: Kind[Any]) -> dict[str, dict[str, Any]]:
    """What the command line and the file set of this kind, by name. Raises UsageError if both set the same one."""
    names, models = {offer.name for offer in plugins.offers(kind)}, parsed.serve.models
    given = {name: options for name, options in parsed.others.items() if name in names}
    written = {} if models is None else read_options(models, kind)
    if twice := sorted(given.keys() & written.keys()):
        raise UsageError(f"the options of {', '.join(twice)} are in {models} already: write them there or here")
    return {**written, **given}


def asked_observers(parsed: Parsed, plugins: Plugins) -> dict[str, dict[str, Any]]:
    """The observers that are to watch, with their options.

    Raises ConfigurationError for a name that none has, and for an option that is lacking.
    """
    asked = other_options(parsed, plugins, OBSERVER)
    for name in parsed.serve.observe:
        offer = plugins.get(OBSERVER, name)
        given = asked.setdefault(offer.name, {})
        needed = [option.name for option in describe(offer.options()) if option.default is ...]
        if lacking := [f"--{offer.name}.{name}" for name in needed if name not in given]:
            raise ConfigurationError(f"the observer {offer.name} needs {', '.join(lacking)}")
    for field, (name, option) in SHORT.items():
        if (value := getattr(parsed.serve, field)) is None:
            continue
        given = asked.setdefault(name, {})
        if option in given:
            flag = field.replace("_", "-")
            raise UsageError(f"--{flag} is short for --{name}.{option}, and that is set as well: give one of them")
        given[option] = value
    return asked


@dataclass(frozen=True)
class _Checked:
    """A source: the ids of its models, its default's id and what that reads and makes, and where it runs."""

    models: list[str]
    default: str
    meta: CodecMeta
    runs_in: str | None


def _check(name: str, source: ModelSource, *, many: bool) -> _Checked:
    """Raises what a session would find wrong with its default model or codec."""
    try:
        default = source.default()
        meta = source.codec.resolve(default, {}).meta
        ids = [checkpoint.id for checkpoint in source.registry.checkpoints()]
    except OffboardError as error:
        raise ConfigurationError(f"{name}: {error.text}") from error
    full = f"{name}/{{}}" if many else "{}"
    return _Checked([full.format(id) for id in ids], full.format(default.id), meta, source.runs_in(default))


def _whose(plugins: Plugins, options: ServeOptions) -> str:
    """A hint where the vendor that was named is another than the one that knows the files."""
    if options.vendor is None or options.checkpoints_dir is None or "://" in options.checkpoints_dir:
        return ""
    try:
        found = plugins.recognise(Path(options.checkpoints_dir).expanduser())
    except ConfigurationError:
        return ""
    return "" if found == options.vendor else f"; these files are {found}'s: serve them with --vendor {found}"


def fits_simulation(meta: CodecMeta) -> bool:
    """Whether the simulated arm observes what the default model wants, and plays what it answers."""
    return bool(meta.action) and compare(SPEC, contract(meta), "whatever it is told").fits


def announce(
    options: ServeOptions,
    models: Sequence[str],
    frontends: Mapping[str, Sequence[str]],
    host: str,
    port: int,
    *,
    default: str = "",
    runs_in: str | None = None,
    simulated: bool,
    listeners: Mapping[str, tuple[str, int]],
) -> None:
    """Say where the server listens and how to reach it.

    ``default``: the id of the default model; ``runs_in``: where its own process runs, None where it gets none.
    ``frontends``: the paths of each. ``listeners``: where each listens. ``simulated``: whether the simulated arm can
    play the default model.
    """
    from ..server import reachable

    secure = options.ssl_certfile is not None
    url, server = reachable(host, port, secure=secure)
    if options.json:
        where = {"url": url, "host": host, "port": port, "pid": os.getpid()}
        others = {name: {"host": host, "port": port} for name, (host, port) in listeners.items()}
        emit_json({**where, "models": models, "default": default, "frontends": frontends, "listeners": others})
        _keep_stdout()
        return
    shown = ", ".join(models[-5:]) + (f" and {len(models) - 5} more" if len(models) > 5 else "")
    tell(f"listening on {url} with {shown}" + (f"; the default is {default}" if len(models) > 1 and default else ""))
    if runs_in is not None:
        say(f"  {default} runs in a process of its own, {runs_in}")
    say("")
    say(f"  offboard run sim {server}" if simulated else f"  offboard probe {server}")
    say(f'  session = offboard_client.InferenceClient("{server}").new_session()')
    say(f"  scripts: POST http{url.removeprefix('ws')}/act")
    for name, paths in frontends.items():
        say(f"  {name}: {url}{paths[0]}" + (f" (or {', '.join(paths[1:])})" if paths[1:] else ""))
    for name, (own_host, own_port) in listeners.items():
        say(f"  {name}: {reachable(own_host, own_port, secure=False)[1]}")
    if options.auth_token_file is not None or os.environ.get(TOKEN_VARIABLE):
        say(f"  all with its token: {TOKEN_VARIABLE}, --auth-token-file, or auth_token=")
    say("")


def _keep_stdout() -> None:
    """Send what else this process writes there to stderr: a vendor's code may print, by whatever way.

    The stream itself stays open, so that whoever reads it still sees its end with the process's.
    """
    if sys.stdout is sys.__stdout__ and sys.stdout.fileno() == 1:  # else it is a test's, or a program's
        os.dup(1)
        with contextlib.suppress(OSError):  # there may be no stderr
            os.dup2(2, 1)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
