"""A policy that may be asked and told more than inference: controls of its own, and options that may change."""

import threading
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
from offboard_client.plugins import changeable
from offboard_core import Chunk, Codec, CodecEntry, CodecMeta, Control, hookimpl
from puppets import Puppet, PuppetSession, source


@dataclass(frozen=True)
class Tuning:
    """``mode`` is decided when a session opens."""

    gain: float = changeable(1.0)
    names: tuple[str, ...] = changeable(())
    mode: str = "fast"

    def __post_init__(self):
        if self.gain < 0:
            raise ValueError(f"gain is {self.gain}, expected 0 or more")


@dataclass(frozen=True)
class ShiftOptions:
    """``fps`` would change the handshake, and so may ``unit`` and ``whole``, which are said to be changeable."""

    offset: float = changeable(0.0)
    unit: str = changeable("rad")
    whole: bool = changeable(False)
    fps: float | None = None


@dataclass(frozen=True)
class Shift(Codec):
    options: ShiftOptions

    @property
    def meta(self):
        return CodecMeta(action_fps=self.options.fps, conventions={"unit": self.options.unit})

    def encode(self, observation):
        return dict(observation)

    def decode(self, chunk, observation):
        moved = chunk.action + self.options.offset
        return Chunk(np.round(moved) if self.options.whole else moved)

    def encode_actions(self, chunk, observation):
        return Chunk(chunk.columns()["action"] - self.options.offset)

    @property
    def one_way(self):
        return "it rounds" if self.options.whole else None


@hookimpl
def offboard_codecs():
    yield CodecEntry(name="shift", summary="Shifts.", factory=lambda o, c: Shift(o), options=ShiftOptions)


@dataclass(frozen=True, kw_only=True)
class Where:
    """``note`` has to be given."""

    note: str
    steps: int = 3


class Talker(PuppetSession):
    """Answers its gain at every step; counts what it was asked."""

    def __init__(self, policy, params):
        super().__init__(policy, params)
        self.asked = []

    def mark(self, params):
        self.asked.append(params)
        return {"note": params.note, "seen": len(self.seen), "thread": threading.current_thread().name}

    def say(self, params):
        self.asked.append(params)
        return self.policy.says(self)


CONTROLS = {
    "mark": Control(
        summary="Remembers a note.",
        run=Talker.mark,
        params=Where,
        answers={"note": "the note", "seen": "observations so far", "thread": "where it ran"},
    ),
    "say": Control(summary="Says what the test wants.", run=Talker.say, answers={"said": "anything"}),
}


class Talking(Puppet):
    """``says(episode)`` is what the control ``say`` answers."""

    controls = CONTROLS

    def __init__(self, says=lambda episode: {"said": 1}, **more):
        super().__init__(lambda episode, inputs: Chunk(np.full((1, 2), episode.params.gain)), params=Tuning, **more)
        self.says = says

    def new_session(self, params):
        self.episodes.append(Talker(self, params))
        return self.episodes[-1]


def talking(says=lambda episode: {"said": 1}, **more):
    """A policy, and the source that has it."""
    policy = Talking(says, **more)
    plugin = SimpleNamespace(offboard_codecs=offboard_codecs)
    return policy, source({"a": lambda: policy}, codec="shift", plugin=plugin)
