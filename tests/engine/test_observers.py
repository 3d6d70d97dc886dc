"""Observers see each exchange after its answer, and whatever they do costs nobody an answer."""

import asyncio
import logging
import threading
from dataclasses import dataclass

import numpy as np
import pytest
from model_bench import Bench, run, until
from offboard_core import (
    Chunk,
    ConfigurationError,
    InferTimeout,
    InvalidAction,
    ModelLost,
    Observer,
    ObserverEntry,
    hookimpl,
)
from offboard_core.engine import Observers, SessionRecords, make_observers, name_observers
from offboard_core.plugins import Plugins
from puppets import Door, PlainSerializer, Puppet, source
from service_bed import X, open_session, serving
from slot_bed import becomes
from watching import Noting

#: What no observer may have for the room it leaves.
NO_ROOM = (0, -1, 1.5, float("nan"), None, "many", True)


def puppet(policy):
    return source({"it": lambda: policy})


def frame(value, **more):
    return {"x": np.full(3, float(value)), **more}


def test_a_record_is_what_the_exchange_was_with_what_its_session_is():
    async def main():
        watching = Noting(2)
        async with serving(puppet(Puppet()), observers={"noting": watching}) as service:
            session = await open_session(service)
            replies = [await session.infer(frame(i, task="stack")) for i in (1, 2)]
            await until(watching.come)
            assert service.status()["observers"].keys() == {"noting"}
        assert service.observers.counts() == {"noting": {"seen": 2, "dropped": 0, "failed": 0}}
        return session, replies, watching

    session, replies, watching = run(main())
    first, second = watching.records
    assert (first.number, second.number) == (1, 2)
    for record, (reply, timing), i in zip(watching.records, replies, (1, 2), strict=True):
        assert (record.session_id, record.model_id, record.replica, record.error) == (session.id, "it", 0, None)
        assert (record.holder, record.meta["spec_hash"]) == ("a test", session.meta["spec_hash"])
        assert record.observation["x"].tolist() == record.inputs["x"].tolist() == [i] * 3
        assert record.observation["task"] == record.inputs["task"] == "stack"
        assert record.chunk.action.tolist() == [[i] * 3] * 2
        assert record.reply_chunk.action.tolist() == reply.action.tolist()
        assert record.timing == timing
        assert record.encode_ms > 0
    assert first.robot_ms is None
    assert 0 <= second.robot_ms < (second.arrived - first.arrived) * 1e3
    assert second.wall_time - first.wall_time == pytest.approx(second.arrived - first.arrived, abs=0.1)
    assert watching.threads == {"offboard-observer-noting"}
    assert watching.closed == 1


class Reusing(Puppet):
    """Answers from one piece of memory, and writes into what it was asked."""

    def __init__(self):
        super().__init__(self.refill)
        self.memory = np.zeros((2, 3))

    def refill(self, episode, inputs):
        self.memory += 1
        inputs["notes"].append("mine")
        return Chunk(self.memory)


class Scratch(PlainSerializer):
    """Reads every frame into the same memory."""

    def __init__(self):
        self.memory = np.zeros(3)

    def read(self, frame):
        self.memory[:] = frame["x"]
        view = self.memory[:]
        view.flags.writeable = False
        return {**frame, "x": view}, []


@pytest.mark.parametrize("overlap", [False, True])
def test_a_record_stays_as_it_is_whatever_the_next_inference_writes_into_the_same_memory(overlap):
    async def main():
        watching = Noting(3)
        observers = Observers({"noting": watching})
        observers.start()
        try:
            async with Bench(Reusing()) as bench:
                pipeline = await bench.pipeline(Scratch())
                pipeline.records = SessionRecords(observers, "s", "m", 0)
                for i in (1, 2, 3):
                    bench.thread._last_infer = 1.0 if overlap else 0.0
                    await bench.submit(pipeline, frame(i, notes=["robot's"])).reply()
        finally:
            await observers.close()
        return watching.records

    for i, record in enumerate(run(main()), 1):
        assert record.observation["x"].tolist() == record.inputs["x"].tolist() == [i] * 3
        assert record.chunk.action.tolist() == record.reply_chunk.action.tolist() == [[i] * 3] * 2
        assert record.inputs["notes"] == record.observation["notes"] == ["robot's"]
        for array in (record.observation["x"], record.inputs["x"], record.chunk.action, record.reply_chunk.action):
            assert not array.flags.writeable, "several observers share it"


def test_what_lies_in_a_frame_is_not_copied_for_nobody_writes_into_it():
    in_frame, in_buffer = np.frombuffer(bytes(24))[1:], np.frombuffer(bytearray(24))[1:]
    in_buffer.flags.writeable = False
    kept = SessionRecords(Observers({"noting": Noting()}), "s", "m", 0).keep(b"")
    kept.asked({"frame": in_frame, "deep": [{"buffer": in_buffer}]}, {})
    assert np.shares_memory(kept.observation["frame"], in_frame)
    copy = kept.observation["deep"][0]["buffer"]
    assert not np.shares_memory(copy, in_buffer)
    assert copy.tolist() == in_buffer.tolist()


def test_without_observers_an_exchange_keeps_nothing():
    async def main():
        async with serving(puppet(Puppet())) as service:
            session = await open_session(service)
            assert session.pipeline.records is None
            assert not service.observers
            assert "observers" not in service.status()
            threads = {thread.name for thread in threading.enumerate()}
            assert not [name for name in threads if name.startswith("offboard-observer")]
        async with Bench(Puppet()) as bench:
            asked = bench.submit(await bench.pipeline(), X)
            await asked.reply()
            assert asked.exchange.kept is None
            assert asked.exchange.observation == asked.exchange.inputs == {}

    run(main())


def test_who_wants_no_contents_costs_no_copies(monkeypatch):
    copied = []
    monkeypatch.setattr("offboard_core.engine.records.Kept._lasting", lambda _, value: copied.append(value))

    async def main():
        watching = Noting(contents=False)
        async with serving(puppet(Puppet()), observers={"noting": watching}) as service:
            await (await open_session(service)).infer(X)
            await until(watching.come)
        return watching.records

    (record,) = run(main())
    assert (record.observation, record.inputs, record.chunk, record.reply_chunk) == (None,) * 4
    assert record.timing["total_ms"] > 0
    assert copied == []


def test_a_full_queue_drops_and_counts_and_says_so_once(caplog):
    caplog.set_level(logging.WARNING)

    async def main():
        with Door() as door:
            slow, quick = Noting(4, waiting=2), Noting(7)
            slow.door = door
            async with serving(puppet(Puppet()), observers={"slow": slow, "quick": quick}) as service:
                session = await open_session(service)
                await session.infer(frame(1))
                await until(door.entered)
                for i in range(2, 7):
                    assert (await session.infer(frame(i)))[0].action[0, 0] == i
                assert service.observers.counts()["slow"]["dropped"] == 3
                third = slow.reached(3)
                door.open()
                await until(third)
                await session.infer(frame(7))
                await until(slow.come)
                await until(quick.come)
                counts = service.observers.counts()
        return slow, quick, counts

    slow, quick, counts = run(main())
    assert [record.number for record in slow.records] == [1, 2, 3, 7]
    assert [record.number for record in quick.records] == [1, 2, 3, 4, 5, 6, 7], "one observer is not another's fault"
    assert (counts["slow"]["dropped"], counts["quick"]["dropped"]) == (3, 0)
    (line,) = [r.getMessage() for r in caplog.records if "slower" in r.getMessage()]
    assert line == "the observer slow is slower than what it watches; exchanges dropped so far: 1"


def test_what_waits_holds_no_more_bytes_than_its_observer_has_room_for():
    async def main():
        with Door() as door:
            slow, quick = Noting(3, waiting_bytes=100_000), Noting(7)
            slow.door, bare = door, Noting(7, contents=False, waiting_bytes=1)
            watching = {"slow": slow, "quick": quick, "bare": bare}
            async with serving(puppet(Puppet()), observers=watching) as service:
                session = await open_session(service)
                bounded = service.observers._bounded[0]

                async def ask(size):  # it is in the observation and in the inputs
                    await session.infer({"x": np.full(3, float(size)), "images": np.zeros(size // 2, np.uint8)})

                await ask(70_000)
                await until(door.entered)
                for size in (40_000, 20_000, 20_000, 3_000):
                    await ask(size)
                assert service.observers.counts()["slow"]["dropped"] == 2
                door.open()
                await until(slow.come)
                await becomes(lambda: bounded._queued == bounded._let_go)
                last = slow.reached(4)
                await ask(1_000_000)
                await until(last)
                await becomes(lambda: bounded._queued == bounded._let_go)
                await ask(1_000)
                await until(quick.come)
                await until(bare.come)
        return slow, quick, bare

    slow, quick, bare = run(main())
    assert [record.number for record in slow.records] == [1, 3, 5, 6, 7], "one alone may be larger"
    assert [record.number for record in quick.records] == [record.number for record in bare.records] == [*range(1, 8)]
    for record in bare.records:
        assert (record.observation, record.inputs, record.chunk, record.reply_chunk) == (None,) * 4
        assert record.timing["total_ms"] > 0
    assert [record.observation["x"][0] for record in quick.records][:2] == [70_000, 40_000]


def test_what_a_record_holds_is_counted_whatever_it_is_made_of():
    frame = bytes(1_000_000)
    shared = [np.frombuffer(frame, np.uint8, 10, start) for start in (0, 500)]
    own = np.zeros(1000)
    for contents, least in (
        ({"a": shared[0], "deep": [{"b": shared[1]}]}, 1_000_000),
        ({"a": own, "b": own}, 16_000),
        ({"a": [1.5] * 1000}, 32_000),
        ({"a": ({"b": "x" * 1000},)}, 1_000),
        ({"a": bytearray(1000)}, 1_000),
        ({"x" * 1000: 1}, 1_000),
        (Chunk({"j": np.zeros((10, 7))}, np.arange(10.0)), 640),
    ):
        kept = SessionRecords(Observers({"noting": Noting()}), "s", "m", 0).keep(b"")
        kept.answered(contents) if isinstance(contents, Chunk) else kept.asked(contents, {})
        assert least <= kept.held < least + 1500


@pytest.mark.parametrize("error", [ZeroDivisionError("of its own"), SystemExit(3)], ids=["an error", "an exit"])
def test_an_observer_that_raises_costs_nobody_an_answer(error, caplog, monkeypatch):
    times = iter((0.0, 29.0, 30.0))
    monkeypatch.setattr("offboard_core.engine.observers.monotonic", lambda: next(times))

    async def main():
        bad, good = Noting(3), Noting(3)
        bad.error = error
        async with serving(puppet(Puppet()), observers={"bad": bad, "good": good}) as service:
            session = await open_session(service)
            for i in (1, 2, 3):
                assert (await session.infer(frame(i)))[0].action[0, 0] == i
            await until(bad.come)
            await until(good.come)
        return bad, good, service.observers.counts()

    bad, good, counts = run(main())
    assert counts == {
        "bad": {"seen": 0, "dropped": 0, "failed": 3},
        "good": {"seen": 3, "dropped": 0, "failed": 0},
    }
    assert (bad.closed, good.closed) == (1, 1)
    said = [record.getMessage() for record in caplog.records if "the observer bad" in record.getMessage()]
    assert said == [
        "the observer bad failed; exchanges so far: 1",
        "the observer bad failed; exchanges so far: 3",
        "the observer bad could not be closed",
    ]


def test_at_the_end_an_observer_sees_what_waits_and_is_closed():
    async def main():
        with Door() as door:
            watching = Noting(3)
            watching.door = door
            async with serving(puppet(Puppet()), observers={"noting": watching}) as service:
                session = await open_session(service)
                for i in range(3):
                    await session.infer(frame(i))
                assert watching.records == []
                asyncio.get_running_loop().call_later(0.01, door.open)
            assert len(watching.records) == 3
            assert watching.closed == 1
            await service.observers.close()
            assert watching.closed == 1

    run(main())


def test_the_end_of_a_session_is_told_once_after_its_last_exchange(caplog):
    async def main():
        watching = Noting(3)
        watching.end_error = LookupError("at the end")
        async with serving(puppet(Puppet()), observers={"noting": watching}) as service:
            first, second, silent = [await open_session(service) for _ in range(3)]
            for session in (first, first, second):
                await session.infer(X)
            silent.close()
            first.close()
            first.close()
            await until(watching.come)
        return (first.id, second.id), watching

    (first, second), watching = run(main())
    assert watching.ends == [(first, 3), (second, 3)], "the last one ended with the server"
    assert caplog.text.count("the observer noting failed at the end of a session") == 2
    assert watching.closed == 1


def test_a_session_that_ends_because_the_model_was_lost_is_told_of_that_before_its_end():
    def lose(episode, inputs):
        raise ModelLost("gone")

    async def main():
        watching = Noting()
        async with serving(puppet(Puppet(lose)), observers={"noting": watching}) as service:
            session = await open_session(service)
            session.on_evict(lambda error: session.close())
            await session.infer(X)
            await until(watching.come)
        return session.id, watching

    name, watching = run(main())
    assert [record.error for record in watching.records] == ["model_lost"]
    assert watching.ends == [(name, 1)]


def test_ends_do_not_pile_up_before_an_observer_that_hangs(monkeypatch):
    monkeypatch.setattr("offboard_core.engine.observers.CLOSING", 0.01)

    async def main():
        with Door() as door:
            hangs = Noting(waiting=2)
            hangs.door = door
            async with serving(puppet(Puppet()), observers={"hangs": hangs}) as service:
                for _ in range(20):
                    session = await open_session(service)
                    await session.infer(X)
                    session.close()
                    await asyncio.sleep(0)
                (bounded,) = service.observers._bounded
                # Of one the observer was being told when it hung; two records wait, each with the end of its session.
                assert bounded._queue.qsize() <= 2 * 2 + 1
                assert service.observers.counts()["hangs"]["dropped"] >= 17
            door.open()

    run(main())


def test_an_observer_that_hangs_is_left_behind_at_the_end(monkeypatch, caplog):
    monkeypatch.setattr("offboard_core.engine.observers.CLOSING", 0.01)

    async def main():
        with Door() as door:
            hangs, fine = Noting(1), Noting(3)
            hangs.door = door
            async with serving(puppet(Puppet()), observers={"stuck": hangs, "fine": fine}) as service:
                session = await open_session(service)
                for i in range(3):
                    await session.infer(frame(i))
                await until(door.entered)
                await until(fine.come)
            assert service.observers.counts()["stuck"]["dropped"] == 2
            (thread,) = [one for one in threading.enumerate() if one.name == "offboard-observer-stuck"]
        await asyncio.to_thread(thread.join)
        assert len(hangs.records) == 1, "what waited is not told any more"

    run(main())
    assert "the observer stuck has not ended within 0.01 s and is left behind" in caplog.text


def test_an_observer_that_never_began_is_closed_all_the_same():
    async def main():
        watching = Noting()
        await Observers({"noting": watching}).close()
        assert watching.closed == 1

    run(main())


class Mute(PlainSerializer):
    """Can write nothing, not even an error."""

    def write(self, result, timing, observation, warnings):
        raise LookupError("no form")


def test_errors_and_timeouts_are_told_and_what_nobody_waits_for_is_not():
    async def main():
        watching = Noting(5)
        observers = Observers({"noting": watching})
        observers.start()
        with Door() as door:
            async with Bench(Puppet(doors={3: door})) as bench:
                pipelines = {}
                for name, serializer in {"good": None, "mute": Mute(), "late": None, "gone": None}.items():
                    pipelines[name] = await bench.pipeline(serializer)
                    pipelines[name].records = SessionRecords(observers, name, "m", 0)
                await bench.submit(pipelines["good"], X).reply()
                await bench.submit(pipelines["good"], InvalidAction("not read")).reply()
                await bench.submit(pipelines["mute"], X)._future
                await bench.submit(pipelines["late"], X).reply()
                late, gone = bench.submit(pipelines["late"], frame(9)), bench.submit(pipelines["gone"], X)
                await until(door.entered)
                bench.thread.abandon(gone.exchange)
                bench.thread.expire(0.0)
                await late._future
                door.open()
        await observers.close()
        return watching.records

    found = {(record.session_id, record.number): record for record in run(main())}
    assert {key: record.error for key, record in found.items()} == {
        ("good", 1): None,
        ("good", 2): InvalidAction.code,
        ("mute", 1): InvalidAction.code,
        ("late", 1): None,
        ("late", 2): InferTimeout.code,
    }
    assert found["good", 2].observation is found["good", 2].inputs is None, "it was not read"
    assert found["mute", 1].chunk is not None
    late = found["late", 2]
    assert late.observation["x"].tolist() == [9.0] * 3, "what the model hangs on is what one wants to see"
    assert (late.chunk, late.encode_ms) == (None, None)
    assert late.timing["total_ms"] > 0


@dataclass(frozen=True)
class Options:
    path: str
    every: int = 1


class Offered(Noting):
    made = []

    def __init__(self, options):
        super().__init__()
        self.options = options
        if options.every < 1:
            raise ConfigurationError("every is below 1")
        self.made.append(self)


class Tight(Offered):
    def __init__(self, options):
        super().__init__(options)
        self.waiting_bytes = 0


class Plugin:
    @hookimpl
    def offboard_observers():
        yield ObserverEntry(name="notes", summary="Notes.", factory=Offered, options=Options)
        yield ObserverEntry(name="odd", summary="No observer.", factory=lambda options: [], options=Options)
        yield ObserverEntry(name="tight", summary="Has no room.", factory=Tight, options=Options)


@pytest.fixture
def plugins():
    Offered.made = []
    return Plugins.of(toy=Plugin)


def test_observers_are_made_by_name_with_their_options(plugins):
    found = make_observers(plugins, {"toy.notes": {"path": "here", "every": 2}})
    assert {name: one.options for name, one in found.items()} == {"toy.notes": Options("here", 2)}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"toy.note": {}}, "did you mean toy.notes"),
        ({"toy": {"notes": {}}}, r'; the table of toy.notes in a file is \[observers."toy.notes"\]'),
        ({"toy.notes": {}}, "needs the option path"),
        ({"toy.notes": {"path": "x", "evry": 1}}, "did you mean every"),
        ({"toy.notes": {"path": "x", "every": 0}}, "every is below 1"),
        ({"toy.odd": {"path": "x"}}, "made a list, which is no Observer"),
        ({"toy.tight": {"path": "x"}}, "waiting_bytes of the observer toy.tight is 0; expected a whole number from 1"),
    ],
)
def test_an_observer_that_cannot_be_made_is_an_error_that_leaves_none_open(plugins, asked, said):
    with pytest.raises(ConfigurationError, match=said):
        make_observers(Plugins.of(toy=Plugin, other=Plugin), {"other.notes": {"path": "x"}, **asked})
    assert {one.closed for one in Offered.made} == {1}


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (Noting, "is a ABCMeta"),
        (object(), "is a object"),
        *((Noting(waiting=most), f"waiting of the observer it is {most!r}; expected") for most in NO_ROOM),
        *((Noting(waiting_bytes=most), f"waiting_bytes of the observer it is {most!r}; expected") for most in NO_ROOM),
    ],
)
def test_what_is_no_observer_is_refused(wrong, said):
    with pytest.raises(ConfigurationError, match=said):
        Observers({"it": wrong})


def test_observers_are_named_by_their_class_and_none_like_another():
    class Other(Noting): ...

    one, two, three = Noting(), Noting(), Other()
    assert name_observers([one, two, three]) == {"Noting": one, "Noting-2": two, "Other": three}


def test_an_observer_has_to_say_what_it_does_with_a_record():
    class Idle(Observer): ...

    with pytest.raises(TypeError, match="exchanged"):
        Idle()
