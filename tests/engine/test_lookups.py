"""A place that never answers holds up nobody but those who want something of it."""

import asyncio
import threading

import pytest
from model_bench import run
from offboard_client.errors import InferTimeout, LoadFailed
from offboard_core.catalog import AT_ONCE, Lookups
from puppets import PATIENCE, Door, Puppet, source
from service_bed import Growing, growing, open_session, serving
from slot_bed import becomes, turns


class Hanging(Growing):
    """Lists until the test shuts its door; counts those who stand before it."""

    def __init__(self, door, *ids):
        super().__init__(*ids)
        self.door = None
        self.asked = threading.Semaphore(0)
        self._door = door

    def shut(self):
        self.door = self._door

    def checkpoints(self):
        if self.door is not None:
            self.asked.release()
            self.door.passing()
        return super().checkpoints()


def test_listings_that_hang_do_not_hold_up_the_model_that_is_loaded():
    async def main():
        with Door() as door:
            registry = Hanging(door, "000100", "000200")
            async with serving(growing(registry)) as service:
                await open_session(service, "000200")
                registry.shut()
                hung = [asyncio.ensure_future(open_session(service, "000100")) for _ in range(2 * AT_ONCE)]
                await asyncio.to_thread(registry.asked.acquire)
                for model_id in ("000200", None):
                    session = await asyncio.wait_for(open_session(service, model_id), PATIENCE)
                    assert session.meta["checkpoint_id"] == "000200"
                assert (await open_session(service, "000200", ("codec.fps", "5"))).meta["action_fps"] == 5
                for one in hung:
                    one.cancel()
                await asyncio.gather(*hung, return_exceptions=True)

    run(main())


def test_a_source_that_hangs_harms_no_other():
    async def main():
        with Door() as door:
            registry = Hanging(door, "1")
            async with serving(growing(registry), source({"a": Puppet, "b": Puppet})) as service:
                registry.shut()
                hung = [asyncio.ensure_future(open_session(service, "s0/1")) for _ in range(2 * AT_ONCE)]
                await asyncio.to_thread(registry.asked.acquire)
                assert (await open_session(service, "s1/b")).meta["checkpoint_id"] == "s1/b"
                for one in hung:
                    one.cancel()
                await asyncio.gather(*hung, return_exceptions=True)

    run(main())


def test_a_place_is_asked_a_few_questions_at_a_time_and_all_are_answered():
    async def main():
        most, under_way, lock = 0, 0, threading.Lock()

        def question():
            nonlocal most, under_way
            with lock:
                under_way += 1
                most = max(most, under_way)
            with lock:
                under_way -= 1
            return 1

        one = Lookups("a")
        assert await asyncio.gather(*(one.ask(question) for _ in range(50))) == [1] * 50
        assert most <= AT_ONCE

    run(main())


def test_who_asks_a_place_that_has_not_answered_is_told_at_once_until_it_does(monkeypatch):
    monkeypatch.setattr("offboard_core.catalog.lookups.PATIENCE", 0.01)

    async def main():
        with Door() as door:
            one = Lookups("act")
            silent = "the place where the models of act lie did not answer within"
            for _ in range(AT_ONCE):
                with pytest.raises(InferTimeout, match=silent):
                    await one.ask(door.passing)
            asked = []
            with pytest.raises(InferTimeout, match=silent):
                await one.ask(lambda: asked.append(1))
            assert asked == [], "no thread more is spent on it"
            door.open()
            await becomes(lambda: not one._asked)
            monkeypatch.setattr("offboard_core.catalog.lookups.PATIENCE", PATIENCE)
            assert await one.ask(lambda: "here") == "here"

    run(main())


@pytest.mark.parametrize("raised", [StopIteration("no more"), SystemExit(2), KeyError("x")])
def test_whatever_a_place_raises_is_an_answer(raised):
    async def main():
        registry = Growing("1")
        async with serving(growing(registry)) as service:
            registry.fault = raised
            with pytest.raises(LoadFailed, match="what can be served cannot be told"):
                await open_session(service, "1")
            await turns()

    run(main())
