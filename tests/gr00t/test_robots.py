"""Whose requests come over one connection."""

import pytest
from offboard_client.errors import BadMessage
from offboard_gr00t.robots import Robots

NAME, OTHER = b"\0\x12\x34\x56\x78", b"\0\x12\x34\x56\x79"  # as a ROUTER calls its connections


def number(n):
    return n.to_bytes(4, "little")


def test_a_req_alone_is_its_connection_whether_it_counts_its_requests_or_not():
    robots = Robots("7")
    assert robots.identity((b"",)) == "7"
    for n in (2**32 - 2, 2**32 - 1, 0, 1):
        assert robots.identity((number(n), b"")) == "7"
    assert robots.known == {"7"}


def test_those_behind_a_proxy_are_told_apart():
    robots = Robots("7")
    assert robots.identity((NAME, b"")) == "7.0012345678"
    assert robots.identity((OTHER, b"")) == "7.0012345679"
    assert robots.identity((NAME, number(5), b"")) == "7.0012345678", "one that counts its requests"
    assert robots.identity((OTHER, NAME, b"")) == "7.0012345679.0012345678", "behind two of them"
    assert robots.known == {"7.0012345678", "7.0012345679", "7.0012345679.0012345678"}


def test_two_names_of_four_bytes_are_not_taken_for_one_that_counts():
    robots = Robots("7")
    assert robots.identity((b"arm1", b"")) == "7"
    for name in (b"arm1", b"arm0", b"left"):
        with pytest.raises(BadMessage, match="give each robot's socket an identity of another length"):
            robots.identity((name, b""))


def test_a_long_name_is_short_in_the_log_and_still_one_of_its_own():
    robots = Robots("7")
    one, two = (robots.identity((bytes((n,)) * 255, b"")) for n in (1, 2))
    assert one != two
    assert len(one) == len(two) == 2 + 32


def test_there_is_an_end_to_how_many_there_are(monkeypatch):
    monkeypatch.setattr("offboard_gr00t.robots._MOST", 2)
    robots = Robots("7")
    robots.identity((NAME, b"")), robots.identity((OTHER, b""))
    with pytest.raises(BadMessage, match="there are 2 robots behind this connection"):
        robots.identity((NAME, NAME, b""))
    assert robots.identity((NAME, b""))
