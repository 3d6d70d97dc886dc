"""Policies as people write them: with buffers of their own, with errors that cannot be told, with odd declarations."""

from dataclasses import dataclass

import numpy as np
import pytest
from model_bench import Bench, run, until
from offboard_client import wire
from offboard_client.plugins import changeable
from offboard_client.wire import error_frame
from offboard_core import Chunk, Control, Item, LoadFailed, OffboardError, Policy, PolicyFailed, Session
from offboard_core.engine import ModelSpec
from puppets import Door, PlainSerializer, Puppet, count_up
from slot_bed import Want, bed, turns


class Untold(Exception):
    def __str__(self):
        raise RuntimeError("no text either")


class Mistold(BaseException):
    def __str__(self):
        return 5  # noqa: PLE0307


@dataclass(frozen=True)
class Unresolved:
    gain: "Nowhere" = 1  # noqa: F821


@dataclass(frozen=True)
class Refusing:
    gain: float = 0.0

    def __post_init__(self):
        raise KeyError("gain")


@dataclass(frozen=True)
class NotPlain:
    gain: object = changeable(np.float32(1))


def saying(**declared):
    return {"controls": {"say": Control(**{"summary": "Says.", "run": print, **declared})}}


class Written(PlainSerializer):
    def write(self, result, timing, observation, warnings):
        return (result.columns()["action"].tolist(), result.timestamp.tolist()), dict(timing)


def raising(make):
    def answer(*_):
        raise make()

    return answer


#: Errors whose text cannot be had, or is longer than any message.
ODD_ERRORS = {"untold": Untold, "mistold": Mistold, "leaving": SystemExit, "long": lambda: ValueError("x" * 40_000_000)}
odd_errors = pytest.mark.parametrize("make", ODD_ERRORS.values(), ids=ODD_ERRORS)


@pytest.mark.rule("R-26")
def test_an_answer_is_what_it_was_when_it_was_given(monkeypatch):
    monkeypatch.setattr("offboard_core.engine.model_thread.WORTH_OVERLAPPING", 0.0)
    buffer, times = np.zeros((2, 3)), np.zeros(2)

    def into_the_same_memory(episode, inputs):
        buffer[:], times[:] = inputs["x"][0], inputs["x"][0] + np.arange(2)
        return Chunk({"action": buffer}, times)

    async def main():
        with Door() as first_call, Door() as writing:
            async with Bench(Puppet(into_the_same_memory, doors={0: first_call})) as bench:
                for _ in range(2):  # whoever would write replies beside the model is held up
                    bench.thread._translators.submit(writing.passing)
                first, second = await bench.pipeline(Written()), await bench.pipeline(Written())
                one = bench.submit(first, {"x": np.array([1.0])})
                await until(first_call.entered)
                other = bench.submit(second, {"x": np.array([2.0])})
                await turns()  # it stands in the queue now
                first_call.open()
                theirs, _ = await other.reply()
                writing.open()
                mine, _ = await one.reply()
                assert theirs == ([[2.0] * 3] * 2, [2.0, 3.0])
                assert mine == ([[1.0] * 3] * 2, [1.0, 2.0])

    run(main())


@pytest.mark.rule("R-26")
def test_sessions_of_a_batch_may_answer_from_one_buffer():
    buffer = np.zeros((2, 3))

    class Sharing(Session):
        def infer(self, inputs, context):
            buffer[:] = inputs["x"]
            return Chunk(buffer)

    results = Policy.infer_many(Puppet(), [Item(Sharing(), {"x": 1.0}), Item(Sharing(), {"x": 2.0})])
    assert [result.action[0, 0] for result in results] == [1.0, 2.0]


@odd_errors
@pytest.mark.parametrize("where", ["answer", "infer_many", "batch_key"])
def test_an_error_that_cannot_be_told_is_answered_at_once(where, make):
    async def main():
        with Door() as door:
            policy = Puppet(max_batch_size=4, doors={0: door})
            async with Bench(policy) as bench:
                pipelines = await bench.pipelines(3)
                bench.submit(pipelines[0], {"x": np.zeros(3)})
                await until(door.entered)
                setattr(policy, where, raising(make))
                asked = [bench.submit(pipeline, {"x": np.zeros(3)}) for pipeline in pipelines[1:]]
                door.open()
                for one in asked:
                    result, _ = await one.reply()
                    assert isinstance(result, PolicyFailed)
                    assert type(make()).__name__ in result.text
                    assert len(wire.encode(error_frame(result))) < 2**17

    run(main())


def test_a_batch_that_fails_with_an_error_of_the_policys_own_is_answered():
    class Own(OffboardError):
        def __init__(self, number, text):
            super().__init__(f"{text} {number}")

    async def main():
        with Door() as door:
            policy = Puppet(max_batch_size=4, doors={0: door})
            async with Bench(policy) as bench:
                pipelines = await bench.pipelines(3)
                asked = [bench.submit(pipelines[0], {"x": np.zeros(3)})]
                await until(door.entered)
                asked += [bench.submit(pipeline, {"x": np.zeros(3)}) for pipeline in pipelines[1:]]
                policy.infer_many = raising(lambda: Own(5, "cannot"))
                door.open()
                for one in asked[1:]:
                    result, _ = await one.reply()
                    assert "cannot 5" in result.text

    run(main())


@odd_errors
@pytest.mark.parametrize("what", ["load", "close", "new_session", "reset"])
def test_an_error_that_cannot_be_told_harms_nobody_else(what, make):
    async def main():
        async with bed() as b:
            policy = Puppet()
            setattr(policy, what, raising(make))
            if what == "load":
                with pytest.raises(LoadFailed) as failed:
                    await b.have("odd", make=raising(make))
                assert type(make()).__name__ in failed.value.text
                assert len(failed.value.text) < 2**17
            else:
                lease = await b.have("odd", make=lambda: policy)
                if what != "close":
                    with pytest.raises(PolicyFailed, match=type(make()).__name__):
                        await lease.replica.executor.call(lambda: getattr(policy, what)(None), 60, "a call")
                b.slot.release(lease)
            assert (await b.have("next")).replica.label == "next"

    run(main())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"max_batch_size": 0}, "max_batch_size is 0"),
        ({"max_batch_size": "8"}, "max_batch_size is '8'"),
        ({"max_batch_size": True}, "max_batch_size is True"),
        ({"max_sessions": 0}, "max_sessions is 0"),
        ({"max_sessions": "one"}, "max_sessions is 'one'"),
        ({"params": dict}, "params is"),
        ({"meta": {"device": np.zeros(2)}}, "meta"),
        ({"meta": {"loss": float("nan")}}, "meta"),
        ({"meta": 5}, "meta"),
        ({"params": Unresolved}, "types of the options of the policy are not there: NameError"),
        ({"params": Refusing}, "the policy cannot be given its options: KeyError: 'gain'"),
        ({"params": NotPlain}, "the control configure has no place in the handshake: 'gain' is of type float32"),
        ({"controls": None}, "controls, or its params, cannot be read (AttributeError"),
        ({"controls": ["say"]}, "controls, or its params, cannot be read (AttributeError"),
        ({"controls": {"Reset Me": Control(summary="s", run=print)}}, "calls a control 'Reset Me'"),
        ({"controls": {"say": print}}, "control say is no Control with a dataclass"),
        (saying(answers=None), "control say cannot be described (TypeError"),
        (saying(answers={"a": 1}), "no client takes what the policy declares of the control say"),
        (saying(summary=None), "no client takes what the policy declares of the control say"),
        (saying(summary="s" * 5000), "no client takes what the policy declares of the control say"),
        (saying(params=Unresolved), "control say cannot be described (NameError"),
        (saying(params=NotPlain), "control say has no place in the handshake"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, str) else None,
)
def test_an_odd_declaration_fails_the_load_and_is_named(changes, said):
    made = []

    def make():
        policy = Puppet(count_up)
        for name, value in changes.items():
            setattr(policy, name, value)
        made.append(policy)
        return policy

    async def main():
        async with bed() as b:
            with pytest.raises(LoadFailed) as failed:
                await b.have("odd", make=make)
            assert said in failed.value.text
            assert (await b.have("next")).replica.label == "next"
            await until(made[0].closed)

    run(main())


@pytest.mark.parametrize("made", [None, "a policy", Policy], ids=["None", "a text", "a class"])
def test_a_loader_that_makes_no_policy_fails_the_load(made):
    async def main():
        async with bed() as b:
            with pytest.raises(LoadFailed, match="expected a Policy"):
                await b.have("odd", make=lambda: made)

    run(main())


@pytest.mark.parametrize(
    ("said", "shown"), [(None, "None"), (5, "5"), (b"bytes", "b'bytes'"), ("\udcff", r"\udcff")], ids=ascii
)
def test_whatever_a_loader_reports_is_shown(said, shown):
    async def main():
        with Door() as door:

            def load(report, place):
                report(said)
                door.passing()
                return Puppet()

            async with bed() as b:
                want = Want(b.slot, ModelSpec(("test", "odd"), "odd", load), "a robot")
                await until(door.entered)
                await want.hears("loading", f"loading odd: {shown}")
                door.open()
                await want.lease()

    run(main())
