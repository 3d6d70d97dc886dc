"""The hook ``offboard_frontends``: a foreign protocol of a plugin on the server's port."""

import asyncio
import contextlib
import json
import threading
from types import SimpleNamespace

import pytest
from offboard_core import ConfigurationError, FrontendEntry, hookimpl
from offboard_core.engine import ServiceTimeouts
from offboard_core.frontends import Frontend, make_frontends
from offboard_core.plugins import Plugins
from offboard_core.server import InferenceServer
from offboard_process import in_process, serving
from plugin_dists import write_plugin
from puppets import PATIENCE, Door, Puppet, source
from robots import connect_to
from websockets.exceptions import ConnectionClosedError

#: A protocol as small as one can be: a number in JSON, and the sum of what the model answers to it.
PLUGIN = '''
import json
from dataclasses import dataclass

from offboard_client.wire import decode_text
from offboard_core import BadObservation, FrontendEntry, OffboardError, hookimpl
from offboard_core.frontends import Frontend, FrontendConnection


@dataclass(frozen=True)
class SumOptions:
    scale: float = 1.0
    """What the sum is multiplied with."""
    only: str = ""


class SumSerializer:
    def __init__(self, scale):
        self.scale = scale

    def read(self, frame):
        number = decode_text(frame)
        if not isinstance(number, (int, float)):
            raise BadObservation("send a number")
        return {"number": number}, []

    def write(self, result, timing, observation, warnings):
        if isinstance(result, OffboardError):
            return f"sorry: {result.text}"
        return json.dumps(self.scale * float(result.columns()["action"].sum()))


class SumConnection(FrontendConnection):
    def __init__(self, options, model_id):
        self.options, self.model_id = options, model_id

    def bridge(self, codec):
        if self.options.only not in codec.name:
            raise BadObservation(f"the sum is for {self.options.only}, not for {codec.name}")
        return codec

    def serializer(self, codec):
        return SumSerializer(self.options.scale)

    def ready(self, session):
        return f"hello from {session.meta['checkpoint_id']}"

    def error(self, error, frame):
        return f"sorry: {error.text}"

    def is_control(self, frame):
        return frame == "again"

    async def answer(self, frame, session):
        await session.reset()
        return "from the beginning"


class Sum(Frontend):
    def __init__(self, options):
        if options.scale == 0:
            raise ValueError("a scale of 0 says nothing")
        self.options = options

    def connect(self, scope):
        if b"%" in scope["query_string"]:
            raise BadObservation("a query without percent signs, please")
        return SumConnection(self.options, scope["query_string"].decode() or None)


@hookimpl
def offboard_frontends():
    yield FrontendEntry(name="sum", summary="Sums.", factory=Sum, paths=("/sum", "/other/sum"), options=SumOptions)
'''


@pytest.fixture
def plugin():
    module = SimpleNamespace()
    exec(PLUGIN, vars(module))
    return module


def plugins(**modules):
    return Plugins.of(**modules)


def entry(**changes):
    """A plugin that offers one frontend, whose factory works."""
    fields = {"name": "one", "summary": "One.", "paths": ("/one",), "factory": lambda options: Silent(), **changes}
    module = SimpleNamespace()
    exec("def offboard_frontends():\n    yield make()", vars(module))
    module.make = lambda: FrontendEntry(**fields)
    module.offboard_frontends = hookimpl(module.offboard_frontends)
    return module


class Silent(Frontend):
    def connect(self, scope):
        raise NotImplementedError


def url(server, path="/sum"):
    return f"ws://{server.host}:{server.port}{path}"


def serve(plugin, options=None, makes=None, **more):
    frontends = make_frontends(plugins(sum=plugin), {"sum": options} if options is not None else None)
    return InferenceServer({"only": source(makes or {"a": Puppet})}, port=0, frontends=frontends, **more)


# -- on the socket -------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("path", ["/sum", "/other/sum"])
def test_a_foreign_protocol_drives_a_model(plugin, path):
    with serve(plugin, {"scale": 2}) as server, connect_to(url(server, path)) as client:
        assert client.recv(timeout=PATIENCE) == "hello from a"
        client.send("1")
        assert client.recv(timeout=PATIENCE) == "12.0"  # two rows of 1 1 1, twice
        client.send("1")
        assert client.recv(timeout=PATIENCE) == "24.0"
        client.send("again")
        assert client.recv(timeout=PATIENCE) == "from the beginning"
        client.send('"text"')
        assert client.recv(timeout=PATIENCE) == "sorry: send a number"
        client.send("1")
        assert client.recv(timeout=PATIENCE) == "12.0"


@pytest.mark.parametrize("kind", [RuntimeError, SystemExit, asyncio.CancelledError])
@pytest.mark.parametrize("fault", ["connect", "bridge", "serializer", "ready", "is_control", "answer"])
def test_a_protocol_that_gets_something_wrong_gets_it_wrong_for_its_own_client(plugin, fault, kind):
    owner = plugin.Sum if fault == "connect" else plugin.SumConnection
    right = getattr(owner, fault)

    def fail(*arguments):
        setattr(owner, fault, right)
        raise kind("oops")

    async def fail_later(*arguments):
        fail()

    with serve(plugin) as server, connect_to(url(server)) as before:
        before.recv(timeout=PATIENCE)
        setattr(owner, fault, fail_later if fault == "answer" else fail)
        with connect_to(url(server)) as client, contextlib.suppress(ConnectionClosedError):
            client.recv(timeout=PATIENCE)
            client.send("again" if fault == "answer" else "garbage")
            assert "the server's log says why" in client.recv(timeout=PATIENCE)
        assert getattr(owner, fault) is right
        before.send("1")
        assert before.recv(timeout=PATIENCE) == "6.0"


def test_a_path_that_no_frontend_has_is_refused_before_the_upgrade(plugin):
    with serve(plugin) as server, pytest.raises(Exception, match="HTTP 403"):
        connect_to(url(server, "/sums"))


@pytest.mark.parametrize(
    ("options", "query", "says"),
    [
        ({"only": "nothing"}, "", "bad_observation: the sum is for nothing, not for core.native"),
        ({}, "?b", "model_not_found: there is no model 'b' here"),
        ({}, "?%20", "bad_observation: a query without percent signs, please"),
    ],
)
def test_without_a_word_for_it_a_refusal_is_the_reason_of_the_close_frame(plugin, options, query, says):
    with serve(plugin, options) as server, connect_to(url(server) + query) as client:
        with pytest.raises(ConnectionClosedError):
            client.recv(timeout=PATIENCE)
        assert client.close_code == 1008
        assert client.close_reason.startswith(says)


def test_the_reason_is_as_long_as_a_close_frame_allows(plugin):
    plugin.SumConnection.bridge = lambda self, codec: (_ for _ in ()).throw(plugin.BadObservation("ü" * 200))
    with serve(plugin) as server, connect_to(url(server)) as client:
        with pytest.raises(ConnectionClosedError):
            client.recv(timeout=PATIENCE)
        # 123 bytes, of which three say that there is more.
        assert client.close_reason == "bad_observation: " + "ü" * 51 + "…"


def test_nothing_is_said_while_the_model_loads_but_pings_are_answered(plugin):
    with Door() as door:

        def make():
            door.passing()
            return Puppet()

        quick = ServiceTimeouts(status_every=0.02)
        with serve(plugin, makes={"a": make}, limits=quick) as server, connect_to(url(server)) as client:
            for _ in range(3):
                assert client.ping().wait(PATIENCE)
            with pytest.raises(TimeoutError):
                client.recv(timeout=0)
            door.open()
            assert client.recv(timeout=PATIENCE) == "hello from a"


def test_a_mismatch_is_refused_before_the_model_is_loaded(plugin):
    loaded = threading.Event()

    def make():
        loaded.set()
        return Puppet()

    with serve(plugin, {"only": "x"}, makes={"a": make}, preload=False) as server, connect_to(url(server)) as client:
        with pytest.raises(ConnectionClosedError):
            client.recv(timeout=PATIENCE)
        assert not loaded.is_set()


def test_a_server_in_python_speaks_what_the_installed_plugins_do_unless_it_is_told(plugin, monkeypatch):
    monkeypatch.setattr(Plugins, "discover", lambda: plugins(sum=plugin))
    models = {"only": source({"a": Puppet})}
    with InferenceServer(models, port=0) as server, connect_to(url(server)) as client:
        assert client.recv(timeout=PATIENCE) == "hello from a"
    with InferenceServer(models, port=0, frontends={}) as server, pytest.raises(Exception, match="HTTP 403"):
        connect_to(url(server))


# -- who is spoken -------------------------------------------------------------------------------------------------
def test_two_frontends_that_want_one_path_are_an_error_that_names_both(plugin):
    other = entry(name="other", paths=("/elsewhere", "/sum"))
    with pytest.raises(ConfigurationError, match=r"/sum: loud\.other of the plugin loud and sum of sum"):
        make_frontends(plugins(sum=plugin, loud=other))


def test_one_that_cannot_be_made_is_left_out_with_a_warning(plugin, caplog):
    made = make_frontends(plugins(sum=plugin, bad=entry(factory="nowhere:make")))
    assert list(made) == ["/sum", "/other/sum"]
    assert "the frontend bad.one is not served" in caplog.text
    assert "nowhere" in caplog.text


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"sum": {"scale": 0}}, "a scale of 0 says nothing"),
        ({"sum": {"scale": "much"}}, "'scale' of the frontend sum expects a number"),
        ({"sum": {"scael": 1}}, "did you mean scale"),
        ({"some": {}}, "there is no frontend 'some'; there are: sum"),
    ],
)
def test_options_that_were_given_must_fit(plugin, options, says):
    with pytest.raises(ConfigurationError, match=says):
        make_frontends(plugins(sum=plugin), options)


@pytest.mark.parametrize("paths", [(), "/sum", ("sum",), ("/api/v1/session",), ("/api/v1/session/x",)])
def test_paths_that_cannot_be_had_make_a_plugin_broken(paths):
    _, row = plugins(bad=entry(paths=paths)).rows()
    assert "expected a tuple of paths" in row.cause


def test_what_the_factory_makes_must_be_a_frontend():
    with pytest.raises(ConfigurationError, match="made a dict, which is no Frontend"):
        make_frontends(plugins(bad=entry(factory=lambda options: {})), {"bad.one": {}})


# -- the command ---------------------------------------------------------------------------------------------------
@pytest.fixture
def installed(tmp_path):
    return write_plugin(tmp_path / "site", "sum", PLUGIN)


def plugin_row(path):
    return next(
        row for row in json.loads(in_process("plugins", "--json", path=path).stdout)["plugins"] if row["name"] == "sum"
    )


def test_the_command_lists_describes_and_speaks_it(installed):
    assert plugin_row(installed)["frontends"] == ["sum"]
    described = " ".join(in_process("serve", "--help", path=installed).stdout.split())
    assert "sum on /sum, /other/sum (--sum.scale, --sum.only)" in described
    with serving("--vendor", "scripted", "--sum.scale", "3", path=installed) as (_, said):
        assert said["frontends"]["sum"] == ["/sum", "/other/sum"]
        with connect_to(said["url"] + "/sum") as client:
            assert client.recv(timeout=PATIENCE) == "hello from scripted"
            client.send("1")
            assert "lacks robot_state.ee_pose" in client.recv(timeout=PATIENCE)


def test_a_models_toml_may_hold_the_options(installed, tmp_path):
    models = tmp_path / "models.toml"
    models.write_text('[it]\nvendor = "scripted"\n[frontends.sum]\nonly = "nothing"\n')
    with serving(models, path=installed) as (_, said), connect_to(said["url"] + "/sum") as client:
        with pytest.raises(ConnectionClosedError):
            client.recv(timeout=PATIENCE)
        assert "the sum is for nothing" in client.close_reason
    twice = in_process("serve", models, "--sum.scale", "1", path=installed)
    assert (twice.returncode, "the options of sum are in" in twice.stderr) == (2, True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[frontends]\nsum = 3\n[it]\nvendor = 'scripted'", "holds one table for each frontend"),
        ("[frontends.some]\n[it]\nvendor = 'scripted'", "there is no frontend 'some'"),
        ("[frontends.sum]", "names no model"),
    ],
)
def test_a_models_toml_that_sets_them_wrongly_is_refused(installed, tmp_path, text, says):
    models = tmp_path / "models.toml"
    models.write_text(text)
    done = in_process("serve", models, "--port", "0", path=installed)
    assert done.returncode == 1
    assert says in done.stderr
