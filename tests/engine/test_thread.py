import asyncio
import threading
from time import perf_counter

import numpy as np
import pytest
from model_bench import Bench, run, shared, until
from offboard_client.errors import BadMessage, DeadlineExceeded, Internal
from offboard_core import BadObservation, Chunk, CodecMeta, Field, InferTimeout, InvalidAction, ModelLost, PolicyFailed
from puppets import Door, PlainSerializer, Puppet, count_up, reached
from puppets import until as until_it_is

X3, X4 = {"x": np.zeros(3)}, {"x": np.zeros(4)}


def test_one_thread_makes_every_call():
    async def main():
        policy = Puppet()
        async with Bench(policy) as bench:
            pipelines = await bench.pipelines(3)
            for pipeline in pipelines:
                await bench.submit(pipeline, X3).reply()
        assert len(policy.threads) == 1
        assert policy.threads != {threading.get_ident()}

    run(main())


def test_a_reply_has_the_chunk_and_every_stage_of_its_time():
    async def main():
        async with Bench(Puppet()) as bench:
            (pipeline,) = await bench.pipelines(1)
            result, timing = await bench.submit(pipeline, X3).reply()
            assert isinstance(result, Chunk)
            stages = {"decode_ms", "codec_ms", "queue_ms", "infer_ms", "total_ms", "prev_encode_ms", "batch"}
            assert timing.keys() == stages
            assert all(value >= 0 for value in timing.values())
            assert timing["total_ms"] >= timing["infer_ms"]
            assert timing["batch"] == 1
            assert bench.stats.outcomes == {"ok": 1}

    run(main())


@pytest.mark.parametrize("answer", ["text", 3, [1, 2], {"action": 1}])
def test_an_answer_of_another_type_is_the_policys_failure(answer):
    async def main():
        async with Bench(Puppet(lambda episode, inputs: answer)) as bench:
            (pipeline,) = await bench.pipelines(1)
            result, _ = await bench.submit(pipeline, X3).reply()
            assert isinstance(result, PolicyFailed)
            assert type(answer).__name__ in result.text

    run(main())


def test_fewer_results_than_inputs_are_the_policys_failure():
    async def main():
        policy = Puppet()
        policy.infer_many = lambda batch: []
        async with Bench(policy) as bench:
            (pipeline,) = await bench.pipelines(1)
            result, _ = await bench.submit(pipeline, X3).reply()
            assert isinstance(result, PolicyFailed)
            assert "0 results to 1 items" in result.text

    run(main())


@pytest.mark.rule("L-14")
def test_what_is_late_is_answered_without_reaching_the_model():
    async def main():
        with Door() as door:
            async with Bench(Puppet(doors={0: door})) as bench:
                pipelines = await bench.pipelines(3)
                first = bench.submit(pipelines[0], X3)
                await until(door.entered)
                late = bench.submit(pipelines[1], {**X3, "offboard.deadline_ms": 0})
                in_time = bench.submit(pipelines[2], {**X3, "offboard.deadline_ms": 1e9})
                door.open()
                assert isinstance((await late.reply())[0], DeadlineExceeded)
                assert isinstance((await first.reply())[0], Chunk)
                assert isinstance((await in_time.reply())[0], Chunk)
                assert shared(bench, pipelines) == [[0], [2]]

    run(main())


@pytest.mark.rule("L-14")
def test_the_deadline_counts_from_the_arrival_and_not_from_when_the_session_was_free():
    async def main():
        async with Bench(Puppet()) as bench:
            (pipeline,) = await bench.pipelines(1)
            waited = bench.submit(pipeline, {**X3, "offboard.deadline_ms": 1000}, arrived=perf_counter() - 60)
            assert isinstance((await waited.reply())[0], DeadlineExceeded)
            assert bench.policy.batches == []

    run(main())


def test_what_nobody_waits_for_is_skipped():
    async def main():
        with Door() as door:
            async with Bench(Puppet(doors={0: door})) as bench:
                pipelines = await bench.pipelines(3)
                running = bench.submit(pipelines[0], X3)
                await until(door.entered)
                queued, last = bench.submit(pipelines[1], X3), bench.submit(pipelines[2], X3)
                bench.thread.abandon(running.exchange)
                bench.thread.abandon(queued.exchange)
                door.open()
                await last.reply()
                assert (running.deliveries, queued.deliveries) == (0, 0)
                assert shared(bench, pipelines) == [[0], [2]]
                assert bench.thread.queued == 0
                assert bench.stats.outcomes == {"ok": 1}

    run(main())


def test_a_hanging_policy_is_answered_for_and_its_late_answer_is_thrown_away():
    async def main():
        with Door() as door:
            async with Bench(Puppet(doors={0: door})) as bench:
                pipelines = await bench.pipelines(2)
                asked = [bench.submit(pipeline, X3) for pipeline in pipelines]
                await until(door.entered)
                bench.thread.expire(3600.0)
                assert bench.thread.queued == 2, "nobody has waited for an hour"
                assert bench.thread.busy_for() > 0
                bench.thread.expire(0.0)
                for one in asked:
                    result, _ = await one.reply()
                    assert isinstance(result, InferTimeout)
                    assert "--infer-timeout" in result.text
                door.open()
                result, _ = await bench.submit(pipelines[0], X3).reply()
                assert isinstance(result, Chunk), "it works again once it has returned"
                assert [one.deliveries for one in asked] == [1, 1]
                assert bench.stats.outcomes == {"timeout": 2, "ok": 1}
                assert shared(bench, pipelines) == [[0], [0]], "who was given up in the queue is not inferred"
            assert bench.thread.busy_for() == 0

    run(main())


class Failing(PlainSerializer):
    def __init__(self, on_read=None, on_write=None):
        self._on_read, self._on_write = on_read, on_write

    def read(self, frame):
        if self._on_read is not None:
            raise self._on_read
        return super().read(frame)

    def write(self, result, timing, observation, warnings):
        if self._on_write is not None and isinstance(result, Chunk):
            raise self._on_write
        return super().write(result, timing, observation, warnings)


@pytest.mark.rule("L-13")
def test_whose_answer_is_there_and_too_late_is_told_so_by_whoever_knows_its_number():
    """Its observation is gone: the frame of a serializer would have no number, which ends a session (L-20)."""

    async def main():
        async with Bench(Puppet()) as bench:
            (pipeline,) = await bench.pipelines(1)
            asked = bench.submit(pipeline, X3)
            await asyncio.sleep(0)  # from here on nothing is told
            until_it_is(lambda: asked.exchange.reply is not None, "answered")
            bench.thread.expire(0.0)
            result, timing = await asked.reply()
            assert (type(result), timing) == (InferTimeout, {})
            await bench.call(lambda: None)
            assert asked.deliveries == 1

    run(main())


@pytest.mark.parametrize(
    ("serializer", "expected"),
    [
        (Failing(on_read=BadMessage("no")), BadMessage),
        (Failing(on_read=ZeroDivisionError("no")), Internal),
        (Failing(on_write=BadMessage("no")), BadMessage),
        (Failing(on_write=IndexError("no")), InvalidAction),
    ],
)
def test_a_translation_that_fails_is_answered_and_the_batch_goes_on(serializer, expected):
    async def main():
        with Door() as door:
            async with Bench(Puppet(max_batch_size=8, doors={0: door})) as bench:
                good, bad, other = await bench.pipeline(), await bench.pipeline(serializer), await bench.pipeline()
                asked = [bench.submit(good, X3)]
                await until(door.entered)
                asked += [bench.submit(bad, X3), bench.submit(other, X3)]
                door.open()
                assert [type((await one.reply())[0]) for one in asked] == [Chunk, expected, Chunk]

    run(main())


def test_checks_stand_before_and_behind_the_model():
    async def main():
        meta = CodecMeta(observation={"x": Field(shape=(3,))}, action={"action": Field(shape=(3,))})
        wide = Puppet(lambda episode, inputs: Chunk(np.zeros((2, 4))))
        async with Bench(wide) as bench:
            pipeline = await bench.pipeline(meta=meta)
            assert isinstance((await bench.submit(pipeline, X4).reply())[0], BadObservation)
            assert wide.batches == []
            assert isinstance((await bench.submit(pipeline, X3).reply())[0], InvalidAction)

    run(main())


def test_an_exchange_is_translated_beside_an_inference_that_takes_long():
    async def main():
        read = threading.Event()

        class Noting(PlainSerializer):
            def read(self, frame):
                read.set()
                return super().read(frame)

        def slow(episode, inputs):
            end = perf_counter() + 0.002
            while perf_counter() < end:
                pass
            return count_up(episode, inputs)

        with Door() as door:
            async with Bench(Puppet(slow, doors={1: door})) as bench:
                first, second = await bench.pipeline(), await bench.pipeline(Noting())
                await bench.submit(first, X3).reply()
                running = bench.submit(first, X3)
                await until(door.entered)
                beside = bench.submit(second, X3)
                reached(read)
                assert not any(one.deliveries for one in (running, beside))
                door.open()
                assert isinstance((await beside.reply())[0], Chunk)

    run(main())


@pytest.mark.parametrize("raised", [ValueError("no"), SystemExit("no")])
def test_what_a_call_raises_is_the_policys_failure(raised):
    async def main():
        def fail():
            raise raised

        async with Bench(Puppet()) as bench:
            with pytest.raises(PolicyFailed, match="no"):
                await bench.call(fail)

            def refuse():
                raise ModelLost("gone")

            with pytest.raises(ModelLost, match="gone"):
                await bench.call(refuse)
            assert await bench.call(lambda: 5) == 5

    run(main())


def test_a_call_that_does_not_return_is_not_waited_for():
    async def main():
        done = threading.Event()
        with Door() as door:
            async with Bench(Puppet()) as bench:

                def hang():
                    door.passing()
                    done.set()

                with pytest.raises(InferTimeout, match="trying did not return within 0 s"):
                    await bench.thread.call(hang, 0.0, "trying")
                await until(door.entered)
                door.open()
                await until(done)
                assert await bench.call(lambda: 5) == 5

    run(main())
