"""openpi's wire against servers that lie, stall and drip: every wait ends, and no answer is another question's."""

import contextlib
import itertools
import queue
import threading
import time

import numpy as np
import pytest
from lying_openpi import BINARY, CLOSE, PING, TEXT, Liar, attach, frame, infer
from offboard_client.errors import InferTimeout, ModelLost, PolicyFailed
from offboard_openpi.connection import Connection, Lost, Unreachable

#: Seconds after which a call hangs; decides nothing.
PATIENCE = 240
LARGE = {"image": np.zeros((4000, 4000, 3), np.uint8)}
SMALL = {"state": np.zeros(8)}


def within(function):
    """What it returns or raises, in a thread, so that a call that never ends fails the test."""
    heard = queue.SimpleQueue()

    def run():
        try:
            heard.put((function(), None))
        except BaseException as error:
            heard.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    result, error = heard.get(timeout=PATIENCE)
    if error is not None:
        raise error
    return result


def asked(liar, inputs, timeout=0.3):
    connection = within(lambda: Connection(liar.url))
    try:
        return within(lambda: connection.ask(inputs, timeout))
    finally:
        within(connection.close)


def actions(value):
    return {"actions": np.full((2, 8), value)}


def pings_for_ever(peer):
    while True:
        peer.say(frame(b"", PING) * 1000)


def fragments_for_ever(peer):
    peer.hear()
    peer.say(frame(b"", BINARY, fin=False))
    while True:
        peer.say(frame(b"", 0, fin=False) * 1000)


def drip(peer):
    """What is not whole before anybody has lost patience, on a busy machine, too."""
    peer.hear()
    for byte in itertools.chain(frame({"actions": np.zeros((10_000, 8))}), itertools.repeat(0)):
        peer.say(bytes([byte]))
        time.sleep(0.01)


@pytest.mark.parametrize("script", [pings_for_ever, fragments_for_ever, drip])
def test_a_server_that_never_comes_to_an_end_does_not_hold_up_a_call(script):
    with Liar(script) as liar, pytest.raises((InferTimeout, Lost)):
        asked(liar, SMALL)


@pytest.mark.parametrize("pinging", [False, True])
def test_a_server_that_reads_nothing_does_not_hold_up_a_call(pinging):
    def script(peer):
        if pinging:
            pings_for_ever(peer)
        liar.wait()

    # On a busy machine it may be found out before anything is asked.
    expected = (InferTimeout, Lost) if pinging else InferTimeout
    with Liar(script) as liar, pytest.raises(expected, match=r"did not answer within 0\.3 s|closed the connection"):
        asked(liar, LARGE)


def test_a_connection_that_is_closed_is_lost_to_who_asks():
    with Liar(lambda peer: liar.wait()) as liar:
        connection = Connection(liar.url)
        connection.close()
        with pytest.raises(Lost, match="closed the connection"):
            connection.ask(SMALL, PATIENCE)


def test_closing_ends_what_another_thread_waits_for():
    with Liar(lambda peer: liar.wait()) as liar:
        connection = Connection(liar.url)
        threading.Timer(0.1, connection.close).start()
        with pytest.raises(Lost):
            within(lambda: connection.ask(SMALL, PATIENCE))


@pytest.mark.parametrize(
    ("said", "error", "says"),
    [
        (frame(b"Traceback\n  File x\nValueError: a \x1b[31mbad thing\n", TEXT), PolicyFailed, "ValueError: a"),
        (frame(b"\xff\xfe", TEXT), PolicyFailed, "openpi failed: "),
        (frame(b"\xc1"), PolicyFailed, "cannot be read"),
        (frame(np.zeros((2, 8))), PolicyFailed, "answered a ndarray, expected a map"),
        (frame({"actions": {b"nd": True, b"type": "|O", b"kind": b"O", b"shape": [1], b"data": b""}}),
         PolicyFailed, "cannot be read: actions: an array of kind 'O' is refused"),
        (bytes([0x82, 127]) + (2**40).to_bytes(8, "big"), Lost, "33554432"),
        (bytes([0xFF, 0xFF, 0, 0]), Lost, "cannot be read"),
        (frame((1011).to_bytes(2, "big") + b"keepalive", CLOSE), Lost, r"closed the connection \(.*1011.*keepalive"),
        (b"", Lost, "without a word"),
    ],
    ids=["traceback", "no_utf8", "no_msgpack", "bare_array", "pickle", "a_terabyte", "no_websocket", "close", "eof"],
)  # fmt: skip
def test_a_reply_that_is_none_is_told_by_its_cause(said, error, says):
    def script(peer):
        peer.hear()
        peer.say(said)

    with Liar(script) as liar, pytest.raises(error, match=says):
        asked(liar, SMALL, PATIENCE)


def test_a_reply_in_msgpack_numpys_form_is_read():
    def script(peer):
        peer.hear()
        array = np.ones((2, 8), np.float32)
        made = {b"nd": True, b"type": "<f4", b"kind": b"", b"shape": [2, 8], b"data": array.tobytes()}
        peer.say(frame({"actions": made}))

    with Liar(script) as liar:
        np.testing.assert_array_equal(asked(liar, SMALL, PATIENCE)["actions"], np.ones((2, 8), np.float32))


def http(answer):
    def script(peer):
        raise AssertionError

    liar = Liar(script)
    liar._serve = lambda connection: (connection.recv(65536), connection.sendall(answer), connection.close())
    return liar


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "HTTP 404"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "is no openpi server"),
        (b"", "is no openpi server"),
    ],
)
def test_what_is_no_openpi_server_is_said(answer, says):
    with http(answer) as liar, pytest.raises(Unreachable, match=says):
        within(lambda: Connection(liar.url))


@pytest.mark.parametrize("metadata", [[1, 2], "text", b"\xc1", 5])
def test_metadata_that_is_no_map_is_said(metadata):
    with (
        Liar(lambda peer: None, metadata) as liar,
        pytest.raises(Unreachable, match="is no openpi server: PolicyFailed"),
    ):
        within(lambda: Connection(liar.url))


def test_a_server_that_says_nothing_is_given_up():
    with Liar(lambda peer: None) as liar:
        liar._serve = lambda connection: liar.wait()
        with pytest.raises(Unreachable, match=r"too long|timed out"):
            within(lambda: Connection(liar.url, 0.2))


def test_a_url_that_is_none():
    with pytest.raises(Unreachable, match=r"ws://127\.0\.0\.1:99999"):
        Connection("ws://127.0.0.1:99999")


def test_an_answer_too_many_is_never_the_next_ones():
    """openpi numbers nothing: what has arrived before a question is asked answers another one."""
    answered = threading.Event()

    def script(peer):
        value = float(peer.hear()["state"][0])
        peer.say(frame(actions(value)), frame(actions(-1)))
        answered.set()
        peer.say(frame(actions(float(peer.hear()["state"][0]))))
        liar.wait()

    with Liar(script) as liar:
        server = attach(liar)
        for value in (1.0, 2.0, 3.0):
            answered.clear()
            reply = within(lambda value=value: infer(server, {"state": np.full(8, value)}))
            assert reply["actions"][0, 0] == value
            assert answered.wait(PATIENCE)
        server.close()
        assert liar.connections == 3


def test_an_answer_that_comes_too_late_answers_nothing():
    late = threading.Event()

    def script(peer):
        value = float(peer.hear()["state"][0])
        if value == 1:
            late.wait(PATIENCE)
        peer.say(frame(actions(value)))
        liar.wait()

    with Liar(script) as liar:
        server = attach(liar)
        with pytest.raises(InferTimeout):
            within(lambda: infer(server, {"state": np.ones(8)}, 0.3))
        late.set()
        assert within(lambda: infer(server, {"state": np.full(8, 2.0)}))["actions"][0, 0] == 2
        server.close()


def test_a_server_that_closes_an_idle_connection_is_asked_on_a_new_one():
    """openpi's pings an idle robot and closes what does not answer for 40 s."""
    gone = threading.Event()

    def script(peer):
        peer.say(frame(b"", PING), frame(actions(float(peer.hear()["state"][0]))))
        peer.say(frame((1011).to_bytes(2, "big"), CLOSE))
        gone.set()

    with Liar(script) as liar:
        server = attach(liar)
        for value in (1.0, 2.0):
            gone.clear()
            reply = within(lambda value=value: infer(server, {"state": np.full(8, value)}))
            assert reply["actions"][0, 0] == value
            assert gone.wait(PATIENCE)
        server.close()


def test_a_server_that_comes_back_with_another_policy_is_not_asked():
    def script(peer):
        peer.say(frame(actions(float(peer.hear()["state"][0]))))

    with Liar(script, {"policy": "one"}) as liar:
        server = attach(liar)
        within(lambda: infer(server, SMALL))
        liar._metadata = {"policy": "two"}

        def again():
            for _ in range(2):  # the send that breaks on the closed socket may notice it first
                with contextlib.suppress(PolicyFailed):
                    infer(server, SMALL)

        with pytest.raises(ModelLost, match="serves another policy now"):
            within(again)
