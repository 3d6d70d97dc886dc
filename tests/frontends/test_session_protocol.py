"""PROTOCOL sections 3 to 5 without a socket: a session is driven by two callbacks and what its driver tells it."""

import asyncio
import logging
from contextlib import asynccontextmanager

import pytest
from model_bench import run
from offboard_client import wire
from offboard_client.errors import BadObservation
from offboard_client.wire import WireLimits
from offboard_core.frontends import Edge, EdgeConnection
from offboard_core.frontends.v1 import V1
from offboard_core.frontends.websocket import SessionProtocol
from puppets import PATIENCE, Door, Puppet, source
from service_bed import serving
from slot_bed import becomes, turns

X = wire.encode({"x": 1})
PING = wire.encode({"type": "ping"})


class Told(EdgeConnection):
    """A frontend's connection that counts its status frames."""

    statuses = 0

    def status(self, status):
        self.statuses += 1
        return super().status(status)


class Connection:
    """The least that a driver is. ``full``: it takes one frame and no more, until it is told to go on."""

    def __init__(self, *, full=False, query=b""):
        scope = {"path": "/api/v1/session", "query_string": query, "headers": []}
        self.sent, self.closed, self.full = [], None, full
        self.frontend = Told(V1().connect(scope), Edge())
        self.protocol = SessionProtocol(self.frontend, self.send, self.close)

    def send(self, frame):
        assert self.closed is None
        self.sent.append(wire.decode(frame))
        if self.full:
            self.protocol.pause_writing()

    def close(self, code, reason):
        assert self.closed is None
        self.closed = (code, reason)

    def said(self):
        return [frame.get("status") or frame.get("code") or "result" for frame in self.sent]

    async def gone(self, code):
        self.protocol.disconnected(code)
        await self.protocol.wait_closed()


@asynccontextmanager
async def connected(service, **options):
    one = Connection(**options)
    one.protocol.connected(service, "a test")
    try:
        yield one
    finally:
        await one.gone(1000)


def test_an_observation_goes_in_and_its_reply_comes_out():
    async def main():
        async with serving(source({"a": Puppet})) as service, connected(service) as one:
            one.protocol.received(X)
            await becomes(lambda: one.said()[-2:] == ["ready", "result"])
            assert not one.protocol.owes
            assert list(service.sessions) == [one.sent[-2]["session_id"]]
            await one.gone(1000)
            assert one.closed is None
            assert not service.sessions

    run(main())


@pytest.mark.rule("L-12")
def test_a_driver_that_takes_no_more_is_given_no_more_and_then_the_rest_in_order():
    async def main():
        policy = Puppet()
        async with serving(source({"a": lambda: policy})) as service, connected(service) as one:
            await becomes(lambda: "ready" in one.said())
            one.full, one.sent[:] = True, []
            for frame in (PING, X, PING):
                one.protocol.received(frame)
            await becomes(lambda: policy.batches)
            await next(iter(service.sessions.values())).ping()
            assert one.said() == ["pong"]
            assert one.protocol.owes
            one.protocol.resume_writing()
            await becomes(lambda: one.said() == ["pong", "result"])
            one.protocol.resume_writing()
            await becomes(lambda: one.said() == ["pong", "result", "pong"])
            assert one.protocol.owes, "the last one has not been taken yet"
            one.protocol.resume_writing()
            assert not one.protocol.owes

    run(main())


def test_who_reads_nothing_and_goes_on_asking_is_closed_when_the_driver_can():
    async def main():
        async with serving(source({"a": Puppet})) as service, connected(service) as one:
            await becomes(lambda: "ready" in one.said())
            (session,), before = service.sessions.values(), len(one.sent)
            one.protocol.pause_writing()
            for _ in range(100):
                one.protocol.received(PING)
                await session.ping()
            assert one.closed is None
            assert len(one.sent) == before
            one.protocol.resume_writing()
            assert one.closed == (1008, "too many frames without waiting for replies")
            assert 64 <= len(one.sent) - before <= 65, "one was on its way"

    run(main())


def test_who_floods_while_a_model_loads_is_closed_at_once_and_waits_for_it_no_more():
    async def main():
        with Door() as door:

            def slowly():
                door.passing()
                return Puppet()

            async with serving(source({"a": slowly})) as service, connected(service) as one:
                await becomes(lambda: service.slot.status()["waiting"])
                one.protocol.received(X)
                assert not one.protocol.owes, "there is no session whose answer could be waited for"
                for _ in range(70):
                    one.protocol.received(PING)
                assert one.closed == (1008, "too many frames without waiting for replies")
                await one.gone(1008)
                await becomes(lambda: not service.slot.status()["waiting"])
                door.open()

    run(main())


def test_in_a_protocol_without_numbers_an_answer_that_has_not_left_is_not_sent_to_who_goes_on():
    """It would be taken for the answer to what came then."""

    async def main():
        async with serving(source({"a": Puppet})) as service, connected(service) as one:
            await becomes(lambda: "ready" in one.said())
            one.frontend.answer_within, one.sent[:] = PATIENCE, []
            one.protocol.pause_writing()
            one.protocol.received(X)
            await becomes(lambda: service.stats.outcomes["ok"])
            await turns()
            one.protocol.received(X)
            one.protocol.resume_writing()
            assert one.said() == []
            assert one.closed == (1008, "busy: a frame came before the answer to the last one")

    run(main())


def test_nor_after_its_client_was_told_that_there_is_none():
    async def main():
        with Door() as door:
            policy = Puppet(doors={0: door})
            async with serving(source({"a": lambda: policy})) as service, connected(service) as one:
                await becomes(lambda: "ready" in one.said())
                one.frontend.answer_within, one.sent[:] = 0.02, []
                one.protocol.pause_writing()
                one.protocol.received(X)
                await becomes(lambda: one.protocol._outbox)
                door.open()
                await becomes(lambda: service.stats.outcomes["ok"])
                await turns()
                one.protocol.resume_writing()
                assert one.said() == ["timeout"]
                assert one.closed == (1008, "timeout")

    run(main())


def test_who_was_answered_in_time_is_not_told_later_that_it_was_not():
    async def main():
        async with serving(source({"a": Puppet})) as service, connected(service) as one:
            await becomes(lambda: "ready" in one.said())
            loop, timers = asyncio.get_running_loop(), []
            later = loop.call_later

            def noted(delay, *more, **settings):
                timer = later(delay, *more, **settings)
                if delay == one.frontend.answer_within:
                    timers.append(timer)
                return timer

            loop.call_later, one.frontend.answer_within = noted, 7.0 * PATIENCE
            for frame in (X, PING):
                one.protocol.received(frame)
                await becomes(lambda frame=frame: one.said()[-1] == ("result" if frame is X else "pong"))
            assert [timer.cancelled() for timer in timers] == [True, True]

    run(main())


def test_who_was_told_that_its_model_is_not_there_may_ask_again():
    async def main():
        policy = Puppet()
        with Door() as door:

            def slowly():
                door.passing()
                return policy

            async with serving(source({"a": slowly})) as service, connected(service) as one:
                await becomes(lambda: service.slot.status()["waiting"])
                one.frontend.answer_within = 0.02
                one.protocol.received(X)
                await becomes(lambda: "timeout" in one.said())
                one.frontend.answer_within = PATIENCE
                door.open()
                await becomes(lambda: "ready" in one.said())
                one.protocol.received(wire.encode({"x": 2}))
                await becomes(lambda: one.said()[-1] == "result")
                assert [seen["x"] for seen in policy.episodes[0].seen] == [2], "the first was given up"

    run(main())


def test_a_session_that_comes_after_the_close_is_nobodys():
    async def main():
        with Door() as door:

            def slowly():
                door.passing()
                return Puppet()

            async with serving(source({"a": slowly})) as service, connected(service) as one:
                await becomes(lambda: service.slot.status()["waiting"])
                one.protocol.going_away()
                assert one.closed == (1012, "shutting_down")
                door.open()
                await becomes(lambda: service.stats.sessions_opened)
                assert not service.sessions
                assert "ready" not in one.said()

    run(main())


@pytest.mark.rule("S-6", "S-7")
def test_who_is_slow_to_read_is_told_how_it_stands_and_not_how_it_stood():
    async def main():
        with Door() as door:

            def slowly():
                door.passing()
                return Puppet()

            async with serving(source({"a": slowly, "b": Puppet})) as service, connected(service) as one:
                one.protocol.pause_writing()
                await becomes(lambda: one.frontend.statuses > 2)
                door.open()
                await becomes(lambda: service.sessions)
                assert one.sent == []
                one.protocol.resume_writing()
                assert one.said() == ["loading", "ready"]

    run(main())


@pytest.mark.rule("C-2", "C-3")
@pytest.mark.parametrize(("code", "lingers"), [(1000, False), (1001, False), (1005, True), (1006, True)])
def test_a_robot_whose_network_failed_may_come_back_for_its_session(code, lingers):
    async def main():
        async with serving(source({"a": Puppet})) as service, connected(service) as one:
            await becomes(lambda: "ready" in one.said())
            await one.gone(code)
            assert bool(service.sessions) == lingers
            async with connected(service, query=f"session_id={one.sent[-1]['session_id']}".encode()) as again:
                await becomes(lambda: "ready" in again.said())
                assert (again.sent[-1]["session_id"] == one.sent[-1]["session_id"]) == lingers

    run(main())


@pytest.mark.rule("L-5")
def test_who_is_gone_before_its_session_is_there_leaves_nothing():
    async def main():
        async with serving(source({"a": Puppet})) as service:
            for count in range(8):
                one = Connection()
                one.protocol.connected(service, "a test")
                await turns(count)
                await one.gone(1000)
                assert not service.sessions, count
                assert service.slot.loaded is None or not service.slot.loaded.leases, count
                one.protocol.disconnected(1006)
                one.protocol.received(X)

    run(main())


def test_what_the_model_answers_after_the_client_has_left_is_sent_to_nobody():
    async def main():
        with Door() as door:
            policy = Puppet(doors={0: door})
            async with serving(source({"a": lambda: policy})) as service, connected(service) as one:
                await becomes(lambda: "ready" in one.said())
                one.protocol.received(X)
                one.protocol.received(PING)
                await becomes(door.entered.is_set)
                await one.gone(1000)
                door.open()
                async with connected(service) as other:
                    other.protocol.received(X)
                    await becomes(lambda: "result" in other.said())
                assert one.said()[-1] == "ready"

    run(main())


@pytest.mark.rule("S-9")
def test_a_refusal_is_said_and_then_closed():
    async def main():
        async with serving(source({"a": Puppet})) as service:
            async with connected(service) as one:
                await becomes(lambda: "ready" in one.said())
            async with connected(service, query=b"speed=1", full=True) as one:
                await becomes(lambda: one.sent)
                assert one.said() == ["error"]
                assert one.closed is None
                one.protocol.resume_writing()
                assert one.closed == (1008, "bad_parameter")
                assert not service.sessions

    run(main())


def oops(*arguments):
    raise RuntimeError("oops")


@pytest.mark.parametrize("early", [False, True])
@pytest.mark.parametrize("frames", [(wire.encode({"type": "nonsense"}), X), (X, X, X)], ids=["control", "busy"])
def test_a_protocol_that_cannot_tell_an_error_ends_its_session_and_nobody_waits_for_ever(frames, early, caplog):
    async def main():
        async with serving(source({"a": Puppet})) as service, connected(service) as one:
            one.frontend.error = oops
            if not early:
                await becomes(lambda: "ready" in one.said())
            for frame in frames:
                one.protocol.received(frame)
            await becomes(lambda: one.closed)
            assert one.closed == (1008, "internal")
            assert "oops" in caplog.text

    run(main())


def logged(caplog):
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def test_the_log_says_once_why_a_robot_got_no_action(caplog):
    """And once of each reason."""

    async def main():
        async with serving(source({"a": Puppet})) as service, connected(service) as one:
            await becomes(lambda: "ready" in one.said())
            for frames in ([b"junk"], [X], [b"junk"], [X, X], [wire.encode({"type": "nonsense"})]):
                many = len(one.sent) + len(frames)
                for frame in frames:
                    one.protocol.received(frame)
                await becomes(lambda many=many: len(one.sent) == many)

    run(main())
    told = [line.partition(":")[0] for line in logged(caplog)]
    assert told == ["a test was answered bad_message", "a test was answered busy"]


def test_the_log_says_why_the_server_ends_a_session(caplog):
    async def main():
        async with serving(source({"a": Puppet})) as service, connected(service) as one:
            await becomes(lambda: "ready" in one.said())
            one.protocol.received(bytes(WireLimits().message_bytes + 1))
            assert one.closed
        async with serving(source({"a": Puppet})) as service, connected(service, query=b"model=b") as one:
            await becomes(lambda: one.closed)
        async with serving(source({"a": Puppet})) as service, connected(service) as one:
            await becomes(lambda: "ready" in one.said())

    run(main())
    ends, refused = logged(caplog)
    assert ends == f"the session of a test ends: a message is at most {WireLimits().message_bytes:,} bytes"
    assert refused.startswith("refused a session of a test: ")


def test_a_protocol_that_cannot_tell_a_refusal_is_closed(caplog):
    async def main():
        async with serving(source({"a": Puppet})) as service:
            one = Connection(query=b"speed=1")
            one.frontend.refusal = oops
            one.protocol.connected(service, "a test")
            await becomes(lambda: one.closed)
            assert one.closed == (1008, "internal")
            assert "oops" in caplog.text
            await one.gone(1008)

    run(main())


def test_an_observation_for_which_the_model_need_not_be_asked_is_answered_in_its_turn():
    async def main():
        with Door() as door:
            policy, kept = Puppet(doors={0: door}), [wire.encode({"code": "kept"})]
            async with serving(source({"a": lambda: policy})) as service, connected(service) as one:
                one.frontend.answers_alone = True
                one.frontend.without_model = lambda frame: kept.pop() if policy.batches and kept else None
                await becomes(lambda: "ready" in one.said())
                one.sent[:] = []
                one.protocol.received(X)
                await becomes(door.entered.is_set)
                one.protocol.received(X)  # before its turn, whoever would have answered it
                door.open()
                await becomes(lambda: one.said() == ["result", "busy"])
                one.protocol.received(X)
                assert one.said() == ["result", "busy", "kept"]
                assert not one.protocol.owes
                one.protocol.received(X)
                await becomes(lambda: one.said() == ["result", "busy", "kept", "result"])
                assert len(policy.batches) == 2

    run(main())


@pytest.mark.parametrize(
    ("fault", "code"), [(BadObservation("not this one"), "bad_observation"), (OSError(), "internal")]
)
def test_one_that_cannot_be_answered_without_the_model_is_told_why_and_the_session_goes_on(fault, code):
    async def main():
        faults = [fault]

        def fail(frame):
            if faults:
                raise faults.pop()

        async with serving(source({"a": Puppet})) as service, connected(service) as one:
            one.frontend.answers_alone = True
            one.frontend.without_model = fail
            await becomes(lambda: "ready" in one.said())
            one.sent[:] = []
            one.protocol.received(X)
            assert one.said() == [code]
            one.protocol.received(X)
            await becomes(lambda: one.said() == [code, "result"])

    run(main())


def test_a_control_frame_that_its_protocol_does_not_answer_holds_up_nothing():
    async def main():
        async with serving(source({"a": Puppet})) as service, connected(service) as one:
            one.frontend.answer = unanswered
            await becomes(lambda: "ready" in one.said())
            one.sent[:] = []
            for frame in (PING, PING, X):
                one.protocol.received(frame)
            await becomes(lambda: one.said() == ["result"])

    run(main())


async def unanswered(frame, session):
    return None
