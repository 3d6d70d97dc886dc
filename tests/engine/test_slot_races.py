"""What happens in the very turn in which something else happens."""

import asyncio

import pytest
from model_bench import run
from offboard_client.errors import ConfigurationError, ModelLost
from puppets import PATIENCE, PlainSerializer, Puppet, source
from service_bed import open_session, serving
from slot_bed import becomes, bed, turns

HOUR = 3600.0


def test_closing_beside_an_open_session_and_one_that_waits_for_another_model_ends():
    async def main():
        async with serving(source({"x": Puppet, "y": Puppet})) as service:
            await open_session(service, "x")
            waiting = asyncio.ensure_future(open_session(service, "y"))
            await becomes(lambda: service.slot.status()["waiting"])
            await turns()
            closing = asyncio.ensure_future(service.close())
            assert (await asyncio.wait({closing}, timeout=PATIENCE))[0], "the slot's task did not end"
            await asyncio.gather(waiting, return_exceptions=True)

    run(main())


@pytest.mark.parametrize("turn", range(4))
def test_who_leaves_in_the_turn_in_which_he_is_told_something_is_gone(turn):
    async def main():
        async with bed(status_every=HOUR) as b:
            held = await b.have("x")
            want = b.want("y")
            await want.hears("waiting")
            b.slot.release(held)
            await becomes(lambda: b.slot.loaded and b.slot.loaded.label == "y")
            await turns(turn)
            if want.task.cancel():
                await asyncio.wait({want.task}, timeout=PATIENCE)
                assert want.task.cancelled(), "a cancellation is not swallowed"
            else:  # the lease had reached it before
                b.slot.release(want.task.result())
            await b.have("z")
            assert b.slot.loaded.label == "z"

    run(main())


@pytest.mark.rule("C-2")
def test_a_lease_lingers_only_while_nobody_waits_for_the_slot():
    async def main():
        async with serving(source({"x": Puppet, "y": Puppet}), linger=HOUR) as service:
            before, after = await open_session(service, "x"), await open_session(service, "x")
            before.close(linger=True)
            assert before.lease in service.slot.loaded.leases, "nobody waits yet"
            waiting = asyncio.ensure_future(open_session(service, "y"))
            await becomes(lambda: before.lease not in after.lease.replica.leases)
            after.close(linger=True)
            assert (await waiting).meta["checkpoint_id"] == "y"
            assert service.reclaim(before.id, "x", (), lambda codec: PlainSerializer()) is None

    run(main())


def lose(service, lease):
    service.slot.lost(lease.replica, ModelLost("the child is gone"))


def test_a_model_lost_while_a_session_opens_is_told_to_it_and_not_pinned():
    class Dies(Puppet):
        """Its loss is heard of between the grant and the first word of the session."""

        def new_session(self, params):
            loop.call_soon_threadsafe(lambda: lose(service, next(iter(service.slot.loaded.leases))))
            return super().new_session(params)

    async def main():
        nonlocal service, loop
        loop = asyncio.get_running_loop()
        made = [Dies, Puppet]
        async with serving(source({"x": lambda: made.pop(0)()})) as service:  # noqa: PLW0108
            with pytest.raises(ModelLost, match="the child is gone"):
                await open_session(service)
            assert service.slot.loaded.leases == set()
            assert service.sessions == {}
            await open_session(service)
            assert service.slot.ready()

    service = loop = None
    run(main())


@pytest.mark.parametrize("taken_back", [False, True])
def test_a_model_lost_before_anybody_listens_is_told_to_who_listens_then(taken_back):
    async def main():
        async with serving(source({"x": Puppet}), linger=HOUR) as service:
            session = await open_session(service)
            if taken_back:
                session.close(linger=True)
                assert service.reclaim(session.id, None, (), lambda codec: PlainSerializer()) is session
            lose(service, session.lease)
            told = []
            session.on_evict(told.append)
            assert [type(error) for error in told] == [ModelLost]
            session.close()
            await open_session(service)
            assert service.slot.ready()

    run(main())


def test_a_policy_that_fails_to_close_is_no_reason_to_refuse_the_next_model():
    class Stubborn(Puppet):
        def close(self):
            raise ConfigurationError("the child will not go")

    async def main():
        async with bed() as b:
            b.slot.release(await b.have("x", make=Stubborn))
            assert (await b.have("y")).replica.label == "y"

    run(main())
