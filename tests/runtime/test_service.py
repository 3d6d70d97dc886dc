import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass

import numpy as np
import pytest
from model_bench import run, until
from offboard_client.errors import BadParameter, LoadFailed, ModelLost, ModelNotFound, PolicyFailed
from offboard_core import Checkpoint, Codec, CodecEntry, CodecMeta, ConfigurationError, ModelRegistry, hookimpl
from offboard_core.runtime.lease import Limits
from offboard_core.runtime.service import PolicyService
from offboard_core.source import ModelSource
from puppets import PATIENCE, Door, PlainWire, Puppet, PuppetLoader, source

X = {"x": np.zeros(3)}


@asynccontextmanager
async def serving(*sources, **limits):
    named = {f"s{i}": one for i, one in enumerate(sources)} if len(sources) > 1 else {"only": sources[0]}
    service = PolicyService(named, Limits(status_every=0.01, **limits))
    await service.start()
    try:
        yield service
    finally:
        await service.close()


async def open_session(service, model_id=None, *params):
    async def hear(phase, message):
        pass

    return await service.open(model_id, params, wire=lambda codec: PlainWire(), holder="a test", on_status=hear)


class Growing(ModelRegistry):
    """A folder in which checkpoints appear."""

    def __init__(self, *ids):
        self.ids = list(ids)
        self.fault = None

    def checkpoints(self):
        if self.fault is not None:
            raise self.fault
        return [Checkpoint(id=name) for name in self.ids]


def growing(registry):
    plain = source({})

    class Any_(PuppetLoader):
        def load(self, checkpoint, report):
            return Puppet()

    return ModelSource(vendor="puppet", registry=registry, loader=Any_({}), codec=plain.codec)


@pytest.mark.rule("S-1")
def test_the_first_model_of_a_dict_is_the_default():
    async def main():
        async with serving(source({"b": Puppet, "a": Puppet})) as service:
            assert (await open_session(service)).meta["checkpoint_id"] == "b"
            assert await service.models() == ["b", "a"]

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
            assert await service.models() == ["000100", "000200", "000300"]
            assert (await service._resolve("300"))[1].id == "000300"

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
            assert await service.models() == ["s0/a", "s0/b/c", "s1/a"]
            for model_id in await service.models():
                session = await open_session(service, model_id)
                assert session.meta["checkpoint_id"] == model_id
                session.close()
            for name, found in ((None, "s0/a"), ("s1", "s1/a")):
                session = await open_session(service, name)
                assert session.meta["checkpoint_id"] == found
                session.close()
            with pytest.raises(ModelNotFound, match="ids begin with one of s0, s1 and a slash"):
                await open_session(service, "a")

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
            with pytest.raises(ConfigurationError, match="the share is away"):
                await service.models()

    run(main())


def test_nothing_at_all_to_serve_is_said_at_the_start():
    async def main():
        with pytest.raises(ModelNotFound, match="no complete checkpoint"):
            async with serving(growing(Growing())):
                pass

    run(main())


@dataclass(frozen=True)
class Params:
    """What a session may tune."""

    temperature: float = 1.0
    mode: str = "fast"


def tunable():
    return Puppet(params=Params)


@pytest.mark.rule("Q-1", "Q-2")
def test_parameters_reach_the_policy_as_json_or_as_text():
    async def main():
        async with serving(source({"a": tunable})) as service:
            session = await open_session(service, None, ("temperature", "0.5"), ("mode", "slow and steady"))
            assert session.route.session.params == Params(temperature=0.5, mode="slow and steady")
            assert (await open_session(service)).route.session.params == Params()

    run(main())


@pytest.mark.rule("Q-5")
@pytest.mark.parametrize(
    ("params", "says"),
    [
        ([("temprature", "1")], "'temprature'.*temperature"),
        ([("temperature", "warm")], "temperature"),
        ([("temperature", "1"), ("temperature", "1")], "given twice"),
        ([("codec.fsp", "10")], "fps"),
        ([("codec.fps", "10"), ("codec.fps", "10")], "given twice"),
        ([("mode", "{")], None),
    ],
)
def test_a_parameter_that_does_not_exist_or_fit_is_refused_and_the_slot_is_free(params, says):
    async def main():
        async with serving(source({"a": tunable})) as service:
            if says is None:
                assert (await open_session(service, None, *params)).route.session.params.mode == "{"
                return
            with pytest.raises(BadParameter, match=says):
                await open_session(service, None, *params)
            assert service.sessions == {}
            assert service.slot.loaded is None or not service.slot.loaded.leases

    run(main())


@pytest.mark.rule("Q-1", "M-10")
def test_a_codecs_option_changes_this_session_alone():
    async def main():
        async with serving(source({"a": Puppet}, fps=15)) as service:
            usual, slower = await open_session(service), await open_session(service, None, ("codec.fps", "10"))
            assert (usual.meta["action_fps"], slower.meta["action_fps"]) == (15, 10)
            assert usual.meta["spec_hash"] != slower.meta["spec_hash"]
            assert usual.meta == (await open_session(service)).meta

    run(main())


@pytest.mark.rule("Q-3")
def test_a_parameter_never_names_a_path():
    from pathlib import Path

    @dataclass(frozen=True)
    class WithPath:
        statistics: Path = Path("stats.json")

    async def main():
        async with serving(source({"a": lambda: Puppet(params=WithPath)})) as service:
            with pytest.raises(BadParameter, match="statistics"):
                await open_session(service, None, ("statistics", "/etc/passwd"))

    run(main())


class BadMeta(Puppet):
    meta = {"device": object()}

    def __init__(self):
        super().__init__()
        self.meta = BadMeta.meta


class BadStart(Puppet):
    def new_session(self, params):
        raise ZeroDivisionError("no episode today")


@pytest.mark.parametrize(("make", "raised"), [(BadMeta, TypeError), (BadStart, PolicyFailed)])
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


@pytest.mark.rule("C-2", "C-3")
def test_an_episode_goes_on_when_its_lease_is_taken_back():
    async def main():
        async with serving(source({"000100": Puppet, "other": Puppet}), linger=3600) as service:
            session = await open_session(service, "100")
            await session.infer(X)
            session.close(linger=True)

            def back(model_id, params=()):
                return service.reclaim(session.id, model_id, params, lambda codec: PlainWire())

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
            episode = session.route.session
            session.close(linger=True)
            await until(episode.closed)
            assert service.sessions == {}
            assert service.slot.loaded.leases == set()

    run(main())


def test_preloading_makes_the_first_session_wait_for_nothing():
    async def main():
        async with serving(source({"a": Puppet})) as service:
            service.preload()
            while not service.slot.ready():  # noqa: ASYNC110
                await asyncio.sleep(0)
            told = []

            async def hear(phase, message):
                told.append(phase)

            await service.open(None, (), wire=lambda codec: PlainWire(), holder="a test", on_status=hear)
            assert told == []

    run(main())


def test_a_place_that_does_not_answer_is_not_waited_for(monkeypatch):
    monkeypatch.setattr("offboard_core.runtime.service.LISTING", 0.01)

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
