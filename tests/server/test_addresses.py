"""Every way to write an address works at both ends, or the text names its fault."""

import socket

import pytest
from offboard_client import ConfigurationError, InferenceClient
from offboard_client.protocol import listen_host, parse_address
from offboard_core import InferenceServer
from offboard_core.cli import ServeOptions, announce
from offboard_core.server import bind, reachable

LOCAL = ["127.0.0.1", "localhost", "::1", "[::1]", " [::1] ", "0.0.0.0", "::", "[::]", "127.1.2.3"]


def has_ipv6():
    try:
        bind("::1", 0).close()
    except ConfigurationError:
        return False
    return True


@pytest.mark.parametrize("host", LOCAL)
def test_a_server_listens_there_and_what_it_prints_leads_to_it(host, capsys):
    if ":" in host and not has_ipv6():
        pytest.skip("this machine does not speak IPv6")
    with InferenceServer({"m": lambda: lambda observation: []}, host=host, port=0) as server:
        announce(ServeOptions(), ["m"], {}, server.host, server.port, simulated=True, listeners={})
        said = capsys.readouterr().out
        told = said.partition("offboard run sim ")[2].split()[0]
        listed = said.partition("listening on ")[2].split()[0]
        for address in (told, listed):
            with InferenceClient(address) as client:
                assert client.list_models() == ["m"]
        with InferenceClient(host, server.port) as client, client.new_session() as session:
            assert session.infer({}) == []


def test_a_network_of_a_link_local_address_is_kept_at_both_ends():
    found = parse_address("[fe80::1%lo]:9000")
    assert (found.host, found.port) == ("fe80::1%lo", 9000)
    assert parse_address("ws://[fe80::1%25lo]:9000").host == parse_address("fe80::1%lo").host == "fe80::1%lo"
    assert found.session_url(None, {}).startswith("ws://[fe80::1]:9000/")  # others do not know our networks
    assert str(found) == "[fe80::1%lo]:9000"
    assert listen_host("[fe80::1%lo]") == "fe80::1%lo"
    assert reachable("fe80::1%lo", 9000, secure=False)[1] == "[fe80::1%lo]:9000"


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("192.0.2.1", "This machine has no such address: --host 0.0.0.0 listens on all that it has"),
        ("nowhere.invalid", "a name or number of this machine"),
        ("a" * 70, "a name or number of this machine"),
    ],
)
def test_an_address_that_this_machine_does_not_have_is_not_taken_for_another_server(host, says):
    with pytest.raises(ConfigurationError, match=says) as caught:
        bind(host, 0)
    assert "Another server" not in str(caught.value)


def test_a_port_in_use_is_told():
    with bind("127.0.0.1", 0) as taken:
        taken.listen()
        with pytest.raises(ConfigurationError, match=r"Address already in use\. Another server may run there"):
            bind("127.0.0.1", taken.getsockname()[1])


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("ws://0.0.0.0:9000", "write --host 0.0.0.0 --port 9000"),
        ("gpu-box:9000", "write --host gpu-box --port 9000"),
        ("[::1]:9000", "write --host ::1 --port 9000"),
        ("", "a name or number of this machine"),
        ("two words", "a name or number of this machine"),
        ("[::1", "a name or number of this machine"),
    ],
)
def test_more_than_a_host_is_refused_by_what_to_write(host, says):
    for give in (listen_host, lambda host: InferenceServer({"m": lambda: None}, host=host)):
        with pytest.raises(ConfigurationError, match=says):
            give(host)


@pytest.mark.parametrize("host", ["::1", "[::1]", "[::1]:8000", "ws://[::1]:8000", "http://[::1]:8000/api/v1/session"])
def test_a_client_takes_each_way_to_write_an_ipv6_address(host):
    found = parse_address(host)
    assert (found.host, found.port, str(found)) == ("::1", 8000, "[::1]:8000")


@pytest.mark.parametrize("host", ["0.0.0.0", "::"])
def test_a_certificate_is_for_a_name(host):
    assert reachable(host, 9000, secure=True) == (f"wss://{socket.gethostname()}:9000",) * 2
