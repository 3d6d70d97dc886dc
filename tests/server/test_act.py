"""PROTOCOL section 14: one observation over HTTP, and its answer."""

import base64
import contextlib
import json
import socket
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from acting import JSON, act, ask, dialled
from flow import JOINTS, FlowPlugin, FlowPolicy
from frames import PIXELS, picture
from offboard_core import Chunk, Health, InvalidAction, PolicyFailed
from offboard_core.engine import ServiceTimeouts
from offboard_core.server import InferenceServer
from puppets import PATIENCE, Puppet, arm, reached, source
from robots import first, get_json, robot
from waits import until

X = {"x": [0.0, 1.0]}
POSE = {"robot_state.ee_pose": [0, 0, 0.1, 1, 0, 0, 0], "task": "up"}
LIMIT = 32 * 2**20
TOKEN = "a-token-of-the-tests"


@pytest.fixture(scope="module")
def server():
    models = {"a": Puppet, "b/c": lambda: Puppet(lambda episode, inputs: Chunk(np.full((1, 2), 7.0)))}
    with InferenceServer({"only": source(models)}, port=0) as running:
        with robot(running) as one:
            one.opened()
        yield running


@pytest.fixture(scope="module")
def armed():
    with InferenceServer({"only": arm()}, port=0) as running:
        yield running


# -- what is answered ----------------------------------------------------------------------------------------------
@pytest.mark.rule("B-1", "R-1", "R-11", "R-19", "L-13")
def test_an_observation_is_answered_as_the_first_of_a_session_in_text(armed):
    with robot(armed, query="dialect=offboard") as one:
        one.opened()
        told = one.ask_text({**POSE, "offboard.seq": 3, "unread": 1})
    for path in ("/act", "/api/v1/act", "/act/arm", "/api/v1/act/arm"):
        answer = act(armed, {**POSE, "offboard.seq": 3, "unread": 1}, path)
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/json"
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.body["timing"].keys() == told["timing"].keys()
        assert {**answer.body, "timing": 0} == {**told, "timing": 0}
        assert [row["timestamp"] for row in answer.body["result"]] == [0.0, 0.1, 0.2]
        assert "unread" in answer.body["warnings"][0]


@pytest.mark.rule("B-1", "S-3", "S-4", "R-16")
def test_the_model_and_its_options_are_said_as_for_a_session(server):
    assert act(server, X).body["result"] == [{"action": [1.0] * 3}] * 2
    for path in ("/act/b/c", "/act/b%2Fc", "/act/b/c?layout=columns"):
        answer = act(server, X, path)
        assert answer.status == 200
        columns = {"columns": {"action": [[7.0, 7.0]]}}
        assert answer.body["result"] == (columns if "layout" in path else [{"action": [7.0, 7.0]}])


@pytest.mark.rule("B-1", "P-4", "P-5")
def test_its_dialect_is_said_and_never_told_by_what_comes(armed):
    """A script that repeats what it recorded of Positronic's clients reads offboard's rows."""
    told = {**POSE, "obs_time_ns": 1, "wall_time_ns": 1}
    assert act(armed, told).body["result"][0].keys() == {"action", "timestamp"}
    (row, *_) = act(armed, told, "/act?dialect=positronic").body["result"]
    assert row["robot_command"]["type"] == "cartesian_pos"


@pytest.mark.rule("B-1", "Q-1", "Q-5")
@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/act/nothing", 404, "model_not_found"),
        ("/act/..%2F..%2Fetc%2Fpasswd", 404, "model_not_found"),
        ("/act?nothing=1", 400, "bad_parameter"),
        ("/act?codec.nothing=1", 400, "bad_parameter"),
        ("/act?layout=sideways", 400, "bad_parameter"),
        ("/act?layout=rows&layout=rows", 400, "bad_parameter"),
        ("/act?session_id=abc", 400, "bad_parameter"),
        ("/act?encoding=msgpack", 400, "bad_parameter"),
        ("/action", 404, "not_found"),
    ],
)
def test_a_url_that_says_something_else_is_refused(server, path, status, code):
    answer = act(server, X, path)
    assert (answer.status, answer.body["code"]) == (status, code)


@pytest.mark.rule("B-1", "Q-1")
def test_the_query_has_options_of_the_codec(armed):
    answer = act(armed, POSE, "/act?codec.fps=5")
    assert [row["timestamp"] for row in answer.body["result"]] == [0.0, 0.2, 0.4]


@pytest.mark.rule("B-1", "E-6")
def test_images_come_as_files_or_as_lists():
    seen = []

    def look(episode, inputs):
        seen.append(inputs["image.wrist"])
        return Chunk(np.zeros((1, 2)))

    png = base64.b64encode(picture()).decode()
    with InferenceServer({"only": source({"a": lambda: Puppet(look)})}, port=0) as server:
        for image in (png, PIXELS.tolist()):
            assert act(server, {"image.wrist": image}).status == 200
    assert all(image.dtype == np.uint8 and np.array_equal(image, PIXELS) for image in seen)
    assert len(seen) == 2


@pytest.mark.rule("B-1", "R-2")
def test_nothing_new_and_stop_are_answers_too():
    answers = iter([None, Chunk(np.zeros((0, 2)))])
    with InferenceServer({"only": source({"a": lambda: Puppet(lambda *_: next(answers))})}, port=0) as server:
        assert [act(server, X).body["result"] for _ in range(2)] == [None, []]


# -- an episode of its own -----------------------------------------------------------------------------------------
@pytest.mark.rule("B-2")
def test_each_request_is_an_episode_of_its_own():
    policy = Puppet()
    with InferenceServer({"only": source({"a": lambda: policy})}, port=0) as server, robot(server) as stays:
        stays.opened()
        assert first(stays.ask(X)) == 1
        with dialled(server) as connection:
            for _ in range(3):
                assert first(ask(connection, X).body) == 1
        assert first(stays.ask(X)) == 2, "nobody else's is touched"
        assert len(policy.episodes) == 4
        for episode in policy.episodes[1:]:
            reached(episode.closed)
        assert get_json(server, "/api/v1/status")["sessions"] == 1


@pytest.mark.rule("B-2")
def test_a_model_that_looks_back_is_told_what_was_before_or_answers_nothing():
    policy, here = FlowPolicy(), {"robot_state.q": [0.0] * JOINTS, "task": "go"}
    models = source({"flow": lambda: policy}, codec="scaled", plugin=FlowPlugin())
    with InferenceServer({"flow": models}, port=0) as server:
        for said in (here, {**here, "offboard.history": None}):
            answer = act(server, said)
            assert (answer.status, answer.body["code"]) == (422, "bad_observation")
            assert "offboard.history" in answer.body["error"]
        answer = act(server, {**here, "offboard.history": [{"robot_state.q": [0.0] * JOINTS}]})
        assert answer.status == 200, answer.body


@pytest.mark.rule("B-2")
def test_so_does_one_that_remembers_by_itself():
    """What it would be told of before has no form in the model's terms: only a session has an episode."""

    class Remembers(Puppet):
        context = frozenset({"history"})
        history_steps = (-1,)

    with InferenceServer({"only": source({"a": Remembers})}, port=0) as server:
        with robot(server) as one:
            assert "history" in one.opened()["meta"]["context_refused"]
            assert "result" in one.ask(X)
        answer = act(server, X)
        assert (answer.status, answer.body["code"]) == (422, "bad_observation")


# -- what is wrong -------------------------------------------------------------------------------------------------
@pytest.mark.rule("B-3", "E-13", "E-15")
@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "not JSON"),
        (b"x=1", "not JSON"),
        (b"\xff\xfe", "not UTF-8"),
        (b"[1, 2]", "a map"),
        (b"null", "a map"),
        (b'{"x": NaN}', "finite"),
        (b'{"x": [1e999]}', "finite"),
        (b'{"x": 123456789012345678901234567890}', "64 bits"),
        (b'{"x": 1, "x": 2}', "twice"),
        (b'{"x": [[1], [1, 2]]}', "ragged"),
        (b'{"x": "\\ud800"}', "surrogate"),
        (b'{"x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "entries"),
        (b'{"x": ' + b"[" * 40 + b"]" * 40 + b"}", "deep"),
        (b'{"x": [' + b"0," * 100_000 + b"0]}", "entries"),
        (b"{" + b",".join(b'"%d":0' % i for i in range(1025)) + b"}", "entries"),
        (b'{"type": "reset"}', "type"),
        (b'{"image.wrist": "no base64!"}', "base64"),
        (b'{"image.wrist": "AAAA"}', "image.wrist"),
        (b'{"x": {"__numpy__": "AAAA", "dtype": "f4", "shape": [1]}}', "json_numpy"),
        (b'{"offboard.deadline_ms": "soon"}', "deadline_ms"),
    ],
    ids=lambda value: value[:24] if isinstance(value, bytes) else "",
)
def test_a_body_that_is_no_observation_is_refused_and_the_connection_goes_on(server, body, said):
    with dialled(server) as connection:
        answer = ask(connection, body)
        assert (answer.status, answer.body["code"]) == (400, "bad_message"), answer.body
        assert said in answer.body["error"]
        assert ask(connection, X).status == 200


@pytest.mark.rule("B-3")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"robot_state.ee_pose": ["0"] * 7}, "robot_state.ee_pose"),
        ({"robot_state.ee_pose": "0 0 0 1 0 0 0"}, "robot_state.ee_pose"),
        ({"robot_state.ee_pose": [0.0] * 6}, "robot_state.ee_pose"),
        ({"robot_state.ee_pose": None}, "robot_state.ee_pose"),
        ({"task": 3}, "task"),
        ({"offboard.seed": -1}, "seed"),
    ],
)
def test_an_observation_that_is_not_this_models_is_refused(armed, change, said):
    answer = act(armed, {**POSE, **change})
    assert (answer.status, answer.body["code"]) == (422, "bad_observation"), answer.body
    assert said in answer.body["error"]


@pytest.mark.rule("B-3", "R-18", "L-14")
@pytest.mark.parametrize(
    ("answer", "more", "status", "code"),
    [
        (lambda *_: Chunk(np.full((1, 2), np.nan)), {}, 500, "invalid_action"),
        (lambda *_: 1 / 0, {}, 500, "policy_failed"),
        (InvalidAction("beyond the table"), {}, 500, "invalid_action"),
        (PolicyFailed("no weights"), {}, 500, "policy_failed"),
        (lambda *_: Chunk(np.zeros((1, 2))), {"offboard.deadline_ms": 0}, 504, "deadline_exceeded"),
    ],
)
def test_what_the_model_cannot_answer_has_its_status(answer, more, status, code):
    def give(*_):
        if isinstance(answer, Exception):
            raise answer
        return answer(*_)

    with InferenceServer({"only": source({"a": lambda: Puppet(give)})}, port=0) as server:
        told = act(server, {**X, "offboard.seq": 9, **more})
        assert (told.status, told.body["code"]) == (status, code)
        assert told.body["offboard.seq"] == 9
        assert "result" not in told.body


@pytest.mark.rule("B-3")
def test_a_model_that_cannot_be_loaded_says_so_without_paths():
    def broken():
        raise OSError("no weights in /secret/place/model.safetensors")

    with InferenceServer({"only": source({"a": broken})}, port=0) as server:
        answer = act(server, X)
        assert (answer.status, answer.body["code"]) == (503, "load_failed")
        assert "no weights" in answer.body["error"]
        assert "secret" not in answer.body["error"]


@pytest.mark.rule("B-3")
def test_a_model_that_does_not_return_is_answered_for(door):
    policy = Puppet(doors={0: door})
    limits = ServiceTimeouts(infer=0.2)
    with InferenceServer({"only": source({"a": lambda: policy})}, port=0, limits=limits) as server:
        answer = act(server, X)
        assert (answer.status, answer.body["code"]) == (503, "timeout")
        door.open()


@pytest.mark.rule("B-3")
def test_who_waits_for_a_model_that_dies_meanwhile_is_told_at_once(door):
    said = [Health()]
    policy = Puppet(doors={0: door}, health=lambda: said[-1])
    with InferenceServer({"only": source({"a": lambda: policy})}, port=0) as server, ThreadPoolExecutor(1) as pool:
        asked = pool.submit(act, server, X)
        reached(door.entered)
        said.append(Health("failed", "its child died"))
        answer = asked.result(PATIENCE)
        assert (answer.status, answer.body["code"], answer.headers["Retry-After"]) == (503, "model_lost", "5")
        assert "its child died" in answer.body["error"]
        door.open()


# -- before the body is read ---------------------------------------------------------------------------------------
def raw(server, head, *sent):
    """What is answered to these bytes, as status and body, while nothing more is sent."""
    with socket.create_connection((server.host, server.port), timeout=PATIENCE) as connection:
        connection.sendall(f"{head}\r\n\r\n".encode())
        for part in sent:
            connection.sendall(part)
        answer = connection.makefile("rb")
        status = int(answer.readline().split()[1])
        length = 0
        while (line := answer.readline().strip()) != b"":
            if line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        return status, json.loads(answer.read(length))


POST = "POST /act HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json"


@pytest.mark.rule("B-4")
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_it_is_posted(server, method):
    answer = act(server, X, method=method)
    assert (answer.status, answer.body["code"], answer.headers["Allow"]) == (405, "not_found", "POST")
    assert not [name for name in answer.headers if name.lower().startswith("access-control")]


@pytest.mark.rule("B-4")
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/x-www-form-urlencoded, application/json"},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": "application/msgpack"},
        {**JSON, "Content-Encoding": "gzip"},
        {**JSON, "Content-Encoding": "identity, br"},
    ],
)
def test_it_is_json_and_not_packed(server, headers):
    with dialled(server) as connection:
        connection.putrequest("POST", "/act")
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.putheader("Content-Length", "2")
        connection.endheaders(b"{}")
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["code"]) == (415, "bad_message")
        said = {"Content-Type": "Application/JSON ; charset=UTF-8", "Content-Encoding": "identity"}
        assert ask(connection, X, headers=said).status == 200


@pytest.mark.rule("B-4", "E-12")
def test_what_is_too_large_is_refused_before_it_is_read(server):
    status, body = raw(server, f"{POST}\r\nContent-Length: {LIMIT + 1}")
    assert (status, body["code"]) == (413, "bad_message")


@pytest.mark.rule("B-4", "E-12")
def test_a_body_of_no_length_is_read_as_far_as_a_message_may_be(server):
    piece = b"100000\r\n" + b" " * 2**20 + b"\r\n"
    status, body = raw(server, f"{POST}\r\nTransfer-Encoding: chunked", *[piece] * 33)
    assert (status, body["code"]) == (413, "bad_message")
    whole = [b"%x\r\n%s\r\n" % (len(part), part) for part in (b'{"x": [', b"0.0, 1", b".0]}")]
    assert raw(server, f"{POST}\r\nTransfer-Encoding: chunked", *whole, b"0\r\n\r\n")[0] == 200


@pytest.mark.rule("B-4", "E-12")
def test_what_still_comes_after_the_answer_is_not_read_for_ever(server):
    """The answer has come long before: a web page's, to which nobody listens."""
    piece, sent = b"100000\r\n" + b" " * 2**20 + b"\r\n", 0
    with socket.create_connection((server.host, server.port), timeout=PATIENCE) as connection:
        connection.sendall(f"{POST}\r\nOrigin: https://evil.example\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 403")
        with contextlib.suppress(ConnectionError):
            while sent < 2 * LIMIT:
                connection.sendall(piece)
                sent += len(piece)
    assert sent < 2 * LIMIT, "it is read on"
    with dialled(server) as connection:  # a client that sends all it has before it reads
        assert ask(connection, b" " * 2**20, headers={"Content-Type": "text/plain"}).status == 415
        assert ask(connection, X).status == 200


@pytest.mark.rule("B-4", "H-10")
@pytest.mark.parametrize("framing", ["Content-Length: 20", "Transfer-Encoding: chunked"])
def test_a_body_that_does_not_end_is_not_waited_for(framing):
    with InferenceServer({"only": source({"a": Puppet})}, port=0, request_timeout=0.5, max_sessions=1) as server:

        def answered():
            with contextlib.suppress(ConnectionError):  # on a busy machine a request may come too late
                return act(server, X).status == 200

        until(answered, "its model is there")
        status, body = raw(server, f"{POST}\r\n{framing}", b'6\r\n{"x": ' if "chunked" in framing else b'{"x": ')
        assert (status, body["code"]) == (408, "timeout")
        until(answered, "its place is free")


@pytest.mark.rule("B-4")
def test_nor_where_another_server_hosts_it(monkeypatch):
    import asyncio

    from asgi_calls import Asked
    from offboard_core.engine import PolicyService
    from offboard_core.server import asgi_app

    monkeypatch.setattr("offboard_core.server.act.BODY_WAIT", 0.05)
    app = asgi_app(PolicyService({"only": source({"a": Puppet})}), frontends={}, preload=False)

    async def main(scope, receive, send):
        async with app.lifespan():
            await app(scope, lambda: asyncio.Event().wait(), send)

    answer = Asked(main)("POST", "/act", headers={"content-type": "application/json"})
    assert (answer.status, answer.json["code"]) == (408, "timeout")


@pytest.mark.rule("B-4", "A-9", "A-10")
def test_no_web_page_can_move_an_arm(server):
    for headers in ({"Origin": "https://evil.example"}, {"Origin": "null"}, {"Host": "evil.example"}):
        answer = act(server, X, headers={**JSON, **headers})
        assert (answer.status, answer.body["code"]) == (403, "forbidden")
    own = {"Origin": f"http://127.0.0.1:{server.port}"}
    assert act(server, X, headers={**JSON, **own}).status == 200
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    assert act(server, "", method="OPTIONS", headers=asked).status == 403


@pytest.mark.rule("B-4", "A-1", "A-2")
def test_with_a_token_every_request_brings_it():
    with InferenceServer({"only": source({"a": Puppet})}, port=0, auth_token=TOKEN) as server:
        for wrong in ({}, {"Authorization": f"Bearer {TOKEN}x"}, {"Authorization": TOKEN}):
            answer = act(server, X, headers={**JSON, **wrong})
            assert (answer.status, answer.body["code"]) == (401, "unauthorized")
            assert answer.headers["WWW-Authenticate"] == "Bearer"
        for scheme in ("Bearer", "Api-Key"):
            said = {**JSON, "Authorization": f"{scheme} {TOKEN}"}
            assert act(server, X, headers=said).status == 200
        # A page elsewhere that has it still gets no leave to send it.
        asked = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
        assert act(server, "", method="OPTIONS", headers=asked).status == 401


# -- places --------------------------------------------------------------------------------------------------------
@pytest.mark.rule("B-5", "C-10")
def test_a_request_has_a_place_among_the_sessions(door):
    policy = Puppet(doors={0: door})
    with (
        InferenceServer({"only": source({"a": lambda: policy})}, port=0, max_sessions=1) as server,
        ThreadPoolExecutor(1) as pool,
    ):
        asked = pool.submit(act, server, X)
        reached(door.entered)
        answer = act(server, X)
        assert (answer.status, answer.body["code"], answer.headers["Retry-After"]) == (503, "full", "5")
        door.open()
        assert asked.result(PATIENCE).status == 200
        with robot(server) as one:
            one.opened()
            assert act(server, X).body["code"] == "full"
            assert first(one.ask(X)) == 1


@pytest.mark.rule("B-5", "H-15")
def test_a_hundred_scripts_at_once_are_all_answered_and_so_is_a_robot(server):
    with ThreadPoolExecutor(100) as pool, robot(server) as one:
        one.opened()
        asked = [pool.submit(act, server, {**X, "offboard.seq": i}) for i in range(200)]
        for i in range(1, 20):
            assert first(one.ask(X)) == i
        answers = [each.result(PATIENCE) for each in asked]
    assert {answer.status for answer in answers} == {200}
    assert [answer.body["offboard.seq"] for answer in answers] == list(range(200))
    assert {first(answer.body) for answer in answers} == {1.0}
    until(lambda: get_json(server, "/api/v1/status")["sessions"] == 0, "all places are given back")


# -- a model that is not there -------------------------------------------------------------------------------------
@pytest.mark.rule("B-6")
def test_a_model_is_loaded_for_a_request(door):
    def slowly():
        door.passing()
        return Puppet()

    with (
        InferenceServer({"only": source({"a": slowly})}, port=0, preload=False) as server,
        ThreadPoolExecutor(1) as pool,
    ):
        asked = pool.submit(act, server, X)
        reached(door.entered)
        assert not asked.done()
        door.open()
        assert asked.result(PATIENCE).status == 200


@pytest.mark.rule("B-6")
def test_who_has_waited_long_is_told_to_ask_again_and_the_load_goes_on(door, monkeypatch):
    monkeypatch.setattr("offboard_core.server.act.MODEL_WAIT", 0.3)

    def slowly():
        door.passing()
        return Puppet()

    models = source({"a": slowly})
    with InferenceServer({"only": models}, port=0, preload=False) as server:
        for _ in range(2):
            answer = act(server, X)
            assert (answer.status, answer.body["code"], answer.headers["Retry-After"]) == (503, "timeout", "5")
            assert "(loading a: " in answer.body["error"]
        door.open()
        until(lambda: act(server, X).status == 200, "it is there")
        assert models.loader.loads == ["a"]


@pytest.mark.rule("B-6", "C-1")
def test_no_request_takes_a_model_from_a_robot(server, monkeypatch):
    monkeypatch.setattr("offboard_core.server.act.MODEL_WAIT", 0.3)
    with robot(server) as one:
        one.opened()
        answer = act(server, X, "/act/b/c")
        assert (answer.status, answer.body["code"]) == (503, "timeout")
        assert "a" in answer.body["error"]
        assert first(one.ask(X)) == 1


# -- who goes away -------------------------------------------------------------------------------------------------
def gone(server, body=b'{"x": [0.0]}', path="/act"):
    """A request whose client can vanish: it does when the block ends."""
    connection = socket.create_connection((server.host, server.port), timeout=PATIENCE)
    connection.sendall(f"{POST.replace('/act', path)}\r\nContent-Length: 100\r\n\r\n".encode() + body.ljust(100))
    return connection


@pytest.mark.rule("B-7", "L-5")
def test_who_goes_away_in_mid_inference_gives_its_place_back_and_harms_nobody(door):
    policy = Puppet(doors={0: door})
    with InferenceServer({"only": source({"a": lambda: policy})}, port=0) as server, robot(server) as stays:
        stays.opened()
        with gone(server):
            reached(door.entered)
            with gone(server):
                until(lambda: len(get_json(server, "/api/v1/status")["holders"]) == 3, "both are on their way")
        until(lambda: len(get_json(server, "/api/v1/status")["holders"]) == 1, "they are gone")
        door.open()
        assert first(stays.ask(X)) == 1
        assert len(policy.batches) == 2, "what nobody waits for any more is not inferred"


@pytest.mark.rule("B-7", "L-5")
def test_who_goes_away_while_it_waits_for_a_model_is_noticed_at_once(server):
    with robot(server) as holder:
        holder.opened()
        with gone(server, path="/act/b/c"):
            until(lambda: get_json(server, "/api/v1/status")["waiting"] == ["b/c"], "it waits")
        until(lambda: get_json(server, "/api/v1/status")["waiting"] == [], "it is gone")


@pytest.mark.rule("B-7")
def test_who_goes_away_with_half_a_body_leaves_nothing():
    policy = Puppet()
    with InferenceServer({"only": source({"a": lambda: policy})}, port=0, max_sessions=1) as server:
        with robot(server) as one:
            one.opened()
        with socket.create_connection((server.host, server.port), timeout=PATIENCE) as connection:
            connection.sendall(f"{POST}\r\nContent-Length: 100\r\n\r\n".encode() + b'{"x": ')
            until(lambda: act(server, X).body.get("code") == "full", "it has the place")
        until(lambda: act(server, X).status == 200, "the place is free")
        assert all("x" in seen for episode in policy.episodes for seen in episode.seen)


# -- a server that goes --------------------------------------------------------------------------------------------
@pytest.mark.rule("B-8")
def test_a_server_that_goes_answers_what_it_is_asked_already_and_nobody_else(door):
    policy, makes = Puppet(doors={0: door}), []

    def other():
        makes.append(1)
        return Puppet()

    models = source({"a": lambda: policy, "b": other})
    server = InferenceServer({"only": models}, port=0, grace=PATIENCE).start()
    with ThreadPoolExecutor(3) as pool:
        asked = pool.submit(act, server, X)
        reached(door.entered)
        waits = pool.submit(act, server, X, "/act/b")
        until(lambda: get_json(server, "/api/v1/status")["waiting"] == ["b"], "it waits")
        with dialled(server) as late:
            late.connect()
            stopping = pool.submit(server.stop, 2 * PATIENCE)
            told = waits.result(PATIENCE)
            assert (told.status, told.body["code"], told.headers["Retry-After"]) == (503, "shutting_down", "5")
            door.open()
            assert asked.result(PATIENCE).status == 200
        stopping.result(PATIENCE)
    assert not makes


@pytest.mark.rule("B-8")
def test_after_the_grace_who_still_waits_is_told(door):
    policy = Puppet(doors={0: door})
    server = InferenceServer({"only": source({"a": lambda: policy})}, port=0, grace=0.1).start()
    with ThreadPoolExecutor(2) as pool:
        asked = pool.submit(act, server, X)
        reached(door.entered)
        stopping = pool.submit(server.stop, 2 * PATIENCE)
        told = asked.result(PATIENCE)
        assert (told.status, told.body["code"]) == (503, "shutting_down")
        door.open()
        stopping.result(PATIENCE)
