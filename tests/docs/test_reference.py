"""The reference pages name everything that exists, and nothing else."""

import re
import urllib.request
from pathlib import Path

import pytest
from offboard_client import errors
from offboard_core import InferenceServer

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("offboard-*/*.md"), *ROOT.glob("examples/*/*.md"), *DOCS.rglob("*.md")])


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
    local = {
        "configuration", "robot_failed", "recording_failed", "connection", "connection_lost", "protocol_error",
        "server_changed",
    }  # fmt: skip
    assert set(codes.split()) == set(errors.BY_CODE) - local


@pytest.mark.rule("H-9")
def test_every_metric_is_explained_with_its_kind() -> None:
    with (
        InferenceServer({"hold": lambda: lambda observation: None}, port=0) as server,
        urllib.request.urlopen(f"http://{server.host}:{server.port}/metrics", timeout=600) as answer,
    ):
        assert answer.headers.get_content_type() == "text/plain"
        served = re.findall(r"^# TYPE (\w+) (\w+)$", answer.read().decode(), re.MULTILINE)
    assert sorted((name, kind) for name, kind, *_ in rows("reference/metrics.md")) == sorted(served)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text("utf-8"))
    assert [link for link in links if not (page.parent / link).exists()] == []
