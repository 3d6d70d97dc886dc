"""Policies that say that they do not block: answered on the event loop, and only while they keep their word."""

import asyncio
import logging
import threading
import time
from dataclasses import replace
from pkgutil import resolve_name
from time import perf_counter
from types import SimpleNamespace

import numpy as np
import pytest
from model_bench import Bench, run, until
from offboard_client.errors import BadObservation, OffboardError
from offboard_client.wire import SEQ, NoImages, TakesTime, decode, encode
from offboard_core import Chunk, Codec, Policy
from offboard_core.codecs import ActionTiming, LetterboxImage, Native, StateVector
from puppets import Door, PlainSerializer, Puppet, count_up
from waits import until as until_true

X = {"x": np.zeros(3)}
HERE = "the event loop's thread"


class AtOnceSerializer(PlainSerializer):
    """Reads what it is given at once, unless ``slow``."""

    def __init__(self, slow=False):
        super().__init__()
        self.slow, self.asked_at_once = slow, 0

    def read_at_once(self, frame):
        self.asked_at_once += 1
        return None if self.slow else self.read(frame)


class Quick(Puppet):
    """Remembers on which thread each inference ran."""

    blocking = False

    def __init__(self, *args, **more):
        super().__init__(*args, **more)
        self.ran = []

    def infer_many(self, batch):
        self.ran.append(HERE if threading.get_ident() == self.loop_thread else "another")
        return super().infer_many(batch)

    def new_session(self, params):
        return super().new_session(params)


async def bed(bench, serializer=None, warm=True):
    bench.policy.loop_thread = threading.get_ident()
    pipeline = await bench.pipeline(serializer or AtOnceSerializer())
    if warm:
        await bench.submit(pipeline, X).reply()
        assert bench.policy.ran.pop() == "another"
        bench.policy.batches.clear()
    await idle(bench)
    return pipeline


async def idle(bench):
    """Until its thread waits for work: it hands out what came of a call before it ends that."""
    await asyncio.to_thread(until_true, lambda: bench.thread.busy_since is None, "it waits for work")


def test_its_first_observation_goes_to_its_thread_and_those_after_it_are_answered_on_the_loop():
    async def main():
        async with Bench(Quick()) as bench:
            pipeline = await bed(bench, warm=False)
            answers = []
            for _ in range(3):
                answers.append((await bench.submit(pipeline, X).reply())[0])
                await idle(bench)
            assert bench.policy.ran == ["another", HERE, HERE]
            # As it would be there: the episode goes on.
            assert [answer.columns()["action"][0, 0] for answer in answers] == [1.0, 2.0, 3.0]

    run(main())


def test_what_is_told_of_the_time_is_told_as_ever():
    async def main():
        async with Bench(Quick()) as bench:
            pipeline = await bed(bench)
            _, timing = await bench.submit(pipeline, X).reply()
            assert timing["batch"] == 1
            assert timing["total_ms"] >= timing["decode_ms"] + timing["codec_ms"] + timing["infer_ms"] > 0
            assert bench.stats.outcomes == {"ok": 2}

    run(main())


@pytest.mark.parametrize("blocks", ["policy", "codec", "serializer", "serializer that cannot", "an observer"])
def test_who_does_not_say_so_is_asked_on_the_models_thread(blocks):
    async def main():
        policy = Quick()
        policy.blocking = blocks == "policy"
        async with Bench(policy) as bench:
            serializer = PlainSerializer() if "cannot" in blocks else AtOnceSerializer(slow=blocks == "serializer")
            pipeline = await bed(bench, serializer)
            if blocks == "codec":
                pipeline.codec = replace(pipeline.codec, codec=Slow())
            if blocks == "an observer":
                pipeline.records = Looking()
            for _ in range(2):
                result, _ = await bench.submit(pipeline, X).reply()
                assert isinstance(result, Chunk)
            assert policy.ran == ["another"] * 2

    run(main())


@pytest.mark.parametrize("says", [True, False])
def test_a_promise_that_its_codec_does_not_share_is_told_once(says, caplog):
    """Nothing else says why who promised is no faster for it."""

    async def main():
        policy = Quick()
        policy.blocking = not says
        async with Bench(policy) as bench:
            pipeline = await bed(bench)
            pipeline.codec = replace(pipeline.codec, codec=Slow())
            for _ in range(3):
                await bench.submit(pipeline, X).reply()

    with caplog.at_level(logging.INFO):
        run(main())
    said = [each for each in caplog.messages if "codec" in each]
    assert len(said) == (1 if says else 0)
    if says:
        assert "says that it does not block, which its codec" in said[0]


class Slow(Native):
    def __init__(self):
        super().__init__(inputs={}, outputs={})

    def encode(self, observation):
        return dict(observation)


class Looking:
    def keep(self, frame):
        return None

    def delivered(self, *_):
        pass


def test_it_is_never_in_two_calls_at_once():
    async def main():
        with Door() as door:
            policy = Quick()
            async with Bench(policy) as bench:
                pipeline = await bed(bench)
                held = asyncio.ensure_future(bench.call(door.passing))
                await until(door.entered)
                # Its thread is in a call: this one waits for it, and for its turn.
                asked = bench.submit(pipeline, X)
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                assert not policy.ran
                door.open()
                await held
                assert isinstance((await asked.reply())[0], Chunk)
                assert policy.ran == ["another"]

    run(main())


def test_observations_that_came_in_one_piece_are_in_flight_together():
    async def main():
        async with Bench(Quick()) as bench:
            first, second = await bed(bench), await bench.pipeline(AtOnceSerializer())
            await idle(bench)
            asked = [bench.submit(first, X), bench.submit(second, X)]
            assert not bench.policy.ran, "the first was answered before the second was seen"
            assert bench.thread.queued == 2
            for each in asked:
                await each.reply()
            assert bench.policy.ran == [HERE] * 2
            assert bench.thread.queued == 0

    run(main())


def test_an_observation_given_up_is_not_answered():
    async def main():
        async with Bench(Quick()) as bench:
            pipeline = await bed(bench)
            asked = bench.submit(pipeline, X)
            bench.thread.abandon(asked.exchange)
            await bench.submit(await bench.pipeline(AtOnceSerializer()), X).reply()
            assert asked.deliveries == 0
            assert len(bench.policy.ran) == 1

    run(main())


@pytest.mark.parametrize(
    ("frame", "code"),
    [({**X, "offboard.deadline_ms": 0}, "deadline_exceeded"), (BadObservation("no"), "bad_observation")],
)
def test_what_is_refused_is_refused_there_as_elsewhere(frame, code):
    async def main():
        async with Bench(Quick()) as bench:
            pipeline = await bed(bench)
            result, _ = await bench.submit(pipeline, frame).reply()
            assert isinstance(result, OffboardError)
            assert result.code == code
            assert not bench.policy.ran

    run(main())


def test_a_failure_of_the_policy_is_its_answer_and_the_loop_goes_on():
    def leave(episode, inputs):
        raise SystemExit(3)

    async def main():
        policy = Quick(leave)
        async with Bench(policy) as bench:
            policy.loop_thread = threading.get_ident()
            pipeline = await bench.pipeline(AtOnceSerializer())
            for _ in range(2):
                await idle(bench)
                result, _ = await bench.submit(pipeline, X).reply()
                assert result.code == "policy_failed"
            assert policy.ran == ["another", HERE]
            policy.answer = count_up
            assert isinstance((await bench.submit(pipeline, X).reply())[0], Chunk)

    run(main())


def test_a_promise_that_is_broken_is_told_and_in_the_end_not_believed(caplog, monkeypatch):
    now = [0.0]
    monkeypatch.setattr("offboard_core.engine.at_once.perf_counter", lambda: now[0])
    monkeypatch.setattr("offboard_core.engine.at_once._spent", lambda: (now[0], 0))

    def take(seconds):
        def answer(episode, inputs):
            now[0] += seconds
            return count_up(episode, inputs)

        return answer

    async def main():
        policy = Quick(take(0.0009))
        async with Bench(policy) as bench:
            pipeline = await bed(bench)

            async def ask(seconds, times):
                policy.answer = take(seconds)
                for _ in range(times):
                    assert isinstance((await bench.submit(pipeline, X).reply())[0], Chunk)

            await ask(0.0009, 5)
            assert not caplog.records
            await ask(0.0042, 1)
            assert "took 4.2 ms for an observation" in caplog.text
            assert "up to 1 ms are expected" in caplog.text
            await ask(0.0009, 1)
            await ask(0.002, 2)
            assert len(caplog.records) == 1, "once a minute"
            await ask(0.0009, 1)
            assert set(policy.ran) == {HERE}
            await ask(0.002, 3)
            assert "it is asked on a thread of its own, as others are, until" in caplog.text
            assert "no more than 1 ms for 100 in a row there" in caplog.text
            policy.ran.clear()
            await ask(0.0, 2)
            assert policy.ran == ["another"] * 2

    with caplog.at_level(logging.WARNING):
        run(main())


class Clock:
    """Time that passes only where a policy takes it: the processor's, or else's."""

    def __init__(self, monkeypatch):
        self.now = self.worked = 0.0
        self.waits = 0
        monkeypatch.setattr("offboard_core.engine.at_once._spent", lambda: (self.worked, self.waits))
        for module in ("at_once", "exchange", "model_thread"):
            monkeypatch.setattr(f"offboard_core.engine.{module}.perf_counter", lambda: self.now)

    def take(self, seconds, worked=1.0, waits=0):
        """``worked``: of the time the share that the processor was at it."""

        def answer(episode, inputs):
            self.now += seconds
            self.worked += seconds * worked
            self.waits += waits
            return count_up(episode, inputs)

        return answer


async def ask(bench, pipeline, answer, times):
    """Where each of these was answered."""
    bench.policy.answer = answer
    bench.policy.ran.clear()
    for _ in range(times):
        assert isinstance((await bench.submit(pipeline, X).reply())[0], Chunk)
        await idle(bench)
    return bench.policy.ran


def test_who_was_late_is_believed_again_after_keeping_the_promise_on_its_thread(caplog, monkeypatch):
    """The machine may have been what took the time."""
    clock = Clock(monkeypatch)
    quick, slow = clock.take(0.0009), clock.take(0.002)

    async def main():
        async with Bench(Quick()) as bench:
            pipeline = await bed(bench)
            assert set(await ask(bench, pipeline, slow, 3)) == {HERE}
            assert set(await ask(bench, pipeline, quick, 99)) == {"another"}
            assert await ask(bench, pipeline, slow, 1) == ["another"]  # from the beginning
            assert set(await ask(bench, pipeline, quick, 100)) == {"another"}
            assert "for 100 observations in a row" in caplog.text
            # The former ones are forgotten; and the next time it is ten times as many.
            assert set(await ask(bench, pipeline, slow, 2)) == {HERE}
            assert set(await ask(bench, pipeline, quick, 3)) == {HERE}
            assert set(await ask(bench, pipeline, clock.take(0.2), 1)) == {HERE}
            assert set(await ask(bench, pipeline, quick, 999)) == {"another"}
            assert await ask(bench, pipeline, quick, 2) == ["another", HERE]
            for _ in range(9):
                bench.thread._promise._judge(0.2, asked=True)
            assert bench.thread._promise._owed == 100_000, "in the end it would never be believed again"

    with caplog.at_level(logging.INFO):
        run(main())


def test_a_machine_that_had_other_things_to_do_is_no_broken_promise(monkeypatch):
    clock = Clock(monkeypatch)

    async def main():
        async with Bench(Quick()) as bench:
            pipeline = await bed(bench)
            kept_from_it = clock.take(0.004, worked=0.2)
            assert set(await ask(bench, pipeline, kept_from_it, 20)) == {HERE}
            # That excuses nobody: the first that was late counts still.
            assert set(await ask(bench, pipeline, clock.take(0.004, worked=0.2, waits=1), 2)) == {HERE}
            assert set(await ask(bench, pipeline, kept_from_it, 2)) == {"another"}

    run(main())


@pytest.mark.parametrize(("seconds", "worked", "waits"), [(0.004, 0.3, 0), (0.004, 0.0, 1), (0.2, 0.0, 0)])
def test_who_worked_or_waited_for_too_long_is_to_blame(monkeypatch, seconds, worked, waits):
    clock = Clock(monkeypatch)

    async def main():
        async with Bench(Quick()) as bench:
            pipeline = await bed(bench)
            assert set(await ask(bench, pipeline, clock.take(0.002), 1)) == {HERE}
            late = clock.take(seconds, worked, waits)
            assert set(await ask(bench, pipeline, late, 1 if seconds > 0.1 else 2)) == {HERE}
            assert set(await ask(bench, pipeline, late, 2)) == {"another"}

    run(main())


def test_what_a_thread_has_spent_is_what_it_did():
    spent, was_kept_from_it, no_time = (
        resolve_name(f"offboard_core.engine.at_once:{name}") for name in ("_spent", "_was_kept_from_it", "NO_TIME")
    )
    before = spent()
    if before is None:
        pytest.skip("the system does not say what a thread has spent")
    while spent()[0] - before[0] <= no_time:
        pass
    assert not was_kept_from_it(before), "it worked"
    before = spent()
    time.sleep(1e-4)
    assert not was_kept_from_it(before), "it waited"


def test_those_of_one_call_count_each_and_no_further_than_was_owed():
    kept = SimpleNamespace(decode_ms=0.1, codec_ms=0.2, infer_ms=0.6)

    async def main():
        async with Bench(Quick()) as bench:
            promise = bench.thread._promise
            promise._judge(0.2, asked=True)
            promise.answered_elsewhere([kept] * 99)
            assert promise._owed == 1
            promise.answered_elsewhere([kept] * 8)
            assert promise._owed == 0

    run(main())


def test_a_policy_that_waits_is_never_asked_on_the_loop_again_however_often_it_is_asked(monkeypatch):
    clock = Clock(monkeypatch)
    monkeypatch.setattr("offboard_core.engine.at_once.REGAINED", 10)

    async def main():
        async with Bench(Quick()) as bench:
            pipeline = await bed(bench)
            assert set(await ask(bench, pipeline, clock.take(0.05), 3)) == {HERE}
            assert set(await ask(bench, pipeline, clock.take(0.05), 50)) == {"another"}
            # Nor one that mostly does not.
            for _ in range(10):
                assert set(await ask(bench, pipeline, clock.take(0.0), 9)) == {"another"}
                assert set(await ask(bench, pipeline, clock.take(0.002), 1)) == {"another"}

    run(main())


def test_a_codec_that_waits_where_it_makes_commands_of_an_answer_is_not_believed_again_either(monkeypatch):
    clock = Clock(monkeypatch)

    class Waits(Native):
        blocking = False

        def decode(self, chunk, observation):
            clock.now += 0.002
            clock.waits += 1
            return chunk

    async def main():
        async with Bench(Quick()) as bench:
            pipeline = await bed(bench)
            pipeline.codec = replace(pipeline.codec, codec=Waits(inputs={}, outputs={}))
            assert set(await ask(bench, pipeline, count_up, 3)) == {HERE}
            assert set(await ask(bench, pipeline, count_up, 150)) == {"another"}

    run(main())


@pytest.mark.parametrize("frame", [{**X, "offboard.deadline_ms": -1}, BadObservation("no")])
def test_refusals_between_them_do_not_excuse_who_is_late_each_time(monkeypatch, frame):
    clock = Clock(monkeypatch)

    async def main():
        async with Bench(Quick()) as bench:
            pipeline = await bed(bench)
            for _ in range(3):
                assert await ask(bench, pipeline, clock.take(0.002), 1) == [HERE]
                assert isinstance((await bench.submit(pipeline, frame).reply())[0], OffboardError)
                await idle(bench)
            assert await ask(bench, pipeline, clock.take(0.0), 1) == ["another"]

    run(main())


def test_of_those_that_wait_on_the_loop_for_a_policy_that_hangs_only_the_first_is_asked_there(monkeypatch):
    clock = Clock(monkeypatch)

    async def main():
        async with Bench(Quick()) as bench:
            pipelines = [await bed(bench), *[await bench.pipeline(AtOnceSerializer()) for _ in range(3)]]
            await idle(bench)
            bench.policy.answer = clock.take(0.2)
            for asked in [bench.submit(pipeline, X) for pipeline in pipelines]:
                assert isinstance((await asked.reply())[0], Chunk)
            assert bench.policy.ran == [HERE, "another", "another", "another"]

    run(main())


def test_one_that_hangs_on_the_loop_is_told_of_while_it_lasts(caplog, monkeypatch):
    monkeypatch.setattr("offboard_core.engine.at_once.HANGS", 0.02)
    monkeypatch.setattr("offboard_core.engine.at_once.TOO_LONG", 0.01)

    async def main():
        policy = Quick()
        async with Bench(policy) as bench:
            pipeline = await bed(bench)
            with Door() as door:
                policy.doors = {0: door}
                threading.Thread(target=open_when_told, args=(door, caplog), daemon=True).start()
                assert isinstance((await bench.submit(pipeline, X).reply())[0], Chunk)
            # It took longer than the longest: that was the last time.
            assert isinstance((await bench.submit(pipeline, X).reply())[0], Chunk)
            assert policy.ran == [HERE, "another"]

    with caplog.at_level(logging.WARNING):
        run(main())
    assert "this server answers nobody" in caplog.text


def open_when_told(door, caplog):
    try:
        until_true(lambda: "answers nobody" in caplog.text, "the log says so")
    finally:
        door.open()


def test_an_answer_that_is_later_than_the_limit_is_not_sent_to_whoever_waited_for_it(monkeypatch):
    """Nobody can give it up meanwhile, as is done where the model has its own thread."""
    held_up = [0.0]
    monkeypatch.setattr("offboard_core.engine.at_once.perf_counter", lambda: perf_counter() + held_up[0])

    def answer(episode, inputs):
        held_up[0] = 7200.0
        return count_up(episode, inputs)

    async def main():
        policy = Quick()
        async with Bench(policy, limit=3600.0) as bench:
            first, second = await bed(bench), await bench.pipeline(AtOnceSerializer())
            await idle(bench)
            policy.answer = answer
            for asked in [bench.submit(first, {**X, SEQ: 7}), bench.submit(second, X)]:
                error, timing = await asked.reply()
                assert error.code == "timeout", "an action of two hours ago"
                assert "did not answer within 3600 s" in error.text
                assert "held up for 7200" in error.text
                assert timing["total_ms"] > 0
            assert policy.ran == [HERE], "who is told of a timeout anyway is not asked for"
            assert bench.stats.outcomes == {"ok": 1, "timeout": 2}
            held_up[0] = 0.0
            policy.answer = count_up
            assert isinstance((await bench.submit(first, X).reply())[0], Chunk)

    run(main())


def test_its_watcher_ends_with_the_model():
    async def main():
        async with Bench(Quick()) as bench:
            pipeline = await bed(bench)
            await bench.submit(pipeline, X).reply()
            watcher = bench.thread._promise._watcher
            assert watcher.is_alive()
        await asyncio.to_thread(watcher.join, 30)
        assert not watcher.is_alive()

    run(main())


def test_a_composition_blocks_where_a_part_of_it_does():
    state = StateVector(name="state", parts={"grip": 1})
    image = LetterboxImage(name="image", source="image.wrist", size=(8, 8))
    assert not (ActionTiming(10.0) | state).blocking
    assert not (state & ActionTiming(10.0)).blocking
    assert image.blocking
    assert (ActionTiming(10.0) | (state & image)).blocking


def test_who_writes_a_half_anew_promises_anew():
    class Named(StateVector):
        name = "another"

    class Encodes(StateVector):
        def encode(self, observation):
            return {}

    class Says(Encodes):
        blocking = False

        def encode(self, observation):
            return {}

    class Mine(Codec):
        def encode(self, observation):
            return {}

    class Anew(Quick):
        def infer_many(self, batch):
            return []

    assert not Named.blocking
    assert Encodes.blocking
    assert not Says.blocking
    assert Mine.blocking
    assert Policy.blocking
    assert not Quick.blocking
    assert Anew.blocking


def test_no_image_is_decoded_for_who_must_not_wait():
    frame = encode({"image.wrist": {b"__jpeg__": True, b"frames": [b"\xff\xd8\xff"]}})
    with pytest.raises(TakesTime):
        decode(frame, budget=NoImages())
