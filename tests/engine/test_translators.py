"""What is translated beside a model's thread, and whom it can harm."""

import asyncio
import threading
from dataclasses import replace

import numpy as np
import pytest
from model_bench import Asked, Bench, run, until
from offboard_client.errors import InferTimeout
from offboard_core import NoParams
from offboard_core.engine import ContextReader, ModelThread, Pipeline, SessionStats
from puppets import PATIENCE, Door, PlainSerializer, Puppet, resolved
from slot_bed import becomes, bed, turns


class Hangs(PlainSerializer):
    """Its translation does not return."""

    def __init__(self, door):
        self.door = door

    def read(self, frame):
        self.door.passing()
        return super().read(frame)


async def beside_a_call(made, lease, door, serializers):
    """Exchanges that come while the model is in its second call, so that what they bring is translated beside it."""
    model = lease.replica

    async def ask(serializer):
        episode = await model.executor.call(lambda: model.policy.new_session(NoParams()), PATIENCE, "an episode")
        codec = resolved(None)
        context = ContextReader(model.policy, codec)
        return Pipeline(episode, codec, lambda: serializer, SessionStats(made.stats), context)

    first, second, *pipelines = [
        await ask(serializer) for serializer in (PlainSerializer(), PlainSerializer(), *serializers)
    ]
    await Asked(model.executor, first, {"x": np.zeros(1)}, None).reply()
    busy = Asked(model.executor, second, {"x": np.zeros(1)}, None)
    await until(door.entered)
    beside = [Asked(model.executor, pipeline, {"x": np.zeros(1)}, None) for pipeline in pipelines]
    await turns()
    door.open()
    await busy.reply()
    return beside


def test_translations_that_never_return_keep_no_other_model_from_answering(monkeypatch):
    monkeypatch.setattr("offboard_core.engine.model_thread.WORTH_OVERLAPPING", 0.0)

    async def main():
        with Door() as never, Door() as in_a, Door() as in_b:
            async with bed() as made:
                a = await made.have("a", make=lambda: Puppet(doors={1: in_a}))
                await beside_a_call(made, a, in_a, [Hangs(never), Hangs(never)])
                await until(never.entered)
                made.slot.release(a)
                b = await made.have("b", make=lambda: Puppet(doors={1: in_b}))
                (asked,) = await beside_a_call(made, b, in_b, [PlainSerializer()])
                chunk, _ = await asked.reply()
                assert chunk.columns()["action"].shape == (2, 3)

    run(main())


@pytest.mark.rule("H-5", "H-8")
def test_a_model_whose_translators_are_all_stuck_is_not_handed_out_until_one_returns(monkeypatch):
    monkeypatch.setattr("offboard_core.engine.model_thread.WORTH_OVERLAPPING", 0.0)

    async def main():
        with Door() as one, Door() as other, Door() as call:
            async with bed() as made:
                held = await made.have("x", make=lambda: Puppet(doors={1: call}))
                await beside_a_call(made, held, call, [Hangs(one), Hangs(other)])
                await until(one.entered)
                await until(other.entered)
                assert made.slot.ready(), "they have not been at it for long"
                await becomes(lambda: not held.replica.executor.busy_for())  # the model's own thread
                made.slot.limits = replace(made.slot.limits, infer=0.0)
                stuck = r"^x has been stuck in calls of its codec, on every thread that translates, for \d+ s"
                assert not made.slot.ready()
                with pytest.raises(InferTimeout, match=stuck + "; if it does not return, restart the server$"):
                    await made.have("x")
                assert made.slot.status()["wedged"]
                one.open()
                await becomes(made.slot.ready)
                await made.have("x")
                assert made.loads == ["x"]
                other.open()

    run(main())


def test_who_waits_for_a_translator_is_told_so(monkeypatch):
    monkeypatch.setattr("offboard_core.engine.model_thread.WORTH_OVERLAPPING", 0.0)

    async def main():
        with Door() as one, Door() as other, Door() as call:
            async with bed() as made:
                held = await made.have("x", make=lambda: Puppet(doors={1: call}))
                serializers = [Hangs(one), Hangs(other), PlainSerializer()]
                *_, behind = await beside_a_call(made, held, call, serializers)
                await until(one.entered)
                await until(other.entered)
                await becomes(lambda: not held.replica.executor.busy_for())
                held.replica.executor.expire(0.0)
                error, _ = await behind.reply()
                assert "codecs of other sessions have kept every thread that translates for 0." in error.text
                for door in (one, other):
                    door.open()

    run(main())


def test_a_session_whose_codec_hangs_takes_one_thread_and_leaves_the_model_alone(monkeypatch):
    monkeypatch.setattr("offboard_core.engine.model_thread.WORTH_OVERLAPPING", 0.0)

    async def main():
        never, call = Door(), Door()
        async with Bench(Puppet(doors={1: call})) as bench:
            with never, call:
                sick, well = await bench.pipeline(Hangs(never)), await bench.pipeline()
                await bench.submit(well, {"x": np.zeros(1)}).reply()
                busy = bench.submit(well, {"x": np.zeros(1)})
                await until(call.entered)
                first = bench.submit(sick, {"x": np.zeros(1)})
                await until(never.entered)
                bench.thread.abandon(busy.exchange)  # the limit is for the others
                bench.thread.expire(0.0)
                second = bench.submit(sick, {"x": np.zeros(1)})
                bench.thread.expire(0.0)
                for given_up in (first, second):
                    error, _ = await given_up.reply()
                    assert "the codec puppet.declared has not returned" in error.text
                assert not bench.thread._translators.busy_for(), "one of the two is free"
                call.open()
                again = bench.submit(sick, {"x": np.zeros(1)})
                for _ in range(2):
                    chunk, _ = await bench.submit(well, {"x": np.zeros(1)}).reply()
                    assert len(chunk) == 2
                never.open()
                while not again.deliveries:
                    bench.thread.expire(PATIENCE)
                    await turns()
                chunk, _ = await again.reply()
                assert len(chunk) == 2, "and it goes on once it has returned"

    run(main())


@pytest.mark.parametrize("had", [1, 2])
def test_a_process_that_can_have_no_more_threads_keeps_none_of_a_model_that_it_did_not_get(monkeypatch, had):
    start, started = threading.Thread.start, []

    def scarce(thread):
        if len(started) == had:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    async def ask():
        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", scarce)
            ModelThread("scarce", asyncio.get_running_loop())

    with pytest.raises(RuntimeError, match="can't start new thread"):
        run(ask())
    for thread in started:
        thread.join(PATIENCE)
    assert [thread.is_alive() for thread in started] == [False] * had
