"""Who waits for an answer is not asleep, however long the model takes and however short the idle time is."""

import asyncio

import pytest
from model_bench import run, run_by_hand, until
from offboard_client.errors import Idle
from puppets import Door, Puppet, source
from service_bed import X, open_session, serving
from slot_bed import becomes, turns

IDLE, NEVER = 600.0, 1e6


def asking(session):
    return asyncio.ensure_future(session.infer(X))


async def wanted(service):
    """A robot waits for the other model, and the slot has looked whether there is room."""
    waiting = asyncio.ensure_future(open_session(service, "y"))
    await becomes(lambda: service.slot.status()["waiting"])
    await turns()
    return waiting


@pytest.mark.rule("C-4")
@pytest.mark.parametrize("call", [asking, lambda session: asyncio.ensure_future(session.reset())])
def test_a_session_that_waits_for_an_answer_is_not_idle(call):
    async def main(clock):
        with Door() as door:
            async with serving(
                source({"x": lambda: Puppet(doors={0: door}), "y": Puppet}), idle=IDLE, infer=NEVER
            ) as service:
                first, second = await open_session(service, "x"), await open_session(service, "x")
                told = []
                for session in (first, second):
                    session.on_evict(told.append)
                blocking = asking(first)
                await until(door.entered)
                behind = call(second)
                await turns()
                clock.move(2 * IDLE)
                waiting = await wanted(service)
                assert told == []
                assert [holder["idle_s"] for holder in service.slot.status()["holders"]] == [0.0, 0.0]
                door.open()
                await asyncio.gather(blocking, behind)
                await turns()
                assert told == [], "the idle time begins with the answer"
                clock.move(IDLE)
                await becomes(lambda: len(told) == 2)
                assert {type(error) for error in told} == {Idle}
                for session in (first, second):
                    session.close()
                assert (await waiting).meta["checkpoint_id"] == "y"

    run_by_hand(main)


@pytest.mark.rule("C-4")
def test_a_session_whose_episode_has_not_begun_is_not_idle():
    async def main(clock):
        with Door() as door:
            async with serving(
                source({"x": lambda: Puppet(doors={0: door}), "y": Puppet}), idle=IDLE, infer=NEVER
            ) as service:
                first = await open_session(service, "x")
                blocking = asking(first)
                await until(door.entered)
                opening = asyncio.ensure_future(open_session(service, "x"))
                await becomes(lambda: len(service.slot.status()["holders"]) == 2)
                clock.move(2 * IDLE)
                waiting = await wanted(service)
                door.open()
                await blocking
                second = await opening
                told = []
                second.on_evict(told.append)
                await turns()
                assert told == []
                first.close()
                second.close()
                await waiting

    run_by_hand(main)


def test_an_idle_time_of_nothing_keeps_no_processor_busy(monkeypatch):
    """While a robot waits, and none yields, the slot looks again after a while and not in every turn."""

    async def main(clock):
        with Door() as door:
            async with serving(source({"x": lambda: Puppet(doors={0: door}), "y": Puppet}), idle=0.0) as service:
                looks = []
                monkeypatch.setattr(service.slot, "_make_room", lambda: looks.append(1))
                session = await open_session(service, "x")
                blocking = asking(session)
                await until(door.entered)
                waiting = await wanted(service)
                await turns(1000)
                assert len(looks) < 100
                door.open()
                await blocking
                session.close()
                await waiting

    run_by_hand(main)


def test_what_was_given_up_keeps_nobody_awake():
    async def main():
        with Door() as door:
            async with serving(source({"x": lambda: Puppet(doors={0: door})}), idle=0.0) as service:
                session = await open_session(service, "x")
                asking(session)
                await until(door.entered)
                session.close(linger=True)
                assert session.lease.idle(session.lease.active + 1.0) == 1.0
                door.open()

    run(main())
