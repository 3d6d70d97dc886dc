"""However many come at once, the loop has a turn for a robot between each two of them."""

import asyncio
from collections import Counter

import pytest
from offboard_core.engine import PolicyService
from offboard_core.frontends import Admission, Turns
from offboard_core.server import App
from puppets import Puppet, source

pytestmark = pytest.mark.rule("H-15")


class Counted:
    """Which turn of the loop it is."""

    def __init__(self):
        self.turn = 0
        self._loop = asyncio.get_running_loop()
        self._next()

    def _next(self):
        self.turn += 1
        self._handle = self._loop.call_soon(self._next)

    def stop(self):
        self._handle.cancel()


def run(main):
    async def counted():
        clock = Counted()
        try:
            await main(clock)
        finally:
            clock.stop()

    asyncio.run(counted())


def test_one_begins_in_each_turn_in_the_order_in_which_they_came():
    async def main(clock):
        turns, began = Turns(), []

        async def come(number):
            await turns.mine()
            began.append((number, clock.turn))

        await asyncio.gather(*(come(number) for number in range(100)))
        assert [number for number, _ in began] == list(range(100))
        assert max(Counter(turn for _, turn in began).values()) == 1
        before = clock.turn
        await turns.mine()
        assert clock.turn == before, "who comes alone does not wait"

    run(main)


def test_who_leaves_while_it_waits_keeps_nobody_from_beginning():
    async def main(clock):
        turns, began = Turns(), []

        async def come(number):
            await turns.mine()
            began.append(number)

        tasks = [asyncio.ensure_future(come(number)) for number in range(20)]
        await asyncio.sleep(0)
        for task in tasks[5:15]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert began == [*range(5), *range(15, 20)]

    run(main)


@pytest.mark.parametrize("path", ["/livez", "/nothing", "/metrics"])
def test_a_flood_of_requests_is_answered_one_in_each_turn(path):
    async def main(clock):
        service = PolicyService({"": source({"a": Puppet})})
        await service.start()
        app = App(service, Admission(service), {})
        answered = []

        async def ask():
            scope = {
                "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "query_string": b"",
                "headers": [(b"host", b"127.0.0.1")], "http_version": "1.1", "scheme": "http", "root_path": "",
            }  # fmt: skip

            async def receive():
                await asyncio.Future()

            async def send(message):
                if message["type"] == "http.response.start":
                    answered.append(clock.turn)

            await app(scope, receive, send)

        try:
            await asyncio.gather(*(ask() for _ in range(50)))
        finally:
            await service.close()
        assert len(answered) == 50
        assert max(Counter(answered).values()) == 1

    run(main)
