"""What a policy of one's own answers to several robots at once, where the answers lie in the same memory."""

import numpy as np
import pytest
from model_bench import Bench, run, shared, until
from offboard_core import Chunk, PolicyFailed
from puppets import Door, PlainSerializer, Puppet
from slot_bed import turns

X = {"x": np.zeros(3)}


class Written(PlainSerializer):
    def write(self, result, timing, observation, warnings):
        told = result if isinstance(result, Exception) else result.columns()["action"].tolist()
        return told, dict(timing)


class Batching(Puppet):
    """Answers each call with what ``fill`` makes of the numbers it was given."""

    def __init__(self, fill, door):
        super().__init__(max_batch_size=4, doors={0: door})
        self._fill = fill

    def infer_many(self, batch):
        super().infer_many(batch)
        return self._fill([item.inputs["x"][0] for item in batch])


async def ask_three(bench, door, serializer=None):
    """What three robots are told that share a call; each sent its own number."""
    pipelines = [await bench.pipeline(serializer and serializer()) for _ in range(4)]
    first = bench.submit(pipelines[0], {"x": np.array([9.0])})
    await until(door.entered)
    asked = [bench.submit(pipeline, {"x": np.array([float(i)])}) for i, pipeline in enumerate(pipelines[1:])]
    await turns()
    door.open()
    await first.reply()
    told = [(await one.reply())[0] for one in asked]
    assert shared(bench, pipelines)[1:] == [[1, 2, 3]]
    return told


def one_array(numbers):
    buffer = np.zeros((2, 3))
    for number in numbers:
        buffer[:] = number
    return [Chunk(buffer) for _ in numbers]


def one_chunk(numbers):
    return [Chunk({"arm": np.full((2, 3), numbers[-1])})] * len(numbers)


def overlapping_views(numbers):
    buffer = np.repeat(numbers, 2)[:, None] * np.ones(3)
    return [Chunk(buffer[i : i + 3]) for i in range(len(numbers))]


@pytest.mark.rule("R-26")
@pytest.mark.parametrize("fill", [one_array, one_chunk, overlapping_views])
def test_robots_that_are_answered_from_the_same_memory_are_told_so(fill):
    async def main():
        with Door() as door:
            async with Bench(Batching(fill, door)) as bench:
                for told in await ask_three(bench, door):
                    assert isinstance(told, PolicyFailed)
                    assert "answered several robots from the same memory" in told.text
                    assert "copy" in told.text

    run(main())


def one_apart(numbers):
    results = one_array(numbers)
    results[0] = Chunk(np.full((2, 3), numbers[0]))
    return results


def test_who_has_memory_of_his_own_is_answered():
    async def main():
        with Door() as door:
            async with Bench(Batching(one_apart, door)) as bench:
                first, *others = await ask_three(bench, door)
                assert first.columns()["action"].tolist() == [[0.0] * 3] * 2
                assert all(isinstance(told, PolicyFailed) for told in others)

    run(main())


def side_by_side(numbers):
    """Views of one array that share nothing, the robots on its second axis."""
    array = np.ones((2, 1, 3)) * np.array(numbers)[:, None]
    return [Chunk({"arm": array[:, i]}, np.arange(2.0)) for i in range(len(numbers))]


def meant_for_all(numbers):
    same = np.zeros((2, 3))
    same.flags.writeable = False
    return [Chunk(same) for _ in numbers]


@pytest.mark.parametrize("fill", [side_by_side, meant_for_all])
def test_views_that_share_nothing_and_what_nobody_can_write_into_are_answers(fill):
    async def main():
        with Door() as door:
            async with Bench(Batching(fill, door)) as bench:
                for i, told in enumerate(await ask_three(bench, door)):
                    (array,) = told.columns().values()
                    assert array.tolist() == [[float(i) if fill is side_by_side else 0.0] * 3] * 2

    run(main())


@pytest.mark.rule("R-26")
def test_the_next_batch_changes_none_of_the_answers_of_the_one_before(monkeypatch):
    monkeypatch.setattr("offboard_core.engine.model_thread.WORTH_OVERLAPPING", 0.0)
    buffer = np.zeros((4, 2, 3))

    def into_the_same_memory(numbers):
        buffer[: len(numbers)] = np.array(numbers)[:, None, None]
        return [Chunk(row) for row in buffer[: len(numbers)]]

    async def main():
        with Door() as door, Door() as writing:
            async with Bench(Batching(into_the_same_memory, door)) as bench:
                for _ in range(2):  # whoever would write replies beside the model is held up
                    bench.thread._translators.submit(writing.passing)
                pipelines = [await bench.pipeline(Written()) for _ in range(3)]
                first = bench.submit(pipelines[0], {"x": np.array([1.0])})
                await until(door.entered)
                others = [
                    bench.submit(pipeline, {"x": np.array([7.0 + i])}) for i, pipeline in enumerate(pipelines[1:])
                ]
                await turns()
                door.open()
                theirs = [(await one.reply())[0] for one in others]
                writing.open()
                assert (await first.reply())[0] == [[1.0] * 3] * 2
                assert theirs == [[[7.0] * 3] * 2, [[8.0] * 3] * 2]

    run(main())
