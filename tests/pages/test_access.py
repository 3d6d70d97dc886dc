"""Who may see pages, and what every answer says to a browser."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from asgi_calls import Asked
from offboard_client.errors import ConfigurationError
from offboard_client.pages import PageServer, Replay, pages_app

STATIC = Path(__import__("offboard_client.pages").pages.__file__).parent / "static"


@pytest.mark.parametrize("host", ["127.0.0.1:5001", "localhost:5001", "[::1]:5001", "192.168.1.7", "LOCALHOST"])
def test_by_names_that_no_other_site_can_have_it_is_shown(pages: Any, host: str) -> None:
    assert pages("GET", "/", headers={"host": host}).status == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:5001", "localhost.evil.example", "127.0.0.1.nip.io"])
def test_by_a_name_that_may_have_been_turned_to_this_machine_it_is_not(pages: Any, host: str) -> None:
    for path in ("/", "/api/episodes", "/static/pages.css"):
        refused = pages("GET", path, headers={"host": host})
        assert (refused.status, refused.json["code"]) == (403, "forbidden")


def test_a_page_of_another_site_asks_for_nothing(pages: Any) -> None:
    for origin in ("http://evil.example", "http://127.0.0.1:8000", "null"):
        assert pages("GET", "/api/episodes", headers={"origin": origin}).status == 403
    assert pages("GET", "/api/episodes", headers={"origin": "http://127.0.0.1:5001"}).status == 200


def test_every_answer_forbids_what_these_pages_do_not_need(pages: Any) -> None:
    for path in ("/", "/static/pages.css", "/api/episodes", "/none"):
        headers = pages("GET", path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


def test_no_page_has_a_script_or_a_style_of_its_own_in_it_or_asks_anybody_else() -> None:
    files = sorted(STATIC.iterdir())
    assert {"replay.html", "login.html", "pages.css"} <= {file.name for file in files}
    for file in files:
        text = file.read_text("utf-8")
        assert not re.search(r"https?://(?!www\.w3\.org/)", text), file
        if file.suffix == ".html":
            assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\son\w+=|style=", text), file
        if file.suffix == ".js":
            assert not re.search(
                r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", text
            ), file


@pytest.fixture
def locked(folder: Path) -> Any:
    replay = Replay(folder)
    yield Asked(pages_app(replay, "s3cret"), host="robot.lan:5001")
    replay.close()


def test_with_a_token_nothing_is_told_without_it(locked: Any) -> None:
    assert locked("GET", "/api/episodes").json["code"] == "unauthorized"
    for wrong in ("Bearer s3cre", "Bearer", "s3cret", "Basic s3cret"):
        assert locked("GET", "/api/episodes", headers={"authorization": wrong}).status == 401
    assert locked("GET", "/api/episodes", headers={"authorization": "Bearer s3cret"}).status == 200
    form = locked("GET", "/")
    assert b'action="login"' in form.body
    assert b"replay" not in form.body
    assert locked("GET", "/static/pages.css").status == 200


def test_a_browser_gives_the_token_once(locked: Any) -> None:
    kind = {"content-type": "application/x-www-form-urlencoded"}
    refused = locked("POST", "/login", b"token=wrong", headers=kind)
    assert (refused.status, refused.headers["location"]) == (303, "./?wrong")
    assert "set-cookie" not in refused.headers
    let_in = locked("POST", "/login", b"token=s3cret", headers={**kind, "origin": "http://robot.lan:5001"})
    cookie = let_in.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert "s3cret" not in cookie
    assert locked("GET", "/api/episodes", headers={"cookie": cookie.partition(";")[0]}).status == 200
    assert locked("GET", "/api/episodes", headers={"cookie": "offboard_pages=none"}).status == 401
    assert locked("POST", "/login", b"token=s3cret", headers={**kind, "origin": "http://evil.example"}).status == 403


def test_only_with_a_token_other_machines_are_let_in(folder: Path) -> None:
    replay = Replay(folder)
    with pytest.raises(ConfigurationError, match="is reached from other machines: give the pages a token"):
        PageServer(pages_app(replay), "0.0.0.0")
    with PageServer(pages_app(replay, "t"), "0.0.0.0", token="t") as server:
        assert server.address[1] > 0
        with pytest.raises(ConfigurationError, match=r"no page can be served at .*--port 0 takes a free one"):
            PageServer(pages_app(replay), "127.0.0.1", server.address[1])
    with pytest.raises(ConfigurationError, match="the token is empty or holds characters"):
        pages_app(replay, "no spaces")
    replay.close()
