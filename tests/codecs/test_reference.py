"""docs/reference/codecs.md names every codec with its options, every building block and every rotation."""

import re
from pathlib import Path

import offboard_core.codecs as blocks
import pytest
from offboard_client.plugins import describe
from offboard_core.codecs import WIDTHS
from offboard_core.plugins import CODEC, Plugins

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "codecs.md").read_text("utf-8")
CELLS = [line.split("|") for line in PAGE.splitlines() if line.startswith("| `")]
ROWS = {cells[1].strip(" `"): cells for cells in CELLS}
CODECS = Plugins.discover().offers(CODEC)


def test_the_table_lists_every_codec_and_nothing_else():
    assert ROWS.keys() == {offer.name for offer in CODECS}


@pytest.mark.parametrize("offer", CODECS, ids=lambda offer: offer.name)
def test_the_table_lists_a_codecs_options(offer):
    listed = re.findall(r"`(\w+)`", ROWS[offer.name][4])
    assert listed == [option.name for option in describe(offer.options())]
    for name in listed:
        assert f"- `{name}`: " in PAGE, "each option is explained"


@pytest.mark.parametrize("name", [n for n in blocks.__all__ if isinstance(getattr(blocks, n), type)])
def test_every_block_is_explained(name):
    assert name in PAGE or name.endswith("Options")


@pytest.mark.parametrize("name", WIDTHS)
def test_every_rotation_is_explained(name):
    assert f"**{name}**: " in PAGE
