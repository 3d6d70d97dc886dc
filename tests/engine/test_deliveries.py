"""Each exchange is answered, whatever happens to those beside it and before it."""

import numpy as np
import pytest
from model_bench import Bench, run, shared, until
from offboard_core import Chunk, InferTimeout, InvalidAction
from puppets import PATIENCE, Door, PlainSerializer, Puppet
from slot_bed import turns

X = {"x": np.zeros(3)}


class Mute(PlainSerializer):
    """Can write nothing, not even an error."""

    def write(self, result, timing, observation, warnings):
        raise LookupError("no form")


@pytest.mark.parametrize("overlap", [False, True])
def test_a_wire_that_can_write_nothing_costs_nobody_else_an_answer(overlap):
    async def main():
        with Door() as door:
            async with Bench(Puppet(max_batch_size=8, doors={0: door})) as bench:
                good, mute, other = await bench.pipeline(), await bench.pipeline(Mute()), await bench.pipeline()
                asked = [bench.submit(good, X)]
                await until(door.entered)
                silent = bench.submit(mute, X)
                asked.append(bench.submit(other, X))
                if overlap:
                    bench.thread._last_infer = 1.0
                door.open()
                assert [type((await one.reply())[0]) for one in asked] == [Chunk, Chunk]
                reply, error = await silent._future
                assert reply is None, "there is no frame"
                assert isinstance(error, InvalidAction)
                assert bench.thread.queued == 0

    run(main())


def test_who_is_given_up_on_a_wire_that_can_write_nothing_is_answered_all_the_same():
    async def main():
        with Door() as door:
            async with Bench(Puppet(doors={0: door})) as bench:
                mute, other = await bench.pipeline(Mute()), await bench.pipeline()
                silent, late = bench.submit(mute, X), bench.submit(other, X)
                await until(door.entered)
                bench.thread.expire(0.0)
                for asked in (silent, late):  # the late one was never read, so that its serializer knows nothing of it
                    reply, error = await asked._future
                    assert reply is None
                    assert isinstance(error, InferTimeout)
                door.open()

    run(main())


def test_a_session_that_cannot_take_its_reply_costs_nobody_else_an_answer():
    async def main():
        with Door() as door:
            async with Bench(Puppet(max_batch_size=8, doors={0: door})) as bench:
                pipelines = await bench.pipelines(3)
                first = bench.submit(pipelines[0], X)
                await until(door.entered)
                broken, good = bench.submit(pipelines[1], X), bench.submit(pipelines[2], X)

                def refuse(reply, error):
                    raise ZeroDivisionError("the session is upside down")

                broken.exchange.deliver = refuse
                door.open()
                assert isinstance((await first.reply())[0], Chunk)
                assert isinstance((await good.reply())[0], Chunk)

    run(main())


class Noting(PlainSerializer):
    """Notes what is read and written; stops where a door is."""

    def __init__(self, door=None):
        self.door, self.notes = door, []

    def read(self, frame):
        self.notes.append("read")
        if self.door is not None:
            door, self.door = self.door, None
            door.passing()
        return super().read(frame)

    def write(self, result, timing, observation, warnings):
        self.notes.append(type(result).__name__)
        return super().write(result, timing, observation, warnings)


def test_what_was_given_up_writes_on_no_wire_any_more():
    async def main():
        with Door() as door:
            async with Bench(Puppet(doors={0: door})) as bench:
                serializer = Noting()
                pipeline = await bench.pipeline(serializer)
                late = bench.submit(pipeline, X)
                await until(door.entered)
                bench.thread.expire(0.0)
                assert isinstance((await late.reply())[0], InferTimeout)
                door.open()
                assert isinstance((await bench.submit(pipeline, X).reply())[0], Chunk)
                assert serializer.notes == ["read", "InferTimeout", "read", "Chunk"]

    run(main())


def test_who_comes_after_one_that_is_still_being_read_has_a_wire_of_its_own():
    async def main():
        with Door() as door:
            serializers = [Noting(door), Noting()]
            made = list(serializers)
            async with Bench(Puppet()) as bench:
                pipeline = await bench.pipeline()
                pipeline.renew_serializer(lambda: made.pop(0))
                late = bench.submit(pipeline, X)
                await until(door.entered)
                bench.thread.expire(0.0)
                reply, error = await late._future
                assert reply is None, "its serializer is in use"
                assert isinstance(error, InferTimeout)
                after = bench.submit(pipeline, X)
                door.open()
                while not after.deliveries:  # it begins when the thread looks whether the former one has returned
                    bench.thread.expire(PATIENCE)
                    await turns()
                assert isinstance((await after.reply())[0], Chunk)
                assert [serializer.notes for serializer in serializers] == [["read"], ["read", "Chunk"]]
                assert shared(bench, [pipeline]) == [[0]], "what was given up is not inferred"

    run(main())
