"""The server's front, as a browser asks for it."""

import re

import pytest
from offboard_core import InferenceServer
from puppets import Puppet, source
from robots import get

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
FILES = {"/front.css": "text/css", "/front.js": "text/javascript"}


@pytest.fixture(scope="module")
def guarded():
    with InferenceServer({"only": source({"secret-model": Puppet})}, port=0, auth_token="t0ken") as running:
        yield running


@pytest.mark.rule("H-17")
def test_a_browser_gets_a_page_of_this_server_alone_and_others_the_text(guarded):
    bearer = {"Authorization": "Bearer t0ken"}
    status, page, headers = get(guarded, "/", BROWSER)
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert get(guarded, "/", bearer)[1].startswith("offboard ")
    assert get(guarded, "/docs", {**BROWSER, **bearer})[1].startswith("offboard ")
    policy = headers["Content-Security-Policy"]
    for part in (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
    ):
        assert part in policy
    assert "unsafe" not in policy
    assert headers["Vary"] == "Accept"
    assert set(re.findall(r'(?:src|href)="([^"]*)"', page)) == {path[1:] for path in FILES}
    for path, kind in FILES.items():
        status, text, headers = get(guarded, path)
        assert (status, headers["Content-Type"]) == (200, f"{kind}; charset=utf-8")
        assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", text), "nothing is loaded from elsewhere"
        assert "innerHTML" not in text


@pytest.mark.rule("A-1", "H-17")
def test_it_says_nothing_before_the_token_is_given(guarded):
    for path in ("/", *FILES):
        assert "secret-model" not in get(guarded, path, BROWSER)[1]
    for path in ("/", "/docs", "/api/v1/status", "/metrics"):
        headers = BROWSER if path != "/" else {"Accept": "application/json"}
        assert get(guarded, path, headers)[0] == 401


@pytest.mark.rule("A-9", "A-10")
@pytest.mark.parametrize("path", ["/", *FILES])
def test_without_a_token_it_is_for_no_name_of_another_site(path):
    with InferenceServer({"only": source({"a": Puppet})}, port=0) as server:
        assert get(server, path, BROWSER)[0] == 200
        assert get(server, path, {**BROWSER, "Host": "evil.example"})[0] == 403
        assert get(server, path, {**BROWSER, "Origin": "http://evil.example"})[0] == 403
