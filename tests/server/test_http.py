"""PROTOCOL sections 1 and 11: what HTTP answers, and to whom."""

import base64
import http.client
import json
import logging
import re
import urllib.parse
from pathlib import Path

import pytest
from offboard_client.errors import ConfigurationError, OffboardError
from offboard_core import Checkpoint, Elsewhere, ModelRegistry
from offboard_core.catalog import ModelSource
from offboard_core.server import InferenceServer
from pigeons import Pigeons
from puppets import PATIENCE, Door, Puppet, reached, source
from robots import connect_to, get, get_json, robot
from watching import Noting
from websockets.exceptions import InvalidStatus

TOKEN = "a-token-of-the-tests"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
OPEN = ["/livez", "/readyz", "/healthz"]
CLOSED = ["/api/v1/models", "/api/v1/status", "/api/v1/sessions/12345678/last", "/metrics", "/nothing-here"]


def becomes_ready(server):
    with robot(server) as one:
        one.opened()


@pytest.mark.rule("H-1")
def test_models_are_ids_oldest_first():
    with InferenceServer({"only": source({"9": Puppet, "10000": Puppet, "20000": Puppet})}, port=0) as server:
        assert get_json(server, "/api/v1/models") == {"models": ["9", "10000", "20000"]}


@pytest.mark.rule("H-2", "S-3")
def test_every_listed_id_opens_a_session_percent_encoded_with_or_without_its_slashes():
    odd = ["plain", "a/b/c", "100%", "what?", "no#1", "c:5", "sp ace", "ünïcode", "%2e%2e", "a//b", "q&a=1+1"]
    with InferenceServer({"only": source(dict.fromkeys(odd, Puppet))}, port=0) as server:
        assert get_json(server, "/api/v1/models") == {"models": odd}
        for model_id in odd:
            for safe in ("/", ""):
                with robot(server, urllib.parse.quote(model_id, safe=safe)) as one:
                    assert one.opened()["meta"]["checkpoint_id"] == model_id


class Fickle(ModelRegistry):
    def __init__(self):
        self.fault = None

    def checkpoints(self):
        if self.fault is not None:
            raise self.fault
        return [Checkpoint(id="a")]


@pytest.mark.rule("H-3")
@pytest.mark.parametrize(
    "fault",
    [ConfigurationError("the folder is gone"), PermissionError("the folder is gone"), KeyError("the folder is gone")],
)
def test_a_place_that_cannot_be_listed_is_an_error_and_not_an_empty_list(fault):
    plain, registry = source({"a": Puppet}), Fickle()
    fickle = ModelSource(vendor="puppet", registry=registry, loader=plain.loader, codec=plain.codec)
    with InferenceServer({"only": fickle}, port=0) as server:
        registry.fault = fault
        status, body, _ = get(server, "/api/v1/models")
        assert status == 503
        assert json.loads(body).keys() == {"error", "code"}
        assert json.loads(body)["code"] == "configuration"
        assert "the folder is gone" in json.loads(body)["error"]


@pytest.mark.rule("H-14")
def test_of_several_places_those_that_can_be_listed_are():
    plain, registry = source({"a": Puppet}), Fickle()
    fickle = ModelSource(vendor="puppet", registry=registry, loader=plain.loader, codec=plain.codec)
    with InferenceServer({"fickle": fickle, "plain": plain}, port=0) as server:
        registry.fault = PermissionError("the folder is gone")
        found = get_json(server, "/api/v1/models")
        assert found["models"] == ["plain/a"]
        assert found["problems"].keys() == {"fickle"}
        assert found["problems"]["fickle"].keys() == {"error", "code"}
        assert "the folder is gone" in found["problems"]["fickle"]["error"]


@pytest.mark.rule("H-4", "H-5", "H-6", "L-4")
def test_health_while_loading_and_while_inferring():
    with Door() as loading, Door() as inferring:

        def slowly():
            loading.passing()
            return Puppet(doors={0: inferring})

        with InferenceServer({"only": source({"a": slowly})}, port=0) as server:
            reached(loading.entered)
            assert [get(server, path)[0] for path in OPEN] == [200, 503, 503]
            loading.open()
            with robot(server) as one:
                one.opened()
                one.send({})
                reached(inferring.entered)
                assert [get(server, path)[0] for path in OPEN] == [200, 200, 200]
                assert get(server, "/healthz")[1].strip() == "OK"
                assert one.connection.ping().wait(PATIENCE), "pings are answered meanwhile"
                inferring.open()
                assert "result" in one.receive()


@pytest.mark.rule("H-5", "H-6")
def test_a_failed_load_is_not_ready():
    def broken():
        raise OSError("no weights")

    with InferenceServer({"only": source({"a": broken})}, port=0) as server:
        with robot(server) as one:
            one.refused()
        assert [get(server, path)[0] for path in OPEN] == [200, 503, 503]


@pytest.mark.rule("H-7", "A-1")
def test_with_a_token_only_health_is_open_and_tells_nothing():
    with InferenceServer({"only": source({"secret-model": Puppet})}, port=0, auth_token=TOKEN) as server:
        for path in OPEN:
            status, body, _ = get(server, path)
            assert status in (200, 503)
            assert body in ("OK\n", "not ready\n")
        for path in CLOSED:
            status, body, headers = get(server, path)
            assert status == 401, path
            assert "secret-model" not in body
            assert headers["WWW-Authenticate"] == "Bearer"
        assert get(server, "/api/v1/models", BEARER)[0] == 200
        assert get(server, "/nothing-here", BEARER)[0] == 404


@pytest.mark.rule("A-1", "A-3")
def test_the_host_header_opens_nothing():
    with InferenceServer({"only": source({"a": Puppet})}, port=0, auth_token=TOKEN) as server:
        for host in ("x/livez?", "x/livez#", "/livez", "x:1/livez?"):
            connection = http.client.HTTPConnection(server.host, server.port, timeout=PATIENCE)
            connection.putrequest("GET", "/api/v1/status", skip_host=True)
            connection.putheader("Host", host)
            connection.endheaders()
            assert connection.getresponse().status in (400, 401), host
            connection.close()


@pytest.mark.rule("A-1", "A-2")
def test_a_session_needs_the_token_before_the_upgrade():
    with InferenceServer({"only": source({"a": Puppet})}, port=0, auth_token=TOKEN) as server:
        for good in (f"Bearer {TOKEN}", f"Api-Key {TOKEN}", f"bearer {TOKEN}"):
            with robot(server, additional_headers={"Authorization": good}) as one:
                one.opened()
            assert get(server, "/api/v1/models", {"Authorization": good})[0] == 200
        basic = "Basic " + base64.b64encode(f"anybody:{TOKEN}".encode()).decode()
        assert get(server, "/api/v1/models", {"Authorization": basic})[0] == 200
        with connect_to(f"ws://anybody:{TOKEN}@{server.host}:{server.port}/api/v1/session") as socket:
            assert b"ready" in socket.recv(timeout=PATIENCE)
        # What a browser keeps it sends for the page of any site.
        from_a_page = {"Authorization": basic, "Origin": f"http://{server.host}:{server.port}"}
        assert get(server, "/api/v1/models", from_a_page)[0] == 401
        unnamed, other = (base64.b64encode(text).decode() for text in (TOKEN.encode(), b"anybody:x"))
        wrong = [f"Basic {unnamed}", f"Basic {other}", "Basic !", "Basic"]
        wrong += [
            "",
            "Bearer",
            f"Bearer {TOKEN}x",
            f"Bearer {TOKEN[:-1]}",
            f"Basic {TOKEN}",
            TOKEN,
            f"Bearer {TOKEN} x",
        ]
        for bad in wrong:
            with pytest.raises(InvalidStatus) as refused, robot(server, additional_headers={"Authorization": bad}):
                pass
            assert refused.value.response.status_code == 401
            assert get(server, "/api/v1/models", {"Authorization": bad})[0] == 401, bad
        with pytest.raises(InvalidStatus) as refused, robot(server, query=f"token={TOKEN}"):
            pass
        assert json.loads(refused.value.response.body)["code"] == "unauthorized"


@pytest.mark.rule("A-3")
def test_tokens_are_compared_in_constant_time(monkeypatch):
    compared = []
    import hmac

    real = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda a, b: compared.append((a, b)) or real(a, b))
    with InferenceServer({"only": source({"a": Puppet})}, port=0, auth_token=TOKEN) as server:
        assert get(server, "/metrics", {"Authorization": "Bearer wrong"})[0] == 401
        assert get(server, "/metrics", BEARER)[0] == 200
    assert compared == [(b"wrong", TOKEN.encode()), (TOKEN.encode(), TOKEN.encode())]


@pytest.mark.rule("A-4")
@pytest.mark.parametrize("token", ["", " ", "two words", "tab\t", "newline\n", "ü", "\x00"])
def test_a_token_that_no_header_carries_is_refused_at_the_start(token):
    with pytest.raises(ConfigurationError, match="printable"):
        InferenceServer({"only": source({"a": Puppet})}, port=0, auth_token=token).start()


@pytest.mark.rule("H-8")
def test_status_says_who_holds_the_slot_and_who_waits():
    with (
        InferenceServer({"only": source({"a": Puppet, "b": Puppet})}, port=0) as server,
        robot(server) as holder,
        robot(server, "b") as waiting,
    ):
        holder.opened()
        holder.ask({})
        assert waiting.told("waiting")
        status = get_json(server, "/api/v1/status")
        assert status["loaded"]["model"] == "a"
        assert status["sessions"] == 1
        (held,) = status["holders"]
        local = holder.connection.local_address
        assert held["client"] == f"{local[0]}:{local[1]}"
        assert held["for_s"] >= 0
        assert status["waiting"] == ["b"]
        assert status["mean_ms"].keys() == {"decode_ms", "codec_ms", "queue_ms", "infer_ms", "total_ms"}
        assert status["memory_bytes"] > 2**20
        assert "session_id" not in json.dumps(status)


@pytest.mark.rule("H-8")
def test_the_rule_about_the_status_names_all_that_it_says():
    def names(said):
        for name, one in said.items():
            yield name
            if name == "observers":
                one = one["mine"]
            elif isinstance(one, list):
                one = one[0]
            if isinstance(one, dict) and name not in ("outcomes", "mean_ms"):
                yield from names(one)

    def fails():
        raise OSError("no weights")

    def hangs():
        door.passing()
        return Puppet()

    class Away(Puppet):
        def elsewhere(self):
            return Elsewhere(pid=1, python="3.12.1")

    models = source({"a": Away, "b": hangs, "c": fails})
    with Door() as door, InferenceServer({"only": models}, port=0, observers={"mine": Noting()}) as server:
        with robot(server, "c") as one:
            one.refused()
        with robot(server, "a") as one, robot(server, "b") as other:
            one.opened()
            other.told("waiting")
            status = get_json(server, "/api/v1/status")
        with robot(server, "b"):
            reached(door.entered)
            status["loading"] = get_json(server, "/api/v1/status")["loading"]
            door.open()
    page = (Path(__file__).parents[2] / "docs" / "reference" / "protocol.md").read_text("utf-8")
    rule = page[page.index("**H-8** `/api/v1/status`") : page.index("- **H-13**")]
    said = set(re.findall(r"`(\w+)`", rule)) - {"ready", "recovering"}
    assert said == set(names(status))
    assert status["listeners"] == {}


@pytest.mark.rule("H-18")
def test_what_the_stages_took_is_there_for_who_comes_later():
    with InferenceServer({"only": source({"a": Puppet})}, port=0) as server:
        before = get_json(server, "/api/v1/latencies")
        with robot(server) as one:
            one.opened()
            one.ask({})
        after = get_json(server, "/api/v1/latencies")
    assert after["span_s"] == 2.0
    assert set(after["mean_ms"]) == {"total", "queue", "decode", "codec", "infer"}
    for stage, means in after["mean_ms"].items():
        assert len(means) == 300
        assert set(before["mean_ms"][stage]) == {None}
        (mean,) = [each for each in means if each is not None]
        assert mean >= 0
    assert sum(each or 0 for each in after["mean_ms"]["total"]) > 0


@pytest.mark.rule("H-9")
def test_metrics_count_what_happened():
    from prometheus_client.parser import text_string_to_metric_families

    with InferenceServer({"only": source({"a": Puppet})}, port=0) as server:
        with robot(server) as one:
            one.opened()
            one.ask({})
            one.ask(b"\xc1")
            status, body, headers = get(server, "/metrics")
        assert status == 200
        assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
        found = {
            (sample.name, *sorted(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(body)
            for sample in family.samples
        }
        assert found["offboard_requests_total", "ok"] == 1
        assert found["offboard_requests_total", "bad_message"] == 1
        assert found["offboard_sessions_total",] == 1
        assert found["offboard_sessions_active",] == 1
        assert found["offboard_ready",] == 1
        assert found["offboard_model_loads_total", "ok"] == 1
        assert found["offboard_batches_total", "1"] == 2
        assert found["offboard_request_duration_seconds_count", "total"] == 2


@pytest.mark.rule("H-9")
def test_the_page_on_metrics_names_each_with_its_kind_and_labels():
    from prometheus_client.parser import text_string_to_metric_families

    models = {"only": source({"a": Puppet})}
    others = {"listeners": {"pigeons": (Pigeons(), 0)}, "observers": [Noting()]}
    with InferenceServer(models, port=0, max_sessions=2, **others) as server, robot(server) as one:
        one.opened()
        one.ask({})
        with pytest.raises(InvalidStatus), robot(server):
            pass
        body = get(server, "/metrics")[1]
    told = {}
    for family in text_string_to_metric_families(body):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        told[name] = (family.type, {label for sample in family.samples for label in sample.labels} - {"le"})
    page = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"
    rows = re.findall(r"^\| `(offboard_\w+)` \| (\w+) \|(.*?)\|", page.read_text("utf-8"), re.MULTILINE)
    assert {name: (kind, set(re.findall(r"`(\w+)`", labels))) for name, kind, labels in rows} == told


def test_a_port_in_use_is_said_plainly():
    with InferenceServer({"only": source({"a": Puppet})}, port=0) as server:
        with pytest.raises(ConfigurationError, match=rf"cannot listen on 127\.0\.0\.1:{server.port}.*--port"):
            InferenceServer({"only": source({"a": Puppet})}, port=server.port).start()
        becomes_ready(server)


@pytest.mark.parametrize("host", ["no.such.host.invalid", "256.0.0.1"])
def test_a_host_that_is_not_here_is_said_plainly(host):
    with pytest.raises(ConfigurationError, match="cannot listen on"):
        InferenceServer({"only": source({"a": Puppet})}, host=host, port=0).start()


def test_a_server_of_callables_as_the_readme_shows_it():
    with InferenceServer({"model_a": lambda: lambda observation: [[0.0, 1.0]]}, port=0, fps=10) as server:
        assert get_json(server, "/api/v1/models") == {"models": ["model_a"]}
        with robot(server) as one:
            one.opened()
            assert one.ask_text({"x": 1})["result"] == [{"action": [0.0, 1.0], "timestamp": 0.0}]


@pytest.mark.parametrize("registry", [{}, {"a": 3}, {"a": "not callable"}])
def test_nothing_to_serve_is_refused(registry):
    with pytest.raises(OffboardError):
        InferenceServer(registry, port=0).start()


def test_nothing_secret_is_logged(caplog):
    with (
        caplog.at_level(logging.DEBUG),
        InferenceServer({"only": source({"a": Puppet})}, port=0, auth_token=TOKEN) as server,
    ):
        with robot(server, additional_headers=BEARER) as one:
            one.opened()
        get(server, "/metrics", {"Authorization": f"Bearer {TOKEN}x"})
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("offboard")]
    assert not [message for message in ours if TOKEN in message]


def test_a_connection_to_no_session_is_answered_over_http_too():
    with InferenceServer({"only": source({"a": Puppet})}, port=0) as server:
        with pytest.raises(InvalidStatus) as refused:
            connect_to(f"ws://{server.host}:{server.port}/api/v1/models")
        assert refused.value.response.status_code == 403
