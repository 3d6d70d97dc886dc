"""``Host``: a server on somebody's event loop, which leaves the process alone and nothing behind."""

import asyncio
import logging
import signal
import threading
import time
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from hosting import get, nothing_runs_but, open_descriptors, robot, two_on_two_loops
from model_bench import run, until
from offboard_client.errors import ConfigurationError, LoadFailed
from offboard_core.server import Host, ServerConfig
from puppets import PATIENCE, Door, Puppet, source
from slot_bed import becomes
from watching import Noting
from websockets.exceptions import InvalidStatus


def host(policy=Puppet, **settings):
    return Host({"only": source({"a": policy})}, ServerConfig(port=0, **settings), {})


def test_it_serves_inside_the_block_on_the_loop_that_runs_it():
    async def main():
        before = {number: signal.getsignal(number) for number in signal.valid_signals()}
        async with host() as here:
            assert here.address[1] > 0
            assert {number: signal.getsignal(number) for number in signal.valid_signals()} == before
            async with robot(here.address) as one:
                meta = (await one.opened())["meta"]
                assert (meta["host"], meta["port"]) == here.address
                assert "result" in await one.ask({"x": 1})
                assert await get(here.address, "/readyz") == (200, "OK\n")
        with pytest.raises(ConnectionRefusedError):
            await get(here.address, "/livez")

    run(main())


def test_it_leaves_the_loggers_of_others_alone_and_logs_no_token(caplog):
    def uvicorns():
        loggers = [logging.getLogger(f"uvicorn.{name}") for name in ("error", "access", "asgi")]
        return [(one.level, one.propagate, one.handlers) for one in loggers]

    async def main():
        before = uvicorns()
        async with host(auth_token="very-secret") as here:
            assert uvicorns() == before
            async with robot(here.address, additional_headers={"authorization": "Bearer very-secret"}) as one:
                await one.opened()
            assert (await get(here.address, "/metrics"))[0] == 401

    with caplog.at_level(logging.DEBUG):
        run(main())
    # The client's library writes what it sends, into loggers of its own.
    told = [r.getMessage() for r in caplog.records if not r.name.startswith("websockets")]
    assert [text for text in told if "secret" in text] == []


def test_a_load_that_draining_forestalls_is_no_error(caplog):
    async def main():
        async with host() as here:
            await here.drain(PATIENCE)

    run(main())
    assert [record.getMessage() for record in caplog.records if record.levelno > logging.INFO] == []


@pytest.mark.rule("C-8", "C-10", "H-5")
def test_draining_lets_what_is_in_flight_end_and_nobody_in():
    async def main():
        with Door() as door:
            async with AsyncExitStack() as robots:
                async with host(lambda: Puppet(doors={0: door})) as here:
                    one = await robots.enter_async_context(robot(here.address))
                    idle = await robots.enter_async_context(robot(here.address))
                    await one.opened()
                    await idle.opened()
                    await one.send({"x": 1})
                    await until(door.entered)
                    draining = asyncio.ensure_future(here.drain(PATIENCE))
                    while (await get(here.address, "/readyz"))[0] == 200:
                        pass
                    with pytest.raises(InvalidStatus, match="503"):
                        await robots.enter_async_context(robot(here.address))
                    assert not draining.done()
                    door.open()
                    assert "result" in await one.receive()
                    await draining
                    assert (await idle.ask({"type": "ping"}))["status"] == "pong", "who is in may go on until the end"
                assert await one.closed() == 1012
                assert await idle.closed() == 1012

    run(main())


def test_draining_ends_after_the_grace_and_sooner_in_a_hurry():
    async def main():
        with Door() as door:
            async with host(lambda: Puppet(doors={0: door}), grace=PATIENCE) as here, robot(here.address) as one:
                await one.opened()
                await one.send({"x": 1})
                await until(door.entered)
                await here.drain(0.01)
                draining = asyncio.ensure_future(here.drain(PATIENCE))
                await asyncio.sleep(0)
                here.hurry()
                await asyncio.wait_for(draining, PATIENCE / 2)
                door.open()

    run(main())


def never():
    raise LoadFailed("there is no device 'cuda' here", permanent=True)


def test_a_default_that_can_never_be_loaded_is_logged_where_nobody_waits_for_that(caplog):
    async def main():
        async with host(never) as here, robot(here.address) as one:
            assert "there is no device" in (await one.opened())["error"]
        assert caplog.text.count("can never be loaded") == 1

    run(main())


def test_a_default_that_can_never_be_loaded_ends_it(caplog):
    async def main():
        with pytest.raises(LoadFailed, match="there is no device"):
            async with host(never) as here:
                await here.serve_forever()
        assert "can never be loaded" not in caplog.text

    run(main())


def test_a_loop_that_is_kept_while_it_ends_logs_no_error(caplog):
    """By an import of the model whose load has failed, say: that tasks were cancelled was told as an error."""

    async def app(scope, receive, send):
        begun.set()
        while not ended.should_exit:  # noqa: ASYNC110 (it is no event)
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        time.sleep(2.5)  # noqa: ASYNC251 (on the loop, which is what this is about)
        await asyncio.sleep(0.3)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    async def main():
        nonlocal ended
        async with host() as here:
            ended = here._uvicorn
            ended.config.loaded_app = app
            _, writer = await asyncio.open_connection(*here.address)
            writer.write(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
            await begun.wait()
        writer.close()

    ended = None
    begun = asyncio.Event()
    run(main())
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


def test_it_cannot_be_entered_again():
    async def main():
        async with (here := host()):
            pass
        with pytest.raises(ConfigurationError, match="make another one"):
            async with here:
                pass

    run(main())


def test_twenty_of_them_leave_nothing_behind():
    async def once():
        async with host() as here, robot(here.address) as one:
            await one.opened()
            await one.ask({"x": 1})
            await get(here.address, "/api/v1/models")

    async def main():
        await once()
        tasks, threads, descriptors = len(asyncio.all_tasks()), set(threading.enumerate()), open_descriptors()
        for _ in range(20):
            await once()
        await becomes(lambda: len(asyncio.all_tasks()) == tasks)
        await nothing_runs_but(threads)
        await becomes(lambda: open_descriptors() <= descriptors)

    run(main())


def test_one_that_cannot_start_leaves_nothing_behind():
    async def main():
        async with host() as taken:
            tasks, descriptors = len(asyncio.all_tasks()), open_descriptors()
            for _ in range(3):
                with pytest.raises(ConfigurationError, match="Another server may run there"):
                    async with Host({"only": source({"a": Puppet})}, ServerConfig(port=taken.address[1])):
                        pass
                with pytest.raises(ConfigurationError, match="cannot serve TLS"):
                    async with host(ssl_certfile="/nowhere"):
                        pass
            await becomes(lambda: len(asyncio.all_tasks()) == tasks)
            await becomes(lambda: open_descriptors() <= descriptors)

    run(main())


@pytest.mark.parametrize("wrong", [{"auth_token": "two words"}, {"ssl_certfile": "/nowhere"}])
def test_one_that_cannot_be_entered_closes_its_observers(wrong):
    watching = Noting()

    async def main():
        config = ServerConfig(port=0, **wrong)
        with pytest.raises(ConfigurationError):
            async with Host({"only": source({"a": Puppet})}, config, {}, observers={"noting": watching}):
                pass

    run(main())
    assert watching.closed == 1


def test_two_of_them_on_two_loops_know_nothing_of_each_other():
    @asynccontextmanager
    async def served(policy):
        async with host(policy) as here:
            yield here.address

    two_on_two_loops(served)
