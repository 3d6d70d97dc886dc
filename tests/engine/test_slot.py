import asyncio

import pytest
from model_bench import run, until
from offboard_client.errors import LoadFailed
from offboard_core import ConfigurationError
from puppets import Door, Puppet
from slot_bed import becomes, bed, turns

NEVER = 3600.0


def test_the_same_model_is_shared_at_once():
    async def main():
        async with bed() as b:
            first = await b.have("x")
            want = b.want("x")
            second = await want.lease()
            assert want.news == []
            assert second.replica is first.replica
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
            assert (await want.lease()).replica.label == "y"
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
            assert later.waits, "the old model is not handed out past a robot that waits"
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
                granted.append(lease.replica.label)
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
            assert (await later.lease()).replica is x.replica, "nobody wants y any more"
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
                assert lease.replica.leases == {lease}

    run(main())


def test_a_lease_granted_to_somebody_who_just_left_is_given_back():
    async def main():
        async with bed() as b:
            want = b.want("x")
            await becomes(lambda: b.slot.loaded and b.slot.loaded.leases)
            want.task.cancel()
            await asyncio.gather(want.task, return_exceptions=True)
            if not want.task.cancelled():  # the lease had reached it before
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


def test_an_error_of_configuration_says_what_it_said():
    async def main():
        def broken():
            raise ConfigurationError("install the vendor's environment")

        async with bed() as b:
            with pytest.raises(LoadFailed, match="x could not be loaded: install the vendor's environment"):
                await b.have("x", make=broken)

    run(main())
