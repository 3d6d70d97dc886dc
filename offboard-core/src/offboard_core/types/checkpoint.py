"""Which models there are, and what makes a policy of one."""

from __future__ import annotations

import abc
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from offboard_client.errors import ModelNotFound

from .policy import Policy
from .progress import ReportProgress
from .values import Field


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A model that could be served, and what its files say about it. Cheap: read without torch or jax.

    ``id``: how a session URL names it. ``location``: where it lies (a path or URL; "" for one that lives in memory).
    ``inputs``/``outputs``: the model's own feature names → :class:`Field` (images H, W, 3), where the files say so.
    ``recorded``: what ``offboard.json`` beside the checkpoint holds (``codec``, ``action_fps`` …), {} without one.
    ``extras``: vendor facts for the handshake (``config_name`` …); plain JSON data.
    """

    id: str
    location: str = ""
    experiment: str = ""
    type: str = ""
    inputs: Mapping[str, Field] = field(default_factory=dict[str, Field])
    outputs: Mapping[str, Field] = field(default_factory=dict[str, Field])
    chunk_length: int | None = None
    recorded: Mapping[str, Any] = field(default_factory=dict[str, Any])
    extras: Mapping[str, Any] = field(default_factory=dict[str, Any])


class ModelRegistry(abc.ABC):
    """Which checkpoints exist at one place. May touch a disk or a network: never called on the event loop."""

    @abc.abstractmethod
    def checkpoints(self) -> Sequence[Checkpoint]:
        """The complete ones, oldest first. Raises ConfigurationError if the place cannot be listed."""

    def resolve(self, model_id: str) -> Checkpoint:
        """The checkpoint of this id: literally, else by number (``10000`` finds ``010000``).

        Raises ModelNotFound naming what exists. An id is compared with names, never joined to a path.
        """
        checkpoints = self.checkpoints()
        for checkpoint in checkpoints:
            if checkpoint.id == model_id:
                return checkpoint
        if model_id.isascii() and model_id.isdigit():
            # Compared as text: a client may send thousands of digits, and int() takes quadratic time for them.
            number = model_id.lstrip("0")
            for checkpoint in checkpoints:
                if checkpoint.id.isdigit() and checkpoint.id.lstrip("0") == number:
                    return checkpoint
        names = [checkpoint.id for checkpoint in checkpoints]
        near = difflib.get_close_matches(model_id[:200], names, n=3)
        raise ModelNotFound(
            f"there is no model {model_id[:200]!r} here; "
            + (f"did you mean {', '.join(near)}? " if near else "")
            + (f"there are: {', '.join(names[-20:])}" if names else "there are none")
            + (f" (and {len(names) - 20} more)" if len(names) > 20 else "")
        )

    def default(self) -> Checkpoint:
        """The newest complete one, unless the registry knows better. Asked once, at start-up."""
        checkpoints = self.checkpoints()
        if not checkpoints:
            raise ModelNotFound("there is no complete checkpoint here yet")
        return checkpoints[-1]


@dataclass(frozen=True)
class Placement:
    """Which of a model's replicas is loaded: number ``replica`` (from 0) of ``replicas`` in this server.

    What that means is the vendor's: the device or the port of its own for each. Raises ValueError for one outside.
    """

    replica: int = 0
    replicas: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.replica < self.replicas:
            raise ValueError(f"replica {self.replica} of {self.replicas}; expected 0 to {self.replicas - 1}")


#: The one replica of a model that has no other.
ALONE = Placement()


class CheckpointLoader(abc.ABC):
    """Makes a policy of a vendor's checkpoint.

    ``max_replicas``: how many policies of one checkpoint may be loaded beside each other in one server; None = any
    number. 1 where they would be one and the same.
    """

    max_replicas: int | None = None

    @abc.abstractmethod
    def load(self, checkpoint: Checkpoint, report: ReportProgress, place: Placement) -> Policy[Any]:
        """Load and warm up; slow. Runs on the thread that will call the policy.

        Called once for each replica, one after the other; ``place`` says which.

        Raises LoadFailed with the cause and the next step, ``permanent`` where no other try can do better: a server
        whose default model that is ends. A warm-up that fails is a load that fails.
        """

    def check(self, checkpoint: Checkpoint) -> None:
        """Raises LoadFailed if it can be seen that this cannot be loaded, with the cause and the next step.

        Asked of the default before the server listens. Reads what a listing reads, no weights and no model library.
        ``permanent`` where this process lacks something: what runs in another environment is tried all the same.
        """

    def environment(self, checkpoint: Checkpoint) -> str | None:
        """Which of its vendor's environments a checkpoint wants, by what its files say; None: none is known to fit.

        Asked where :meth:`check` refuses it here, and of what runs in another environment than this one. Reads what
        :meth:`check` reads, and needs no model library. Raises LoadFailed for what no environment could load.
        """
        return None

    def also_needs(self, checkpoint: Checkpoint) -> str | None:
        """How the name of a package begins that a checkpoint wants in its environment beside its list; None: none.

        In lower case, with ``_`` for what parts words (``lerobot_policy_``). Asked, and raises, as :meth:`environment`.
        """
        return None

    def enrich(self, checkpoint: Checkpoint) -> Checkpoint:
        """What the registry found, with what this loader's options add to it (``inputs``, ``extras`` …).

        Codecs and the handshake see the result. Cheap, and about the same checkpoint: its id stays.
        """
        return checkpoint

    def loaded(self, checkpoint: Checkpoint, policy: Policy[Any]) -> Checkpoint:
        """What is known of a checkpoint once ``policy`` was loaded of it; the codec is held against that, too.

        Cheap. The load fails, for good, where the codec refuses it. Where that is by a LoadFailed that is not
        ``permanent`` a session's options may make the codec fit: the log says so, and sessions whose options do not
        are refused instead.
        """
        return checkpoint

    def standalone_checkpoint(self) -> Checkpoint | None:
        """The one model that the options name without a place to look at, such as a server that runs already."""
        return None
