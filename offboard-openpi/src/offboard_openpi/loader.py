"""From a checkpoint to openpi's own server that serves it."""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

from offboard_client.errors import ConfigurationError, LoadFailed
from offboard_core.checkpoints import check_listed, check_unchanged, stamps
from offboard_core.checkpoints.remote import RemoteFolder, fetch, is_url
from offboard_core.process import AttachedServer, Child, ChildServer
from offboard_core.types import ALONE, Checkpoint, CheckpointLoader, Field, Placement, ReportProgress

from . import files
from .checkout import check_config, check_program, script
from .checks import Checks
from .connection import Connection
from .diagnosis import explain_attaching, explain_serving
from .families import DEFAULT_CONFIG, FAMILIES, POSITRONIC, Family
from .first import FirstInference
from .options import ENVIRONMENT, OpenPIOptions
from .policy import OpenPIPolicy
from .registry import as_listed

log = logging.getLogger(__name__)

#: What errors call the child.
NAME = "OpenPI subprocess"
#: Seconds between SIGTERM and SIGKILL; closing a policy must take less than the server allows it.
_GRACE = 2.0
#: Bytes of what openpi says of its policy, which every robot is told; openpi's own says a pose.
_LARGEST_METADATA = 65536


class OpenPILoader(CheckpointLoader):
    """Starts openpi's ``serve_policy.py`` for a checkpoint, or attaches to one that runs."""

    def __init__(self, options: OpenPIOptions) -> None:
        self._options = options
        self._was_there = False
        # Several would be at one address.
        self.max_replicas = 1 if options.attach is not None or options.openpi_ws_port else None

    def standalone_checkpoint(self) -> Checkpoint | None:
        """The server to attach to, which says nothing about its checkpoint."""
        if self._options.attach is None:
            return None
        return Checkpoint(id=self._options.config_name or DEFAULT_CONFIG, location=self._options.attach, type="openpi")

    def enrich(self, checkpoint: Checkpoint) -> Checkpoint:
        """What the config takes and answers. Raises ConfigurationError if --config-name contradicts the record."""
        config = self._config(checkpoint)
        family = self._family(config, checkpoint, _local(checkpoint))
        extras = {**checkpoint.extras, "config_name": config}
        if family is None:
            return replace(checkpoint, extras=extras)
        return replace(
            checkpoint,
            inputs={**family.inputs(), "task": Field(shape=(), dtype="str", required=not family.default_prompt)},
            outputs={"action": Field(shape=(family.action_width,), kind="vector")},
            extras={**extras, "action_space": family.action_space},
        )

    def check(self, checkpoint: Checkpoint) -> None:
        """See :meth:`CheckpointLoader.check`: whether openpi is there, and has the config."""
        if self._options.attach is None:
            self._command(self._config(checkpoint))

    def load(self, checkpoint: Checkpoint, report: ReportProgress, place: Placement = ALONE) -> OpenPIPolicy:
        """See :meth:`CheckpointLoader.load`."""
        config = self._config(checkpoint)
        if self._options.attach is not None:
            return self._attached(self._options.attach, config, report)
        root, command = self._options.root, self._command(config)
        folder = self._folder(checkpoint, report)
        if problem := files.local_problem(folder):
            raise LoadFailed(f"{folder} is no complete checkpoint: {problem}; expected {files.EXPECTED}")
        loaded = stamps(folder, files.names_in(folder))
        self._check_listed(checkpoint)
        checks = Checks(config, self._family(config, checkpoint, folder), files.middles(folder))

        def start(port: int) -> Child:
            check_unchanged(folder, loaded)  # a restart must not bring another model into sessions that are open
            return self._start(command, port, config, folder, root)

        first = FirstInference(checks)
        server = ChildServer(
            start,
            lambda port: Connection(f"ws://127.0.0.1:{port}"),
            first.answered,
            partial(explain_serving, config=config, folder=str(folder), root=str(root)),
            name="openpi",
            startup_timeout=self._options.startup_timeout,
            restarts=self._options.restarts,
            port=self._options.openpi_ws_port,
        )
        server.open(report)
        try:
            check_unchanged(folder, loaded)
        except LoadFailed:
            server.close()
            raise
        if first.reply is None:
            log.warning(
                "nobody here knows the config %s: only generic checks are made, and openpi was not warmed up", config
            )
        return OpenPIPolicy(server, checks, self._options.openpi_timeout, _meta(checks, first.metadata, first.reply))

    def _check_listed(self, checkpoint: Checkpoint) -> None:
        """Raises LoadFailed where a step on this machine is not what was listed, of which the codec was made.

        What a store had is kept by its version.
        """
        if (folder := _local(checkpoint)) is None:
            return
        listed = checkpoint if "config_name" in checkpoint.extras else self.enrich(checkpoint)
        try:
            check_listed(self.enrich(as_listed(folder)), listed)
        except ConfigurationError as error:
            raise LoadFailed(error.text) from None

    def _attached(self, url: str, config: str, report: ReportProgress) -> OpenPIPolicy:
        checks = Checks(config, FAMILIES.get(config))
        first = FirstInference(checks)
        server = attached(url, first, partial(explain_attaching, config=config), self._options.startup_timeout)
        try:
            server.open(report)
        except LoadFailed as error:  # one that has been there may come back
            raise LoadFailed(error.text, permanent=error.permanent and not self._was_there) from None
        self._was_there = True
        server.watch()
        return OpenPIPolicy(server, checks, self._options.openpi_timeout, _meta(checks, first.metadata, first.reply))

    def _command(self, config: str) -> list[str]:
        """What runs openpi's server. Raises LoadFailed."""
        try:
            command = script(self._options.root, self._options.openpi_command, "serve_policy.py")
            check_program(command[0])
            check_config(self._options.root, config)
        except ConfigurationError as error:
            raise LoadFailed(error.text, permanent=True) from None
        return command

    def _config(self, checkpoint: Checkpoint) -> str:
        recorded, asked = checkpoint.recorded.get("config_name"), self._options.config_name
        if recorded is not None and asked is not None and asked != recorded:
            raise ConfigurationError(
                f"--config-name asks for {asked}, but the checkpoint {checkpoint.id} was trained with {recorded}, its "
                "offboard.json says; leave --config-name away, or correct offboard.json"
            )
        return str(recorded or asked or DEFAULT_CONFIG)

    def _family(self, config: str, checkpoint: Checkpoint, folder: Path | None) -> Family | None:
        """What the config takes; where it may be one of several widths, the statistics of the training data decide."""
        family = FAMILIES.get(config)
        assets = checkpoint.extras.get("asset_ids", [])
        if family is not None and family is POSITRONIC and folder is not None and len(assets) == 1:
            return family.with_width("observation/state", files.widths(folder, assets[0]).get("state", 0))
        return family

    def _folder(self, checkpoint: Checkpoint, report: ReportProgress) -> Path:
        if not is_url(checkpoint.location):
            return Path(checkpoint.location)
        return fetch(RemoteFolder(checkpoint.location), report, lambda path: not path.startswith(files.TRAIN_STATE))

    def _start(self, command: list[str], port: int, config: str, folder: Path, root: Path) -> Child:
        env: dict[str, str] = {}
        if self._options.gpu_memory_fraction is not None:
            env["XLA_PYTHON_CLIENT_MEM_FRACTION"] = f"{self._options.gpu_memory_fraction:g}"
        arguments = ["--port", str(port), "policy:checkpoint", "--policy.config", config, "--policy.dir", str(folder)]
        return Child(
            [*command, *arguments],
            name=NAME,
            cwd=root if root.is_dir() else None,
            inherit=(*ENVIRONMENT, *self._options.openpi_env),
            env=env,
            grace=_GRACE,
        )


def attached(
    url: str, first: FirstInference, explain: Callable[[str], LoadFailed], startup_timeout: float
) -> AttachedServer[Connection]:
    """openpi's server at ``url``, which nobody looks at yet."""
    return AttachedServer(
        partial(Connection, url),
        first.answered,
        lambda connection: connection.said,
        explain,
        name="openpi",
        address=url,
        startup_timeout=startup_timeout,
    )


def _local(checkpoint: Checkpoint) -> Path | None:
    return None if is_url(checkpoint.location) or not checkpoint.location else Path(checkpoint.location)


def _meta(checks: Checks, metadata: Any, reply: Any) -> dict[str, Any]:
    """Facts for the handshake. ``warmed_up`` is False where nobody knew what to ask openpi."""
    facts: dict[str, Any] = {"config_name": checks.config, "checks": checks.kind, "warmed_up": reply is not None}
    if reply is not None:
        facts["chunk_length"] = len(reply["actions"])
    plain = {name: value for name, value in metadata.items() if isinstance(name, str) and _is_plain(value)}
    if len(json.dumps(plain)) > _LARGEST_METADATA:
        log.warning("openpi's metadata is larger than %d bytes: it is not handed on", _LARGEST_METADATA)
    elif plain:
        facts["openpi_metadata"] = plain
    return facts


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, cast("list[Any] | tuple[Any, ...]", value)))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_plain(part) for key, part in cast("dict[Any, Any]", value).items())
    return value is None or isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value))
