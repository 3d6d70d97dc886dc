"""What people hand to a client by mistake, and what they are told."""

import types

import numpy as np
import pytest
from offboard_client import BadMessage, BadObservation, BadParameter, ConfigurationError
from offboard_client.errors import ConnectionFailed
from offboard_client.protocol import AttemptFailed, Attempts, Clock
from offboard_client.session import InferenceClient
from offboard_client.wire import encode
from scripted_server import ScriptedServer, good


@pytest.mark.parametrize("observation", [None, [1.0], "robot_state.q", np.zeros(7)])
def test_an_observation_that_is_no_map_is_refused_before_anything_is_sent(clients, observation):
    with ScriptedServer(good) as server:
        session = clients.session("127.0.0.1", server.port)
        with pytest.raises(BadObservation, match=f"map from names to values.*{type(observation).__name__}"):
            clients.wait(session.infer(observation))
        assert clients.wait(session.infer({})) is not None
        clients.wait(session.close())


def test_the_names_of_an_observation_are_texts(clients):
    with ScriptedServer(good) as server:
        session = clients.session("127.0.0.1", server.port)
        with pytest.raises(BadObservation, match="names are texts, and one is 7"):
            clients.wait(session.infer({"grip": 0.5, 7: 0.0}))
        clients.wait(session.close())


def test_a_model_is_asked_for_by_text(clients):
    with pytest.raises(BadParameter, match="its id as text, and this is 10000"):
        clients.wait(clients.client("127.0.0.1").new_session(10000))


def test_who_gives_up_waiting_for_a_model_is_told_what_for(clients):
    def busy(peer):
        peer.upgrade()
        peer.send({"status": "waiting", "message": "1 session on the model act, for 12 s"})
        peer.receive()

    with ScriptedServer(busy) as server:
        text = r"no session ready in the time that it was given, and was still waiting: 1 session on the model act"
        clock = clients.clock()
        with pytest.raises(ConnectionFailed, match=text):
            clients.session("127.0.0.1", server.port, clock=clock, on_status=lambda _: clock.slept.append(1000.0))


class Tensor:
    """Like torch's: not an array, and willing to become one."""

    def __array__(self, *_, **__):
        return np.zeros(3)


def test_what_could_be_an_array_is_named_with_how_it_becomes_one():
    with pytest.raises(BadMessage, match=r"value\['q'\]: .*Tensor has no form on the wire; .*np\.asarray"):
        encode({"q": Tensor()})


def test_what_has_no_form_is_named_with_what_has():
    with pytest.raises(BadMessage, match=r"types\.SimpleNamespace has no form on the wire; there are: None, bool, int"):
        encode({"q": types.SimpleNamespace()})


def test_a_number_that_is_too_long_for_the_wire_is_named():
    with pytest.raises(BadMessage, match=r"value\['n'\]: whole numbers on the wire have at most 64 bits"):
        encode({"n": 2**70})


@pytest.mark.parametrize(
    ("name", "value"), [("wait_for_server", 0), ("infer_timeout", None), ("connect_deadline", "5")]
)
def test_a_time_is_called_as_it_was_given(clients, name, value):
    with pytest.raises(ConfigurationError, match=f"{name} is {value!r}; expected seconds, a number above 0"):
        clients.client("127.0.0.1", **{name: value})


@pytest.mark.parametrize("host", [None, 8000, "127.0.0.1:abc", "127.0.0.1:70000", ""])
def test_what_is_no_address_is_told_what_one_is(clients, host):
    with pytest.raises(ConfigurationError, match=r"is not an address; write host, host:port or ws://"):
        clients.client(host)


def test_an_attempt_that_follows_at_once_is_not_announced_in_0_seconds():
    shown = []
    client = InferenceClient("127.0.0.1", on_status=shown.append, clock=Clock(chance=lambda: 0.0))
    Attempts(client._settings, 10.0).delay(AttemptFailed(ConnectionFailed("nobody"), again=True))
    assert shown[0].message == "nobody; attempt 2 at once, giving up in 10 s"
