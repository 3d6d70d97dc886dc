"""Whose requests come over one connection."""

import pytest
from offboard_client.errors import BadMessage
from offboard_gr00t.robots import Robots

NAME, OTHER = b"\0\x12\x34\x56\x78", b"\0\x12\x34\x56\x79"  # as a ROUTER calls its connections


def number(n):
    return n.to_bytes(4, "little")


def test_a_req_alone_is_its_connection_whether_it_counts_its_requests_or_not():
    robots = Robots("7", {"7"}.__contains__)
    assert robots.identity((b"",)) == "7"
    for n in (2**32 - 2, 2**32 - 1, 0, 1):
        assert robots.identity((number(n), b"")) == "7"


def test_those_behind_a_proxy_are_told_apart():
    robots = Robots("7", set().__contains__)
    assert robots.identity((NAME, b"")) == "7.0012345678"
    assert robots.identity((OTHER, b"")) == "7.0012345679"
    assert robots.identity((NAME, number(5), b"")) == "7.0012345678", "one that counts its requests"
    assert robots.identity((OTHER, NAME, b"")) == "7.0012345679.0012345678", "behind two of them"


def test_two_names_of_four_bytes_are_not_taken_for_one_that_counts():
    robots = Robots("7", {"7"}.__contains__)
    assert robots.identity((b"arm1", b"")) == "7"
    for name in (b"arm2", b"arm2", b"left"):
        with pytest.raises(BadMessage, match="give each robot's socket an identity of another length"):
            robots.identity((name, b""))


def test_who_counts_in_big_is_its_connection():
    robots = Robots("7", {"7"}.__contains__)
    for n in (254, 255, 256):
        assert robots.identity((n.to_bytes(4, "big"), b"")) == "7"


def test_a_robot_that_comes_back_begins_to_count_anew():
    robots = Robots("7", set().__contains__)
    for n in (5, 900):
        assert robots.identity((NAME, number(n), b"")) == "7.0012345678"


def test_a_long_name_is_short_in_the_log_and_still_one_of_its_own():
    robots = Robots("7", set().__contains__)
    one, two = (robots.identity((bytes((n,)) * 255, b"")) for n in (1, 2))
    assert one != two
    assert len(one) == len(two) == 2 + 32


def test_two_names_of_four_bytes_behind_two_proxies_are_not_taken_for_one_that_counts():
    robots = Robots("7", {"7.0012345678"}.__contains__)
    assert robots.identity((NAME, b"arm1", b"")) == "7.0012345678"
    assert robots.identity((OTHER, b"arm3", b"")) == "7.0012345679", "behind another"
    for name in (b"arm2", b"left"):
        with pytest.raises(BadMessage, match="give each robot's socket an identity of another length"):
            robots.identity((NAME, name, b""))


def test_there_is_an_end_to_how_many_have_a_session_and_none_to_how_many_come(monkeypatch):
    monkeypatch.setattr("offboard_gr00t.robots._MOST", 2)
    here = {"1"}
    robots = Robots("7", here.__contains__)
    for each in "123456":
        robots.keep(each)
        assert robots.known == {"1", each}
    here.add("6")
    with pytest.raises(BadMessage, match="there are 2 robots behind this connection"):
        robots.keep("7")
    robots.keep("6")
    here.remove("1")
    robots.keep("7")
    assert robots.known == {"6", "7"}


def test_of_those_that_count_the_one_without_a_session_is_forgotten(monkeypatch):
    monkeypatch.setattr("offboard_gr00t.robots._MOST", 2)
    robots = Robots("7", {"7.0012345678"}.__contains__)
    for name in (NAME, OTHER, OTHER + b"1", OTHER + b"2"):
        robots.identity((name, number(5), b""))
    robots.identity((OTHER, number(9), b""))
    with pytest.raises(BadMessage):
        robots.identity((NAME, number(9), b""))
