"""A policy whose model is a process of its own outlives that process."""

from __future__ import annotations

import contextlib
import os
import signal
import time

from offboard_client.errors import InferTimeout, ModelLost, OffboardError, PolicyFailed

from ..catalog import ModelSource, ResolvedCodec
from ..types import ALONE, Checkpoint, Item, Observation, Session
from ._policy import children
from ._vendor import Vendor, alike, first_answer, told_the_same

#: Seconds for a process that died to be back, or to be given up: a bound for a test that has failed.
_BACK = 120.0


class ChildLaws(Vendor):
    """For a vendor whose model runs in a process that its policy begins. They kill it."""

    def test_a_process_that_dies_costs_answers_and_brings_no_wrong_ones(
        self, source: ModelSource, checkpoint: Checkpoint, resolved_codec: ResolvedCodec, observation: Observation
    ) -> None:
        """Errors that say "try again", then the same answers; or the policy is lost, and ``health`` says so."""
        inputs, others = resolved_codec.encode(observation), children()
        with contextlib.closing(source.loader.load(checkpoint, print, ALONE)) as policy:
            first = first_answer(policy, inputs)
            steady = alike(first, first_answer(policy, inputs))
            begun = children() - others
            assert begun, "no process of this one runs: these laws are for another vendor"
            end = time.monotonic() + _BACK
            for pid in map(int, begun):
                (os.killpg if os.getpgid(pid) == pid else os.kill)(pid, signal.SIGKILL)
            while begun & children():
                assert time.monotonic() < end, "what was killed has not ended"
                time.sleep(0.01)
            session: Session | None = None
            while True:
                try:
                    if session is None:  # its end may not have been noticed yet
                        session = policy.new_session(policy.params())
                    [answer] = policy.infer_many([Item(session, inputs, told_the_same(policy))])
                    if isinstance(answer, OffboardError):
                        raise answer
                    break
                except ModelLost:
                    assert policy.health().state == "failed", "a new session is given to what is lost"
                    return
                except (PolicyFailed, InferTimeout):
                    time.sleep(0.05)
                assert time.monotonic() < end, "it neither comes back nor is given up"
            assert session is not None
            session.close()
            assert answer is not None, "the first observation of an episode needs a chunk"
            if steady:  # with chance in them, and no seed, nothing can be said
                assert alike(first, answer), "it answers without its model"
