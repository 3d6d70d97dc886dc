"""What a slot does about what the loaded policy says of itself."""

import asyncio
import logging

import pytest
from model_bench import run, run_by_hand
from offboard_client.errors import LoadFailed, ModelLost
from offboard_core import Health
from puppets import Puppet, source
from service_bed import X, open_session, serving
from slot_bed import becomes, bed, turns

LIMIT = 1200.0
RESTARTED = Health("recovering", "its child is being restarted\nand this is the end of its log")


class Patient:
    """A policy whose health a test decides."""

    def __init__(self):
        self.says = Health()
        self.made = 0

    def __call__(self):
        self.made += 1
        return Puppet(health=lambda: self.says)


@pytest.mark.rule("H-5", "S-11")
def test_who_comes_while_it_recovers_waits_and_is_told_why():
    async def main():
        patient = Patient()
        async with bed() as b:
            held = await b.have("x", make=patient)
            patient.says = RESTARTED
            assert not b.slot.ready(), "asked at once, not at the slot's next look"
            assert b.slot.unready() == "x is recovering: its child is being restarted"
            want = b.want("x", make=patient)
            await want.hears("loading", "x is recovering: its child is being restarted (0 s so far)")
            await turns()
            assert want.waits
            assert held.evicted is None, "a session that is open goes on"
            assert b.slot.status()["loaded"]["health"] == {"state": "recovering", "reason": RESTARTED.reason}
            patient.says = Health()
            assert (await want.lease()).replica is held.replica
            assert b.slot.ready()
            assert b.loads == ["x"]

    run(main())


def test_nobody_is_put_out_for_whom_it_recovers():
    async def main():
        patient = Patient()
        async with bed(idle=0.0, linger=LIMIT) as b:
            asleep, away = await b.have("x", make=patient), await b.have("x", make=patient)
            b.slot.linger(away, lambda: None)
            patient.says = RESTARTED
            want = b.want("x", make=patient)
            await want.hears("loading")
            await turns()
            assert (asleep.evicted, away.evicted) == (None, None)
            patient.says = Health()
            await want.lease()

    run(main())


def test_who_wants_another_model_does_not_wait_for_it_to_recover():
    async def main():
        patient = Patient()
        async with bed() as b:
            b.slot.release(await b.have("x", make=patient))
            patient.says = RESTARTED
            first, second, other = b.want("x", make=Puppet), b.want("x", make=Puppet), b.want("y")
            y = await other.lease()
            assert first.waits
            b.slot.release(y)
            assert (await first.lease()).replica is (await second.lease()).replica
            assert b.loads == ["x", "y", "x"]

    run(main())


def test_those_who_wait_for_it_come_first_again_when_it_has_recovered():
    async def main():
        patient = Patient()
        async with bed() as b:
            held = await b.have("x", make=patient)
            patient.says = RESTARTED
            want, other = b.want("x", make=patient), b.want("y")
            await other.hears("waiting", "x is in use by a robot")
            patient.says = Health()
            lease = await want.lease()
            assert other.waits
            b.slot.release(held)
            b.slot.release(lease)
            await other.lease()
            assert b.loads == ["x", "y"]

    run(main())


@pytest.mark.rule("C-7", "S-11")
def test_one_that_has_failed_is_lost_without_being_asked_and_loaded_anew(caplog):
    async def main():
        patient = Patient()
        async with serving(source({"x": patient})) as service:
            session = await open_session(service)
            told = []
            session.on_evict(told.append)
            patient.says = Health("failed", "it died 3 times\nin a row")
            await becomes(lambda: told)
            assert isinstance(told[0], ModelLost)
            assert told[0].text == "it died 3 times\nin a row"
            assert service.slot.unready() == "x has failed: it died 3 times"
            assert service.status()["loaded"]["health"]["state"] == "failed"
            session.close()
            patient.says = Health()
            again = await open_session(service)
            reply, _ = await again.infer(X)
            assert len(reply) == 2
            assert patient.made == 2

    with caplog.at_level(logging.ERROR):
        run(main())
    assert [r.getMessage() for r in caplog.records] == ["x is lost: it died 3 times"]


def test_one_that_fails_while_somebody_waits_for_it_is_loaded_anew_for_him():
    async def main():
        patient = Patient()
        async with bed() as b:
            b.slot.release(await b.have("x", make=patient))
            patient.says = RESTARTED
            want = b.want("x")
            await want.hears("loading", "x is recovering")
            patient.says = Health("failed", "it died for good")
            assert (await want.lease()).replica in b.slot.loaded.replicas
            assert b.loads == ["x", "x"]

    run(main())


@pytest.mark.rule("S-11")
def test_the_wait_for_a_recovery_ends():
    async def main(clock):
        patient = Patient()
        async with bed(load=LIMIT) as b:
            held = await b.have("x", make=patient)
            patient.says = RESTARTED
            wants = [b.want("x"), b.want("x")]
            await wants[1].hears("loading", "x is recovering")
            clock.move(0.7 * LIMIT)
            patient.says = news = Health("recovering", "attempt 2 of 3")
            await becomes(lambda: held.replica.watch.said is news)
            clock.move(0.7 * LIMIT)
            await turns()
            assert not b.slot.ready()
            assert all(want.waits for want in wants), "there was news of it"
            clock.move(0.7 * LIMIT)
            for want in wants:
                with pytest.raises(LoadFailed, match=r"^x has not recovered for 25.. s: attempt 2 of 3$"):
                    await want.lease()
            assert isinstance(held.evicted, ModelLost)
            b.slot.release(held)
            await b.have("x")
            assert b.loads == ["x", "x"]

    run_by_hand(main)


def test_one_that_fails_as_soon_as_it_is_loaded_is_not_loaded_for_ever():
    async def main():
        patient = Patient()
        patient.says = Health("failed", "the device is gone")
        async with bed() as b:
            with pytest.raises(LoadFailed, match="x was loaded, and has failed since: the device is gone"):
                await b.have("x", make=patient)
            assert b.loads == ["x"]
            patient.says = Health()
            await b.have("x", make=patient)

    run(main())


def test_one_that_recovers_as_soon_as_it_is_loaded_is_waited_for():
    async def main():
        patient = Patient()
        patient.says = RESTARTED
        async with bed() as b:
            want = b.want("x", make=patient)
            await want.hears("loading", "x is recovering")
            patient.says = Health()
            await want.lease()
            assert b.loads == ["x"]

    run(main())


def raises(error):
    def ask():
        raise error

    return ask


class Unspeakable(Exception):
    def __str__(self):
        raise ValueError


@pytest.mark.parametrize(
    "ask",
    [raises(KeyError("h")), raises(SystemExit(3)), raises(asyncio.CancelledError()), raises(Unspeakable()),
     lambda: None, lambda: "failed", lambda: True, lambda: Health("fine")],
)  # fmt: skip
def test_a_health_that_is_none_harms_nobody(ask, caplog):
    async def main():
        async with serving(source({"x": lambda: Puppet(health=ask), "y": Puppet})) as service:
            session = await open_session(service)
            await open_session(service)
            assert service.slot.ready()
            for _ in range(3):
                assert len((await session.infer(X))[0]) == 2
            assert service.status()["loaded"]["health"] == {"state": "ready", "reason": ""}
            for one in list(service.sessions.values()):
                one.close()
            await open_session(service, "y")

    run(main())
    (record,) = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert record.getMessage().startswith("health() of x ")
    assert record.getMessage().endswith("it is taken for ready")


def test_a_long_or_odd_reason_is_shown_as_one_short_line():
    async def main():
        async with bed() as b:
            says = [Health("recovering", "\x1b]0;owned\x07" + 10_000 * "x"), Health("recovering", 7)]  # type: ignore[arg-type]
            patient = Patient()
            held = await b.have("x", make=patient)
            for patient.says in says:
                text = b.slot.unready()
                assert text.isprintable()
                assert len(text) < 350
            patient.says = Health()
            b.slot.release(held)

    run(main())
