"""A model with two replicas: each session is with one of them, and what happens to one is not the other's."""

import asyncio
from dataclasses import replace

import pytest
from model_bench import run, run_by_hand, until
from offboard_client import InferenceClient
from offboard_client.errors import ConfigurationError, InferTimeout, LoadFailed, ModelLost
from offboard_core import Chunk, Health, InferenceServer, Placement
from offboard_core.catalog import from_callables
from offboard_core.types import ALONE
from puppets import PATIENCE, Door, Puppet, source
from service_bed import X, open_session, serving
from slot_bed import becomes, turns
from watching import Noting

HOUR = 3600.0


class Pair:
    """A source of one model, ``x``, with two replicas, and ``y`` beside it; ``made``: the policies in their order."""

    def __init__(self, make=Puppet, replicas=2):
        self.made, self.places = [], []

        def made():
            self.made.append(make())
            return self.made[-1]

        plain = source({"x": made, "y": Puppet})
        load = plain.loader.load

        def noted(checkpoint, report, place):
            self.places.append(place)
            return load(checkpoint, report, place)

        plain.loader.load = noted
        self.source = replace(plain, replicas=replicas)


def policy_of(session):
    return session.lease.replica.policy


def test_a_session_is_with_the_replica_that_has_the_fewest_and_stays_there():
    pair = Pair()

    async def main():
        async with serving(pair.source) as service:
            sessions = [await open_session(service) for _ in range(4)]
            first, second = pair.made
            assert pair.places == [Placement(0, 2), Placement(1, 2)]
            assert [policy_of(session) for session in sessions] == [first, second, first, second]
            for _ in range(3):
                for session in sessions:
                    await session.infer(X)
            assert [len(episode.seen) for policy in pair.made for episode in policy.episodes] == [3] * 4
            sessions[1].close()
            sessions[3].close()
            assert policy_of(await open_session(service)) is second
            assert all(len(policy.threads) == 1 for policy in pair.made), "all calls of a policy are of one thread"
            assert pair.made[0].threads != pair.made[1].threads

    run(main())


def test_a_record_says_which_one_answered():
    async def main():
        watching = Noting(3)
        async with serving(Pair().source, observers={"noting": watching}) as service:
            sessions = [await open_session(service) for _ in range(3)]
            for session in sessions:
                await session.infer(X)
            await until(watching.come)
        return [(record.session_id, record.replica) for record in watching.records], sessions

    found, sessions = run(main())
    assert found == [(session.id, number) for session, number in zip(sessions, (0, 1, 0), strict=True)]


def test_two_replicas_infer_at_the_same_time():
    with Door() as one, Door() as other:
        doors = iter([one, other])
        pair = Pair(lambda: Puppet(doors={0: next(doors)}))

        async def main():
            async with serving(pair.source) as service:
                asked = [asyncio.ensure_future((await open_session(service)).infer(X)) for _ in range(2)]
                await until(one.entered)
                await until(other.entered)
                assert service.status()["in_flight"] == 2
                other.open()
                await asked[1]
                assert not asked[0].done()
                one.open()
                await asked[0]

        run(main())


def test_a_batch_is_of_one_replica():
    with Door() as one, Door() as other:
        doors = iter([one, other])
        pair = Pair(lambda: Puppet(max_batch_size=8, doors={0: next(doors)}))

        async def main():
            async with serving(pair.source) as service:
                sessions = [await open_session(service) for _ in range(6)]
                asked = [asyncio.ensure_future(session.infer(X)) for session in sessions[:2]]
                await until(one.entered)
                await until(other.entered)
                asked += [asyncio.ensure_future(session.infer(X)) for session in sessions[2:]]
                await turns()
                one.open()
                other.open()
                await asyncio.gather(*asked)
                for policy in pair.made:
                    assert [len(batch) for batch in policy.batches] == [1, 2]
                    assert all(episode.policy is policy for batch in policy.batches for episode in batch)

        run(main())


def lost(episode, inputs):
    raise ModelLost("the second device fell off the bus")


def test_one_that_is_lost_takes_its_own_sessions_only_and_comes_back_when_nobody_uses_the_other():
    pair = Pair()

    async def main():
        async with serving(pair.source) as service:
            mine, other, third = [await open_session(service) for _ in range(3)]
            ended = []
            mine.on_evict(ended.append)
            other.on_evict(ended.append)
            pair.made[1].answer = lost
            result, _ = await other.infer(X)
            assert isinstance(result, ModelLost)
            await becomes(lambda: ended)
            other.close()
            assert [type(error) for error in ended] == [ModelLost]
            assert service.slot.ready(), "the other one answers"
            assert isinstance((await mine.infer(X))[0], Chunk)
            newcomer = await open_session(service)
            assert policy_of(newcomer) is pair.made[0]
            status = service.status()
            assert [one["health"]["state"] for one in status["replicas"]] == ["ready", "failed"]
            assert status["last_failure"]["model"] == "x (replica 2 of 2)"
            for session in (mine, third, newcomer):
                session.close()
            assert service.slot.vacant(), "the server may load it anew by itself"
            again = await open_session(service)
            assert len(pair.made) == 4
            assert policy_of(again) is pair.made[2]
            assert [one["health"]["state"] for one in service.status()["replicas"]] == ["ready", "ready"]
            assert all(policy.closed.is_set() for policy in pair.made[:2])

    run(main())


def test_a_model_whose_replicas_are_all_lost_is_loaded_anew():
    pair = Pair()

    async def main():
        async with serving(pair.source) as service:
            sessions = [await open_session(service) for _ in range(2)]
            for policy in pair.made:
                policy.answer = lost
            for session in sessions:
                await session.infer(X)
            assert not service.slot.ready()
            assert "replica 1 of 2) has failed: the second device" in service.slot.unready()
            for session in sessions:
                session.close()
            await open_session(service)
            assert len(pair.made) == 4

    run(main())


@pytest.mark.rule("H-8")
def test_one_that_recovers_or_does_not_return_gets_no_newcomer():
    with Door() as door:
        pair = Pair()

        async def main(clock):
            async with serving(pair.source, infer=60.0, load=HOUR) as service:
                held = await open_session(service)
                first, second = pair.made
                second.asked = lambda: Health("recovering", "restarted")
                newcomers = [await open_session(service) for _ in range(2)]
                assert [policy_of(one) for one in newcomers] == [first, first]
                assert service.slot.ready()
                second.asked = Health
                first.doors = {0: door}
                hanging = asyncio.ensure_future(held.infer(X))
                await until(door.entered)
                service.slot.loaded.replicas[0].executor.busy_since -= 100  # s: it has been in there for that long
                assert service.slot.wedged()
                stuck = [one["stuck"] for one in service.status()["replicas"]]
                assert stuck[0].startswith("stuck in one call for 1")
                assert stuck[1] is None
                assert service.slot.ready(), "the other one answers"
                assert policy_of(await open_session(service)) is second
                second.asked = lambda: Health("recovering", "restarted")
                with pytest.raises(InferTimeout, match=r"x \(replica 1 of 2\) has been stuck in one call for 1"):
                    await open_session(service)
                assert "replica 1 of 2) has been stuck" in service.slot.unready()
                assert "replica 2 of 2) is recovering: restarted" in service.slot.unready()
                door.open()
                await hanging
                await becomes(service.slot.ready)  # its thread says that it is back just after it has answered

        run_by_hand(main)


def test_a_robot_that_comes_back_finds_its_own_replica():
    pair = Pair()

    async def main():
        async with serving(pair.source, linger=HOUR) as service:
            sessions = [await open_session(service) for _ in range(2)]
            await sessions[1].infer(X)
            sessions[1].close(linger=True)
            back = service.reclaim(sessions[1].id, None, [], lambda codec: sessions[1].pipeline.serializer)
            assert back is sessions[1]
            await back.infer(X)
            assert policy_of(back) is pair.made[1]
            assert len(pair.made[1].episodes[0].seen) == 2
            sessions[1].close(linger=True)
            service.slot.lost(sessions[1].lease.replica, ModelLost("gone"))
            assert service.reclaim(sessions[1].id, None, [], lambda codec: None) is None

    run(main())


def test_what_a_policy_takes_at_a_time_counts_for_each():
    def alone():
        puppet = Puppet()
        puppet.max_sessions = 1
        return puppet

    pair = Pair(alone)

    async def main():
        async with serving(pair.source) as service:
            first, _ = [await open_session(service) for _ in range(2)]
            third = asyncio.ensure_future(open_session(service))
            await becomes(lambda: service.status()["waiting"])
            await turns()
            assert not third.done()
            assert service.slot.loaded.max_sessions == 2
            first.close()
            assert policy_of(await asyncio.wait_for(third, PATIENCE)) is pair.made[0]

    run(main())


def test_a_load_of_which_one_replica_fails_leaves_nothing_behind():
    made = []

    def second_fails():
        if made:
            raise LoadFailed("the second device is full")
        made.append(Puppet())
        return made[0]

    pair = Pair(second_fails)

    async def main():
        async with serving(pair.source) as service:
            with pytest.raises(
                LoadFailed, match=r"x \(replica 2 of 2\) could not be loaded: the second device is full"
            ):
                await open_session(service)
            assert made[0].closed.is_set()
            assert service.slot.loaded is None
            assert (await open_session(service, "y")).meta["checkpoint_id"] == "y"

    run(main())


def test_another_model_takes_the_place_of_both():
    pair = Pair()

    async def main():
        async with serving(pair.source) as service:
            sessions = [await open_session(service, "x") for _ in range(2)]
            waiting = asyncio.ensure_future(open_session(service, "y"))
            await becomes(lambda: service.status()["waiting"])
            sessions[0].close()
            await turns()
            assert not waiting.done(), "the other replica is in use"
            sessions[1].close()
            assert (await asyncio.wait_for(waiting, PATIENCE)).meta["checkpoint_id"] == "y"
            assert all(policy.closed.is_set() for policy in pair.made)
            assert len(service.slot.loaded.replicas) == 2

    run(main())


def test_who_waits_is_told_which_replica_is_being_loaded():
    with Door() as door:
        calls = []

        def slowly():
            calls.append(None)
            if len(calls) == 2:
                door.passing()
            return Puppet()

        pair = Pair(slowly)
        heard = []

        async def main():
            async with serving(pair.source) as service:

                async def hear(status):
                    heard.append(status.message)

                opening = asyncio.ensure_future(
                    service.open(None, [], serializer=lambda codec: None, holder="a test", on_status=hear)
                )
                await until(door.entered)
                await becomes(lambda: any("loading x: replica 2 of 2: pulling strings" in one for one in heard))
                door.open()
                await opening

        run(main())


def test_closing_the_service_closes_both_though_one_hangs():
    with Door() as door:
        pair = Pair()

        async def main():
            async with serving(pair.source, close=0.05) as service:
                session = await open_session(service)
                pair.made[0].doors = {0: door}
                hanging = asyncio.ensure_future(session.infer(X))
                await until(door.entered)
            assert pair.made[1].closed.is_set()
            assert not pair.made[0].closed.is_set()
            hanging.cancel()

        run(main())


def test_a_number_that_cannot_be_is_refused():
    with pytest.raises(ConfigurationError, match="replicas is 0; expected a whole number from 1 up"):
        Pair(replicas=0)
    with pytest.raises(ConfigurationError, match=r"replicas is True; expected"):
        Pair(replicas=True)
    with pytest.raises(
        ConfigurationError, match=r"replicas is 2, and the model 'x' is .* once; give a callable without"
    ):
        from_callables({"x": lambda observation: {}}, replicas=2)
    one = from_callables({"x": lambda observation: {}})
    with pytest.raises(
        ConfigurationError, match=r"replicas is 2, and what the vendor python serves here .* 1 time only"
    ):
        replace(one, replicas=2)
    with pytest.raises(ValueError, match="replica 2 of 2; expected 0 to 1"):
        Placement(2, 2)
    assert Placement() == ALONE


def test_callables_are_called_once_for_each():
    made = []

    class Model:
        def __init__(self):
            made.append(self)

        def infer(self, observation):
            return []

    with (
        InferenceServer({"x": Model}, port=0, replicas=3, fps=10) as server,
        InferenceClient(server.host, server.port) as client,
        client.new_session(),
    ):
        assert len(made) == 3
