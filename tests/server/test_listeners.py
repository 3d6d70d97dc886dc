"""Listeners live and end with the server, and none of them takes it along."""

import asyncio
import contextlib
import errno
import logging
import os
import re
import threading
from types import SimpleNamespace

import pytest
from offboard_core import ConfigurationError, ListenerEntry, hookimpl
from offboard_core.frontends import make_listeners
from offboard_core.plugins import Plugins
from offboard_core.server import InferenceServer
from pigeons import Pigeons
from puppets import PATIENCE, Puppet, reached, source
from robots import get, get_json, robot
from waits import until


async def for_ever():
    await asyncio.Future()


async def come_what_may():
    while True:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.Future()


def serve(**listeners):
    found = {name: (listener, 0) for name, listener in listeners.items()}
    return InferenceServer({"only": source({"a": Puppet})}, port=0, listeners=found)


def works(server):
    with robot(server) as one:
        one.opened()
        assert "result" in one.ask({"x": 1})
    return True


def errors(caplog):
    """What the server logged; asyncio complains of a task that would not end."""
    return [r.getMessage() for r in caplog.records if r.levelno == logging.ERROR and r.name.startswith("offboard")]


@pytest.mark.rule("T-5")
def test_it_lives_as_long_as_the_server_again_and_again():
    one, two = Pigeons(), Pigeons()
    server = serve(one=one, two=two)
    for _ in range(2):
        with server:
            assert works(server)
            here = {"host": "127.0.0.1", "port": 4711, "failure": None}
            assert get_json(server, "/api/v1/status")["listeners"] == {"one": here, "two": here}
            assert server.listeners.addresses["one"] == ("127.0.0.1", 4711)
        for pigeons in (one, two):
            assert pigeons.calls == [("start", "127.0.0.1", 0), "drain", "close"]
            pigeons.calls.clear()
        assert server.listeners.addresses == {}


@pytest.mark.rule("T-5")
@pytest.mark.parametrize(
    ("does", "says"),
    [
        (ConfigurationError("no loft"), "no loft"),
        (SystemExit("no loft"), "no loft"),
        (OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE)), "Address already in use"),
        (for_ever, "it did not listen within 0.01 s"),
        (come_what_may, "it did not listen within 0.01 s"),
    ],
)
def test_one_that_cannot_start_keeps_the_server_from_it_and_leaves_nothing(monkeypatch, does, says):
    first, wrong, third = Pigeons(), Pigeons(start=does), Pigeons()
    if does in (for_ever, come_what_may):
        monkeypatch.setattr("offboard_core.server.listeners.START", 0.01)
    server = serve(first=first, wrong=wrong, third=third)
    with pytest.raises(
        ConfigurationError, match=f"the listener wrong cannot listen on 127.0.0.1:0: .*{says}"
    ) as raised:
        server.start()
    assert "--listen wrong:PORT" in str(raised.value)
    assert first.calls == [("start", "127.0.0.1", 0), "close"]
    assert wrong.calls == [("start", "127.0.0.1", 0), "close"]
    assert third.calls == []
    assert "offboard-server" not in [thread.name for thread in threading.enumerate()]


def test_a_model_that_is_none_keeps_the_server_from_starting():
    lives, mistyped = Pigeons(), Pigeons()
    lives.model_id, mistyped.model_id = "a", "2001"
    with serve(lives=lives) as server:
        assert works(server)
    listeners = {"lives": (lives, 0), "mistyped": (mistyped, 0)}
    server = InferenceServer({"only": source({"2000": Puppet, "a": Puppet})}, port=0, listeners=listeners)
    text = "the model of the listener mistyped: there is no model '2001' here; did you mean 2000?"
    with pytest.raises(ConfigurationError, match=re.escape(text)):
        server.start()
    assert lives.calls == [("start", "127.0.0.1", 0), "drain", "close"]
    assert mistyped.calls == []


@pytest.mark.rule("T-5")
@pytest.mark.parametrize(
    "why", [RuntimeError("a cat in /srv/loft/secret"), SystemExit("a cat in"), None, asyncio.CancelledError()]
)
def test_one_that_dies_is_logged_and_told_and_the_others_go_on(caplog, why):
    async def die():
        if why is not None:
            raise why

    dies, lives = Pigeons(wait=die), Pigeons()
    with serve(dies=dies, lives=lives) as server:
        assert works(server)
        dies.die()
        until(lambda: get_json(server, "/api/v1/status")["listeners"]["dies"]["failure"], "that is told")
        told = get_json(server, "/api/v1/status")["listeners"]
        assert "secret" not in str(told)
        assert ("a cat in" if isinstance(why, (RuntimeError, SystemExit)) else "has ended") in told["dies"]["failure"]
        assert told["lives"]["failure"] is None
        assert works(server)
        (line,) = errors(caplog)
        assert line.startswith("the listener dies listens no more: ")
        assert 'offboard_listener_up{listener="dies"} 0.0' in metrics(server)
        assert 'offboard_listener_up{listener="lives"} 1.0' in metrics(server)
    assert dies.calls == [("start", "127.0.0.1", 0), "close"]
    assert lives.calls == [("start", "127.0.0.1", 0), "drain", "close"]


def metrics(server):
    return get(server, "/metrics")[1]


@pytest.mark.rule("T-5")
@pytest.mark.parametrize("part", ["drain", "close"])
@pytest.mark.parametrize("does", [for_ever, come_what_may, RuntimeError("no"), SystemExit("no")])
def test_an_end_that_hangs_or_fails_is_bounded_and_nobody_elses(caplog, monkeypatch, part, does):
    monkeypatch.setattr("offboard_core.server.listeners.CLOSE", 0.01)
    wrong, right = Pigeons(**{part: does}), Pigeons()
    server = InferenceServer(
        {"only": source({"a": Puppet})}, port=0, grace=0.01, listeners={"wrong": (wrong, 0), "right": (right, 0)}
    )
    with server:
        assert works(server)
    assert wrong.calls == right.calls == [("start", "127.0.0.1", 0), "drain", "close"]
    said = errors(caplog)
    if isinstance(does, (RuntimeError, SystemExit)):
        assert said == [f"{'closing' if part == 'close' else 'draining'} the listener wrong failed"]
    elif part == "close":
        assert said == ["the listener wrong did not close within 0.01 s; it is left as it is"]
    with server:
        assert works(server)


@pytest.mark.rule("T-3")
def test_its_clients_and_those_of_websockets_have_the_same_places():
    server = InferenceServer({"only": source({"a": Puppet})}, port=0, max_sessions=2, listeners={"one": (Pigeons(), 0)})
    with server, robot(server) as here:
        here.opened()
        with pytest.raises(Exception, match="HTTP 503"), robot(server):
            pass


# -- which of them -------------------------------------------------------------------------------------------------
def plugins(port=5600, factory=lambda options: Pigeons()):
    module = SimpleNamespace()
    exec("def offboard_listeners():\n    yield make()", vars(module))
    module.make = lambda: ListenerEntry(name="pigeons", summary="Pigeons.", factory=factory, port=port)
    module.offboard_listeners = hookimpl(module.offboard_listeners)
    return Plugins.of(loft=module)


@pytest.mark.parametrize(
    ("asked", "port"), [("loft.pigeons", 5600), ("loft.pigeons:0", 0), ("loft.pigeons:65535", 65535)]
)
def test_one_is_asked_for_by_name_with_or_without_a_port(asked, port):
    ((name, (listener, found)),) = make_listeners(plugins(), [asked]).items()
    assert (name, found) == ("loft.pigeons", port)
    assert isinstance(listener, Pigeons)
    assert make_listeners(plugins(), []) == {}


@pytest.mark.parametrize(
    ("asked", "options", "says"),
    [
        (["loft.pigeon"], {}, "no listener 'loft.pigeon'; did you mean loft.pigeons"),
        (["loft.pigeons:"], {}, "'loft.pigeons:' is no listener: expected NAME, or NAME:PORT"),
        (["loft.pigeons:65536"], {}, "a port from 0"),
        (["loft.pigeons:-1"], {}, "a port from 0"),
        (["loft.pigeons:\u00b2"], {}, "a port from 0"),
        ([":5600"], {}, "expected NAME"),
        (["loft.pigeons", "loft.pigeons:1"], {}, "loft.pigeons is asked for twice"),
        (["loft.pigeons"], {"loft.pigeons": {"seed": 1}}, "seed"),
        ([], {"loft.pigeons": {}}, "options of the listener loft.pigeons are set, and it does not listen: --listen"),
        ([], {"loft.doves": {}}, "no listener 'loft.doves'"),
        ([], {"loft": {"pigeons": {}}}, r'in a file is \[listeners."loft.pigeons"\]'),
    ],
)
def test_what_is_asked_for_wrongly_is_named(asked, options, says):
    with pytest.raises(ConfigurationError, match=says):
        make_listeners(plugins(), asked, options)


@pytest.mark.parametrize("port", [0, -1, 65536, "5600", True])
def test_a_default_port_that_is_none_makes_the_plugin_broken(port):
    _, row = plugins(port).rows()
    assert "expected 1 to 65535" in row.cause


def test_what_the_factory_makes_must_be_a_listener():
    with pytest.raises(ConfigurationError, match="made a dict, which is no Listener"):
        make_listeners(plugins(factory=lambda options: {}), ["loft.pigeons"])


def test_ctrl_c_of_a_start_ends_what_had_started():
    stuck = threading.Event()

    async def hang():
        stuck.set()
        await asyncio.Future()

    first, hangs = Pigeons(), Pigeons(start=hang)
    server = serve(first=first, hangs=hangs)
    serving = threading.Thread(target=server.serve)
    serving.start()
    reached(stuck)
    server.stop()
    serving.join(PATIENCE)
    assert first.calls == [("start", "127.0.0.1", 0), "close"]
    assert hangs.calls == [("start", "127.0.0.1", 0), "close"]
