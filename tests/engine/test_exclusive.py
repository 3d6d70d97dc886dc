"""An object that remembers an episode gets one session at a time: a bystander ends nobody's run."""

import asyncio

import numpy as np
import pytest
from model_bench import run
from offboard_core.catalog import from_callables
from offboard_core.engine import PolicyService
from puppets import PlainSerializer
from slot_bed import becomes

X = {"x": np.zeros(3)}


class Counting:
    def __init__(self):
        self.steps = 0

    def reset(self):
        self.steps = 0

    def select_action(self, observation):
        self.steps += 1
        return np.full((1, 7), float(self.steps))


async def opening(service, told=None):
    async def hear(status):
        if told is not None:
            told.append(status)

    return await service.open(None, (), serializer=lambda codec: PlainSerializer(), holder="robot one", on_status=hear)


async def steps(session):
    return (await session.infer(X))[0].columns()["action"][0, 0]


def serve(owner, main):
    async def served():
        service = PolicyService({"only": from_callables({"m": owner})})
        await service.start()
        try:
            await main(service)
        finally:
            await service.close()

    run(served())


def test_the_second_session_waits_and_is_told_for_whom():
    async def main(service):
        first = await opening(service)
        assert await steps(first) == 1
        told = []
        second = asyncio.ensure_future(opening(service, told))
        await becomes(lambda: told)
        assert told[0].state == "waiting"
        assert "in use by robot one" in told[0].message
        assert "it takes 1 at a time" in told[0].message
        assert await steps(first) == 2, "its episode goes on"
        first.close()
        assert await steps(await second) == 1, "an episode of its own"

    serve(Counting, main)


@pytest.mark.parametrize(
    ("declared", "expected"), [({"copyable": True}, [1, 2, 1, 3]), ({"max_sessions": None}, [1, 2, 1, 2])]
)
def test_what_says_that_it_can_be_copied_or_keeps_them_apart_serves_several(declared, expected):
    async def main(service):
        first = await opening(service)
        found = [await steps(first), await steps(first)]
        second = await opening(service)
        found += [await steps(second), await steps(first)]
        assert found == expected

    serve(type("Declared", (Counting,), declared), main)
