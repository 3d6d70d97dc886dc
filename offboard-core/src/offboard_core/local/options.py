"""What a policy in this process takes on a command line, and what is opened for that."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, cast
from urllib.parse import parse_qsl

import tyro
from offboard_client.errors import BadParameter, ConfigurationError
from offboard_client.wire import RESERVED_PARAMS, Status

from ..catalog import from_flags, options_beside
from ..engine import ServiceTimeouts
from ..plugins import LOADER, Plugins
from .session import LocalSession


@dataclass(frozen=True, kw_only=True)
class LocalOptions:
    """Options of ``--policy local:VENDOR``; the vendor's own come on top. VENDOR may end in ``?NAME=VALUE&…``."""

    checkpoints_dir: str | None = None
    """The folder that holds the checkpoints."""
    checkpoint: str | None = None
    """The checkpoint to play; without it the newest."""
    codec: str | None = None
    """The codec; without it the checkpoint's record, else the vendor's default. `--codec.NAME VALUE` is its option."""
    codec_options: Annotated[Mapping[str, Any], tyro.conf.Fixed, tyro.conf.Suppress] = field(
        default_factory=dict[str, Any]
    )
    """The codec's options by their names; on a command line `--codec.NAME VALUE`."""
    fps: float | None = None
    """Steps per second of the actions, where nothing beside the checkpoint says it."""
    env: str | None = None
    """The environment to run the model in, made at the load (see `offboard envs`); auto: what a checkpoint wants."""
    timeout: float = 60.0
    """How long to wait for one chunk, in seconds."""

    def __post_init__(self) -> None:
        if not 0 < self.timeout < math.inf:
            raise ConfigurationError(f"--timeout is {self.timeout:g}; expected seconds, a number above 0")


def _apart(part: str | None) -> tuple[str | None, list[tuple[str, str]]]:
    """The vendor, and the session's parameters as text. Raises BadParameter for one that is about a socket."""
    vendor, _, query = (part or "").partition("?")
    params = parse_qsl(query, keep_blank_values=True)
    if taken := sorted(RESERVED_PARAMS.intersection(name for name, _ in params)):
        raise BadParameter(f"{', '.join(taken)} cannot be chosen: there is no connection that it could be about")
    return vendor or None, params


def local_options(part: str | None) -> type[Any]:
    """The options of a policy of this vendor. None: the files decide, and no vendor's own options can be set.

    ``part``: the vendor; ``?NAME=VALUE&…`` behind it are parameters of the session, as in its URL on a server.

    Raises ConfigurationError for a vendor that there is not, or one that declares an option of ours.
    """
    vendor, _ = _apart(part)
    if vendor is None:
        return LocalOptions
    declared = options_beside(Plugins.discover().get(LOADER, vendor), LocalOptions)

    def check(options: Any) -> None:
        for base in (declared, LocalOptions):
            if (own := getattr(base, "__post_init__", None)) is not None:
                own(options)

    return dataclasses.make_dataclass(
        "Options", [], bases=(declared, LocalOptions), namespace={"__post_init__": check}, frozen=True, kw_only=True
    )


def open_local(options: Any, part: str | None, on_status: Callable[[Status], None]) -> LocalSession:
    """A session on a vendor's policy, which is loaded for it. ``options``: of the class of :func:`local_options`.

    ``part``: what that was given.

    Raises ConfigurationError for what ``offboard serve`` would refuse to start with, and what opening a session raises.
    """
    asked, (vendor, params) = cast("LocalOptions", options), _apart(part)
    plugins = Plugins.discover()
    # The vendor's own alone: a worker is told each by its name.
    declared = None if vendor is None else plugins.get(LOADER, vendor).options()
    own = declared and declared(**{each.name: getattr(options, each.name) for each in dataclasses.fields(declared)})
    source = from_flags(
        plugins,
        vendor=vendor,
        checkpoints_dir=asked.checkpoints_dir,
        checkpoint=asked.checkpoint,
        codec=asked.codec,
        codec_options=asked.codec_options,
        fps=asked.fps,
        loader_options=own,
        env=asked.env,
    )
    return LocalSession(source, on_status, ServiceTimeouts(infer=asked.timeout), params)
