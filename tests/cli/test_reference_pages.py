"""docs/reference names every command with its options, and every codec with its options."""

import re
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from offboard_client.cli import COLUMNS, main
from offboard_client.plugins import describe
from offboard_core.catalog import KEYS
from offboard_core.cli import SERVE_COLUMNS
from offboard_core.plugins import CODEC, Plugins

REFERENCE = Path(__file__).parents[2] / "docs" / "reference"
COMMANDS = sorted(point.name for point in entry_points(group="offboard.commands"))
CLI = (REFERENCE / "cli.md").read_text("utf-8")


def test_every_command_has_a_section():
    assert sorted(re.findall(r"^## `offboard (\w+)`$", CLI, re.MULTILINE)) == COMMANDS


@pytest.mark.parametrize("command", COMMANDS)
def test_a_commands_section_names_its_options_and_no_others(command, capsys):
    chosen = {"export": ["--to", "lerobot"], **{name: ["sim"] for name in ("run", "check", "evaluate")}}
    arguments = [command, *chosen.get(command, [])]
    assert main([*arguments, "--help"]) == 0
    offered = set(re.findall(r"^\W* (--[a-z][a-z.-]*)", capsys.readouterr().out, re.MULTILINE))
    found = re.search(rf"^## `offboard {command}`\n(.*?)(?=^## |\Z)", CLI, re.MULTILINE | re.DOTALL)
    documented = set(re.findall(r"^\| `(--[a-z.-]+)` \|", found[1], re.MULTILINE))  # not --codec.NAME: no fixed name
    assert documented == offered


def table_of(what, section):
    """The first cells of the table in that section which begins ``| what | |``."""
    page = re.search(rf"^## `offboard {section}`\n(.*?)(?=^## |\Z)", CLI, re.MULTILINE | re.DOTALL)[1]
    rows = re.search(rf"^\| {what} \| \|\n\|---\|---\|\n((?:\| .*\n)+)", page, re.MULTILINE)[1].splitlines()
    return [name for row in rows for name in re.findall(r"`(\w+)`", row.split(" | ")[0])]


def test_every_key_of_a_models_toml_is_explained():
    assert table_of("key", "serve") == list(KEYS)


def test_every_column_of_the_timings_of_a_run_is_explained():
    assert sorted(table_of("column", "run")) == sorted(COLUMNS)


def test_every_column_of_the_timings_of_a_server_is_explained():
    assert sorted(table_of("column", "serve")) == sorted(SERVE_COLUMNS)


def test_every_codec_is_listed_with_its_options():
    page = (REFERENCE / "codecs.md").read_text("utf-8")
    table = dict(re.findall(r"^\| `([\w.-]+)` \|.*\| *([^|]*?) *\|$", page, re.MULTILINE))
    offers = {offer.name: offer for offer in Plugins.discover().offers(CODEC)}
    assert table.keys() == offers.keys()
    for name, offer in offers.items():
        assert re.findall(r"`(\w+)`", table[name]) == [option.name for option in describe(offer.options())], name
