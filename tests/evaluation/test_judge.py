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
        ("p 2/4 two of four", Judgement("partial", 0.5, note="two of four", items=2, items_total=4)),
        ("s 5/5", Judgement("success", 1.0, items=5, items_total=5)),
        ("f 1/4 the second slipped #slip", Judgement("fail", 0.25, ("slip",), "the second slipped", 1, 4)),
        ("f 1/4th of it", Judgement("fail", note="1/4th of it")),
        ("a 3/5 were out of reach", Judgement("annulled", note="3/5 were out of reach")),
        ("t", Judgement("stall")),
        ("u hit the table #contact", Judgement("unsafe", tags=("contact",), note="hit the table")),
        ("a the light went out", Judgement("annulled", note="the light went out")),
    ],
)
def test_a_letter_a_share_and_a_note(said: str, judgement: Judgement) -> None:
    assert read_judgement(said) == judgement


@pytest.mark.parametrize(
    ("said", "says"),
    [("", "is none of s, p, f"), ("x", "'x' is none of"), ("p", "p 3/5"), ("p 2", "p 3/5"), ("p nan", "p 0.6"),
     ("p 5/4", "5/4: so many items"), ("s 0/0", "0/0: so many"),
     ("a", "annulled for a reason")],
)  # fmt: skip
def test_what_is_not_understood_is_asked_again(said: str, says: str) -> None:
    with pytest.raises(BadParameter, match=says):
        read_judgement(said)
