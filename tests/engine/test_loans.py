"""An answer is told once: by the thread that made it, or by the event loop."""

import asyncio
import contextlib
import math
from types import SimpleNamespace

import numpy as np
import pytest
from model_bench import Bench, run, until
from offboard_core import InferTimeout
from offboard_core.engine import SAID, Exchange
from puppets import Door, Puppet

X = {"x": np.zeros(3)}


@pytest.fixture(autouse=True)
def nothing_takes_long(monkeypatch):
    """What a door or a busy machine holds up is else translated beside what follows, and told by the event loop."""
    monkeypatch.setattr("offboard_core.engine.model_thread.WORTH_OVERLAPPING", math.inf)


class Lent:
    """A loan; ``takes``: whether what is said is taken. ``heard``: what was."""

    def __init__(self, takes=True):
        self.takes, self.said, self.open, self.heard, self.tried = takes, False, True, [], 0

    def say(self, reply):
        self.tried += 1
        if self.open and self.takes:
            self.open, self.said = False, True
            self.heard.append(reply)
        return self.said

    def recall(self):
        self.open = False
        return self.said


def ask(bench, pipeline, loan):
    """An exchange with a loan, and what its session was told."""
    told = []
    came = asyncio.get_running_loop().create_future()

    def deliver(reply, error):
        told.append((reply, error))
        if not came.done():
            came.set_result(None)

    exchange = Exchange(pipeline, X, deliver)
    exchange.lend = lambda: loan
    bench.thread.submit(exchange)
    return exchange, told, came


@pytest.mark.parametrize("takes", [True, False])
def test_it_is_said_where_it_was_made_and_else_by_the_event_loop(takes):
    async def main():
        async with Bench(Puppet()) as bench:
            loan = Lent(takes)
            exchange, told, came = ask(bench, await bench.pipeline(), loan)
            await came  # without anything that comes
            assert len(loan.heard) == takes
            assert told == [(SAID if takes else exchange.reply, None)]
            assert bench.thread.queued == 0

    run(main())


@contextlib.asynccontextmanager
async def held():
    """An exchange with a loan, in the policy until ``answered`` has been awaited."""
    with Door() as door:
        async with Bench(Puppet(doors={0: door})) as bench:
            loan = Lent()
            exchange, told, came = ask(bench, await bench.pipeline(), loan)
            await until(door.entered)

            async def answered():
                door.open()
                await bench.call(lambda: None)

            yield SimpleNamespace(
                thread=bench.thread, loan=loan, exchange=exchange, told=told, came=came, answered=answered
            )


def test_it_is_settled_at_once_where_somebody_needs_that():
    async def main():
        async with held() as one:
            one.thread._loans._timer.cancel()  # nobody else does
            await one.answered()
            assert one.loan.heard
            assert (one.told, one.thread.queued) == ([], 0), "it has its answer, and nothing else is done yet"
            for _ in range(2):
                one.thread.settle(one.exchange)
                assert one.told == [(SAID, None)]
            assert one.thread.queued == 0

    run(main())


def test_who_takes_it_back_tells_it_himself():
    async def main():
        async with held() as one:
            one.thread.settle(one.exchange)  # it was not said: nothing but that it will not be
            assert one.told == []
            await one.answered()
            await one.came
            assert (one.loan.heard, one.told) == ([], [(one.exchange.reply, None)])

    run(main())


def test_what_is_late_is_told_so_and_never_said():
    async def main():
        async with held() as one:
            one.thread.expire(0.0)
            await one.came
            await one.answered()
            assert one.loan.heard == []
            assert [type(error) for _, error in one.told] == [InferTimeout]

    run(main())


def test_what_was_said_is_not_late_as_well():
    async def main():
        async with held() as one:
            one.thread._loans._timer.cancel()
            await one.answered()
            one.thread.expire(0.0)
            assert (len(one.loan.heard), one.told) == (1, [(SAID, None)])

    run(main())


def test_a_session_that_is_gone_is_told_nothing():
    async def main():
        async with held() as one:
            one.thread.abandon(one.exchange)
            await one.answered()
            assert (one.loan.heard, one.told, one.thread.queued) == ([], [], 0)

    run(main())


def test_errors_are_for_the_event_loop():
    def fails(episode, inputs):
        raise ZeroDivisionError("upside down")

    async def main():
        async with Bench(Puppet(fails)) as bench:
            loan = Lent()
            _, told, came = ask(bench, await bench.pipeline(), loan)
            await came
            assert (loan.tried, told[0][1].code) == (0, "policy_failed")

    run(main())


def test_nothing_is_lent_to_a_model_that_takes_long(monkeypatch):
    monkeypatch.setattr("offboard_core.engine.model_thread.WORTH_OVERLAPPING", 1.0)

    async def main():
        async with Bench(Puppet()) as bench:
            bench.thread._last_infer, loan = math.inf, Lent()
            exchange, told, came = ask(bench, await bench.pipeline(), loan)
            await came
            assert (loan.tried, told) == (0, [(exchange.reply, None)])

    run(main())


def test_nothing_is_lent_where_somebody_looks_on():
    async def main():
        async with Bench(Puppet()) as bench:
            pipeline, loan = await bench.pipeline(), Lent()

            class Records:
                def keep(self, frame):
                    return None

                def delivered(self, exchange, reply, error):
                    self.told = reply

            pipeline.records = records = Records()
            exchange, _, came = ask(bench, pipeline, loan)
            await came
            await bench.call(lambda: None)
            assert (loan.tried, exchange.loan, records.told) == (0, None, exchange.reply)

    run(main())
