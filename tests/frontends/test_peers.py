"""Sessions of clients without a connection: by identity, one message at a time, ended after silence."""
# ruff: noqa: ASYNC110 (the clock stands still, and a turn of the loop costs nothing)

import asyncio
import contextlib
import json
import logging

import numpy as np
import pytest
from offboard_client.errors import BadMessage, LoadFailed, ModelLost, OffboardError
from offboard_core.frontends import Admission, Peer, PeerConnection, PeerSessions
from puppets import PATIENCE, Door, Puppet, reached, source
from service_bed import serving
from slot_bed import becomes

X = b"1"

pytestmark = pytest.mark.timeout(PATIENCE)


class Serializer:
    def read(self, frame):
        if frame != X:
            raise BadMessage(f"what is {frame[:9]!r}?")
        return {"x": np.ones(1)}, []

    def write(self, result, timing, observation, warnings):
        if isinstance(result, OffboardError):
            return told(result)
        return {"answer": float(result.columns()["action"][0, 0])}


def told(error):
    return {"code": error.code, "text": error.text}


class Connection(PeerConnection):
    def __init__(self, model_id=None, status=None):
        self.model_id, self.said = model_id, status

    def serializer(self, codec):
        return Serializer()

    def error(self, error, frame):
        return told(error)

    def status(self, status):
        return self.said

    def is_control(self, frame):
        return frame == b"reset"

    async def answer(self, frame, session):
        await session.reset()
        return {"answer": "reset"}


def peer(number=1, token=None):
    return Peer("pigeon", f"pigeon {number}", token, "put it on the leg")


class Clock:
    """The loop's own, which goes on when the test says so."""

    def __init__(self, loop):
        self._now, self._loop = loop.time(), loop
        loop.time = lambda: self._now

    def stop(self):
        """It is the loop's own again, and what takes a while ends."""
        del self._loop.time

    async def go(self, seconds):
        self._now += seconds
        for _ in range(3):
            await asyncio.sleep(0)


def run(main, makes=None, silence=100.0, connect=None, **admission):
    """``main(sessions, service, clock)`` with sessions on puppets."""

    async def served():
        async with serving(source(makes or {"a": Puppet})) as service:
            clock = Clock(asyncio.get_running_loop())
            found = PeerSessions(
                service, Admission(service, **admission), connect or (lambda peer: Connection()), silence=silence
            )
            try:
                await main(found, service, clock)
            finally:
                clock.stop()
                await found.close()
                assert len(found) == 0

    asyncio.run(served())


async def at(event):
    await asyncio.get_running_loop().run_in_executor(None, reached, event)


@pytest.mark.rule("T-1")
def test_each_client_has_a_session_of_its_own():
    policy = Puppet(max_batch_size=8)

    async def main(sessions, service, clock):
        for count in (1, 2, 3):
            answers = await asyncio.gather(*(sessions.ask(peer(number), X) for number in range(8)))
            assert answers == [{"answer": count}] * 8
        assert len(policy.episodes) == len(service.sessions) == len(sessions) == 8
        holders = [holder["client"] for holder in service.status()["holders"]]
        assert sorted(holders) == [f"pigeon {number} (pigeon)" for number in range(8)]
        assert await sessions.ask(peer(3), b"reset") == {"answer": "reset"}
        assert await sessions.ask(peer(3), X) == {"answer": 1}
        assert await sessions.ask(peer(4), X) == {"answer": 4}

    run(main, {"a": lambda: policy})


@pytest.mark.rule("T-2")
def test_a_message_before_the_answer_is_busy_and_a_flood_is_told_nothing(door):
    async def main(sessions, service, clock):
        first = asyncio.ensure_future(sessions.ask(peer(), X))
        await at(door.entered)
        codes = [(await sessions.ask(peer(), X) or {}).get("code") for _ in range(100)]
        assert codes == ["busy"] * 10 + [None] * 90
        await clock.go(0.5)
        assert [(await sessions.ask(peer(), X) or {}).get("code") for _ in range(6)] == ["busy"] * 5 + [None]
        door.open()
        assert await first == {"answer": 1}
        for count in range(2, 200):  # who waits for its answers is never too fast
            assert await sessions.ask(peer(), X) == {"answer": count}

    run(main, {"a": lambda: Puppet(doors={0: door})}, message_rate=10)


@pytest.mark.rule("T-2")
@pytest.mark.parametrize("frame", [b"", b"\xc1" * 99, b"x" * (2**25 + 1)], ids=["nothing", "garbage", "huge"])
def test_garbage_is_answered_and_the_session_goes_on(frame, caplog):
    policy = Puppet()

    async def main(sessions, service, clock):
        assert await sessions.ask(peer(), X) == {"answer": 1}
        for _ in range(2):
            assert (await sessions.ask(peer(), frame))["code"] == "bad_message"
        (line,) = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
        assert " was answered bad_message: " in line
        assert await sessions.ask(peer(), X) == {"answer": 2}
        assert len(policy.episodes) == 1

    run(main, {"a": lambda: policy})


@pytest.mark.rule("T-3")
def test_the_token_is_asked_for_with_each_message():
    policy = Puppet()

    async def main(sessions, service, clock):
        for token in (None, "", "wrong"):
            refused = await sessions.ask(peer(token=token), X)
            assert refused["code"] == "unauthorized"
            assert refused["text"].endswith(" wants: put it on the leg" if token else ": put it on the leg")
        assert not policy.episodes
        assert await sessions.ask(peer(token="right"), X) == {"answer": 1}
        assert (await sessions.ask(peer(token="wrong"), X))["code"] == "unauthorized"
        assert await sessions.ask(peer(token="right"), X) == {"answer": 2}
        assert service.stats.refused == {"unauthorized": 4}

    run(main, {"a": lambda: policy}, token="right")


@pytest.mark.rule("T-3")
def test_a_flood_of_strangers_is_told_nothing_and_keeps_nobody_out(caplog):
    async def main(sessions, service, clock):
        replies = [await sessions.ask(peer(number, "wrong"), X) for number in range(1000)]
        assert [reply["code"] for reply in replies[:10]] == ["unauthorized"] * 10
        assert replies[10:] == [None] * 990
        assert len(caplog.records) <= 10
        assert await sessions.ask(peer(1, "right"), X) == {"answer": 1}

    run(main, token="right", message_rate=10)


@pytest.mark.rule("T-3")
def test_a_flood_of_messages_whose_session_cannot_be_opened_is_counted_and_fills_no_log(caplog):
    class Wrong(Connection):
        def bridge(self, codec):
            raise RuntimeError("oops")

    connections = {"pigeon 1": Connection("none"), "pigeon 2": Wrong()}

    async def main(sessions, service, clock):
        for number, code in ((1, "model_not_found"), (2, "internal")):
            for _ in range(100):
                assert (await sessions.ask(peer(number), X))["code"] == code
        assert service.stats.refused == {"model_not_found": 100, "internal": 100}
        told = [record for record in caplog.records if record.levelno >= logging.WARNING]
        assert [record.getMessage().split(":")[0] for record in told] == [
            f"refused a session of pigeon {number} (pigeon)" for number in (1, 2)
        ]
        assert "oops" in caplog.text, "and why ours failed"

    run(main, connect=lambda peer: connections[peer.identity])


@pytest.mark.rule("H-15")
def test_clients_that_come_at_once_begin_one_in_a_turn_of_the_loop():
    opening = []

    class Opens(Connection):
        def bridge(self, codec):
            opening.append(1)
            return codec

    async def main(sessions, service, clock):
        assert await sessions.ask(peer(0), X) == {"answer": 1}  # the model is there
        waits = [asyncio.ensure_future(sessions.ask(peer(number), X)) for number in range(1, 9)]
        before, most = len(opening), 0
        while not all(one.done() for one in waits):
            await asyncio.sleep(0)
            most, before = max(most, len(opening) - before), len(opening)
        assert [one.result() for one in waits] == [{"answer": 1}] * 8
        assert most == 1

    run(main, connect=lambda peer: Opens())


@pytest.mark.rule("T-3")
def test_the_places_are_those_of_the_server():
    async def main(sessions, service, clock):
        for number in (1, 2):
            assert await sessions.ask(peer(number), X) == {"answer": 1}
        assert (await sessions.ask(peer(3), X))["code"] == "full"
        sessions.end("pigeon 1")
        sessions.end("nobody")
        assert await sessions.ask(peer(3), X) == {"answer": 1}
        await clock.go(61)
        assert await sessions.ask(peer(2), X) == {"answer": 2}
        assert await sessions.ask(peer(4), X) == {"answer": 1}  # in the place of 3, which was silent for a minute
        assert await sessions.ask(peer(2), X) == {"answer": 3}
        await clock.go(61)
        assert await sessions.ask(peer(3), X) == {"answer": 1}, "it begins anew"
        assert len(sessions) == len(service.sessions) == 2

    run(main, max_sessions=2)


@pytest.mark.rule("T-4")
def test_a_session_ends_after_silence_and_the_next_message_opens_another():
    policy = Puppet()

    async def main(sessions, service, clock):
        assert await sessions.ask(peer(1), X) == {"answer": 1}
        assert await sessions.ask(peer(2), X) == {"answer": 1}
        await clock.go(99)
        assert await sessions.ask(peer(2), X) == {"answer": 2}
        await clock.go(2)
        assert len(sessions) == len(service.sessions) == 1
        await at(policy.episodes[0].closed)
        assert await sessions.ask(peer(1), X) == {"answer": 1}
        assert await sessions.ask(peer(2), X) == {"answer": 3}

    run(main, {"a": lambda: policy})


@pytest.mark.rule("T-4")
def test_who_waits_for_an_answer_is_not_silent(door):
    async def main(sessions, service, clock):
        waits = asyncio.ensure_future(sessions.ask(peer(), X))
        await at(door.entered)
        for _ in range(5):
            await clock.go(3)
        assert len(sessions) == 1
        door.open()
        assert await waits == {"answer": 1}
        assert await sessions.ask(peer(), X) == {"answer": 2}
        await clock.go(3)
        assert len(sessions) == 0

    run(main, {"a": lambda: Puppet(doors={0: door})}, silence=2.0)


@pytest.mark.rule("T-4")
def test_who_waits_for_the_model_is_told_so_and_keeps_its_place_if_it_asks_again(door):
    def load():
        door.passing()
        return Puppet()

    async def main(sessions, service, clock):
        waits, gone = (asyncio.ensure_future(sessions.ask(peer(number), X)) for number in (1, 2))
        await at(door.entered)
        await clock.go(101)
        for reply in await asyncio.gather(waits, gone):
            assert reply["code"] == "timeout"
            assert "not there after 100 s" in reply["text"]
        waits = asyncio.ensure_future(sessions.ask(peer(1), X))
        await becomes(lambda: sessions._peers["pigeon 1"].owes)
        await clock.go(101)
        await clock.go(1)
        assert (await waits)["code"] == "timeout"
        assert len(sessions) == 1, "nothing was heard of the other"
        waits = asyncio.ensure_future(sessions.ask(peer(1), X))
        door.open()
        assert await waits == {"answer": 1}

    run(main, {"a": load})


def test_a_protocol_with_a_word_for_it_says_that_the_model_is_not_there_yet(door):
    def load():
        door.passing()
        return Puppet()

    async def main(sessions, service, clock):
        for _ in range(3):
            assert await sessions.ask(peer(), X) == {"status": "not yet"}
        door.open()
        while (reply := await sessions.ask(peer(), X)) == {"status": "not yet"}:
            await asyncio.sleep(0)
        assert reply == {"answer": 1}

    run(main, {"a": load}, connect=lambda peer: Connection(status={"status": "not yet"}))


@pytest.mark.parametrize("status", [None, {"status": "not yet"}])
def test_a_model_that_cannot_be_had_is_told_and_tried_again(status):
    tries = []

    def load():
        tries.append(1)
        if len(tries) == 1:
            raise LoadFailed("no such file: /home/robot/secret/model.bin")
        return Puppet()

    async def main(sessions, service, clock):
        while (reply := await sessions.ask(peer(), X)) == {"status": "not yet"}:
            await asyncio.sleep(0)
        assert reply["code"] == "load_failed"
        assert "[path]/model.bin" in reply["text"]
        assert "secret" not in json.dumps(reply)
        assert len(sessions) == 0
        while (reply := await sessions.ask(peer(), X)) == {"status": "not yet"}:
            await asyncio.sleep(0)
        assert reply == {"answer": 1}

    run(main, {"a": load}, connect=lambda peer: Connection(status=status))


def test_a_model_that_nobody_has_is_an_error_for_who_asks():
    async def main(sessions, service, clock):
        assert (await sessions.ask(peer(), X))["code"] == "model_not_found"
        assert len(sessions) == 0

    run(main, connect=lambda peer: Connection("none"))


def test_a_model_that_is_lost_is_told_and_the_next_message_has_it_loaded_again():
    def die(episode, inputs):
        raise ModelLost("it is gone")

    makes = iter([Puppet(die), Puppet()])

    async def main(sessions, service, clock):
        assert (await sessions.ask(peer(1), X))["code"] == "model_lost"
        assert len(sessions) == 0
        assert await sessions.ask(peer(1), X) == {"answer": 1}

    run(main, {"a": lambda: next(makes)})


@pytest.mark.rule("T-5")
def test_it_drains_in_mid_inference(door):
    async def main(sessions, service, clock):
        waits = asyncio.ensure_future(sessions.ask(peer(1), X))
        await at(door.entered)
        draining = asyncio.ensure_future(sessions.drain())
        await asyncio.sleep(0)
        for number in (1, 2):
            assert (await sessions.ask(peer(number), X))["code"] == "shutting_down"
        assert not draining.done()
        door.open()
        assert await waits == {"answer": 1}
        while not draining.done():
            await clock.go(1)
        assert (await sessions.ask(peer(1), X))["code"] == "shutting_down"

    run(main, {"a": lambda: Puppet(doors={0: door})})


@pytest.mark.rule("T-5")
def test_a_drain_and_a_close_leave_nobody_waiting(door):
    policy = Puppet(doors={0: door})

    def load():
        second.passing()
        return policy

    second = Door()

    async def main(sessions, service, clock):
        opening = asyncio.ensure_future(sessions.ask(peer(1), X))
        await at(second.entered)
        draining = asyncio.ensure_future(sessions.drain())
        assert (await opening)["code"] == "shutting_down"
        while not draining.done():
            await clock.go(1)
        second.open()

    with second:
        run(main, {"a": load})

    async def closed(sessions, service, clock):
        waits = asyncio.ensure_future(sessions.ask(peer(1), X))
        await at(door.entered)
        await sessions.close()
        assert (await waits)["code"] == "shutting_down"
        assert not service.sessions
        door.open()

    run(closed, {"a": lambda: policy})


def test_an_observation_for_which_the_model_need_not_be_asked_is_answered_by_the_connection():
    policy, kept = Puppet(), [{"answer": "kept"}, BadMessage("not this one")]

    class Keeps(Connection):
        def without_model(self, frame):
            if not policy.batches or not kept:
                return None
            if isinstance(found := kept.pop(0), OffboardError):
                raise found
            return found

    async def main(sessions, service, clock):
        answers = [await sessions.ask(peer(1), X) for _ in range(4)]
        assert [answer.get("answer", answer.get("code")) for answer in answers] == [1, "kept", "bad_message", 2]
        assert len(policy.batches) == 2

    run(main, {"a": lambda: policy}, connect=lambda peer: Keeps())


#: What a plugin's code may raise on the event loop: two of them would leave it, or pass for the end of a task.
RAISED = [RuntimeError, SystemExit, asyncio.CancelledError]


@pytest.mark.parametrize("kind", RAISED)
@pytest.mark.parametrize("fault", ["connect", "begun", "is_control", "without_model", "answer", "error"])
def test_what_a_plugin_gets_wrong_is_one_clients(fault, kind, caplog):
    class Wrong(Connection):
        pass

    def fail(*arguments):
        raise kind("oops")

    async def fail_later(*arguments):
        await asyncio.sleep(0)
        fail()

    if fault == "answer":
        Wrong.answer = fail_later
    elif fault != "connect":
        setattr(Wrong, fault, fail)

    def connect(peer):
        if peer.identity == "pigeon 1":
            return fail() if fault == "connect" else Wrong()
        return Connection()

    async def main(sessions, service, clock):
        frame = {"answer": b"reset", "error": b"garbage"}.get(fault, X)
        reply = await sessions.ask(peer(1), frame)
        if fault == "connect":
            assert reply is None
        elif fault == "error":
            assert reply["code"] == "bad_message"  # the serializer's
            assert await sessions.ask(peer(1), bytes(2**25 + 1)) is None
        else:
            assert reply["code"] == "internal"
        assert len(service.sessions) == (fault in ("answer", "error")), "whose session cannot go on has none"
        assert "oops" in caplog.text
        assert await sessions.ask(peer(2), X) == {"answer": 1}

    run(main, connect=connect)


@pytest.mark.parametrize("kind", RAISED)
def test_a_reply_that_cannot_be_sent_is_one_clients(kind, caplog):
    async def main(sessions, service, clock):
        def deliver(reply):
            raise kind("nobody is there")

        sessions.submit(peer(1), X, deliver)
        assert await sessions.ask(peer(2), X) == {"answer": 1}
        await becomes(lambda: "nobody is there" in caplog.text)
        assert await sessions.ask(peer(1), X) == {"answer": 2}

    run(main)


@pytest.mark.parametrize("why", ["busy", "refused", "many strangers", "no connection"])
def test_a_reply_before_its_turn_that_cannot_be_sent_is_not_the_listeners_to_catch(why, door, caplog):
    def connect(peer):
        if why == "no connection":
            raise RuntimeError("oops")
        return Connection()

    def deliver(reply):
        given.append(reply)
        raise OSError("nobody is there")

    given = []
    stranger = peer(token="right" if why == "no connection" else None)

    async def main(sessions, service, clock):
        if why == "busy":
            first = asyncio.ensure_future(sessions.ask(peer(token="right"), X))
            await at(door.entered)
            sessions.submit(peer(token="right"), X, deliver)
            door.open()
            assert await first == {"answer": 1}
        elif why == "many strangers":
            assert [await sessions.ask(stranger, X) for _ in range(11)][-1] is None
            sessions.submit(stranger, X, deliver)
        else:
            sessions.submit(stranger, X, deliver)
        assert len(given) == 1
        assert "nobody is there" in caplog.text

    run(main, {"a": lambda: Puppet(doors={0: door})}, connect=connect, token="right", message_rate=10)


def test_one_who_is_cancelled_while_it_asks_is_answered_to_nobody(door):
    async def main(sessions, service, clock):
        waits = asyncio.ensure_future(sessions.ask(peer(), X))
        await at(door.entered)
        waits.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await waits
        door.open()
        while (reply := await sessions.ask(peer(), X)).get("code") == "busy":
            await asyncio.sleep(0)
        assert reply == {"answer": 2}

    run(main, {"a": lambda: Puppet(doors={0: door})})


@pytest.fixture
def door():
    with Door() as made:
        yield made
