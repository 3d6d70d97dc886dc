"""What docs/how-to/harnesses.md tells one to type is there: commands, options, and what it says of them."""

import re
import shlex
from pathlib import Path

import pytest
from offboard_client.plugins import describe
from offboard_core.cli import parse_serve
from offboard_core.plugins import Plugins
from offboard_openpi.roboarena import SPACES
from offboard_vla_eval.benchmarks import KEYSETS
from offboard_vla_eval.options import VLAEvalOptions
from vla_eval.cli.main import main as vla_eval

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/how-to/harnesses.md").read_text("utf-8")
README = (ROOT / "offboard-vla-eval/README.md").read_text("utf-8")
COMMANDS = re.findall(r"^offboard serve (.+)$", (PAGE + README).replace("\\\n", ""), re.MULTILINE)


@pytest.mark.parametrize("line", COMMANDS)
def test_each_command_is_one(line):
    assert parse_serve(shlex.split(line), Plugins.discover())


def test_the_benchmarks_and_options_of_the_page_are_those_that_there_are():
    table = PAGE.partition("### Names and actions")[2].partition("\n\nWith")[0]
    rows = re.findall(r"^\| (?:`(\w+)`|none) \| (.+?) \|", table, re.MULTILINE)
    assert {name for name, _ in rows if name} == {*KEYSETS}
    for name, keys in KEYSETS.items():
        assert set(re.findall(r"`([\w/]+)`", dict(rows)[name])) == keys.keys
    named = set(re.findall(r"--vla-eval\.(\w+)", PAGE))
    assert named == {option.name for option in describe(VLAEvalOptions)}
    assert set(re.findall(r"\| `(joint_\w+)` \|$", PAGE, re.MULTILINE)) == {*SPACES.values()}


@pytest.mark.parametrize("page", [PAGE, README], ids=["page", "readme"])
def test_the_harness_has_the_options_that_the_page_gives_it(page, capsys, monkeypatch):
    (line,) = re.findall(r"^vla-eval run (.+)$", page, re.MULTILINE)
    monkeypatch.setattr("sys.argv", ["vla-eval", "run", "--help"])
    with pytest.raises(SystemExit):
        vla_eval()
    told = capsys.readouterr().out
    assert {word for word in shlex.split(line) if word.startswith("--")} <= set(re.findall(r"--[\w-]+", told))
    assert "--num-shards" in told
