"""A vendor for tests of the command line: numbered folders, options of its own, a codec with a map."""

TOY = '''
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from offboard_core import (
    Checkpoint, CheckpointLoader, Chunk, Codec, CodecEntry, CodecMeta, Field, LoaderEntry, ModelRegistry, Policy,
    RegistryEntry, Session, hookimpl,
)
from offboard_core.checkpoints import numbered_folders


@dataclass(frozen=True)
class ToyOptions:
    gain: float = 1.0
    """What the answer is multiplied with."""
    loud: bool = False
    assets: Path | None = None

    def __post_init__(self):
        if self.gain < 0:
            raise ValueError(f"gain is {self.gain}, expected 0 or more")


@dataclass(frozen=True)
class ShiftOptions:
    fps: float | None = None
    offset: float = 0.0
    map: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Shift(Codec):
    options: ShiftOptions

    @property
    def meta(self):
        return CodecMeta(
            observation={"robot_state.q": Field(shape=(2,), dtype="float32", unit="rad")},
            action={"target_joints": Field(shape=(2,), unit="rad", kind="absolute_joints")},
            action_fps=self.options.fps,
        )

    def encode(self, observation):
        return {self.options.map.get(name, name): value for name, value in observation.items()}

    def decode(self, chunk, observation):
        return Chunk({"target_joints": chunk.action + self.options.offset})


class Steady(Session):
    def __init__(self, gain):
        self.gain = gain

    def infer(self, inputs, context):
        return Chunk(np.full((3, 2), self.gain) + inputs.get("state", inputs.get("robot_state.q")))


class Toy(Policy):
    def __init__(self, options):
        self.options = options
        at_home = options.assets and options.assets.relative_to(Path.home())
        self.meta = {"loud": options.loud, "assets": at_home and str(at_home)}

    def new_session(self, params):
        return Steady(self.options.gain)


class ToyLoader(CheckpointLoader):
    def __init__(self, options):
        self.options = options

    def load(self, checkpoint, report, place):
        return Toy(self.options)


def problem(path):
    return None if (path / "toy.bin").exists() else "toy.bin is missing"


class ToyRuns(ModelRegistry):
    def __init__(self, place):
        self.place = Path(place)

    def checkpoints(self):
        found = numbered_folders(self.place, problem, expected="toy.bin")
        return [Checkpoint(id=path.name, location=str(path)) for _, path in found]


@hookimpl
def offboard_checkpoint_loaders():
    yield LoaderEntry(
        name="toy", summary="A toy.", factory=ToyLoader, options=ToyOptions, default_codec="shift", registry="runs",
        recognises=lambda place: any(place.glob("*/toy.bin")),
    )


@hookimpl
def offboard_codecs():
    yield CodecEntry(name="shift", summary="Shifts.", factory=lambda o, c: Shift(o), options=ShiftOptions)


@hookimpl
def offboard_model_registries():
    yield RegistryEntry(name="runs", summary="Numbered folders.", factory=ToyRuns)
'''


def write_runs(place, *steps):
    """A training run with these complete checkpoints."""
    for step in steps:
        (place / step).mkdir(parents=True)
        (place / step / "toy.bin").touch()
    return place
