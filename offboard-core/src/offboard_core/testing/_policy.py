"""A policy serves sessions that do not know of each other, and lets go of everything."""

from __future__ import annotations

import contextlib
import json
import statistics
import threading
import time
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from ..catalog import ModelSource, ResolvedCodec
from ..process import collect
from ..types import (
    ALONE,
    NO_CONTEXT,
    Array,
    Checkpoint,
    Chunk,
    Health,
    InferContext,
    Item,
    Observation,
    Placement,
    Policy,
    Session,
)
from ._vendor import Vendor, alike, first_answer

#: Seconds: far more than what is known takes to be told on a busy machine, and less than asking another process.
_AT_ONCE = 0.001
#: Seconds in which a thread that was told to end has ended: a bound for a test that has failed.
_PATIENCE = 30.0


class PolicyLaws(Vendor):
    """What the server relies on when it calls the policy from the model's thread."""

    def test_a_policy_answers_chunks(
        self, chunk: Chunk, resolved_codec: ResolvedCodec, observation: Observation
    ) -> None:
        """The sample observation gets a chunk that its own codec can decode."""
        assert isinstance(chunk, Chunk)
        assert 0 < len(resolved_codec.decode(chunk, observation)) <= len(chunk)

    def test_one_result_for_each_session_of_a_batch(
        self, policy: Policy[Any], resolved_codec: ResolvedCodec, observation: Observation
    ) -> None:
        """Up to ``max_batch_size`` sessions share a call, and each is answered."""
        sessions = [policy.new_session(policy.params()) for _ in range(min(3, max(1, policy.max_batch_size)))]
        items = _one_call(policy, [Item(session, resolved_codec.encode(observation)) for session in sessions])
        results = policy.infer_many(items)
        assert [type(result) for result in results] == [Chunk] * len(items)
        for session in sessions:
            session.close()

    def test_one_bad_input_of_a_batch_fails_one_robot(
        self, policy: Policy[Any], resolved_codec: ResolvedCodec, observation: Observation
    ) -> None:
        """A session that cannot be answered is an error among the results, and the others have their chunks."""
        good, bad = policy.new_session(policy.params()), policy.new_session(policy.params())
        items: list[Item[Session]] = [Item(bad, {}), Item(good, resolved_codec.encode(observation))]
        share = policy.max_batch_size > 1 and policy.batch_key(items[0]) == policy.batch_key(items[1])
        results = [
            result for batch in ([items] if share else [items[:1], items[1:]]) for result in policy.infer_many(batch)
        ]
        assert len(results) == 2
        assert isinstance(results[1], Chunk)
        good.close()
        bad.close()

    def test_an_episode_starts_anew_after_reset(
        self, policy: Policy[Any], resolved_codec: ResolvedCodec, observation: Observation
    ) -> None:
        """``reset`` may come at any time, and the next observation is answered like the first one."""
        session = policy.new_session(policy.params())
        session.reset()
        first = session.infer(resolved_codec.encode(observation), NO_CONTEXT)
        session.reset()
        again = session.infer(resolved_codec.encode(observation), NO_CONTEXT)
        session.close()
        assert first is not None
        assert again is not None
        assert {n: c.shape for n, c in first.columns().items()} == {n: c.shape for n, c in again.columns().items()}

    def test_it_takes_what_its_context_names(
        self, policy: Policy[Any], resolved_codec: ResolvedCodec, chunk: Chunk, observation: Observation
    ) -> None:
        """Each alone and all together: what is not played yet, a delay, a seed, earlier moments. It changes none."""
        inputs, told, prefix = resolved_codec.encode(observation), dict[str, Any](), dict[str, Array]()
        if "prefix" in policy.context and resolved_codec.codec.one_way is None:
            actions = resolved_codec.decode(chunk, observation)
            prefix = resolved_codec.encode_actions(actions, observation).columns()
            told["prefix"] = Chunk(prefix["action"]) if prefix.keys() == {"action"} else Chunk(prefix)
        kept = {name: column.copy() for name, column in prefix.items()}
        if "delay_steps" in policy.context:
            told["delay_steps"] = min(1, 1 if policy.max_delay_steps is None else policy.max_delay_steps)
        if "seed" in policy.context:
            told["seed"] = 7
        if "history" in policy.context:
            told["history"] = tuple(inputs for _ in policy.history_sec or policy.history_steps)
        for context in (InferContext(**told), *(InferContext(**{name: value}) for name, value in told.items())):
            session = policy.new_session(policy.params())
            [answer] = policy.infer_many([Item(session, inputs, context)])
            assert isinstance(answer, Chunk), f"{context} was answered by {answer}"
            session.close()
        assert all(np.array_equal(prefix[name], column) for name, column in kept.items())

    def test_a_seed_is_all_that_chance_has_in_an_answer(
        self, policy: Policy[Any], resolved_codec: ResolvedCodec, observation: Observation
    ) -> None:
        """One seed gives one answer, alone or beside others with another; for a policy that takes seeds."""
        if "seed" not in policy.context:
            return
        inputs = resolved_codec.encode(observation)
        answers: list[Any] = []
        for seeds in ([7], [7], [7, 8][: policy.max_batch_size]):
            items = [Item(policy.new_session(policy.params()), inputs, InferContext(seed=seed)) for seed in seeds]
            answers.append(policy.infer_many(_one_call(policy, items))[0])
            for item in items:
                item.session.close()
        first, *others = answers
        assert isinstance(first, Chunk)
        for other in others:
            assert isinstance(other, Chunk)
            for name, column in first.columns().items():
                np.testing.assert_allclose(other.columns()[name], column, rtol=1e-4, atol=1e-5, err_msg=name)

    def test_its_facts_are_plain_and_steady(self, policy: Policy[Any]) -> None:
        """``meta`` goes into the handshake, which must be JSON and equal on every connection."""
        before = json.dumps(dict(policy.meta), sort_keys=True)
        session = policy.new_session(policy.params())
        session.close()
        assert json.dumps(dict(policy.meta), sort_keys=True) == before

    def test_its_health_is_told_at_once_from_any_thread(
        self, policy: Policy[Any], resolved_codec: ResolvedCodec, observation: Observation
    ) -> None:
        """A policy that was loaded is ready, and says so while it is in a call: the server asks on its event loop."""
        session = policy.new_session(policy.params())
        heard: list[Health] = []
        asked = [
            threading.Thread(target=lambda: heard.extend(policy.health() for _ in range(100)), daemon=True)
            for _ in range(4)
        ]
        for thread in asked:
            thread.start()
        session.infer(resolved_codec.encode(observation), NO_CONTEXT)
        for thread in asked:
            thread.join(_PATIENCE)
        session.close()
        assert not [thread for thread in asked if thread.is_alive()], "asked by another thread it does not answer"
        # Not one comparison of all: pytest would look for hours for the best way to show how two such lists differ.
        assert len(heard) == 400
        assert not [health for health in heard if health != Health()][:1]
        took: list[float] = []
        for _ in range(100):
            start = time.perf_counter()
            policy.health()
            took.append(time.perf_counter() - start)
        assert statistics.median(took) < _AT_ONCE, "it is asked on the event loop: tell what is known already"

    def test_replicas_answer_alike_and_end_alone(
        self, source: ModelSource, checkpoint: Checkpoint, resolved_codec: ResolvedCodec, observation: Observation
    ) -> None:
        """A session is pinned to any of them; unless ``max_replicas`` is 1, where a second is one too many."""
        if source.loader.max_replicas == 1:
            return
        inputs = resolved_codec.encode(observation)
        one, two = (source.loader.load(checkpoint, print, Placement(i, 2)) for i in range(2))
        with contextlib.closing(two):
            with contextlib.closing(one):
                assert one is not two, "one policy twice would be called by two threads at once: max_replicas is 1"
                first = first_answer(one, inputs)
                if alike(first, first_answer(one, inputs)):  # with chance in them, and no seed, nothing can be said
                    assert alike(first, first_answer(two, inputs)), "the replicas answer differently"
            first_answer(two, inputs)

    def test_a_closed_policy_is_gone(
        self, source: ModelSource, checkpoint: Checkpoint, resolved_codec: ResolvedCodec, observation: Observation
    ) -> None:
        """After ``close`` nothing holds the policy, or its memory would stay when models are switched; nothing runs."""
        threads, others = set(threading.enumerate()), children()
        policy = source.loader.load(checkpoint, print, ALONE)
        session = policy.new_session(policy.params())
        session.infer(resolved_codec.encode(observation), NO_CONTEXT)
        session.close()
        policy.close()
        gone = weakref.ref(policy)
        del policy, session
        collect()
        assert gone() is None
        left = [thread for thread in threading.enumerate() if thread not in threads]
        for thread in left:
            thread.join(_PATIENCE)
        assert not [thread.name for thread in left if thread.is_alive()], "a thread of it runs on"
        assert not children() - others, "a process of it runs on"


def _one_call(policy: Policy[Any], items: list[Item[Session]]) -> list[Item[Session]]:
    """Those that the server would ask for in one call with the first of them."""
    return [item for item in items if policy.batch_key(item) == policy.batch_key(items[0])]


def children() -> set[str]:
    """The processes that this one has begun and that have not ended; none where the system does not tell."""
    return {pid for told in Path("/proc/self/task").glob("*/children") for pid in _begun(told) if _runs(pid)}


def _begun(told: Path) -> list[str]:
    """The processes of one thread; it may end meanwhile, and then another has them."""
    try:
        return told.read_text().split()
    except OSError:
        return []


def _runs(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
