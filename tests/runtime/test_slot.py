import asyncio
import functools
import gc
import weakref
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import pytest
from model_bench import run, until
from offboard_client.errors import Idle, InferTimeout, LoadFailed, ModelLost, ShuttingDown
from offboard_core import ConfigurationError
from offboard_core.runtime.lease import Limits, Recipe
from offboard_core.runtime.slot import Slot
from offboard_core.runtime.stats import ServerStats
from puppets import PATIENCE, Door, Puppet

NEVER = 3600.0


class Bed:
    """A slot and everybody who wants something of it."""

    def __init__(self, **limits):
        self.translators = ThreadPoolExecutor(1)
        self.stats = ServerStats()
        self.slot = Slot(Limits(**{"status_every": 0.01, **limits}), self.translators, self.stats)
        self.loads = []
        self.policies = {}

    def recipe(self, name, make=Puppet):
        def load(report):
            self.loads.append(name)
            report(f"reading {name}")
            self.policies[name] = policy = make()
            return policy

        return Recipe(("test", name), name, load)

    def want(self, name, holder="somebody", make=Puppet):
        return Want(self.slot, self.recipe(name, make), holder)

    async def have(self, name, holder="somebody", make=Puppet):
        return await self.want(name, holder, make).lease()


class Want:
    """Somebody who asks for a lease. ``news``: what he was told meanwhile."""

    def __init__(self, slot, recipe, holder):
        self.news = []
        self.told = asyncio.Event()
        self.task = asyncio.ensure_future(slot.acquire(recipe, holder, self._hear))

    async def _hear(self, phase, message):
        self.news.append((phase, message))
        self.told.set()

    async def hears(self, phase, text=""):
        while True:
            self.told.clear()
            if any(p == phase and text in m for p, m in self.news):
                return
            await asyncio.wait_for(self.told.wait(), PATIENCE)

    async def lease(self):
        return await asyncio.wait_for(asyncio.shield(self.task), PATIENCE)

    @property
    def waits(self):
        return not self.task.done()

    async def leaves(self):
        self.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await self.task


@asynccontextmanager
async def bed(**limits):
    made = Bed(**limits)
    try:
        yield made
    finally:
        await made.slot.close()
        made.translators.shutdown()


async def becomes(true):
    """Until it holds, one turn of the event loop after the other."""
    while not true():  # noqa: ASYNC110
        await asyncio.sleep(0)


async def turns(count=20):
    """Let everything that can go on go on."""
    for _ in range(count):
        await asyncio.sleep(0)


def test_the_same_model_is_shared_at_once():
    async def main():
        async with bed() as b:
            first = await b.have("x")
            want = b.want("x")
            second = await want.lease()
            assert want.news == []
            assert second.loaded is first.loaded
            assert b.loads == ["x"]
            assert b.stats.loads == {"ok": 1}
            assert b.slot.ready()

    run(main())


@pytest.mark.rule("S-6", "C-1")
def test_another_model_waits_until_the_leases_end():
    async def main():
        async with bed() as b:
            x, also_x = await b.have("x", "arm one"), await b.have("x", "arm two")
            want = b.want("y")
            await want.hears("waiting", "x is in use by arm one and 1 more, for 0 s; y is loaded when they end")
            b.slot.release(also_x)
            await turns()
            assert want.waits
            assert not b.policies["x"].closed.is_set()
            b.slot.release(x)
            assert (await want.lease()).loaded.label == "y"
            assert b.policies["x"].closed.is_set(), "the old one is closed before the new one is loaded"
            assert b.loads == ["x", "y"]

    run(main())


def test_whoever_asks_for_the_old_model_queues_behind_the_switch():
    async def main():
        async with bed() as b:
            x = await b.have("x", "one")
            switcher, later = b.want("y", "two"), b.want("x", "three")
            await switcher.hears("waiting")
            await later.hears("waiting")
            b.slot.release(x)
            y = await switcher.lease()
            await turns()
            assert later.waits, "the old model is not handed out past somebody who waits"
            b.slot.release(y)
            await later.lease()
            assert b.loads == ["x", "y", "x"]

    run(main())


def test_leases_are_granted_in_the_order_of_asking():
    async def main():
        async with bed() as b:
            held = await b.have("x")
            wants = [b.want(name) for name in ("y", "y", "z", "y")]
            granted = []
            b.slot.release(held)
            for want in wants:
                lease = await want.lease()
                granted.append(lease.loaded.label)
                b.slot.release(lease)
            assert granted == ["y", "y", "z", "y"]
            assert b.loads == ["x", "y", "z", "y"]

    run(main())


def test_who_leaves_the_queue_is_forgotten():
    async def main():
        async with bed() as b:
            x = await b.have("x")
            gone, later = b.want("y"), b.want("x")
            await gone.hears("waiting")
            assert b.slot.status()["waiting"] == ["y", "x"]
            await gone.leaves()
            assert (await later.lease()).loaded is x.loaded, "nobody wants y any more"
            assert b.loads == ["x"]
            assert b.slot.status()["waiting"] == []

    run(main())


def test_who_leaves_while_loading_leaves_the_model_to_the_next():
    async def main():
        with Door() as door:

            def slowly():
                door.passing()
                return Puppet()

            async with bed() as b:
                gone = b.want("x", make=slowly)
                await gone.hears("loading", "loading x: reading x")
                await until(door.entered)
                await gone.leaves()
                other = b.want("x")
                door.open()
                lease = await other.lease()
                assert b.loads == ["x"]
                assert lease.loaded.leases == {lease}

    run(main())


def test_a_lease_granted_to_somebody_who_just_left_is_given_back():
    async def main():
        async with bed() as b:
            want = b.want("x")
            await becomes(lambda: b.slot.loaded and b.slot.loaded.leases)
            want.task.cancel()
            await asyncio.gather(want.task, return_exceptions=True)
            if not want.task.cancelled():  # the lease had reached him before
                b.slot.release(want.task.result())
            assert b.slot.loaded.leases == set()

    run(main())


@pytest.mark.rule("S-9")
@pytest.mark.parametrize(
    ("raised", "says"),
    [(LoadFailed("no weights"), "no weights"), (KeyError("w"), "KeyError: 'w'"), (SystemExit(2), "SystemExit: 2")],
)
def test_a_load_that_fails_leaves_the_slot_empty_and_the_next_one_works(raised, says):
    async def main():
        def broken():
            raise raised

        async with bed() as b:
            before = await b.have("x")
            b.slot.release(before)
            with pytest.raises(LoadFailed, match=f"y could not be loaded: {says}"):
                await b.have("y", make=broken)
            assert b.slot.loaded is None
            assert not b.slot.ready()
            assert b.stats.loads == {"ok": 1, "failed": 1}
            await b.have("x")
            assert b.slot.ready()

    run(main())


def test_a_load_that_hangs_is_given_up_and_what_it_brings_later_is_closed():
    async def main():
        with Door() as door:

            def hanging():
                door.passing()
                return Puppet()

            async with bed(load=0.0) as b:
                with pytest.raises(LoadFailed, match=r"x could not be loaded: .* did not return within 0 s"):
                    await b.have("x", make=hanging)
                await until(door.entered)
                with pytest.raises(LoadFailed, match="x is still stuck in a call and holds its memory; restart"):
                    await b.have("y")
                door.open()
                await becomes(lambda: "x" in b.policies)
                await until(b.policies["x"].closed)

    run(main())


@pytest.mark.rule("S-7")
def test_whoever_waits_is_told_how_it_stands_again_and_again():
    async def main():
        with Door() as door:

            def slowly():
                door.passing()
                return Puppet()

            async with bed() as b:
                ours, other = b.want("x", make=slowly), b.want("y")
                for _ in range(3):
                    ours.news.clear()
                    other.news.clear()
                    await ours.hears("loading", "loading x: reading x")
                    await other.hears("waiting", "y comes after: loading x: reading x")
                assert b.slot.status()["loading"]["progress"] == "reading x"
                door.open()
                b.slot.release(await ours.lease())
                await other.lease()

    run(main())


@pytest.mark.rule("C-4")
def test_an_idle_lease_yields_only_when_somebody_waits():
    async def main():
        async with bed(idle=0.0) as b:
            x = await b.have("x")
            evicted = []

            def evict(error):
                evicted.append(error)
                b.slot.release(x)

            x.evict = evict
            await b.have("x")
            await turns()
            assert evicted == [], "nobody waits for another model"
            b.slot.release(next(lease for lease in x.loaded.leases if lease is not x))
            await b.have("y")
            assert [type(error) for error in evicted] == [Idle]

    run(main())


@pytest.mark.rule("C-1", "C-4")
def test_a_lease_in_use_does_not_yield():
    async def main():
        async with bed(idle=NEVER) as b:
            x = await b.have("x")
            x.evict = pytest.fail
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
            b.slot.linger(x, lambda: pytest.fail("nobody takes the hour that this would need"))
            want = b.want("y")
            await want.hears("waiting")
            assert b.slot.reclaim(x)
            assert not b.slot.reclaim(x), "once"
            await turns()
            assert want.waits
            b.slot.release(x)
            await want.lease()

    run(main())


@pytest.mark.rule("C-2")
def test_a_lease_that_nobody_takes_back_ends():
    async def main():
        async with bed(linger=0.0) as b:
            x = await b.have("x")
            b.slot.linger(x, lambda: b.slot.release(x))
            assert (await b.have("y")).loaded.label == "y"
            assert not b.slot.reclaim(x)

    run(main())


def test_a_lost_model_is_told_to_all_and_loaded_anew():
    async def main():
        async with bed() as b:
            leases = [await b.have("x"), await b.have("x")]
            told = []
            for lease in leases:
                lease.evict = lambda error, lease=lease: (told.append(error), b.slot.release(lease))
            lost = ModelLost("the child is gone")
            b.slot.lost(leases[0].loaded, lost)
            b.slot.lost(leases[0].loaded, ModelLost("again"))
            assert told == [lost, lost]
            assert not b.slot.ready()
            again = await b.have("x")
            assert again.loaded is not leases[0].loaded
            assert b.loads == ["x", "x"]
            assert b.slot.ready()

    run(main())


def test_a_stuck_policy_is_not_handed_out_until_it_returns():
    async def main():
        with Door() as door:
            async with bed(infer=0.0, close=PATIENCE) as b:
                x = await b.have("x")
                call = asyncio.ensure_future(x.loaded.thread.call(door.passing, None, "hanging"))
                await until(door.entered)
                assert b.slot.wedged()
                assert not b.slot.ready()
                with pytest.raises(InferTimeout, match="x has been stuck in one call"):
                    await b.have("x")
                door.open()
                await call
                await until(_idle(x.loaded.thread))
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
                call = asyncio.ensure_future(x.loaded.thread.call(door.passing, None, "hanging"))
                await until(door.entered)
                b.slot.release(x)
                with pytest.raises(LoadFailed, match="x is still stuck in a call and holds its memory"):
                    await b.have("y")
                assert b.loads == ["x"]
                door.open()
                await call
                await until(b.policies["x"].closed)
                assert await asyncio.to_thread(x.loaded.thread.join, PATIENCE)
                await b.have("y")

    run(main())


@pytest.mark.parametrize("failing", [False, True])
def test_unloading_frees_the_policy(failing):
    class Failing(Puppet):
        def close(self):
            super().close()
            if failing:
                raise RuntimeError("cannot close")

    async def main():
        found = []

        def load(report):
            policy = Failing()
            found.append(weakref.ref(policy))
            return policy

        async with bed() as b:
            lease = await Want(b.slot, Recipe(("test", "x"), "x", load), "somebody").lease()
            thread, begin = lease.loaded.thread, lease.loaded.policy.new_session
            await thread.call(functools.partial(begin, None), PATIENCE, "a call")
            b.slot.release(lease)
            del lease, begin
            await b.have("y")
            assert await asyncio.to_thread(thread.join, PATIENCE)
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
                call = asyncio.ensure_future(x.loaded.thread.call(door.passing, None, "hanging"))
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
            assert x in x.loaded.leases
            assert not b.policies["x"].closed.is_set()

    run(main())


def test_an_error_of_configuration_says_what_it_said():
    async def main():
        def broken():
            raise ConfigurationError("install the vendor's environment")

        async with bed() as b:
            with pytest.raises(LoadFailed, match="x could not be loaded: install the vendor's environment"):
                await b.have("x", make=broken)

    run(main())
