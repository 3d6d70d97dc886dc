import asyncio
from dataclasses import replace

import pytest
from model_bench import run, until
from offboard_client.errors import Idle, InferTimeout, LoadFailed, ModelLost
from puppets import PATIENCE, Door
from slot_bed import becomes, bed, turns

NEVER = 3600.0


@pytest.mark.rule("C-4")
def test_an_idle_lease_yields_only_when_somebody_waits():
    async def main():
        async with bed(idle=0.0) as b:
            x = await b.have("x")
            evicted = []

            def evict(error):
                evicted.append(error)
                b.slot.release(x)

            x.on_evict(evict)
            await b.have("x")
            await turns()
            assert evicted == [], "nobody waits for another model"
            b.slot.release(next(lease for lease in x.replica.leases if lease is not x))
            await b.have("y")
            assert [type(error) for error in evicted] == [Idle]

    run(main())


@pytest.mark.rule("C-1", "C-4")
def test_a_lease_in_use_does_not_yield():
    async def main():
        async with bed(idle=NEVER) as b:
            x = await b.have("x")
            x.on_evict(pytest.fail)
            want = b.want("y")
            await want.hears("waiting")
            await turns()
            assert want.waits
            b.slot.release(x)
            await want.lease()

    run(main())


@pytest.mark.rule("C-2", "C-3")
def test_a_lingering_lease_holds_its_model_and_can_be_taken_back():
    async def main():
        async with bed(linger=NEVER) as b:
            x = await b.have("x")
            b.slot.linger(x, lambda: pytest.fail("nobody waits, and nobody takes the hour that this would need"))
            await b.have("x")
            assert b.slot.reclaim(x)
            assert not b.slot.reclaim(x), "once"
            want = b.want("y")
            await want.hears("waiting")
            await turns()
            assert want.waits

    run(main())


@pytest.mark.rule("C-2")
def test_a_lease_that_nobody_takes_back_ends():
    async def main():
        async with bed(linger=0.0) as b:
            x = await b.have("x")
            b.slot.linger(x, lambda: b.slot.release(x))
            assert (await b.have("y")).replica.label == "y"
            assert not b.slot.reclaim(x)

    run(main())


def test_a_lost_model_is_told_to_all_and_loaded_anew():
    async def main():
        async with bed() as b:
            leases = [await b.have("x"), await b.have("x")]
            told = []
            for lease in leases:
                lease.on_evict(lambda error, lease=lease: (told.append(error), b.slot.release(lease)))
            lost = ModelLost("the child is gone")
            b.slot.lost(leases[0].replica, lost)
            b.slot.lost(leases[0].replica, ModelLost("again"))
            assert told == [lost, lost]
            assert not b.slot.ready()
            again = await b.have("x")
            assert again.replica is not leases[0].replica
            assert b.loads == ["x", "x"]
            assert b.slot.ready()

    run(main())


def test_a_stuck_policy_is_not_handed_out_until_it_returns():
    async def main():
        with Door() as door:
            async with bed(close=PATIENCE) as b:
                x = await b.have("x")
                call = asyncio.ensure_future(x.replica.executor.call(door.passing, None, "hanging"))
                await until(door.entered)
                b.slot.limits = replace(b.slot.limits, infer=0.0)
                assert b.slot.wedged()
                assert not b.slot.ready()
                with pytest.raises(InferTimeout, match="x has been stuck in one call"):
                    await b.have("x")
                door.open()
                await call
                await until(_idle(x.replica.executor))
                assert b.slot.ready()
                await b.have("x")

    run(main())


class _idle:
    """Waits, like an Event, until the thread is between two calls."""

    def __init__(self, thread):
        self._thread = thread

    def wait(self, timeout):
        while self._thread.busy_for():
            pass
        return True


def test_a_stuck_policy_is_left_behind_and_nothing_is_loaded_beside_it():
    async def main():
        with Door() as door:
            async with bed(close=0.0) as b:
                x = await b.have("x")
                call = asyncio.ensure_future(x.replica.executor.call(door.passing, None, "hanging"))
                await until(door.entered)
                b.slot.release(x)
                with pytest.raises(LoadFailed, match="x was given up, but its last call has not returned yet"):
                    await b.have("y")
                assert b.loads == ["x"]
                door.open()
                await call
                await until(b.policies["x"].closed)
                await becomes(lambda: not x.replica.executor.is_alive())
                await b.have("y")

    run(main())
