"""From a checkpoint to GR00T's own server that serves it."""

from __future__ import annotations

import contextlib
import os
import secrets
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from offboard_client.errors import ConfigurationError, LoadFailed, OffboardError
from offboard_core.checkpoints import Incomplete, LocalPlace, Place, check_unchanged, stamps
from offboard_core.checkpoints.remote import fetch, is_url, open_folder, open_place
from offboard_core.process import AttachedServer, Child, ChildServer
from offboard_core.types import ALONE, Checkpoint, CheckpointLoader, Placement, Policy, ReportProgress

from . import files
from .attached import another
from .checkout import script, server, tag_word
from .checkpoint import Described, check_frames, read, served
from .checks import Checks, known
from .connection import Connection
from .diagnosis import explain_attaching, explain_serving
from .first import FirstInference, is_wrapped
from .generation import Generation
from .modality import Modalities
from .options import ENVIRONMENT, GR00TOptions
from .policy import GR00TPolicy
from .registry import check_same, enriched
from .variants import check_config, config_of

#: What errors call the child.
NAME = "GR00T subprocess"
#: Seconds between SIGTERM and SIGKILL; closing a policy must take less than the server allows it.
_GRACE = 2.0
#: Seconds for what an attached server says of its model, which may infer for somebody else.
_DESCRIBES = 30.0
#: Seconds for the same before this server listens, of the 30 that a catalog has.
_ASK = 20.0
#: The token that a server of ours has, in its environment; see ``_shim.py``.
_TOKEN = "OFFBOARD_GR00T_TOKEN"


class GR00TLoader(CheckpointLoader):
    """Starts GR00T's own server for a checkpoint, or attaches to one that runs."""

    def __init__(self, options: GR00TOptions) -> None:
        self._options = options
        self._told = None if options.generation is None else Generation(options.generation)
        self._was_there = False
        self._attached_to: Checkpoint | None = None
        # Several would be at one address.
        self.max_replicas = 1 if options.attach is not None or options.gr00t_port else None

    def standalone_checkpoint(self) -> Checkpoint | None:
        """The server to attach to, which says itself what its model is; see :meth:`enrich`."""
        address, tag = self._options.attach, self._options.embodiment_tag
        return None if address is None else Checkpoint(id=tag or "gr00t", location=address, type="gr00t")

    def enrich(self, checkpoint: Checkpoint) -> Checkpoint:
        """What the embodiment of --embodiment-tag reads and answers. Raises ConfigurationError where there is none.

        An attached server says it each time, for another process may be who sees that it changed; one that does not
        answer is what it was when it did, without inputs or outputs where it never did.
        """
        if (address := self._options.attach) is not None:
            with (
                contextlib.suppress(OSError, OffboardError),  # which the load will say
                contextlib.closing(self._connect(address, _ASK)) as connection,
            ):
                self._attached_to = self._as_it_says(connection.modalities(_ASK), connection)
            return self._attached_to or checkpoint
        found = enriched(checkpoint, self._options.embodiment_tag, self._told)
        said: dict[str, Any] = {}
        if (config := self._said("modality_config", checkpoint)) is not None:
            said["modality_config"] = config
        if found.extras.get("generation") == Generation.N1_5.value:
            said["data_config"] = self._data_config(checkpoint)
        return replace(found, extras={**found.extras, **said})

    def check(self, checkpoint: Checkpoint) -> None:
        """See :meth:`CheckpointLoader.check`: whether a GR00T of the checkpoint's generation is there."""
        if self._options.attach is None:
            self._command(self._described(open_place(checkpoint.location), checkpoint).generation, checkpoint)

    def load(self, checkpoint: Checkpoint, report: ReportProgress, place: Placement = ALONE) -> GR00TPolicy:
        """See :meth:`CheckpointLoader.load`."""
        if self._options.attach is not None:
            return self._attached(checkpoint, report)
        folder = self._folder(checkpoint, report)
        if problem := files.local_problem(folder):
            raise LoadFailed(f"{folder} is no complete checkpoint: {problem}; expected {files.EXPECTED}")
        loaded = stamps(folder, files.names_in(folder))
        if not is_url(checkpoint.location):
            check_same(LocalPlace(folder), checkpoint, self.enrich)
        found = self._described(LocalPlace(folder), checkpoint)
        command = self._command(found.generation, checkpoint)
        token = secrets.token_urlsafe(32) if found.generation is Generation.N1_5 else None

        def start(port: int) -> Child:
            check_unchanged(folder, loaded)  # a restart must not bring another model into sessions that are open
            return self._start([*command, *self._arguments(port, folder, found, checkpoint)], token)

        first = FirstInference(
            lambda said, _: Checks(served(said, found), found.generation, sim_wrapper=self._options.sim_wrapper)
        )
        root = self._options.root
        child = ChildServer(
            start,
            lambda port: Connection(f"tcp://127.0.0.1:{port}", found.generation, token),
            first.answered,
            partial(
                explain_serving, generation=found.generation.value, tag=found.tag, tags=", ".join(found.tags),
                folder=str(folder), root=str(root), script=script(found.generation),
            ),
            name="GR00T",
            startup_timeout=self._options.startup_timeout,
            restarts=self._options.restarts,
            port=self._options.gr00t_port,
        )  # fmt: skip
        child.open(report)
        try:
            check_unchanged(folder, loaded)
        except LoadFailed:
            child.close()
            raise
        return self._policy(child, first)

    def loaded(self, checkpoint: Checkpoint, policy: Policy[Any]) -> Checkpoint:
        """Which of its data's cameras and groups a model of N1.5 reads and answers, which its data config says."""
        if self._options.attach is not None or all(declared.required for declared in checkpoint.outputs.values()):
            return checkpoint
        reads = {f"video.{name}" for name in policy.meta["cameras"]}
        reads |= {f"state.{name}" for name in policy.meta["state_groups"]}
        answers = {f"action.{name}" for name in policy.meta["action_groups"]}
        return replace(
            checkpoint,
            inputs={name: replace(each, required=True) for name, each in checkpoint.inputs.items() if name in reads},
            outputs={
                name: replace(each, required=True) for name, each in checkpoint.outputs.items() if name in answers
            },
        )

    def _attached(self, checkpoint: Checkpoint, report: ReportProgress) -> GR00TPolicy:
        """``checkpoint``: what the codec was chosen for."""
        address = checkpoint.location

        def checks(said: Modalities, connection: Connection) -> Checks:
            if (config := self._options.modality_config) is not None:
                check_config(config, said, f"at {address}")
            try:
                check_frames(f"at {address}", said)
            except Incomplete as error:
                raise LoadFailed(str(error)) from None
            if problem := another(self._as_it_says(said, connection), checkpoint):
                raise LoadFailed(problem)
            return Checks(said, connection.generation, sim_wrapper=is_wrapped(connection, said, _DESCRIBES))

        def identity(connection: Connection) -> object:
            said = connection.modalities(_DESCRIBES)
            return said, connection.generation, is_wrapped(connection, said, _DESCRIBES)

        first = FirstInference(checks)
        server = AttachedServer(
            partial(self._connect, address),
            first.answered,
            identity,
            explain_attaching,
            name="GR00T",
            address=address,
            startup_timeout=self._options.startup_timeout,
        )
        try:
            server.open(report)
        except LoadFailed as error:  # one that has been there may come back
            never = error.permanent and not self._was_there
            raise LoadFailed(error.text, permanent=never or not checkpoint.outputs) from None
        self._was_there = True
        server.watch()
        return self._policy(server, first)

    def _as_it_says(self, said: Modalities, connection: Connection) -> Checkpoint:
        """An attached server's model as the files of a checkpoint would describe it. N1.6 and N1.7 have one wire."""
        checkpoint, tag = self.standalone_checkpoint(), self._options.embodiment_tag
        assert checkpoint is not None
        generation = Generation.N1_5 if connection.generation is Generation.N1_5 else self._told
        facts = {"generation": None if generation is None else generation.value, "embodiment_tag": tag}
        return known(checkpoint, said, **{name: fact for name, fact in facts.items() if fact is not None})

    def _connect(self, address: str, timeout: float) -> Connection:
        return Connection(address, self._told, os.environ.get("GR00T_API_TOKEN"), timeout)

    def _policy(
        self, server: ChildServer[Connection] | AttachedServer[Connection], first: FirstInference
    ) -> GR00TPolicy:
        words = self._options.words
        facts: dict[str, Any] = {"warmed_up": first.warmed_up, **({"gr00t_args": words} if words else {})}
        return GR00TPolicy(server, first.checks, self._options.gr00t_timeout, facts)

    def _described(self, place: Place, checkpoint: Checkpoint) -> Described:
        """What the files say of the embodiment. Raises LoadFailed, also where they contradict --modality-config."""
        try:
            # A run's record is not beside what was fetched.
            tag = self._options.embodiment_tag or checkpoint.recorded.get("embodiment_tag")
            found = read(place, tag, self._told)
            if (config := self._said("modality_config", checkpoint)) is not None:
                check_config(config, found.modalities, checkpoint.id)
        except Incomplete as error:
            raise LoadFailed(f"{place.location} {error.verdict}: {error}") from None
        except ConfigurationError as error:
            raise LoadFailed(error.text, permanent=True) from None
        return found

    def _data_config(self, checkpoint: Checkpoint) -> str:
        """N1.5's. Raises ConfigurationError for none, or for one that contradicts the record.

        GR00T imports a MODULE:CLASS, so what came over a network may name one of GR00T's own configs only.
        """
        config = self._said("data_config", checkpoint)
        fetched = self._options.data_config is None and is_url(checkpoint.location)
        if config is not None and fetched and not config.isidentifier():
            raise ConfigurationError(
                f"the checkpoint {checkpoint.id} was trained with the data config {config!r:.200}, its offboard.json "
                f"says, and GR00T would import that; if it is yours, say so: --data-config {config:.200}"
            )
        if config is None:
            raise ConfigurationError(
                f"the checkpoint {checkpoint.id} is of N1.5, which reads the names of its cameras and groups from a "
                "data config: say --data-config NAME or MODULE:CLASS, the one that it was trained with"
            )
        return config

    def _said(self, name: str, checkpoint: Checkpoint) -> str | None:
        """What an option says, or the checkpoint's record. Raises ConfigurationError where they contradict."""
        recorded, asked = checkpoint.recorded.get(name), getattr(self._options, name)
        if recorded is not None and asked is not None and asked != recorded:
            flag = f"--{name.replace('_', '-')}"
            word = f", or the word {config_of(asked).word}," if name == "modality_config" else ""
            raise ConfigurationError(
                f"{flag} asks for {asked}, but the checkpoint {checkpoint.id} was trained with {recorded}, its "
                f"offboard.json says; leave {flag}{word} away, or correct offboard.json"
            )
        return asked if recorded is None else str(recorded)

    def _command(self, generation: Generation, checkpoint: Checkpoint) -> list[str]:
        """What runs GR00T's server. Raises LoadFailed."""
        options = self._options
        try:
            if generation is Generation.N1_5:
                self._data_config(checkpoint)
                if options.modality_config_path is not None:
                    raise ConfigurationError(
                        f"--modality-config-path is of N1.6 and N1.7, and the checkpoint {checkpoint.id} is of n1.5, "
                        "whose data config says what it reads: leave --modality-config-path away"
                    )
            elif options.data_config is not None:
                raise ConfigurationError(
                    f"--data-config is N1.5's, and the checkpoint {checkpoint.id} is of {generation.value}, which says "
                    "itself what it reads: leave --data-config away"
                )
            return server(options.root, generation, options.gr00t_python, options.gr00t_command)
        except ConfigurationError as error:
            raise LoadFailed(error.text, permanent=True) from None

    def _arguments(self, port: int, folder: Path, found: Described, checkpoint: Checkpoint) -> list[str]:
        generation, config = found.generation, self._options.modality_config_path
        said = ["--model-path", str(folder), "--embodiment-tag", tag_word(generation, found.tag), "--port", str(port)]
        if generation is Generation.N1_5:
            own = ["--server", "--data-config", self._data_config(checkpoint)]
        else:
            own = ["--host", "127.0.0.1", *(["--modality-config-path", config] if config else [])]
        return [*said, *own, *self._options.words]

    def _folder(self, checkpoint: Checkpoint, report: ReportProgress) -> Path:
        if not is_url(checkpoint.location):
            return Path(checkpoint.location)
        check_same(open_place(checkpoint.location), checkpoint, self.enrich)
        return fetch(open_folder(checkpoint.location), report, files.wanted)

    def _start(self, command: list[str], token: str | None) -> Child:
        root = self._options.root
        return Child(
            command,
            name=NAME,
            cwd=root if root.is_dir() else None,
            inherit=(*ENVIRONMENT, *self._options.gr00t_env),
            env={} if token is None else {_TOKEN: token},
            grace=_GRACE,
        )
