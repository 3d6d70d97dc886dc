import asyncio
import functools
import gc
import weakref

import pytest
from model_bench import run, until
from offboard_client.errors import ShuttingDown
from offboard_core.engine import ModelSpec
from puppets import PATIENCE, Door, Puppet
from slot_bed import Want, becomes, bed

NEVER = 3600.0


@pytest.mark.parametrize("failing", [False, True])
def test_unloading_frees_the_policy(failing):
    class Failing(Puppet):
        def close(self):
            super().close()
            if failing:
                raise RuntimeError("cannot close")

    async def main():
        found = []

        def load(report, place):
            policy = Failing()
            found.append(weakref.ref(policy))
            return policy

        async with bed() as b:
            lease = await Want(b.slot, ModelSpec(("test", "x"), "x", load), "a robot").lease()
            thread, begin = lease.replica.executor, lease.replica.policy.new_session
            await thread.call(functools.partial(begin, None), PATIENCE, "a call")
            b.slot.release(lease)
            del lease, begin
            await b.have("y")
            await becomes(lambda: not thread.is_alive())
            # The unloading has collected; once more, in case another collection was under way just then.
            gc.collect()
            assert found[0]() is None

    run(main())


def test_closing_an_empty_slot_ends_its_tasks():
    async def main():
        async with bed() as b:
            await b.slot.close()
            with pytest.raises(ShuttingDown):
                await b.have("x")
        assert [task.get_name() for task in asyncio.all_tasks() if "offboard" in task.get_name()] == []

    run(main())


def test_closing_tells_who_waits_and_closes_the_model():
    async def main():
        async with bed() as b:
            await b.have("x")
            want = b.want("y")
            await want.hears("waiting")
            await b.slot.close()
            with pytest.raises(ShuttingDown):
                await want.lease()
            assert b.policies["x"].closed.is_set()
            assert b.loads == ["x"]

    run(main())


def test_closing_does_not_wait_for_a_load_and_what_it_brings_later_is_closed():
    async def main():
        with Door() as door:

            def slowly():
                door.passing()
                return Puppet()

            async with bed() as b:
                want = b.want("x", make=slowly)
                await until(door.entered)
                await b.slot.close()
                with pytest.raises(ShuttingDown):
                    await want.lease()
                door.open()
                await becomes(lambda: "x" in b.policies)
                await until(b.policies["x"].closed)

    run(main())


def test_closing_does_not_wait_for_a_policy_that_hangs():
    async def main():
        with Door() as door:
            async with bed(close=0.0) as b:
                x = await b.have("x")
                call = asyncio.ensure_future(x.replica.executor.call(door.passing, None, "hanging"))
                await until(door.entered)
                await b.slot.close()
                assert not b.policies["x"].closed.is_set()
                door.open()
                await call
                await until(b.policies["x"].closed)

    run(main())


def test_draining_lets_nobody_in_and_nobody_down():
    async def main():
        async with bed() as b:
            x = await b.have("x")
            assert b.slot.ready()
            b.slot.drain()
            assert not b.slot.ready()
            with pytest.raises(ShuttingDown):
                await b.have("x")
            assert x in x.replica.leases
            assert not b.policies["x"].closed.is_set()

    run(main())
