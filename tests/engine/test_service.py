import asyncio
from functools import partial

import numpy as np
import pytest
from model_bench import run, run_by_hand, until
from offboard_client.errors import InferTimeout, LoadFailed, ModelLost, ModelNotFound, PolicyFailed
from offboard_core import Codec, CodecEntry, CodecMeta, hookimpl
from puppets import PATIENCE, Door, PlainSerializer, Puppet, source
from service_bed import Growing, growing, open_session, serving
from talking import talking
from watching import Noting

X = {"x": np.zeros(3)}


@pytest.mark.rule("S-1")
def test_the_first_model_of_a_dict_is_the_default():
    async def main():
        async with serving(source({"b": Puppet, "a": Puppet})) as service:
            assert (await open_session(service)).meta["checkpoint_id"] == "b"
            assert (await service.catalog.models()).ids == ["b", "a"]

    run(main())


@pytest.mark.rule("S-1")
def test_the_pinned_checkpoint_is_the_default():
    async def main():
        async with serving(source({"b": Puppet, "a": Puppet}, pinned="a")) as service:
            assert (await open_session(service)).meta["checkpoint_id"] == "a"

    run(main())


@pytest.mark.rule("S-1", "S-2")
def test_the_newest_is_the_default_and_stays_it():
    async def main():
        registry = Growing("000100", "000200")
        async with serving(growing(registry)) as service:
            registry.ids.append("000300")
            assert (await open_session(service)).meta["checkpoint_id"] == "000200"
            assert (await service.catalog.models()).ids == ["000100", "000200", "000300"]
            assert (await service.catalog.resolve("300")).id == "000300"

    run(main())


@pytest.mark.rule("S-2")
def test_nobody_is_translated_by_what_a_checkpoint_was_before_it_was_loaded():
    """It is written anew under its id; the default is what it was when the server started."""

    async def main():
        registry = Growing("000100")
        registry.recorded = {"action_fps": 15}
        async with serving(growing(registry)) as service:
            registry.recorded = {"action_fps": 30}
            for _ in range(2):
                by_id = await open_session(service, "000100")
                assert by_id.meta["action_fps"] == 30
                by_id.close()
                with pytest.raises(LoadFailed, match="ask for it by its id, 000100, or start this server again"):
                    await open_session(service)

    run(main())


@pytest.mark.rule("S-4")
@pytest.mark.parametrize(
    "asked", ["../../etc/passwd", "/etc/passwd", "..", "", "000100/../000100", "000100 ", "1e2", "\u0661\u0660\u0660"]
)
def test_an_id_is_only_ever_compared(asked):
    async def main():
        async with serving(growing(Growing("000100"))) as service:
            with pytest.raises(ModelNotFound, match="there are: 000100"):
                await open_session(service, asked)
            assert service.slot.loaded is None

    run(main())


def test_with_several_sources_ids_begin_with_the_sources_name():
    async def main():
        async with serving(source({"a": Puppet, "b/c": Puppet}), source({"a": Puppet})) as service:
            assert (await service.catalog.models()).ids == ["s0/a", "s0/b/c", "s1/a"]
            for model_id in (await service.catalog.models()).ids:
                session = await open_session(service, model_id)
                assert session.meta["checkpoint_id"] == model_id
                session.close()
            for name, found in ((None, "s0/a"), ("s1", "s1/a")):
                session = await open_session(service, name)
                assert session.meta["checkpoint_id"] == found
                session.close()
            with pytest.raises(ModelNotFound, match="ids begin with one of s0, s1 and a slash"):
                await open_session(service, "a")
            with pytest.raises(
                ModelNotFound, match=r"^s1/7: .*there are: a\. These are of the source s1: write s1/ in"
            ):
                await open_session(service, "s1/7")

    run(main())


def test_one_source_that_cannot_be_listed_harms_no_other():
    async def main():
        broken = Growing("1")
        broken.fault = OSError("the share is away")
        async with serving(growing(broken), source({"a": Puppet})) as service:
            assert (await open_session(service)).meta["checkpoint_id"] == "s1/a"
            with pytest.raises(LoadFailed, match="the share is away"):
                await open_session(service, "s0")
            with pytest.raises(LoadFailed, match="the share is away"):
                await open_session(service, "s0/1")
            listing = await service.catalog.models()
            assert listing.ids == ["s1/a"]
            assert listing.problems.keys() == {"s0"}
            assert "the share is away" in listing.problems["s0"].text

    run(main())


def test_nothing_at_all_to_serve_is_said_at_the_start():
    async def main():
        with pytest.raises(ModelNotFound, match="no complete checkpoint"):
            async with serving(growing(Growing())):
                pass

    run(main())


class BadMeta(Puppet):
    meta = {"device": object()}

    def __init__(self):
        super().__init__()
        self.meta = BadMeta.meta


class BadStart(Puppet):
    def new_session(self, params):
        raise ZeroDivisionError("no episode today")


@pytest.mark.parametrize(("make", "raised"), [(BadMeta, LoadFailed), (BadStart, PolicyFailed)])
def test_a_policy_that_cannot_open_a_session_does_not_keep_the_slot(make, raised):
    async def main():
        async with serving(source({"bad": make, "good": Puppet})) as service:
            with pytest.raises(raised):
                await open_session(service, "bad")
            assert (await open_session(service, "good")).meta["checkpoint_id"] == "good"

    run(main())


class Dead(Puppet):
    def new_session(self, params):
        raise ModelLost("the child is gone")


def test_a_model_found_dead_is_loaded_anew_for_the_next_session():
    async def main():
        made = [Dead, Puppet]
        async with serving(source({"a": lambda: made.pop(0)()})) as service:  # noqa: PLW0108
            with pytest.raises(ModelLost):
                await open_session(service)
            assert not service.slot.ready()
            await open_session(service)
            assert service.slot.ready()

    run(main())


def test_who_leaves_while_the_episode_begins_leaves_neither_lease_nor_episode():
    async def main():
        with Door() as door:
            policies = []

            class Slow(Puppet):
                def new_session(self, params):
                    door.passing()
                    return super().new_session(params)

            def make():
                policies.append(Slow())
                return policies[-1]

            async with serving(source({"a": make})) as service:
                opening = asyncio.ensure_future(open_session(service))
                await until(door.entered)
                opening.cancel()
                await asyncio.gather(opening, return_exceptions=True)
                assert service.slot.loaded.leases == set()
                door.open()
                await open_session(service)
                first, second = policies[0].episodes
                await until(first.closed)
                assert not second.closed.is_set()

    run(main())


@pytest.mark.rule("L-8")
def test_nothing_is_answered_before_a_reset_that_failed_is_done():
    async def main():
        policy, watching = Puppet(), Noting(8)
        async with serving(source({"a": lambda: policy}), observers={"noting": watching}) as service:
            session, other = await open_session(service), await open_session(service)
            for one in (session, session, other):
                await one.infer(X)
            policy.episodes[0].reset = lambda: 1 / 0
            for again in (session.reset, session.reset, partial(session.infer, X), partial(session.infer, X)):
                with pytest.raises(PolicyFailed, match="resetting the episode failed"):
                    await again()
            assert session.pipeline.stats.summary()["errors"] == {"policy_failed": 2}
            assert (await other.infer(X))[0].action[0, 0] == 2, "its own episode goes on"
            del policy.episodes[0].reset
            assert [(await session.infer(X))[0].action[0, 0] for _ in range(2)] == [1, 2]
            assert len(policy.batches) == 6
            await until(watching.come)
        mine = [record.error for record in watching.records if record.session_id == session.id]
        assert mine == [None, None, "policy_failed", "policy_failed", None, None]

    run(main())


@pytest.mark.rule("L-8", "L-30")
def test_nor_is_anything_done_by_a_control_that_the_reset_would_undo():
    async def main():
        policy, made = talking()
        async with serving(made) as service:
            session = await open_session(service)
            await session.infer(X)
            policy.episodes[0].reset = lambda: 1 / 0
            for again in (session.reset, partial(session.call, "say", {})):
                with pytest.raises(PolicyFailed, match="resetting the episode failed"):
                    await again()
            assert policy.episodes[0].asked == []
            del policy.episodes[0].reset
            assert (await session.call("mark", {"note": "new"}))["seen"] == 0, "it is the new episode's"

    run(main())


@pytest.mark.rule("L-8")
def test_a_reset_that_was_not_waited_for_is_done_once_more():
    async def main(clock):
        policy, resets = Puppet(), []
        with Door() as door:
            async with serving(source({"a": lambda: policy}), infer=600.0) as service:
                session = await open_session(service)
                await session.infer(X)
                (episode,) = policy.episodes

                def reset():
                    resets.append(len(episode.seen))
                    door.passing()
                    episode.seen = []

                episode.reset = reset
                resetting = asyncio.ensure_future(session.reset())
                await until(door.entered)
                clock.move(601.0)
                with pytest.raises(InferTimeout):
                    await resetting
                answer = asyncio.ensure_future(session.infer(X))
                door.open()
                assert (await answer)[0].action[0, 0] == 1
                assert resets == [1, 0]

    run_by_hand(main)


@pytest.mark.rule("L-5", "L-8")
def test_who_leaves_while_a_reset_is_tried_again_is_told_nothing():
    async def main():
        policy, told = Puppet(), []
        with Door() as door:
            async with serving(source({"a": lambda: policy})) as service:
                session = await open_session(service)
                policy.episodes[0].reset = lambda: 1 / 0
                with pytest.raises(PolicyFailed):
                    await session.reset()
                policy.episodes[0].reset = door.passing
                session.submit(X, lambda *answer: told.append(answer))
                await until(door.entered)
                session.close()
                door.open()
                await until(policy.episodes[0].closed)
                assert (await (await open_session(service)).infer(X))[0].action[0, 0] == 1
        assert told == []
        assert len(policy.batches) == 1

    run(main())


@pytest.mark.rule("C-2", "C-3")
def test_an_episode_goes_on_when_its_lease_is_taken_back():
    async def main():
        async with serving(source({"000100": Puppet, "other": Puppet}), linger=3600) as service:
            session = await open_session(service, "100")
            await session.infer(X)
            session.close(linger=True)

            def back(model_id, params=()):
                return service.reclaim(session.id, model_id, params, lambda codec: PlainSerializer())

            assert back("other") is None
            assert back("100", [("codec.fps", "10")]) is None
            assert back("100") is session
            assert back("100") is None, "once"
            (result, _), error = await session.infer(X), None
            assert error is None
            assert result.action[0, 0] == 2, "the second observation of the episode"

    run(main())


@pytest.mark.rule("C-2")
def test_a_session_that_nobody_takes_back_ends_its_episode():
    async def main():
        async with serving(source({"a": Puppet}), linger=0.001) as service:
            session = await open_session(service)
            episode = session.pipeline.session
            session.close(linger=True)
            await until(episode.closed)
            assert service.sessions == {}
            assert service.slot.loaded.leases == set()

    run(main())


def test_preloading_makes_the_first_session_wait_for_nothing():
    async def main():
        async with serving(source({"a": Puppet})) as service:
            service.preload(pytest.fail)
            while not service.slot.ready():  # noqa: ASYNC110
                await asyncio.sleep(0)
            told = []

            async def hear(status):
                told.append(status)

            await service.open(None, (), serializer=lambda codec: PlainSerializer(), holder="a test", on_status=hear)
            assert told == []

    run(main())


def test_a_place_that_does_not_answer_is_not_waited_for(monkeypatch):
    monkeypatch.setattr("offboard_core.catalog.lookups.PATIENCE", 0.01)

    async def main():
        with Door() as door:

            class Hanging(Growing):
                def resolve(self, model_id):
                    door.passing()
                    raise ModelNotFound("never mind")

            async with serving(growing(Hanging("1"))) as service:
                with pytest.raises(Exception, match="did not answer within"):
                    await open_session(service, "1")
                door.open()

    run(main())


class Faulty(Codec):
    """A codec whose meta cannot be read."""

    @property
    def meta(self) -> CodecMeta:
        raise LookupError("no statistics")


class FaultyPlugin:
    @hookimpl
    def offboard_codecs(self):
        yield CodecEntry(name="faulty", summary="Fails.", factory=lambda options, checkpoint: Faulty())


def test_a_codec_that_cannot_be_made_is_a_failed_load():
    async def main():
        async with serving(source({"a": Puppet}, codec="faulty", plugin=FaultyPlugin())) as service:
            with pytest.raises(LoadFailed, match="no statistics"):
                await open_session(service)

    run(main())


def test_closing_ends_every_episode_and_the_model():
    async def main():
        policy = Puppet()
        async with serving(source({"a": lambda: policy})) as service:
            for _ in range(3):
                await open_session(service)
        await until(policy.closed)
        assert all(episode.closed.wait(PATIENCE) for episode in policy.episodes)

    run(main())
