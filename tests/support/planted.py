"""Vendors that break one law of the kit, and what runs a law on them."""

import contextlib
import inspect
from types import SimpleNamespace

import numpy as np
from offboard_core import (
    BadObservation,
    Checkpoint,
    CheckpointLoader,
    Chunk,
    Codec,
    CodecEntry,
    CodecMeta,
    Field,
    InferenceServer,
    NoParams,
    Policy,
    Session,
    hookimpl,
)
from offboard_core.catalog import CodecChoice, ModelSource, ResolvedCodec
from offboard_core.checkpoints import MemoryRegistry
from offboard_core.plugins import Plugins
from robots import Robot, connect_to

OBSERVATION = {"robot_state.q": np.arange(3.0), "task": "wave"}


class Good(Codec):
    """Doubles the joints; what its subclasses get wrong, this one does right."""

    meta = CodecMeta(
        observation={"robot_state.q": Field(shape=(3,)), "task": Field(dtype="str", required=False)},
        action={"target_joints": Field(shape=(3,), kind="absolute_joints")},
    )

    def encode(self, observation):
        if "robot_state.q" not in observation:
            raise BadObservation("the observation lacks robot_state.q")
        return {"state": observation["robot_state.q"] * 2, "text": observation.get("task", "")}

    def decode(self, chunk, observation):
        return chunk.replace(action={"target_joints": chunk.action / 2})

    def encode_actions(self, chunk, observation):
        return chunk.replace(action=chunk.columns()["target_joints"] * 2)


class Steady(Session):
    def infer(self, inputs, context):
        return Chunk(inputs["state"][None])


class Model(Policy):
    def new_session(self, params):
        return Steady()


def check(laws, law, **given):
    """Call a law as pytest would, with these fixtures."""
    law(laws, **{name: given[name] for name in inspect.signature(law).parameters if name in given})


def resolved(codec):
    return ResolvedCodec(codec(), "tested", "default")


def served(policy, codec=lambda options: Good(), options=NoParams):
    """A source of this policy, which takes the Placement if it has a parameter, and of this codec."""

    class Loader(CheckpointLoader):
        def load(self, checkpoint, report, place):
            return policy(place) if inspect.signature(policy).parameters else policy()

    @hookimpl
    def offboard_codecs():
        yield CodecEntry(name="good", summary="…", factory=lambda made, checkpoint: codec(made), options=options)

    return ModelSource(
        vendor="tested",
        registry=MemoryRegistry([Checkpoint(id="only")]),
        loader=Loader(),
        codec=CodecChoice(Plugins.of(tested=SimpleNamespace(offboard_codecs=offboard_codecs)), "tested", "good"),
    )


@contextlib.contextmanager
def serving_it(source):
    """Where it is served."""
    with InferenceServer({"tested": source}, port=0) as server:
        yield f"ws://{server.host}:{server.port}/api/v1/session?dialect=offboard"


@contextlib.contextmanager
def seen_over(url):
    """What the laws that are seen over a socket are given."""
    with connect_to(url) as first, connect_to(url) as second:
        robot = Robot(second)
        meta = Robot(first).opened()["meta"]
        robot.opened()
        yield {"url": url, "robot": robot, "meta": meta}
