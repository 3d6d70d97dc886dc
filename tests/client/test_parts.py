"""The parts without a socket: addresses, parameters, frames, observation specs, timings, imports."""

import json
import subprocess
import sys

import numpy as np
import offboard_client
import pytest
from offboard_client import BadMessage, BadObservation, BadParameter, ConfigurationError, errors, wire
from offboard_client.errors import ModelNotFound, OffboardError, from_code
from offboard_client.protocol import Step, Timings, from_response, literal, parse_address
from offboard_client.wire import check_observation

# -- addresses -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("gpu-box", "ws://gpu-box:8000/api/v1/session"),
        ("gpu-box:9000", "ws://gpu-box:9000/api/v1/session"),
        ("10.0.0.7", "ws://10.0.0.7:8000/api/v1/session"),
        ("[::1]:9000", "ws://[::1]:9000/api/v1/session"),
        ("ws://gpu-box", "ws://gpu-box:80/api/v1/session"),
        ("http://gpu-box:9000/", "ws://gpu-box:9000/api/v1/session"),
        ("wss://gpu-box", "wss://gpu-box:443/api/v1/session"),
        ("https://gpu-box/robots/", "wss://gpu-box:443/robots/api/v1/session"),
        ("ws://gpu-box:8000/api/v1/session/a/10000", "ws://gpu-box:8000/api/v1/session/a/10000"),
        ("ws://gpu-box:8000/api/v1/session/a%3Ab", "ws://gpu-box:8000/api/v1/session/a%3Ab"),
        ("wss://h/p/api/v1/session/7?fps=5", "wss://h:443/p/api/v1/session/7?fps=5"),
    ],
)
def test_an_address_is_a_host_or_a_whole_url(host, url):
    found = parse_address(host).session_url(None, {})
    form = "dialect=offboard&layout=columns"
    assert found == (f"{url}&{form}" if "?" in url else f"{url}?{form}")


@pytest.mark.parametrize(
    "host",
    [
        "",
        " ",
        "ftp://gpu-box",
        "ws://",
        "ws://user:pw@gpu-box",
        "gpu box",
        "gpu-box:port",
        "ws://gpu-box:99999",
        "ws://h/#x",
    ],
)
def test_what_is_no_address_is_refused(host):
    with pytest.raises(ConfigurationError):
        parse_address(host)


@pytest.mark.parametrize("port", [0, -1, 65536, "8000", True, None])
def test_what_is_no_port_is_refused(port):
    with pytest.raises(ConfigurationError, match="port"):
        parse_address("gpu-box", port)


def test_a_password_in_a_url_is_not_repeated():
    with pytest.raises(ConfigurationError) as caught:
        parse_address("ws://user:hunter2@gpu-box")
    assert "hunter2" not in str(caught.value)


@pytest.mark.rule("Q-2")
@pytest.mark.parametrize(
    ("value", "text"),
    [
        (10, "10"),
        (0.5, "0.5"),
        (True, "true"),
        (None, "null"),
        ("pick up", "pick up"),
        ("10", '"10"'),
        ("true", '"true"'),
        ([1, 2], "[1, 2]"),
    ],
)
def test_a_parameter_is_a_json_literal_or_else_a_string(value, text):
    assert literal(value) == text


@pytest.mark.parametrize("value", [float("nan"), object(), {1, 2}])
def test_a_parameter_that_json_cannot_say_is_refused(value):
    with pytest.raises(BadParameter):
        literal(value)


@pytest.mark.rule("Q-4", "Q-5")
def test_the_protocols_own_parameters_cannot_be_chosen():
    for name in wire.RESERVED_PARAMS:
        with pytest.raises(BadParameter, match=name):
            parse_address("gpu-box").session_url(None, {name: "x"})
        with pytest.raises(BadParameter, match=name):
            parse_address(f"ws://gpu-box/api/v1/session?{name}=x")
    with pytest.raises(BadParameter, match="twice"):
        parse_address("ws://gpu-box/api/v1/session?fps=5&fps=6")


def test_parameters_of_the_call_come_before_those_of_the_url():
    assert "fps=7" in parse_address("ws://gpu-box/api/v1/session?fps=5").session_url(None, {"fps": 7})


# -- attempts --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("header", "after"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("", 0.0),
        ("soon", 0.0),
        ("-5", 0.0),
        ("9" * 40, 0.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
    ],
)
def test_retry_after_is_read_where_it_makes_sense(header, after):
    assert from_response(503, {"retry-after": header}, b"", parse_address("h")).after == after


def test_retry_after_may_be_a_date():
    from email.utils import formatdate
    from time import time

    found = from_response(503, {"Retry-After": formatdate(time() + 100, usegmt=True)}, b"", parse_address("h")).after
    assert 90 < found <= 100


@pytest.mark.parametrize(
    "body", [b"", b"\xff", b"[1]", b"[" * 10_000, b'{"error": 5}', b'{"detail": "no"}', b"<p>\r\n no\n</p>"]
)
def test_any_error_body_makes_an_error_of_one_line(body):
    text = from_response(503, {}, body, parse_address("h")).error.text
    assert "503" in text
    assert "\n" not in text


# -- frames ----------------------------------------------------------------------------------------------


@pytest.mark.rule("O-8", "O-9")
def test_older_names_mean_the_canonical_ones():
    sent = {"ee_pose": 1, "joint_positions": 2, "wrist_image": 3, "exterior_image": 4, "prompt": 5, "my.name": 6}
    assert wire.canonical(sent) == {
        "robot_state.ee_pose": 1,
        "robot_state.q": 2,
        "image.wrist": 3,
        "image.exterior": 4,
        "task": 5,
        "my.name": 6,
    }
    with pytest.raises(BadObservation, match="instruction and task all mean task"):
        wire.canonical({"task": "a", "instruction": "b"})


@pytest.mark.rule("O-8")
def test_an_older_name_that_is_asked_for_stays_as_it_is():
    assert wire.canonical({"prompt": "a", "task": "b"}, {"prompt": {}}) == {"prompt": "a", "task": "b"}
    check_observation({"prompt": "a"}, {"prompt": {"shape": [], "dtype": "str"}})
    with pytest.raises(BadObservation, match="instruction and task all mean task"):
        wire.canonical({"prompt": "a", "task": "b", "instruction": "c"}, {"prompt": {}})


def test_what_one_end_builds_the_other_end_reads():
    ready = wire.Ready({"type": "act"}, "s-1")
    assert wire.read_handshake(ready.frame()) == ready
    status = wire.Status("waiting", "behind rig 2")
    assert wire.read_handshake(status.frame()) == status
    assert wire.read_control_answer(wire.control_answer("ping", model="7"), "ping") == {"model": "7"}
    for kind in wire.CONTROLS:
        assert wire.control_kind(wire.control_frame(kind)) == kind
    for handshake in (False, True):
        error = wire.frame_error(wire.error_frame(ModelNotFound("no 7"), handshake=handshake))
        assert (type(error), error.text) == (ModelNotFound, "no 7")


@pytest.mark.rule("L-11")
@pytest.mark.parametrize("kind", ["stop", "", None, 5, ["reset"], {"a": 1}])
def test_an_unknown_control_frame_is_refused(kind):
    with pytest.raises(BadMessage, match="reset, ping, stats"):
        wire.control_kind({"type": kind})
    assert wire.control_kind({"task": "pick"}) is None


@pytest.mark.parametrize("code", [None, 5, "unknown", "", ["internal"]])
def test_an_unknown_code_is_the_root_error(code):
    assert type(from_code(code, "text")) is OffboardError


def test_every_error_has_a_code_of_its_own():
    found, todo = [], [OffboardError]
    while todo:
        kind = todo.pop()
        found.append(kind)
        todo += kind.__subclasses__()
    # Elsewhere there may be finer kinds, with the code of what they are kinds of.
    ours = {kind for kind in found if kind.__module__ == OffboardError.__module__} - {OffboardError}
    assert ours == set(errors.BY_CODE.values()) - {OffboardError}
    assert all(errors.BY_CODE[kind.code] is kind for kind in ours)


# -- the observation spec --------------------------------------------------------------------------------

SPEC = {
    "robot_state.q": {"shape": [7], "dtype": "float32", "unit": "rad", "required": True},
    "grip": {"shape": [1], "dtype": "float32", "unit": "0 open, 1 closed", "required": True},
    "image.wrist": {"shape": [-1, -1, 3], "dtype": "uint8", "unit": "RGB", "required": True},
    "task": {"shape": None, "dtype": "str", "unit": None, "required": False},
}
GOOD = {"robot_state.q": np.zeros(7), "grip": 0.5, "image.wrist": np.zeros((4, 6, 3), np.uint8), "task": "pick"}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"grip": np.array([0.5], np.float32)},
        {"grip": np.float32(0.5)},
        {"grip": 1},
        {"robot_state.q": [0, 0, 0, 0, 0, 0, 0]},
        {"image.wrist": b"\xff\xd8\xff"},
        {"my.force": np.zeros(3), "offboard.seq": 4},
    ],
)
def test_what_the_handshake_asks_for_passes(change):
    check_observation({**GOOD, **change}, SPEC)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"robot_state.q": np.zeros(6)}, r"robot_state\.q is \(6,\) float64, and \(7,\) float32 \[rad\] is asked for"),
        ({"robot_state.q": np.zeros((1, 7))}, r"\(1, 7\)"),
        ({"robot_state.q": np.zeros(7, bool)}, "bool"),
        ({"robot_state.q": "home"}, "is a str"),
        ({"robot_state.q": [[1], [1, 2]]}, r"ragged|\(2,\) object"),
        ({"robot_state.q": ["0"] * 7}, r"robot_state\.q is \(7,\) <U1, and \(7,\) float32 \[rad\] is asked for"),
        ({"robot_state.q": [b"0"] * 7}, r"robot_state\.q is \(7,\) \|S1"),
        ({"robot_state.q": np.zeros(7, [("a", "<f4")])}, r"robot_state\.q is \(7,\) \[\('a', '<f4'\)\]"),
        ({"grip": np.zeros(2)}, r"grip is \(2,\)"),
        ({"grip": None}, "grip is None"),
        ({"image.wrist": np.zeros((4, 6, 3), np.float32)}, r"float32, and \(any, any, 3\) uint8"),
        ({"image.wrist": np.zeros((4, 6, 4), np.uint8)}, r"\(4, 6, 4\)"),
        ({"image.wrist": np.zeros((4, 6, 3), np.int64)}, "int64"),
        ({"task": 5}, "task is a int"),
    ],
)
@pytest.mark.filterwarnings("ignore:Creating an ndarray from ragged")  # numpy before 1.24 warns instead of raising
def test_what_does_not_fit_is_named(change, says):
    with pytest.raises(BadObservation, match=says):
        check_observation({**GOOD, **change}, SPEC)


def test_everything_wrong_is_named_at_once():
    with pytest.raises(BadObservation) as caught:
        check_observation({"image.wirst": GOOD["image.wrist"], "grip": "shut"}, SPEC)
    text = str(caught.value)
    assert "robot_state.q (7,) float32 [rad] is missing;" in text
    assert "image.wrist (any, any, 3) uint8 [RGB] is missing (is it what you call image.wirst?)" in text
    assert "grip is a str" in text
    assert text.endswith("not asked for: image.wirst")


@pytest.mark.parametrize("spec", [None, {}, 5, []])
def test_a_server_that_asks_for_nothing_gets_anything(spec):
    check_observation({"x": 1}, spec)


# -- timings ---------------------------------------------------------------------------------------------


def test_timings_say_where_a_step_went_and_forget_old_steps():
    timings = Timings()
    for _ in range(5000):
        timings.record(Step(0.001, 0.010, 0.002, {"total_ms": 8.0, "batch": 2}))
    assert timings.count == 5000
    assert timings.last == pytest.approx(
        {"total_ms": 13, "encode_ms": 1, "network_ms": 2, "decode_ms": 2, "server.total_ms": 8, "server.batch": 2}
    )
    assert timings.summary()["network_ms"] == pytest.approx({"p50": 2, "p95": 2, "p99": 2})
    assert len(timings._steps) == 4096


# -- what is public, and what it costs to import ---------------------------------------------------------


def test_everything_public_exists_and_is_listed():
    for name in offboard_client.__all__:
        assert getattr(offboard_client, name).__doc__
    assert sorted(offboard_client.__all__) == offboard_client.__all__
    assert {kind.__name__ for kind in errors.BY_CODE.values()} <= set(offboard_client.__all__)
    with pytest.raises(AttributeError, match="nothing_of_that_name"):
        offboard_client.nothing_of_that_name  # noqa: B018


def loaded_by(statement):
    """The top-level modules outside the standard library that a fresh process loads for ``statement``."""
    code = (
        f"import sys, json; before = set(sys.modules); {statement}; "
        "print(json.dumps(sorted({m.partition('.')[0] for m in set(sys.modules) - before} - sys.stdlib_module_names)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=True)
    # numpy 2 registers C extensions of its own under bare names.
    return {name for name in json.loads(done.stdout) if not name.startswith(("_", "cython"))}


def test_importing_the_client_loads_numpy_msgpack_and_websockets_only():
    assert loaded_by("import offboard_client") == {"offboard_client"}
    a_client = "from offboard_client import InferenceClient"
    assert loaded_by(a_client) == {"offboard_client", "numpy", "msgpack", "websockets"}
    everything = "import offboard_client, offboard_client.session, offboard_client.wire"
    assert loaded_by(everything) == {"offboard_client", "numpy", "msgpack", "websockets"}


def test_the_asyncio_client_is_loaded_when_it_is_asked_for():
    code = (
        "import sys, offboard_client; before = 'offboard_client.session.aio' in sys.modules; "
        "offboard_client.AsyncInferenceClient; print(before, 'offboard_client.session.aio' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=True)
    assert done.stdout.split() == ["False", "True"]
