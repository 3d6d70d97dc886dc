"""What commands list fits the terminal, and no word is broken that has room."""

import re
from dataclasses import fields

import numpy as np
import pytest
from offboard_client.cli import main, show_spec
from offboard_client.play import SafetyLimits
from offboard_client.robots import Channel, RobotSpec
from offboard_client.robots.sim import SPEC as SIM
from offboard_client.terminal import emit_facts, emit_table, note, tell
from offboard_core.plugins import CODEC, Plugins
from scripted_server import META, ScriptedServer
from terminal import Terminal

LONG = "observation.images.camera_exterior_left"
SPEC = {
    LONG: {"shape": [-1, -1, 3], "dtype": "uint8", "unit": "sRGB, rows from top to bottom"},
    "robot_state.ee_pose": {
        "shape": [7],
        "dtype": "float32",
        "unit": "m and unit quaternion w x y z, in the arm's base",
    },
}


@pytest.fixture(params=[60, 80, 120])
def terminal(request, monkeypatch):
    return Terminal(monkeypatch, request.param)


def shows(terminal, *arguments):
    """The command succeeds, and the terminal shows what it prints."""
    with terminal.stands_for("stdout"):
        assert main(arguments) == 0


def assert_whole(terminal, words):
    """Nothing is wider than the terminal, and each of the words stands in one line."""
    assert [line for line in terminal.lines if len(line) > terminal.width] == []
    assert [word for word in words if not any(word in line for line in terminal.lines)] == []


def test_the_plugins(terminal):
    shows(terminal, "plugins")
    rows = Plugins.discover().rows()
    assert_whole(
        terminal, [name for row in rows for name in (row.provider.name, row.provider.distribution, *row.offers[CODEC])]
    )


def test_the_codecs(terminal):
    shows(terminal, "codecs")
    offers = Plugins.discover().offers(CODEC)
    options = [f"{f}=" for offer in offers for f in offer.options().__dataclass_fields__]
    assert_whole(terminal, [*(offer.name for offer in offers), "robot_state.ee_pose", "target_joints", *options])


@pytest.mark.parametrize("name", ["scripted", "openpi.droid", "core.native"])
def test_a_codec(name, terminal):
    shows(terminal, "codecs", name)
    option = [] if name == "scripted" else ["fps"]
    read = [] if name == "core.native" else ["joint_delta" if name == "openpi.droid" else "robot_state.ee_pose"]
    assert_whole(terminal, [name, *option, *read])


def test_the_robots(terminal):
    shows(terminal, "robots")
    shows(terminal, "robots", "sim")
    assert_whole(terminal, [*SIM.measures, *SIM.plays, "joint7", "quaternion", "safe_after 2.0 s", "the robot's own"])


EVERY_LIMIT = """
grip_velocity = 2.0
linear_acceleration = 1.0
angular_acceleration = 1.0
joint_acceleration = 4.0
joint_low = -2.0
joint_high = 2.0

[home]
target_joints = [0, 0, 0, -1.5, 0, 1.5, 0]
target_grip = [0.0]

[safe_action]
target_pose = [0.4, 0.0, 0.3, 0.0, 1.0, 0.0, 0.0]
"""


def test_each_number_of_a_table_of_limits_has_its_unit(tmp_path, capsys):
    (file := tmp_path / "arm.toml").write_text(EVERY_LIMIT)
    assert main(["robots", "sim", "--limits", str(file)]) == 0
    _, _, table = capsys.readouterr().out.partition("what it may be sent")
    rows = [line for line in table.splitlines()[1:] if re.search(r"\d", line)]
    assert len(rows) == len(fields(SafetyLimits)) + 3, "the ladder, home and the safe action"
    unit = r"[\d)] (m|rad|s|(m|rad)/s²?|closures/s|m and quaternion w x y z|\(0 open, 1 closed\))(?=,|$)"
    assert [row for row in rows if not re.search(unit, row)] == []
    (home,) = (row for row in rows if "home" in row)
    assert home.endswith("target_joints (0.0, 0.0, 0.0, -1.5, 0.0, 1.5, 0.0) rad, target_grip (0.0) (0 open, 1 closed)")


@pytest.mark.parametrize(
    ("order", "says"),
    [
        ([f"joint{i}" for i in range(1, 8)], "joint1 … joint7"),
        (["shoulder", "elbow", "wrist"], "shoulder, elbow, wrist"),
        (["j0", "j1", "j3"], "j0, j1, j3"),
        (["j01", "j02", "j03"], "j01, j02, j03"),
        (["j9", "j10", "j11"], "j9 … j11"),
        (["x1", "x2"], "x1, x2"),
        (["1", "x2", "x3"], "1, x2, x3"),
    ],
)
def test_an_order_is_short_where_it_only_counts(order, says, monkeypatch):
    channel = Channel(shape=(len(order),), unit="rad", order=tuple(order))
    with Terminal(monkeypatch, 80).stands_for("stdout") as terminal:
        show_spec(RobotSpec(measures={"robot_state.q": channel}, plays={}, control_period=0.01))
    assert_whole(terminal, [f"rad  │ {says} "])


def test_a_probe(terminal):
    def session(peer):
        peer.ready({**META, "observation": SPEC, "action": SPEC, "checkpoint_path": "s3://bucket/a/folder/10000"})
        peer.answer([{"action": {"target_pose": np.array([0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0])}, "timestamp": 0.0}])
        peer.wait_for_close()

    with ScriptedServer(session) as server:
        shows(terminal, "probe", f"127.0.0.1:{server.port}")
    assert_whole(terminal, [LONG, "robot_state.ee_pose", "quaternion", "s3://bucket/a/folder/10000", "target_pose"])


def test_a_table_shrinks_only_what_can_be_broken(terminal):
    with terminal.stands_for("stdout"):
        emit_table(("name", "what"), [("x" * 30, "many short words " * 10), ("y", "none")])
    assert_whole(terminal, ["x" * 30, "words", "none"])
    assert any("│" in line for line in terminal.lines)


def test_a_table_that_cannot_fit_becomes_paragraphs(terminal):
    with terminal.stands_for("stdout"):
        emit_table(("one", "two", "three"), [("a" * 50, "b" * 50, "c" * 50)])
    assert_whole(terminal, ["a" * 50, "b" * 50, "c" * 50])


def test_sentences_are_broken_between_words(terminal):
    with terminal.stands_for("stdout", "stderr"):
        tell("a sentence that goes on " * 8)
        emit_facts("a heading", [("name", "a sentence that goes on " * 8), ("nothing", "")])
        note("a sentence that goes on " * 8)
    assert_whole(terminal, ["sentence", "goes"])
    assert not any("nothing" in line for line in terminal.lines)


@pytest.mark.parametrize("command", ["serve", "demo", "probe", "run"])
def test_help(command, terminal):
    shows(terminal, command, "--help")
    assert_whole(terminal, ["usage: offboard"])


def test_errors_are_broken_between_words(monkeypatch):
    with Terminal(monkeypatch, 60).stands_for("stderr") as terminal:
        assert main(["srve"]) == 2
    assert terminal.lines[0].startswith("offboard: there is no command 'srve'; did you mean serve?")
    assert all(line.startswith("  ") for line in terminal.lines[1:-1])
    assert_whole(terminal, [])


def test_a_pipe_gets_lines_as_they_are(capsys):
    tell("a sentence that goes on " * 8)
    note("a sentence that goes on " * 8)
    out, err = capsys.readouterr()
    assert out == err == "a sentence that goes on " * 8 + "\n"
