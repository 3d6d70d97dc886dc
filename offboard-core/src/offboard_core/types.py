"""The types a vendor and the server share. Everything here is light: numpy and the standard library.

A robot's observation becomes a model's input by a :class:`Codec`, the model's answer is a :class:`Chunk`
that the same codec turns back into the robot's terms. A :class:`CheckpointLoader` makes a :class:`Policy`
of a :class:`Checkpoint`; a :class:`ModelRegistry` says which checkpoints exist; a :class:`Session` is one
episode of one robot on a policy.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .chunk import Array, Chunk, Columns, rows
from .health import Health
from .policy import NoParams, Policy, Session

#: A map of names to plain data (str, numbers, lists, maps) and numpy arrays. Arrays may be read-only views.
Observation = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Field:
    """What one name of an observation or action holds.

    ``shape``: None where any is taken; -1 for a free axis. ``dtype``: a numpy dtype name, ``"str"`` or None.
    ``unit``: as a person would write it (``"m, unit quaternion wxyz"``, ``"rad"``). ``kind``: for actions, as M-5 of
    the protocol lists them (``absolute_pose``, ``joint_delta``, ``vector`` …).
    """

    shape: tuple[int, ...] | None = None
    dtype: str | None = None
    unit: str | None = None
    required: bool = True
    kind: str | None = None


@dataclass(frozen=True, kw_only=True)
class CodecMeta:
    """What a codec reads from a robot and what it sends back; the handshake is made of it.

    ``observation``: canonical name → :class:`Field`. ``action``: action name → :class:`Field`.
    ``image_sizes``: the size a client may shrink to, ``(w, h)`` for all images, a map by name, or None.
    ``action_fps``: steps per second, None when nothing says it. ``action_horizon_sec``: where the chunk is
    cut, None for whole. ``conventions``: quaternion order, frames, grip sense.
    """

    observation: Mapping[str, Field] = field(default_factory=dict[str, Field])
    action: Mapping[str, Field] = field(default_factory=dict[str, Field])
    image_sizes: tuple[int, int] | Mapping[str, tuple[int, int]] | None = None
    action_fps: float | None = None
    action_horizon_sec: float | None = None
    conventions: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One column of a training data set, as LeRobot's ``info.json`` describes it."""

    shape: tuple[int, ...]
    dtype: str
    names: tuple[str, ...] | None = None


class Codec(abc.ABC):
    """How a robot's data become a model's, and back. Pure and immutable: one codec serves many sessions.

    Compose with ``a | b`` (in sequence: b reads what a encoded) and ``a & b`` (side by side: both read the
    same, their outputs are merged; a name that both make is an error).
    Errors: :class:`~offboard_client.errors.BadObservation` from :meth:`encode`,
    :class:`~offboard_client.errors.InvalidAction` from :meth:`decode`.
    """

    @property
    def meta(self) -> CodecMeta:
        """What this codec reads and makes."""
        return CodecMeta()

    def encode(self, observation: Observation) -> dict[str, Any]:
        """A robot's observation as the model's input. Never writes into its argument."""
        raise NotImplementedError(f"{type(self).__name__} does not encode")

    def decode(self, chunk: Chunk, observation: Observation) -> Chunk:
        """A model's chunk in the robot's terms; vectorised over T. ``observation`` is what :meth:`encode` was given."""
        raise NotImplementedError(f"{type(self).__name__} does not decode")

    # -- the training half -------------------------------------------------------------------------------
    @property
    def features(self) -> Mapping[str, Feature]:
        """The columns that :meth:`label` makes, by name."""
        return {}

    def label(self, frame: Observation) -> dict[str, Any]:
        """One recorded frame (canonical names, and the commanded ``target_*``) as a training row."""
        return {}

    def __or__(self, other: Codec) -> Codec:
        from .codecs.algebra import Sequential

        return Sequential(self, other)

    def __and__(self, other: Codec) -> Codec:
        from .codecs.algebra import Parallel

        return Parallel(self, other)


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
        from ._resolve import resolve

        return resolve(model_id, self.checkpoints())

    def default(self) -> Checkpoint:
        """The newest complete one, unless the registry knows better. Asked once, at start-up."""
        from ._resolve import newest

        return newest(self.checkpoints())


#: Tells whoever waits what a slow load is doing; a :class:`~.progress.Progress` also how far it is. For any thread.
#: Each call is a sign of life: --load-timeout counts from the last one. Whoever repeats it in a loop bounds that loop.
Report = Callable[[str], None]


class CheckpointLoader(abc.ABC):
    """A vendor's front door: makes a policy of a checkpoint."""

    @abc.abstractmethod
    def load(self, checkpoint: Checkpoint, report: Report) -> Policy[Any]:
        """Load and warm up; slow. Runs on the thread that will call the policy.

        Raises LoadFailed with the cause and the next step, ``permanent`` where no other try can do better: a server
        whose default model that is ends. A warm-up that fails is a load that fails.
        """

    def check(self, checkpoint: Checkpoint) -> None:
        """Raises LoadFailed if it can be seen that this cannot be loaded, with the cause and the next step.

        Asked of the default before the server listens. Reads what a listing reads, no weights and no model library.
        """

    def describe(self, checkpoint: Checkpoint) -> Checkpoint:
        """What the registry found, with what this loader's options add to it (``inputs``, ``extras`` …).

        Codecs and the handshake see the result. Cheap, and about the same checkpoint: its id stays.
        """
        return checkpoint

    def alone(self) -> Checkpoint | None:
        """The one model that the options name without a place to look at, such as a server that runs already."""
        return None


__all__ = [
    "Array", "Checkpoint", "CheckpointLoader", "Chunk", "Codec", "CodecMeta", "Columns", "Feature", "Field",
    "Health", "ModelRegistry", "NoParams", "Observation", "Policy", "Report", "Session", "rows",
]  # fmt: skip
