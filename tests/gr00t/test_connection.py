"""GR00T's wire against servers that fail, lie and stall: every wait ends, and no answer is another question's."""

import contextlib
import os
import queue
import signal
import socket
import threading

import msgpack_numpy
import numpy as np
import pytest
import zmq
from gr00t_standin import ACTION, LANGUAGE, STATE, VIDEO, gr00t_server, observation, write_checkpoint
from lying_gr00t import Liar
from offboard_client.errors import InferTimeout, PolicyFailed
from offboard_core.process import free_port
from offboard_gr00t.connection import Connection, Lost, Unreachable
from offboard_gr00t.generation import Generation
from waits import PATIENCE, reached

N15, N16, N17 = Generation
#: A generation, and how its server writes arrays.
SERVERS = [("n1.5", "npy"), ("n1.6", "npy"), ("n1.7", "npy"), ("n1.7", "numpy"), ("n1.7", "numpy-only")]
SMALL = {"video": {}, "state": {"arm": np.zeros((1, 1, 2), np.float32)}, "language": {}}


def within(function):
    """What it returns or raises, in a thread, so that a call that never ends fails the test."""
    heard = queue.SimpleQueue()

    def run():
        try:
            heard.put((function(), None))
        except BaseException as error:
            heard.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    result, error = heard.get(timeout=2 * PATIENCE)
    if error is not None:
        raise error
    return result


@contextlib.contextmanager
def connected(url, generation=N16, token=None):
    connection = within(lambda: Connection(url, generation, token))
    try:
        yield connection
    finally:
        within(connection.close)


def asked(url, generation=N16, given=SMALL, timeout=PATIENCE):
    with connected(url, generation) as connection:
        return within(lambda: connection.get_action(given, timeout))


@pytest.fixture(scope="module", params=SERVERS, ids="-".join)
def server(request, tmp_path_factory):
    generation, form = request.param
    port = free_port()
    checkpoint = write_checkpoint(tmp_path_factory.mktemp("run") / "checkpoint-1", generation, form=form, value=0.75)
    with gr00t_server(checkpoint, port, generation):
        yield f"tcp://127.0.0.1:{port}", generation


def test_every_generation_in_every_form_is_asked_what_it_can_read(server):
    url, generation = server
    with connected(url, Generation(generation)) as connection:
        actions = connection.get_action(observation(generation, x=0.25), PATIENCE)
        modalities = connection.modalities(PATIENCE)
        connection.reset(PATIENCE)
        assert connection.usable()
    prefix = "action." if generation == "n1.5" else ""
    assert list(actions) == [f"{prefix}{name}" for name in ACTION]
    np.testing.assert_allclose(actions[f"{prefix}ee_pose"].reshape(16, 7)[3], [0.25, 0.75, *[0.25] * 5])
    assert (modalities.video, modalities.state, modalities.action) == (VIDEO, tuple(STATE), tuple(ACTION))
    assert modalities.language == (LANGUAGE,)
    assert modalities.horizon == 16


def test_gr00ts_own_error_says_what_was_asked_and_costs_one_request(server):
    url, generation = server
    with connected(url, Generation(generation)) as connection:
        for task, says in (
            ("raise", "GR00T failed: a bad thing in the middle of the model; it was asked get_action with .*video"),
            ("key", r"'front' \(it says nothing more, as where it misses a key of that name\); it was asked"),
        ):
            with pytest.raises(PolicyFailed, match=says) as caught:
                connection.get_action(observation(generation, task), PATIENCE)
            shape = r"(1, 7) float64" if generation == "n1.5" else "(1, 1, 7) float32"
            assert f"state.ee_pose {shape}" in caught.value.text
            assert connection.usable()
            assert connection.get_action(observation(generation), PATIENCE)


def test_who_dies_in_mid_inference_is_noticed_at_once(tmp_path):
    port = free_port()
    with gr00t_server(write_checkpoint(tmp_path / "checkpoint-1"), port), pytest.raises(Lost, match="hung up"):
        asked(f"tcp://127.0.0.1:{port}", given=observation("n1.6", "crash"), timeout=10 * PATIENCE)


def answering(*parts):
    def script(peer):
        envelope, _ = peer.hear()
        peer.say(envelope, *parts)
        peer.hear()

    return script


@pytest.mark.parametrize(
    ("generation", "parts", "error", "says"),
    [
        (N16, [{"error": ""}], PolicyFailed, "could not read the question.*asked get_action with state.arm"),
        (N16, [{"error": 7}], PolicyFailed, "GR00T failed: 7"),
        (N16, [b"ERROR"], PolicyFailed, "the server of GR00T N1"),
        (N16, [b"\xc1"], PolicyFailed, "answered what cannot be read"),
        (N16, [{"arm": 1}], PolicyFailed, "expected a list of the actions and what else"),
        (N16, [[{}, {}, {}]], PolicyFailed, "expected a list of the actions and what else"),
        (N16, [[[], {}]], PolicyFailed, "expected a map of groups"),
        (N15, [[{}, {}]], PolicyFailed, "expected a map of groups"),
        (N16, [b"\x80", b"\x80"], PolicyFailed, "in 2 parts"),
        (N16, [bytes(33 * 2**20)], Lost, "hung up"),
        (N15, [{"action.arm": {b"nd": True, b"type": "|O", b"kind": b"O", b"shape": [1], b"data": b"x"}}],
         PolicyFailed, "an array of kind 'O' is refused"),
        (N16, [{"error": "Unauthorized: Invalid API token"}], PolicyFailed, "refused the token.*GR00T_API_TOKEN"),
    ],
    ids=["silent", "number", "n1", "no_msgpack", "bare", "three", "list", "pair", "parts", "large", "pickle", "token"],
)  # fmt: skip
def test_a_reply_that_is_none_is_told_by_its_cause(generation, parts, error, says):
    with Liar(answering(*parts)) as liar, pytest.raises(error, match=says):
        asked(liar.url, generation)


@pytest.mark.parametrize("configs", [{"video": 1}, {}, {"action": {"as_json": "{"}}, [1]])
def test_modalities_that_are_none_are_said(configs):
    with (
        Liar(answering(configs)) as liar,
        connected(liar.url) as connection,
        pytest.raises(PolicyFailed, match="described its modalities in a way that cannot be read"),
    ):
        within(lambda: connection.modalities(PATIENCE))


def test_a_token_goes_with_each_question():
    heard = []

    def script(peer):
        for _ in range(2):
            envelope, request = peer.hear()
            heard.append(request)
            peer.say(envelope, [{"arm": 1}, {}] if request["endpoint"] == "get_action" else {})
        peer.hear()

    with Liar(script) as liar, connected(liar.url, token="s3cret") as connection:
        within(lambda: connection.get_action(SMALL, PATIENCE))
        within(lambda: connection.reset(PATIENCE))
    assert [request["api_token"] for request in heard] == ["s3cret"] * 2
    assert heard[1] == {"endpoint": "reset", "data": {"options": None}, "api_token": "s3cret"}


def test_n1_5_which_has_no_reset_is_not_asked_for_one():
    with Liar(lambda peer: peer.hear()) as liar, connected(liar.url, N15) as connection:
        within(lambda: connection.reset(PATIENCE))
        assert not connection.busy


def test_the_form_follows_what_the_server_is_seen_to_write():
    heard = []

    def script(peer):
        envelope, _ = peer.hear()
        peer.say(envelope, {"action": {"__ModalityConfig__": True, "as_json": {"modality_keys": ["arm"],
                 "delta_indices": [0]}}, "state": {"modality_keys": [], "delta_indices": [0]}})  # fmt: skip
        for _ in range(2):
            envelope, request = peer.hear()
            heard.append(request["data"]["observation"]["state"]["arm"])
            peer.say(envelope, [{"arm": {"__ndarray_class__": True, "as_npy": npy(np.ones((1, 1, 2)))}}, {}])
        peer.hear()

    with Liar(script) as liar, connected(liar.url, N17) as connection:
        for _ in range(2):
            within(lambda: connection.get_action(SMALL, PATIENCE))
    np.testing.assert_array_equal(msgpack_numpy.decode(heard[0]), SMALL["state"]["arm"])
    assert heard[1]["__ndarray_class__"] is True


def npy(array):
    import io

    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def value_of(request):
    return float(np.frombuffer(request["data"]["observation"]["state"]["arm"]["as_npy"][-4:], np.float32)[0])


def question(value):
    return {"state": {"arm": np.full((1, 1, 1), value, np.float32)}}


def answer(value):
    return [{"arm": value}, {}]


def test_an_answer_that_comes_too_late_answers_nothing():
    late = threading.Event()

    def script(peer):
        envelope, request = peer.hear()
        reached(late)
        peer.say(envelope, answer(value_of(request)))
        envelope, request = peer.hear()
        peer.say(envelope, answer(value_of(request)))
        peer.hear()

    with Liar(script) as liar:
        with connected(liar.url) as connection:
            with pytest.raises(InferTimeout, match=r"within 0\.2 s \(--gr00t-timeout\)"):
                within(lambda: connection.get_action(question(1), 0.2))
            assert not connection.usable(), "its next answer would be the last question's"
        late.set()
        assert asked(liar.url, given=question(2)) == {"arm": 2}


def test_an_answer_too_many_is_never_the_next_ones():
    """GR00T's own server cannot; a proxy that repeats what it heard can, before the next question and after it."""

    def script(peer):
        previous = None
        for _ in range(4):
            envelope, request = peer.hear()
            mine = answer(value_of(request))
            if previous is not None:
                peer.say(*previous)
            peer.say(envelope, mine)
            peer.say(envelope, mine)
            previous = (envelope, mine)
        peer.hear()

    with Liar(script) as liar, connected(liar.url) as connection:
        for value in (1, 2, 3, 4):
            assert within(lambda value=value: connection.get_action(question(value), PATIENCE)) == {"arm": value}


def test_closing_ends_what_another_thread_waits_for():
    with Liar(lambda peer: [peer.hear() for _ in range(2)]) as liar, connected(liar.url) as connection:
        threading.Timer(0.1, connection.close).start()
        with pytest.raises(Lost, match="was closed"):
            within(lambda: connection.get_action(SMALL, 10 * PATIENCE))
        assert not connection.usable()
        with pytest.raises(Lost, match="was closed"):
            connection.get_action(SMALL, 1)


def test_a_server_that_goes_while_nobody_asks_is_noticed():
    with Liar(lambda peer: peer.hear()) as liar:
        connection = within(lambda: Connection(liar.url, N16))
        assert connection.usable()
    end = threading.Event()
    while connection.usable():
        assert not end.wait(0.01)
    connection.close()


def test_a_server_that_is_there_and_does_nothing_any_more_is_noticed(tmp_path, monkeypatch):
    """As a network that was cut: nobody hangs up."""
    monkeypatch.setattr("offboard_gr00t.connection._BEAT", 0.05)
    # As long as a busy machine may keep one that lives.
    monkeypatch.setattr("offboard_gr00t.connection._BEAT_TIMEOUT", 3.0)
    port = free_port()
    with (
        gr00t_server(write_checkpoint(tmp_path / "checkpoint-1"), port) as server,
        connected(f"tcp://127.0.0.1:{port}") as connection,
    ):
        os.kill(server.pid, signal.SIGSTOP)
        with pytest.raises(Lost, match="hung up"):
            within(lambda: connection.get_action(observation("n1.6"), 10 * PATIENCE))


def test_an_address_of_ipv6():
    with zmq.Context() as context, context.socket(zmq.REP) as server:
        server.ipv6, server.linger = True, 0
        try:
            server.bind("tcp://[::1]:*")
        except zmq.ZMQError:
            pytest.skip("this machine has no IPv6")
        within(lambda: Connection(server.getsockopt_string(zmq.LAST_ENDPOINT), N16)).close()


@pytest.fixture
def listening():
    with contextlib.ExitStack() as stack:

        def listen(serve):
            listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def run():
                with contextlib.suppress(OSError):
                    for _ in range(2):  # the knock, then ZMQ
                        serve(stack.enter_context(listener.accept()[0]))

            threading.Thread(target=run, daemon=True).start()
            return f"tcp://127.0.0.1:{listener.getsockname()[1]}"

        yield listen


@pytest.mark.parametrize(
    "serve",
    [
        lambda peer: peer.sendall(b"SSH-2.0-OpenSSH_9.6\r\n"),
        lambda peer: peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        lambda peer: None,
        lambda peer: peer.close(),
        lambda peer: peer.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(100)),
    ],
    ids=["ssh", "http", "silent", "closes", "garbage"],
)
def test_what_is_no_gr00t_server_is_said(listening, serve):
    with pytest.raises(Unreachable, match=r"is no GR00T server: Lost: it (hung up|did not introduce itself)"):
        within(lambda: Connection(listening(serve), N16, timeout=0.5))


def test_a_socket_of_another_kind_is_no_gr00t_server():
    context = zmq.Context()
    publisher = context.socket(zmq.PUB)
    publisher.bind("tcp://127.0.0.1:*")
    try:
        with pytest.raises(Unreachable, match="is no GR00T server"):
            within(lambda: Connection(publisher.last_endpoint.decode().rstrip("\0"), N16, timeout=5))
    finally:
        context.destroy(linger=0)


@pytest.mark.parametrize("url", ["tcp://127.0.0.1:9", "tcp://127.0.0.1:99999", "tcp://no-such-host.invalid:5555"])
def test_nobody_there(url):
    with pytest.raises(Unreachable, match=url):
        within(lambda: Connection(url, N16))
