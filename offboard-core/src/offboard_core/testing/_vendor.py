"""What the kit has to know about a vendor, and what it makes of that."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ..catalog import ModelSource, ResolvedCodec, from_flags
from ..plugins import GROUP, Plugins
from ..types import ALONE, NO_CONTEXT, Checkpoint, Chunk, InferContext, Item, Observation, Policy
from ..workers import Isolation


class Vendor:
    """Override the attributes and fixtures that differ; ``plugin`` and ``observation`` always do.

    ``plugin``: the entry point's name. ``vendor``: the loader's full name, where it is not the plugin's.
    ``options``: the vendor's own flags. ``codec``, ``fps``: as ``--codec`` and ``--fps``; None: what the checkpoint
    or the vendor says. ``isolated``: whether its models run in workers, as with ``--isolate``: what holds for a vendor
    holds there, too.
    """

    plugin: str
    vendor: str | None = None
    options: Mapping[str, Any] = {}
    codec: str | None = None
    fps: float | None = None
    isolated: bool = False

    @pytest.fixture(scope="class")
    @classmethod
    def checkpoints_dir(cls) -> Path | None:
        """Where complete checkpoints lie; None for a vendor that needs no files."""
        return None

    @pytest.fixture
    def observation(self) -> Observation:
        """An observation that this vendor's codec can encode, under canonical names, with everything it may read."""
        raise NotImplementedError("a conformance test needs a sample observation")

    @pytest.fixture(scope="class")
    @classmethod
    def entry_point(cls) -> importlib.metadata.EntryPoint:
        """The installed plugin."""
        (found,) = importlib.metadata.entry_points(group=GROUP, name=cls.plugin)
        return found

    @pytest.fixture(scope="class")
    @classmethod
    def plugins(cls, entry_point: importlib.metadata.EntryPoint) -> Plugins:
        """Core's own plugin and this one."""
        return Plugins.discover([entry_point])

    @pytest.fixture(scope="class")
    @classmethod
    def source(cls, plugins: Plugins, checkpoints_dir: Path | None) -> ModelSource:
        """What ``offboard serve --vendor …`` would serve."""
        return from_flags(
            plugins,
            vendor=cls.vendor or cls.plugin,
            checkpoints_dir=None if checkpoints_dir is None else str(checkpoints_dir),
            codec=cls.codec,
            fps=cls.fps,
            loader_options=cls.options,
            isolation=Isolation() if cls.isolated else None,
        )

    @pytest.fixture(scope="class")
    @classmethod
    def checkpoint(cls, source: ModelSource) -> Checkpoint:
        """The one that a session without a model id gets."""
        return source.default()

    @pytest.fixture
    def resolved_codec(self, source: ModelSource, checkpoint: Checkpoint) -> ResolvedCodec:
        """The codec that serves the checkpoint."""
        return source.codec.resolve(checkpoint, {})

    @pytest.fixture(scope="class")
    @classmethod
    def policy(cls, source: ModelSource, checkpoint: Checkpoint) -> Iterator[Policy[Any]]:
        """The loaded policy, shared by the tests of a class."""
        policy = source.loader.load(checkpoint, print, ALONE)
        yield policy
        policy.close()

    @pytest.fixture
    def chunk(self, policy: Policy[Any], resolved_codec: ResolvedCodec, observation: Observation) -> Chunk:
        """What the policy answers to the sample observation, in the model's own terms."""
        session = policy.new_session(policy.params())
        chunk = session.infer(resolved_codec.encode(observation), NO_CONTEXT)
        session.close()
        assert chunk is not None, "the first observation of an episode needs a chunk"
        assert len(chunk), "a chunk of no steps means stop; give an observation at which the policy goes on"
        return chunk


def told_the_same(policy: Policy[Any]) -> InferContext:
    """What takes chance out of an answer, where the policy lets it."""
    return InferContext(seed=7) if "seed" in policy.context else NO_CONTEXT


def first_answer(policy: Policy[Any], inputs: Mapping[str, Any]) -> Chunk:
    """What a session of its own answers first."""
    session = policy.new_session(policy.params())
    [answer] = policy.infer_many([Item(session, inputs, told_the_same(policy))])
    session.close()
    assert isinstance(answer, Chunk), f"it was answered by {answer}"
    return answer


def alike(one: Chunk, other: Chunk) -> bool:
    """Whether they are the same answer, but for what the order of additions changes."""
    a, b = one.columns(), other.columns()
    return a.keys() == b.keys() and all(
        a[name].shape == b[name].shape and np.allclose(a[name], b[name], rtol=1e-4, atol=1e-5) for name in a
    )
