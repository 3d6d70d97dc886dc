"""What a person says of a trial."""

from __future__ import annotations

import pytest
from offboard_client.cli import read_judgement
from offboard_client.errors import BadParameter
from offboard_client.evaluation import Judgement


@pytest.mark.parametrize(
    ("said", "judgement"),
    [
        ("s", Judgement("success")),
        ("  F  dropped it #slip #slip", Judgement("fail", tags=("slip",), note="dropped it")),
        ("p 0.5 two of four", Judgement("partial", 0.5, note="two of four")),
        ("t", Judgement("stall")),
        ("u hit the table #contact", Judgement("unsafe", tags=("contact",), note="hit the table")),
        ("a the light went out", Judgement("annulled", note="the light went out")),
    ],
)
def test_a_letter_a_share_and_a_note(said: str, judgement: Judgement) -> None:
    assert read_judgement(said) == judgement


@pytest.mark.parametrize(
    ("said", "says"),
    [("", "is none of s, p, f"), ("x", "'x' is none of"), ("p", "p 0.5"), ("p 2", "p 0.5"), ("p nan", "p 0.5"),
     ("a", "annulled for a reason")],
)  # fmt: skip
def test_what_is_not_understood_is_asked_again(said: str, says: str) -> None:
    with pytest.raises(BadParameter, match=says):
        read_judgement(said)
