"""The reference pages name everything that exists, and nothing else."""

import re
from pathlib import Path

import pytest
from offboard_client import errors

DOCS = Path(__file__).resolve().parents[2] / "docs"


def rows(page: str) -> list[list[str]]:
    """The cells of every table row of a page whose first cell is code."""
    lines = (DOCS / page).read_text("utf-8").splitlines()
    return [
        [cell.strip().strip("`") for cell in line.strip("| ").split("|")] for line in lines if line.startswith("| `")
    ]


def test_every_error_code_is_explained_once() -> None:
    listed = [(code, name) for code, name, *_ in rows("reference/errors.md")]
    assert sorted(listed) == sorted((code, kind.__name__) for code, kind in errors.BY_CODE.items())


@pytest.mark.rule("R-20")
def test_the_codes_of_the_protocol_are_those_a_server_may_send() -> None:
    page = (DOCS / "reference/protocol.md").read_text("utf-8")
    (codes,) = re.findall(r"^- \*\*R-20\*\* An error's `code` is one of `([a-z_\s]+)`", page, re.MULTILINE)
    local = {"configuration", "connection", "connection_lost"}
    assert set(codes.split()) == set(errors.BY_CODE) - local
