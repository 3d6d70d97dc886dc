"""What robots bring for the inference itself, where they share a call."""

import asyncio

import numpy as np
from model_bench import Bench, run, shared, until
from offboard_core import BadObservation, Chunk
from offboard_core.types import NO_CONTEXT
from puppets import Door, Puppet

X = {"x": np.zeros(3)}


class Sampling(Puppet):
    """Answers noise; ``told``: each context that it was given, by its episode."""

    context = frozenset({"seed", "delay_steps"})

    def __init__(self, **more):
        super().__init__(max_batch_size=4, **more)
        self.told = {}

    def infer_many(self, batch):
        super().infer_many(batch)
        self.told.update((item.session, item.context) for item in batch)
        return [Chunk(np.random.default_rng(item.context.seed).normal(size=(2, 3))) for item in batch]


def ask_together(brought):
    """One robot each, behind the call of another: the results, who shared a call, and what the policy was told."""

    async def main():
        with Door() as door:
            policy = Sampling(doors={0: door})
            async with Bench(policy) as bench:
                before, *pipelines = await bench.pipelines(len(brought) + 1)
                first = bench.submit(before, X)
                await until(door.entered)
                asked = [
                    bench.submit(pipeline, {**X, **more}) for pipeline, more in zip(pipelines, brought, strict=True)
                ]
                await asyncio.sleep(0)  # they are queued on the loop's next turn
                door.open()
                await first.reply()
                results = [(await one.reply())[0] for one in asked]
                told = [policy.told.get(pipeline.session) for pipeline in pipelines]
                return results, shared(bench, [before, *pipelines])[1:], told

    return run(main())


def test_robots_that_share_a_call_have_seeds_of_their_own():
    results, calls, told = ask_together([{"offboard.seed": seed} for seed in (1, 2, 1)])
    assert calls == [[1, 2, 3]]
    assert [context.seed for context in told] == [1, 2, 1]
    one, other, same = (result.action for result in results)
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_what_a_call_has_one_of_is_what_its_robots_have_in_common():
    _, calls, _ = ask_together([{"offboard.delay_steps": steps} for steps in (1, 2, 1)])
    assert calls == [[1, 3], [2]]


def test_one_robot_that_brings_what_cannot_be_fails_alone():
    results, calls, told = ask_together([{}, {"offboard.seed": -1}, {"offboard.prefix": {}}, {}])
    assert [type(result) for result in results] == [Chunk, BadObservation, BadObservation, Chunk]
    assert calls == [[1, 4]]
    assert told == [NO_CONTEXT, None, None, NO_CONTEXT]
    assert told[0] is NO_CONTEXT, "who brings nothing costs nothing"
