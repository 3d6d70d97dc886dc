"""A policy on strings: the test decides what it answers, and when."""

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from offboard_core import (
    Checkpoint,
    CheckpointLoader,
    Chunk,
    CodecMeta,
    Field,
    Health,
    InferContext,
    NoParams,
    OffboardError,
    Policy,
    Session,
)
from offboard_core.catalog import CodecChoice, ModelSource, ResolvedCodec
from offboard_core.checkpoints import MemoryRegistry
from offboard_core.plugins import Plugins
from waits import PATIENCE as PATIENCE
from waits import reached as reached
from waits import until as until


class Door:
    """A place in a call where the model's thread stops until the test lets it go on."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self._open = threading.Event()

    def open(self) -> None:
        """Let through whoever stands here, and everyone after."""
        self._open.set()

    def passing(self) -> None:
        """Called where the thread stops."""
        self.entered.set()
        assert self._open.wait(4 * PATIENCE), "nobody opened the door"

    def __enter__(self) -> "Door":
        return self

    def __exit__(self, *_: object) -> None:
        self.open()


def count_up(episode: "PuppetSession", inputs: Mapping[str, Any]) -> Chunk:
    """Two steps of how many observations this episode has answered: 1, 1 then 2, 2 …"""
    return Chunk(np.full((2, 3), float(len(episode.seen))))


Answer = Callable[["PuppetSession", Mapping[str, Any]], Any]


class PuppetSession(Session):
    def __init__(self, policy: "Puppet", params: Any) -> None:
        self.policy, self.params = policy, params
        self.seen: list[Mapping[str, Any]] = []
        self.closed = threading.Event()

    def infer(self, inputs: Mapping[str, Any], context: InferContext) -> Chunk | None:
        self.seen.append(inputs)
        return self.policy.answer(self, inputs)

    def reset(self) -> None:
        self.seen = []

    def close(self) -> None:
        self.closed.set()


class Puppet(Policy[PuppetSession]):
    """``answer(episode, inputs)`` answers; ``doors`` maps the number of a call (from 0) to where it stops.

    ``health`` is asked for its health. ``batches``: the episodes of each call. ``threads``: every thread that called.
    """

    def __init__(
        self,
        answer: Answer = count_up,
        *,
        max_batch_size: int = 1,
        doors: Mapping[int, Door] | None = None,
        params: type = NoParams,
        meta: Mapping[str, Any] | None = None,
        health: Callable[[], Any] = Health,
    ) -> None:
        self.answer, self.max_batch_size, self.params, self.meta = answer, max_batch_size, params, meta or {}
        self.doors = dict(doors or {})
        self.asked = health
        self.episodes: list[PuppetSession] = []
        self.batches: list[list[PuppetSession]] = []
        self.threads: set[int] = set()
        self.closed = threading.Event()

    def new_session(self, params: Any) -> PuppetSession:
        self.threads.add(threading.get_ident())
        self.episodes.append(PuppetSession(self, params))
        return self.episodes[-1]

    def infer_many(self, batch: Any) -> Any:
        self.threads.add(threading.get_ident())
        number = len(self.batches)
        self.batches.append([item.session for item in batch])
        if number in self.doors:
            self.doors[number].passing()
        return super().infer_many(batch)

    def health(self) -> Any:
        return self.asked()

    def close(self) -> None:
        self.threads.add(threading.get_ident())
        self.closed.set()


Make = Callable[[], Policy[Any]]


class PuppetLoader(CheckpointLoader):
    """Makes the policy of a checkpoint by calling what stands under its id; counts the loads."""

    def __init__(self, makes: Mapping[str, Make]) -> None:
        self._makes = dict(makes)
        self.loads: list[str] = []

    def load(self, checkpoint: Checkpoint, report: Callable[[str], None], place: Any) -> Policy[Any]:
        self.loads.append(checkpoint.id)
        report("pulling strings")
        return self._makes[checkpoint.id]()


def source(
    makes: Mapping[str, Make],
    *,
    inputs: Mapping[str, Field] | None = None,
    outputs: Mapping[str, Field] | None = None,
    fps: float | None = None,
    codec: str = "native",
    plugin: object | None = None,
    checkpoints: Iterable[Checkpoint] | None = None,
    pinned: str | None = None,
) -> ModelSource:
    """Models under these ids, the first one being the default, all with the same declared inputs and outputs."""
    found = checkpoints or [
        Checkpoint(id=name, location=f"memory/{name}", experiment="strings", inputs=inputs or {}, outputs=outputs or {})
        for name in makes
    ]
    plugins = Plugins.of(**({"puppet": plugin} if plugin is not None else {}))
    return ModelSource(
        vendor="puppet",
        registry=MemoryRegistry(found),
        loader=PuppetLoader(makes),
        codec=CodecChoice(plugins, "puppet", codec, fps=fps),
        pinned=pinned,
    )


@dataclass(frozen=True)
class Declared:
    """A codec that declares and changes nothing."""

    meta: CodecMeta
    blocking = False

    def encode(self, observation: Mapping[str, Any]) -> dict[str, Any]:
        return dict(observation)

    def decode(self, chunk: Chunk, observation: Mapping[str, Any]) -> Chunk:
        return chunk


def resolved(meta: CodecMeta | None = None) -> ResolvedCodec:
    """:class:`Declared`, as a session uses it."""
    return ResolvedCodec(Declared(meta or CodecMeta()), "puppet.declared", "default")  # type: ignore[arg-type]


class PlainSerializer:
    """The translations of a frontend that has none: frames are observations, replies are tuples."""

    def read(self, frame: Any) -> tuple[Mapping[str, Any], list[str]]:
        if isinstance(frame, OffboardError):
            raise frame
        return frame, []

    def write(self, result: Any, timing: Mapping[str, float], observation: Any, warnings: list[str]) -> Any:
        return result, dict(timing)


#: What an arm of the tests is sent: an absolute pose and a grip.
ARM_OUTPUTS = {
    "target_pose": Field(shape=(7,), unit="m, unit quaternion wxyz", kind="absolute_pose"),
    "target_grip": Field(shape=(1,), unit="0 open, 1 closed", kind="grip"),
}
ARM_INPUTS = {
    "robot_state.ee_pose": Field(shape=(7,), dtype="float32", unit="m, unit quaternion wxyz"),
    "image.wrist": Field(shape=(-1, -1, 3), dtype="uint8", required=False),
    "task": Field(dtype="str", required=False),
}


def reach_up(episode: PuppetSession, inputs: Mapping[str, Any]) -> Chunk:
    """Three steps upwards from the measured pose, the grip half closed."""
    poses = np.repeat(np.asarray(inputs["robot_state.ee_pose"], np.float64)[None], 3, axis=0)
    poses[:, 2] += (0.1, 0.2, 0.3)
    return Chunk({"target_pose": poses, "target_grip": np.full((3, 1), 0.5)})


def arm(answer: Answer = reach_up, **more: Any) -> ModelSource:
    """One model called ``arm`` that reads and answers what an arm does, at 10 Hz."""
    return source({"arm": lambda: Puppet(answer)}, inputs=ARM_INPUTS, outputs=ARM_OUTPUTS, **{"fps": 10, **more})
