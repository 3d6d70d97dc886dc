"""``asgi_app``: the server as an application on servers and in applications that are not ours."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from hosting import get, nothing_runs_but, on_uvicorn, open_descriptors, robot, two_on_two_loops
from model_bench import run, until
from offboard_client.errors import ConfigurationError, LoadFailed
from offboard_core.engine import PolicyService
from offboard_core.frontends import Admission
from offboard_core.server import asgi_app
from puppets import PATIENCE, Door, Puppet, source
from service_bed import Growing, growing
from slot_bed import becomes
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from websockets.exceptions import InvalidStatus


def service(policy=Puppet):
    return PolicyService({"only": source({"a": policy})})


def app(policy=Puppet, **options):
    return asgi_app(service(policy), **{"frontends": {}, **options})


def never():
    raise LoadFailed("there is no device 'cuda' here", permanent=True)


class Lifespan:
    """A server's half of the lifespan."""

    def __init__(self, app):
        self.sent, self._told = [], asyncio.Queue()
        self._task = asyncio.ensure_future(app({"type": "lifespan"}, self._told.get, self._send))

    async def _send(self, message):
        self.sent.append(message)

    async def tell(self, phase):
        """What the application says of it."""
        count = len(self.sent)
        await self._told.put({"type": f"lifespan.{phase}"})
        await becomes(lambda: len(self.sent) > count)
        return self.sent[-1]

    async def ended(self):
        await asyncio.wait_for(self._task, PATIENCE)


@pytest.mark.rule("S-5", "L-1", "H-4", "H-5", "C-8", "M-2")
def test_a_plain_uvicorn_serves_it():
    async def main():
        async with AsyncExitStack() as robots:
            async with on_uvicorn(app()) as address:
                one = await robots.enter_async_context(robot(address))
                meta = (await one.opened())["meta"]
                assert (meta["checkpoint_id"], meta["host"], meta["port"]) == ("a", None, None)
                assert "result" in await one.ask({"x": 1})
                assert (await one.ask({"type": "ping"}))["status"] == "pong"
                assert await get(address, "/readyz") == (200, "OK\n")
                assert json.loads((await get(address, "/api/v1/models"))[1]) == {"models": ["a"]}
                with pytest.raises(InvalidStatus, match="403"):
                    await robots.enter_async_context(robot(address, base="/elsewhere"))
                async with robot(address, path="/b") as other:
                    assert (await other.receive())["code"] == "model_not_found"
                    assert await other.closed() == 1008
            assert await one.closed() == 1012

    run(main())


@pytest.mark.rule("S-3", "C-9", "H-2", "H-5", "A-5")
def test_it_can_be_mounted_below_a_path_beside_other_things():
    async def main():
        hosted = app(admission=None)

        async def hello(request):
            return PlainTextResponse("hello")

        outer = Starlette(routes=[Route("/", hello), Mount("/robots/arm", hosted)], lifespan=hosted.lifespan)
        async with on_uvicorn(outer) as address:
            assert await get(address, "/") == (200, "hello")
            async with robot(address, base="/robots/arm", path="/a") as one:
                await one.opened()
                assert "result" in await one.ask({"x": 1})
            assert await get(address, "/robots/arm/livez") == (200, "OK\n")
            assert (await get(address, "/robots/arm/metrics"))[0] == 200
            status, body = await get(address, "/robots/arm/nothing")
            assert (status, json.loads(body)["code"]) == (404, "not_found")
            with pytest.raises(InvalidStatus, match="403"):
                async with robot(address):
                    pass

    run(main())


@pytest.mark.rule("A-1", "A-2", "H-4")
def test_a_token_guards_it_below_a_path_too():
    async def main():
        served = service()
        hosted = asgi_app(served, frontends={}, admission=Admission(served, token="secret"))
        async with on_uvicorn(Starlette(routes=[Mount("/arm", hosted)], lifespan=hosted.lifespan)) as address:
            assert (await get(address, "/arm/livez"))[0] == 200, "open to everybody, wherever it is"
            assert (await get(address, "/arm/metrics"))[0] == 401
            with pytest.raises(InvalidStatus, match="401"):
                async with robot(address, base="/arm"):
                    pass
            async with robot(address, base="/arm", additional_headers={"authorization": "Bearer secret"}) as one:
                await one.opened()

    run(main())


def test_what_cannot_start_says_so_to_the_server_that_starts_it():
    async def main():
        empty = asgi_app(PolicyService({"only": growing(Growing())}), frontends={})
        for hosted, says in ((app(never), "there is no device 'cuda' here"), (empty, "no complete checkpoint")):
            lifespan = Lifespan(hosted)
            told = await lifespan.tell("startup")
            assert told["type"] == "lifespan.startup.failed"
            assert says in told["message"]
            await lifespan.ended()
            with pytest.raises(ConfigurationError, match="lives once"):
                async with hosted.lifespan():
                    pass

    run(main())


@pytest.mark.parametrize("raised", [OSError("the network is down"), LoadFailed("the child was killed")])
def test_a_default_that_may_be_loaded_later_keeps_nobody_from_starting(raised):
    raises = [raised]

    def load():
        if raises:
            raise raises.pop()
        return Puppet()

    async def main():
        async with on_uvicorn(app(load)) as address:
            assert not raises
            assert (await get(address, "/readyz"))[0] == 503
            async with robot(address) as one:
                await one.opened()

    run(main())


def test_without_waiting_it_answers_while_the_model_loads_and_logs_one_that_never_will(caplog):
    async def main():
        with Door() as door:

            def later():
                door.passing()
                never()

            async with on_uvicorn(app(later, wait=False)) as address, robot(address) as one:
                assert (await one.receive())["status"] == "loading"
                assert (await get(address, "/readyz"))[0] == 503
                door.open()
                assert "there is no device" in (await one.opened())["error"]
        assert [r.getMessage() for r in caplog.records if "can never be loaded" in r.getMessage()]

    run(main())


@pytest.mark.rule("C-8", "C-10")
def test_drain_lets_what_is_in_flight_end_before_the_server_is_told_to():
    async def main():
        with Door() as door:
            hosted = app(lambda: Puppet(doors={0: door}))
            async with on_uvicorn(hosted) as address, robot(address) as one:
                await one.opened()
                await one.send({"x": 1})
                await until(door.entered)
                draining = asyncio.ensure_future(hosted.drain(PATIENCE))
                await asyncio.sleep(0)
                with pytest.raises(InvalidStatus, match="503"):
                    async with robot(address):
                        pass
                assert not draining.done()
                door.open()
                assert "result" in await one.receive()
                await draining

    run(main())


@pytest.mark.rule("C-8")
def test_a_server_that_leaves_its_sockets_to_the_application_has_them_drained_and_closed():
    """Not every server closes its sockets before it ends the lifespan, as uvicorn does."""

    async def main():
        with Door() as door:
            hosted = app(lambda: Puppet(doors={0: door}), grace=PATIENCE)
            async with AsyncExitStack() as outer:
                lifespan = AsyncExitStack()
                await lifespan.enter_async_context(hosted.lifespan())
                address = await outer.enter_async_context(on_uvicorn(hosted, lifespan="off"))
                one = await outer.enter_async_context(robot(address))
                idle = await outer.enter_async_context(robot(address))
                await one.opened()
                await idle.opened()
                await one.send({"x": 1})
                await until(door.entered)
                ending = asyncio.ensure_future(lifespan.aclose())
                door.open()
                assert "result" in await one.receive()
                assert await one.closed() == 1012
                assert await idle.closed() == 1012
                await ending
                assert (await get(address, "/livez"))[0] == 503

    run(main())


def test_without_its_lifespan_it_says_what_is_missing(caplog):
    async def main():
        async with on_uvicorn(app(), lifespan="off") as address:
            status, body = await get(address, "/readyz")
            assert (status, json.loads(body)["code"]) == (503, "internal")
            with pytest.raises(InvalidStatus) as refused:
                async with robot(address):
                    pass
            assert refused.value.response.status_code == 503
            assert "was not started" in json.loads(refused.value.response.body)["error"]
        assert "has to enter its lifespan" in caplog.text

    run(main())


@pytest.mark.rule("C-9")
def test_a_server_that_can_answer_no_upgrade_refuses_as_well_as_it_can():
    async def main():
        hosted, sent = app(), []

        async def receive():
            return {"type": "websocket.connect"}

        async def send(message):
            sent.append(message)

        async with hosted.lifespan():
            await hosted({"type": "websocket", "path": "/elsewhere", "headers": []}, receive, send)
        assert sent == [{"type": "websocket.close"}]

    run(main())


def test_twenty_of_them_leave_nothing_behind():
    async def once():
        async with on_uvicorn(app()) as address, robot(address) as one:
            await one.opened()
            await one.ask({"x": 1})

    async def main():
        await once()
        tasks, threads, descriptors = len(asyncio.all_tasks()), set(threading.enumerate()), open_descriptors()
        for _ in range(20):
            await once()
        await becomes(lambda: len(asyncio.all_tasks()) == tasks)
        await nothing_runs_but(threads)
        await becomes(lambda: open_descriptors() <= descriptors)

    run(main())


def test_two_of_them_on_two_loops_know_nothing_of_each_other():
    two_on_two_loops(lambda policy: on_uvicorn(app(policy)))


#: Prints what a process has for itself before and after our application ran in it.
GUEST = """
import asyncio, atexit, ctypes, json, logging, os, resource, signal, sys, threading

hooks = []
for module, name in ((atexit, "register"), (os, "register_at_fork")):
    def register(*args, _real=getattr(module, name), _name=name, **more):
        hooks.append([_name, sys._getframe(1).f_globals.get("__name__", "")])
        return _real(*args, **more)
    setattr(module, name, register)

def state():
    loggers = {name: [one.level, one.propagate, [str(h) for h in one.handlers]]
               for name, one in logging.root.manager.loggerDict.items() if isinstance(one, logging.Logger)}
    return {
        "signals": {int(n): id(signal.getsignal(n)) for n in signal.valid_signals()},
        "limits": resource.getrlimit(resource.RLIMIT_NOFILE),
        "root": [logging.root.level, [str(h) for h in logging.root.handlers]],
        "levels": {name: found for name, found in loggers.items() if found != [0, True, []] and "offboard" not in name},
        "excepthooks": [str(sys.excepthook), str(threading.excepthook), str(sys.unraisablehook)],
        "threads": sorted(t.name for t in threading.enumerate() if not t.name.startswith("asyncio_")),
    }

class Info(ctypes.Structure):
    _fields_ = [(n, ctypes.c_size_t) for n in
                "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

def mapped():
    "Whether a large block gets pages of its own, as it does unless mallopt was called."
    libc = ctypes.CDLL(None)
    if not hasattr(libc, "mallinfo2"):  # glibc's, since 2.33
        return None
    libc.mallinfo2.restype, libc.malloc.restype = Info, ctypes.c_void_p
    before = libc.mallinfo2().hblks
    libc.malloc(ctypes.c_size_t(31 << 20))
    return libc.mallinfo2().hblks - before

import starlette.applications, uvicorn, prometheus_client
before = state()
from hosting import on_uvicorn, robot
from offboard_core.engine import PolicyService
from offboard_core.server import asgi_app
from puppets import Puppet, source

async def main():
    begun.update(state())
    app = asgi_app(PolicyService({"only": source({"a": Puppet})}), frontends={})
    sent = asyncio.Event()
    messages = iter([{"type": "lifespan.startup"}])

    async def receive():
        for message in messages:
            return message
        await sent.wait()
        return {"type": "lifespan.shutdown"}

    async def send(message):
        if message["type"] == "lifespan.startup.complete":
            during.update(state())
            sent.set()
        told.append(message["type"])

    await app({"type": "lifespan"}, receive, send)

begun, during, told = {}, {}, []
asyncio.run(main())
for thread in threading.enumerate():
    if thread.name.startswith("offboard-"):
        thread.join(60)
after, own = state(), mapped()
from offboard_core.server._malloc import keep_freed_memory
keep_freed_memory()
print(json.dumps({"before": before, "begun": begun, "during": during, "after": after, "told": told, "mapped": own,
                  "mapped_then": mapped(), "hooks": hooks}))
"""


def test_nothing_of_the_process_is_changed():
    support = str(Path(__file__).parents[1] / "support")
    env = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    done = subprocess.run(
        [sys.executable, "-c", GUEST], env={**env, "PYTHONPATH": support}, stdout=subprocess.PIPE, text=True,
        timeout=PATIENCE, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout)
    assert found["told"] == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    threads = found["during"].pop("threads")
    assert any(name.startswith("offboard-model") for name in threads), "it ran"
    assert found["after"] == found["before"]
    del found["begun"]["threads"]
    assert found["during"] == found["begun"], "but for the SIGINT of asyncio.run"
    assert [hook for hook in found["hooks"] if hook[1].startswith("offboard")] == []
    assert (found["mapped"], found["mapped_then"]) in ((1, 0), (None, None)), "a call of mallopt would have shown"
