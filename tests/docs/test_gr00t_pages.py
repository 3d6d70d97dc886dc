"""What the pages about GR00T say, done: their first commands serve a robot, their options are those that there are."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from gr00t_clients import N16Client
from gr00t_standin import LANGUAGE, PYTHON, STANDIN, write_run
from offboard_client.plugins import describe
from offboard_core.cli import parse_serve
from offboard_core.plugins import Plugins
from offboard_gr00t.options import GR00TListenerOptions
from offboard_process import serving
from waits import PATIENCE

ROOT = Path(__file__).parents[2]
CLIENTS, SERVE, PACKAGE = (
    (ROOT / page).read_text("utf-8")
    for page in ("docs/how-to/gr00t-clients.md", "docs/how-to/serve-gr00t.md", "offboard-gr00t/README.md")
)
#: What the word of the pages' command reads and answers.
STATE = {"ee_pose": 9, "joint_position": 7, "grip": 1}
ACTION = {"ee_pose": 9, "grip": 1}


def listening(page):
    """The first command of a page that listens for GR00T's robots."""
    return re.search(r"^offboard serve (.*--listen gr00t.*)$", page, re.MULTILINE)[1]


def test_both_pages_show_the_same():
    assert listening(PACKAGE) == listening(CLIENTS)


def test_the_first_command_serves_a_robot(tmp_path):
    words = shlex.split(listening(CLIENTS))
    at = words.index("--checkpoints-dir") + 1
    write_run(tmp_path / words[at], {7: 0.5}, state=STATE, action=ACTION)
    words[at] = str(tmp_path / words[at])
    words[words.index("gr00t:5555")] = "gr00t:0"
    own = ["--gr00t-root", str(STANDIN), "--gr00t-command", PYTHON]
    with serving(*words, *own) as (_, info):
        where = info["listeners"]["gr00t"]
        with N16Client(where["port"], timeout=PATIENCE) as robot:
            picture = np.zeros((1, 1, 224, 224, 3), np.uint8)
            sent = {
                "video": {"wrist_image": picture, "exterior_image_1": picture},
                "state": {name: np.full((1, 1, width), 0.25, np.float32) for name, width in STATE.items()},
                "language": {LANGUAGE: [["go"]]},
            }
            sent["state"]["ee_pose"][0, 0] = [0.4, 0, 0.3, 1, 0, 0, 0, 1, 0]
            answered, _ = robot.get_action(sent)
    assert {name: steps.shape for name, steps in answered.items()} == {"ee_pose": (1, 16, 9), "grip": (1, 16, 1)}


def test_the_table_of_options_has_all_of_them_with_their_defaults():
    rows = dict(re.findall(r"^\| `--gr00t\.(\w+)` \| (.+?) \|", CLIENTS.partition("## Options")[2], re.MULTILINE))
    options = {option.name: option.default for option in describe(GR00TListenerOptions)}
    assert rows.keys() == options.keys()
    assert rows["silence"] == f"{options.pop('silence'):g}"
    assert set(options.values()) == {None}


@pytest.mark.parametrize("page", [SERVE, PACKAGE, CLIENTS])
def test_what_begins_with_dashes_comes_after_an_equals_sign(page):
    assert re.findall(r"""--(?:extra|gr00t)-args[ ]["'-]""", page) == []


def test_the_codecs_of_nvidias_own_checkpoints_are_there():
    table = SERVE.partition("### Which codec")[2].partition("\n### ")[0]
    codecs = re.findall(r"^\| .+ \| `(\w+)` \|", table, re.MULTILINE)
    assert {"droid", "libero", "native"} <= {*codecs}
    lines = re.findall(r"^offboard serve (.+)$", table, re.MULTILINE)
    assert lines
    for line in lines:
        assert parse_serve(shlex.split(line), Plugins.discover()).serve.codec in codecs
