"""A vendor whose policy does on request what policies do in a worker: answer, remember, declare, and end in every way.

``inputs["do"]`` says what. Its options say how it loads.
"""

import ctypes
import importlib
import os
import signal
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from offboard_client.plugins import changeable
from offboard_core import (
    Checkpoint,
    CheckpointLoader,
    Chunk,
    Control,
    Health,
    InvalidAction,
    LoaderEntry,
    LoadFailed,
    ModelLost,
    Policy,
    Progress,
    Session,
    hookimpl,
)
from offboard_core.plugins import LOADER, Plugins
from offboard_core.workers import Isolation, WorkerLoader, recipe_of


@dataclass(frozen=True)
class PupilOptions:
    load: str = "well"
    """What the load does; a file that it names is waited for."""
    declares: str = ""
    """What it declares beside the rest."""
    keys: bool = False
    sick: Path | None = None
    """A file whose content is the policy's health, once it is there."""
    megabytes: int = 0
    steps: bool = False
    """Whether its history is told in steps."""
    closed: Path | None = None
    """A file that its close makes."""
    forgets: bool = False
    """Whether its sessions remember nothing."""


@dataclass(frozen=True)
class PupilParams:
    speed: float = changeable(0.4)
    mode: Literal["slow", "fast"] = "slow"
    gains: tuple[float, ...] = (1.0, 2.0)
    seat: tuple[int, str] | None = None
    names: tuple[str, ...] = ()
    tries: int | bool = 1

    def __post_init__(self):
        if self.speed > 1:
            raise ValueError(f"speed is {self.speed}, expected at most 1")


@dataclass(frozen=True)
class Mark:
    where: float
    loud: bool = False


@dataclass(frozen=True)
class Import:
    name: str


class PupilSession(Session):
    def __init__(self, policy, params):
        self.policy, self.params = policy, params
        self.steps = 0
        self.kept = None

    def infer(self, inputs, context):
        self.steps += 1
        return getattr(self, inputs["do"])(inputs, context)

    def reset(self):
        self.steps = 0

    # -- answers ---------------------------------------------------------------------------------------------
    def echo(self, inputs, context):
        return Chunk(inputs["state"])

    def count(self, inputs, context):
        return Chunk(np.full((1, 1), self.steps, float), np.array([0.25]))

    def speed(self, inputs, context):
        return Chunk({"target_grip": np.full((2, 1), self.params.speed, np.float32)})

    def true(self, inputs, context):
        return Chunk(np.array([[self.params.tries is True]]))

    def told(self, inputs, context):
        """What came beside the inputs, as numbers."""
        prefix = np.zeros((1, 1)) if context.prefix is None else context.prefix.columns()["action"]
        moments = sum(float(moment["state"].sum()) for moment in context.history)
        return Chunk(np.array([[prefix.sum(), context.delay_steps, context.seed or -1, moments]]))

    def types(self, inputs, context):
        return Chunk(np.frombuffer(repr({k: _typed(v) for k, v in inputs.items()}).encode(), np.uint8)[:, None])

    def gives_up(self, inputs, context):
        """What was compiled fails, and the model answers."""
        self.policy.meta = {
            **self.policy.meta,
            "compiled": {"used": False, "how": "by hand", "problems": ["it failed"]},
        }
        return Chunk(np.zeros((1, 1)))

    def nothing(self, inputs, context):
        return None

    def stop(self, inputs, context):
        return Chunk(np.empty((0, 2)))

    def pid(self, inputs, context):
        return Chunk(np.array([[os.getpid()]], np.int64))

    def keep(self, inputs, context):
        """The state of the last time: what it has kept is no copy."""
        before, self.kept = self.kept, inputs["state"]
        return Chunk(np.zeros((1, 1)) if before is None else before)

    def writes(self, inputs, context):
        inputs["state"][0] = 0

    # -- what is no answer -----------------------------------------------------------------------------------
    def text(self, inputs, context):
        return "forward"

    def objects(self, inputs, context):
        return Chunk(np.array([[object()]]))

    def complex(self, inputs, context):
        return Chunk(np.zeros((1, 1), complex))

    def dimensions(self, inputs, context):
        return Chunk(np.zeros((1,) * 40))

    def unnamed(self, inputs, context):
        return Chunk({1: np.zeros((1, 1))})

    def raises(self, inputs, context):
        raise ValueError("the hand is not there")

    def leaves(self, inputs, context):
        raise SystemExit(3)

    def refuses(self, inputs, context):
        raise InvalidAction("that would hurt")

    def lost(self, inputs, context):
        raise ModelLost("the GPU has fallen off the bus")

    # -- ends ------------------------------------------------------------------------------------------------
    def kill(self, inputs, context):
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(600)

    def segfault(self, inputs, context):
        ctypes.string_at(0)

    def exits(self, inputs, context):
        os._exit(0)

    def forks(self, inputs, context):
        """What it leaves has all that it had, and has gone where no signal to its group finds it."""
        if os.fork() == 0:
            os.setsid()
            time.sleep(600)
        os._exit(0)

    def hangs(self, inputs, context):
        time.sleep(600)

    def sleeps(self, inputs, context):
        """Stopped, as by a debugger: nothing of it runs, and it holds every lock."""
        os.kill(os.getpid(), signal.SIGSTOP)
        time.sleep(600)


class ForgetfulSession(PupilSession):
    reset = Session.reset


def _typed(value):
    if isinstance(value, np.ndarray):
        return f"{value.dtype.str}{value.shape}"
    return f"{type(value).__name__} {value!r}"


class Pupil(Policy):
    max_batch_size = 4
    max_sessions = 9
    params = PupilParams
    context = frozenset({"prefix", "delay_steps", "seed", "history"})
    max_delay_steps = 3
    history_sec = (-0.2, -0.1)
    meta = {"chunk_length": 2, "nested": {"gain": 1.5, "list": [1, 2]}}

    def __init__(self, options):
        self.options = options
        if options.steps:
            self.history_sec, self.history_steps, self.history_kept = (), (-2, -1), True
        self.memory = np.zeros((1, 2))
        self.ballast = np.ones(options.megabytes << 20, np.uint8)
        self.calls = 0
        if options.declares:
            self.meta = {"name": np.str_("a"), "odd": {1, 2} if options.declares == "a set" else 1}
        if options.load == "compiled":
            compiled = {"used": True, "how": "by hand", "speedup": float(os.getpid()), "problems": []}
            self.meta = {**self.meta, "compiled": compiled}
        self.controls = {
            "mark": Control(
                summary="Marks a place.", run=self.mark, params=Mark, answers={"marked": "how often", "of": "whose"}
            ),
            "import": Control(
                summary="Imports it.", run=self.imports, params=Import, answers={"where": "its file, or why it is not"}
            ),
            "see": Control(summary="What it sees.", run=self.see, answers={"variables": "their names", "path": "…"}),
        }

    def new_session(self, params):
        return (ForgetfulSession if self.options.forgets else PupilSession)(self, params)

    def infer_many(self, batch):
        self.calls += 1
        if any(item.inputs.get("do") == "calls" for item in batch):
            return [Chunk(np.array([[self.calls, len(batch)]])) for _ in batch]
        if any(item.inputs.get("do") == "shared" for item in batch):
            return [Chunk(self.memory) for _ in batch]
        return super().infer_many(batch)

    def health(self):
        try:
            return Health(*self.options.sick.read_text().split(":", 1))
        except (AttributeError, OSError):
            return Health()

    def close(self):
        if self.options.closed is not None:
            self.options.closed.touch()

    def mark(self, session, params):
        session.steps += 100 if params.loud else 1
        return {"marked": session.steps, "of": {"where": params.where}}

    def imports(self, session, params):
        try:
            module = importlib.import_module(params.name)
        except ImportError as error:
            return {"where": str(error)}
        return {"where": module.__file__}

    def see(self, session, params):
        import sys

        return {"variables": " ".join(sorted(os.environ)), "path": " ".join(sys.path)}


class PupilWithKeys(Pupil):
    def batch_key(self, item):
        return item.inputs["state"].shape, item.inputs.get("task")


class PupilLoader(CheckpointLoader):
    def __init__(self, options):
        self.options = options

    def load(self, checkpoint, report, place):
        how = self.options.load
        report("reading")
        report(Progress("fetching weights", 5, 10))
        if how == "fails":
            raise LoadFailed("the weights are another model's: take the right ones", permanent=True)
        if how == "lacks":
            import no_such_library  # noqa: F401
        if how == "leaves":
            raise SystemExit(4)
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "nothing":
            return None
        if how == "stops":
            os.kill(os.getpid(), signal.SIGSTOP)
        if how == "hangs":
            time.sleep(600)
        if how.startswith("waits:"):
            Path(how[6:]).touch()
            threading.Event().wait(600)
        return (PupilWithKeys if self.options.keys else Pupil)(self.options)


@hookimpl
def offboard_checkpoint_loaders():
    yield LoaderEntry(name="pupil", summary="Does what it is told.", factory=PupilLoader, options=PupilOptions)


CHECKPOINT = Checkpoint(id="pupil")


def loader(options=None, **isolation):
    """``WorkerLoader`` of this vendor."""
    import worker_vendor

    offer = Plugins.of(pupil=worker_vendor).get(LOADER, "pupil")
    options = options or worker_vendor.PupilOptions()
    return WorkerLoader(offer.make(options), recipe_of(offer, options), Isolation(**isolation))
