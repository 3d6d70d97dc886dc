import asyncio

import numpy as np
import pytest
from model_bench import Bench, run, shared, until
from offboard_core import BadObservation, Chunk, ModelLost, PolicyFailed
from puppets import Door, Puppet, count_up

X3, X4 = {"x": np.zeros(3)}, {"x": np.zeros(4)}


def test_who_waits_shares_the_next_call():
    async def main():
        with Door() as door:
            async with Bench(Puppet(max_batch_size=8, doors={0: door})) as bench:
                pipelines = await bench.pipelines(5)
                asked = [bench.submit(pipelines[0], X3)]
                await until(door.entered)
                asked += [bench.submit(pipeline, X3) for pipeline in pipelines[1:]]
                door.open()
                timings = [(await one.reply())[1]["batch"] for one in asked]
                assert shared(bench, pipelines) == [[0], [1, 2, 3, 4]]
                assert timings == [1, 4, 4, 4, 4]
                assert bench.stats.batches == {1: 1, 4: 4}

    run(main())


def test_a_call_is_never_larger_than_the_policy_allows():
    async def main():
        with Door() as door:
            async with Bench(Puppet(max_batch_size=3, doors={0: door})) as bench:
                pipelines = await bench.pipelines(6)
                asked = [bench.submit(pipelines[0], X3)]
                await until(door.entered)
                asked += [bench.submit(pipeline, X3) for pipeline in pipelines[1:]]
                door.open()
                for one in asked:
                    await one.reply()
                assert shared(bench, pipelines) == [[0], [1, 2, 3], [4, 5]]

    run(main())


def test_a_policy_that_does_not_batch_is_called_in_the_order_of_arrival():
    async def main():
        with Door() as door:
            async with Bench(Puppet(doors={0: door})) as bench:
                pipelines = await bench.pipelines(4)
                asked = [bench.submit(pipelines[0], X3)]
                await until(door.entered)
                asked += [bench.submit(pipeline, X3) for pipeline in (pipelines[2], pipelines[1], pipelines[3])]
                door.open()
                for one in asked:
                    await one.reply()
                assert shared(bench, pipelines) == [[0], [2], [1], [3]]

    run(main())


def test_only_inputs_of_one_kind_share_a_call_and_none_is_overtaken_twice():
    async def main():
        with Door() as door:
            async with Bench(Puppet(max_batch_size=8, doors={0: door})) as bench:
                pipelines = await bench.pipelines(5)
                asked = [bench.submit(pipelines[0], X3)]
                await until(door.entered)
                asked += [
                    bench.submit(pipeline, x) for pipeline, x in zip(pipelines[1:], (X3, X4, X3, X4), strict=True)
                ]
                door.open()
                for one in asked:
                    await one.reply()
                assert shared(bench, pipelines) == [[0], [1, 3], [2, 4]]

    run(main())


def test_a_call_waits_for_its_turn_behind_what_came_before():
    async def main():
        order = []

        def note(episode, inputs):
            order.append("infer")
            return count_up(episode, inputs)

        with Door() as door:
            async with Bench(Puppet(note, max_batch_size=8, doors={0: door})) as bench:
                pipelines = await bench.pipelines(3)
                asked = [bench.submit(pipelines[0], X3)]
                await until(door.entered)
                asked.append(bench.submit(pipelines[1], X3))
                call = asyncio.ensure_future(bench.call(lambda: order.append("call")))
                await asyncio.sleep(0)
                asked.append(bench.submit(pipelines[2], X3))
                door.open()
                for one in asked:
                    await one.reply()
                await call
                assert order == ["infer", "infer", "call", "infer"]
                assert shared(bench, pipelines) == [[0], [1], [2]], "a batch does not reach past a call"

    run(main())


def fail_on_bad(episode, inputs):
    if "bad" in inputs:
        raise inputs["bad"]
    return count_up(episode, inputs)


class AllOrNothing(Puppet):
    """A policy whose call fails as a whole, as a stacked tensor does."""

    def infer_many(self, batch):
        self.batches.append([item.session for item in batch])
        if len(self.batches) - 1 in self.doors:
            self.doors[len(self.batches) - 1].passing()
        for item in batch:
            if "bad" in item.inputs:
                raise item.inputs["bad"]
        return [count_up(item.session, item.inputs) for item in batch]

    def batch_key(self, item):
        return None


@pytest.mark.parametrize("make", [Puppet, AllOrNothing])
@pytest.mark.parametrize(
    ("raised", "expected"),
    [(ValueError("no"), PolicyFailed), (BadObservation("no"), BadObservation), (SystemExit(3), PolicyFailed)],
)
def test_one_bad_input_fails_one_robot(make, raised, expected):
    async def main():
        with Door() as door:
            policy = make(fail_on_bad, max_batch_size=8, doors={0: door})
            policy.batch_key = lambda item: None
            async with Bench(policy) as bench:
                pipelines = await bench.pipelines(4)
                asked = [bench.submit(pipelines[0], X3)]
                await until(door.entered)
                asked += [
                    bench.submit(pipeline, {**X3, **more})
                    for pipeline, more in zip(pipelines[1:], ({}, {"bad": raised}, {}), strict=True)
                ]
                door.open()
                results = [(await one.reply())[0] for one in asked]
                if make is AllOrNothing:
                    shared_call = [Chunk, expected, expected, expected]
                    assert [type(result) for result in results] == shared_call, "nobody knows whose input it was"
                    assert "3 robots shared the call" in results[1].text
                    assert shared(bench, pipelines) == [[0], [1, 2, 3]], (
                        "and nobody is asked twice about one observation"
                    )
                    return
                assert [type(result) for result in results] == [Chunk, Chunk, expected, Chunk]
                assert str(raised) in results[2].text
                if expected is PolicyFailed:
                    assert results[2].text.startswith(f"the policy raised {type(raised).__name__}: ")
                assert isinstance((await bench.submit(pipelines[2], X3).reply())[0], Chunk), "its session goes on"

    run(main())


def test_after_a_call_that_failed_as_a_whole_each_robot_is_asked_alone_until_it_is_answered():
    async def main():
        doors = {0: Door(), 2: Door(), 5: Door()}
        policy = AllOrNothing(fail_on_bad, max_batch_size=8, doors=doors)
        async with Bench(policy) as bench:
            pipelines = await bench.pipelines(3)
            bad = {**X3, "bad": ValueError("no")}

            async def together(number, inputs):
                asked = [bench.submit(pipelines[0], X3)]
                await until(doors[number].entered)
                asked += [bench.submit(pipeline, one) for pipeline, one in zip(pipelines[1:], inputs, strict=True)]
                doors[number].open()
                return [type((await one.reply())[0]) for one in asked]

            assert await together(0, [X3, bad]) == [Chunk, PolicyFailed, PolicyFailed]
            assert await together(2, [X3, bad]) == [Chunk, Chunk, PolicyFailed]
            assert await together(5, [X3, X3]) == [Chunk, Chunk, Chunk]
            assert shared(bench, pipelines) == [[0], [1, 2], [0], [1], [2], [0], [1], [2]]
            assert not any(pipeline.alone for pipeline in pipelines)

    run(main())


def test_a_model_that_died_is_not_asked_again():
    async def main():
        def die(episode, inputs):
            raise AssertionError("only the whole call is made")

        with Door() as door:
            policy = AllOrNothing(die, max_batch_size=8, doors={0: door})
            async with Bench(policy) as bench:
                pipelines = await bench.pipelines(3)
                asked = [bench.submit(pipelines[0], {})]
                await until(door.entered)
                asked += [bench.submit(pipeline, {"bad": ModelLost("the child is gone")}) for pipeline in pipelines[1:]]
                door.open()
                assert [type((await one.reply())[0]) for one in asked] == [Chunk, ModelLost, ModelLost]
                assert shared(bench, pipelines) == [[0], [1, 2]]

    run(main())


@pytest.mark.parametrize("failure", [ModelLost("the child is gone"), BadObservation("no state")])
def test_a_key_that_is_refused_is_told_in_the_policys_own_words(failure, caplog):
    def key(_):
        raise failure

    async def main():
        with Door() as door:
            policy = Puppet(max_batch_size=8, doors={0: door})
            policy.batch_key = key
            async with Bench(policy) as bench:
                pipelines = await bench.pipelines(3)
                alone = bench.submit(pipelines[0], {})
                await until(door.entered)
                together = [bench.submit(pipeline, {}) for pipeline in pipelines[1:]]
                door.open()
                assert isinstance((await alone.reply())[0], Chunk), "with nobody beside it, it is not asked for its key"
                for one in together:
                    result, _ = await one.reply()
                    assert (type(result), result.text) == (type(failure), failure.text)

    run(main())
    assert not caplog.records


def test_a_key_that_cannot_be_made_fails_that_robot_alone():
    async def main():
        def key(item):
            if "bad" in item.inputs:
                raise KeyError("state")
            return

        with Door() as door:
            policy = Puppet(max_batch_size=8, doors={0: door})
            policy.batch_key = key
            async with Bench(policy) as bench:
                pipelines = await bench.pipelines(4)
                asked = [bench.submit(pipelines[0], {})]
                await until(door.entered)
                asked += [
                    bench.submit(pipeline, x) for pipeline, x in zip(pipelines[1:], ({}, {"bad": 1}, {}), strict=True)
                ]
                door.open()
                assert [type((await one.reply())[0]) for one in asked] == [Chunk, Chunk, PolicyFailed, Chunk]

    run(main())
