"""A server that has lost its model, or could not load it, becomes ready again though nobody comes."""

import asyncio

import pytest
from model_bench import run_by_hand
from offboard_client.errors import LoadFailed
from offboard_core import Health
from offboard_core.engine import AGAIN
from puppets import Puppet, source
from service_bed import open_session, serving
from slot_bed import becomes, turns


class Loads:
    """Makes a policy, or raises what a test puts here; counts."""

    def __init__(self, *fails):
        self.fails, self.count, self.says = list(fails), 0, Health()

    def __call__(self):
        self.count += 1
        if self.fails:
            raise self.fails.pop(0)
        return Puppet(health=lambda: self.says)


async def later(clock, loads, count):
    """It is tried again after a while, and not before."""
    before = loads.count
    await turns()
    assert loads.count == before
    clock.move(AGAIN)
    await becomes(lambda: loads.count == count)


def test_a_model_that_is_lost_while_nobody_asks_is_loaded_anew():
    async def main(clock):
        x, y = Loads(), Loads()
        async with serving(source({"x": x, "y": y})) as service:
            service.preload(pytest.fail)
            await becomes(service.slot.ready)
            for one, label in ((x, "x"), (y, "y")):
                (await open_session(service, label)).close()
                one.says = Health("failed", "it died")
                await becomes(lambda: service.slot.loaded.lost)
                one.says = Health()
                await later(clock, one, 2)
                await becomes(service.slot.ready)
                assert service.slot.loaded.label == label, "the one that robots are about to come back for"
            clock.move(AGAIN)
            await turns()
            assert (x.count, y.count) == (2, 2)

    run_by_hand(main)


def test_one_that_cannot_be_loaded_is_tried_again_at_leisure():
    async def main(clock):
        x, y = Loads(), Loads(OSError("once"))
        async with serving(source({"x": x, "y": y})) as service:
            service.preload(pytest.fail)
            await becomes(service.slot.ready)
            with pytest.raises(LoadFailed, match="once"):
                await open_session(service, "y")
            assert not service.slot.ready()
            x.fails = [OSError("the network is down")]
            await later(clock, x, 2)
            await becomes(lambda: service.stats.loads["failed"] == 2)
            await later(clock, x, 3)
            await becomes(service.slot.ready)

    run_by_hand(main)


def test_a_default_that_can_never_be_loaded_again_ends_the_server():
    async def main(clock):
        x, told = Loads(), []
        async with serving(source({"x": x})) as service:
            service.preload(told.append)
            await becomes(service.slot.ready)
            x.says, x.fails = Health("failed", "a kernel failed"), [LoadFailed("the device is broken", permanent=True)]
            await becomes(lambda: service.slot.loaded.lost)
            await later(clock, x, 2)
            await becomes(lambda: told)
            assert told[0].text == "x could not be loaded: the device is broken"

    run_by_hand(main)


def test_nobody_is_put_out_for_it():
    async def main(clock):
        x, y = Loads(), Loads()
        async with serving(source({"x": x, "y": y})) as service:
            service.preload(pytest.fail)
            await becomes(service.slot.ready)
            held = await open_session(service, "y")
            assert x.count == 1
            waiting = asyncio.ensure_future(open_session(service, "x"))
            await becomes(lambda: service.slot.status()["waiting"])
            y.says = Health("failed", "it died")
            await becomes(lambda: service.slot.loaded.lost)
            clock.move(AGAIN)
            await turns()
            assert y.count == 1, "a robot waits for another one"
            held.close()
            await waiting
            assert (x.count, y.count) == (2, 1)

    run_by_hand(main)
