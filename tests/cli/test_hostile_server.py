"""A server that writes for the terminal and not for the person: no command passes it on."""

import contextlib
import json
import re

import numpy as np
import pytest
from offboard_client.cli import main
from scripted_server import META, Gone, ScriptedServer

#: A title, a cleared screen, a reset, C1's CSI, a hidden link, rich's markup and emoji, a turned text, a forged line.
TRICKS = (
    "\x1b]0;owned\x07\x1b[2J\x1bc\x9b31m\x1b]8;;http://evil\x07 [bold]x[/bold] [link=http://evil]y[/] :skull: \u202e"
)
FORGED = f"{TRICKS}\noffboard: all is well"
FIELD = {"shape": [7], "dtype": "float32", "unit": TRICKS, "kind": TRICKS, "required": True}
TRICKY_META = {
    **META,
    "checkpoint_id": TRICKS,
    "observation": {"robot_state.ee_pose": FIELD, TRICKS: {"shape": [1], "dtype": "float32"}},
    "image_sizes": {TRICKS: [64, 48]},
    "conventions": {TRICKS: TRICKS},
    "joint_names": [TRICKS],
}
ROW = {"action": {"target_grip": np.zeros(1), TRICKS: np.zeros(1)}, "timestamp": 0.0}


def models(peer):
    peer.respond(200, body=json.dumps({"models": ["fine", FORGED]}).encode())


def tell(peer):
    peer.upgrade()
    peer.send({"status": "loading", "message": FORGED})
    peer.send({"status": "ready", "meta": TRICKY_META, "session_id": TRICKS})


def answer(peer):
    tell(peer)
    peer.answer([ROW], warnings=[FORGED], timing={f"{TRICKS}_ms": 1.0, "total_ms": 2.0})
    peer.wait_for_close()


def play(peer):
    peer.ready({**META, "checkpoint_id": TRICKS})
    row = {"action": {"target_grip": np.zeros(1)}, "timestamp": 0.0}
    peer.answer([row], timing={f"{TRICKS}_ms": 1.0, "total_ms": 2.0})
    peer.receive()
    peer.send({"error": FORGED, "code": "policy_failed"})
    peer.wait_for_close()


def fail(peer):
    tell(peer)
    peer.receive()
    peer.send({"error": FORGED, "code": "policy_failed"})
    peer.wait_for_close()


def refuse(peer):
    peer.upgrade()
    peer.send({"status": "error", "error": FORGED, "code": "load_failed"})
    peer.wait_for_close()


def leave(peer):
    peer.ready(TRICKY_META)
    peer.receive()
    peer.close(1011, TRICKS)
    peer.wait_for_close()


def page(peer):
    peer.respond(404, body=FORGED.encode())


def said_in_json(peer):
    peer.respond(404, body=json.dumps({"error": FORGED, "code": "model_not_found"}).encode())


def leave_at_once(peer):
    with contextlib.suppress(Gone):
        peer.read_request()


def ill(peer):
    loaded = {"model": FORGED, "health": {"state": FORGED, "reason": FORGED}}
    body = {"holders": [], "loaded": loaded, "last_failure": {"text": FORGED}}
    peer.respond(200, [], json.dumps(body).encode())


@pytest.mark.parametrize(
    ("command", "visits", "status"),
    [
        (["doctor"], [leave_at_once, ill, said_in_json], 1),
        (["doctor"], [leave_at_once, page, page], 1),
        (["models"], [models], 0),
        (["models"], [page], 1),
        (["models"], [said_in_json], 1),
        (["probe"], [answer], 0),
        (["probe"], [fail], 1),
        (["probe"], [refuse], 1),
        (["probe"], [leave], 1),
        (["probe"], [said_in_json], 1),
        (["bench", "--requests", "1", "--warmup", "0"], [answer], 0),
        (["bench", "--requests", "1", "--warmup", "0"], [fail], 1),
        (["run", "sim", "--seconds", "0.3"], [play], 0),
        (["run", "sim", "--seconds", "0.3"], [refuse], 1),
    ],
)
def test_nothing_of_a_server_is_more_than_text(command, visits, status, capsys, recwarn):
    with ScriptedServer(*visits) as server:
        assert main([*command, f"127.0.0.1:{server.port}"]) == status
    shown = "".join(capsys.readouterr())
    assert "owned" in shown
    assert re.findall(r"[^\n -~]", shown.translate(dict.fromkeys(map(ord, "─│┌┐└┘├┤┬┴┼━┃┏┓┗┛┡┩┳╇…☠")))) == []
    assert ":skull:" in shown
    assert "[bold]" in shown
    assert "\noffboard: all is well" not in shown
