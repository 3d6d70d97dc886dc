"""``--query``: which episodes hold what a person asks for."""

import pytest
from offboard_client.errors import ConfigurationError
from offboard_client.plugins import UsageError
from offboard_core.data_sets import Query

EPISODES = [
    {
        "name": "a",
        "outcome": "success",
        "score": 0.9,
        "tags": ["grasp"],
        "note": "",
        "model": "010000",
        "success": True,
    },
    {"name": "b", "outcome": "fail", "score": 0.2, "tags": ["slip", "late"], "note": "Dropped it twice", "seed": 7},
    {"name": "c", "outcome": None, "score": None, "tags": [], "note": "fine", "scores": {"share": 0.5}},
]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("outcome = success", "a"),
        ("outcome == 'success'", "a"),
        ("outcome != success", "bc"),  # what nobody knows is no success
        ("score >= 0.2", "ab"),
        ("score < 0.5", "b"),  # and no number, either
        ("tags = slip", "b"),
        ("tags != slip", "ac"),
        ("tags", "ab"),
        ("note ~ dropped", "b"),
        ("not note", "a"),
        ("not note ~ 'dropped it'", "ac"),
        ("model = 010000", "a"),
        ("model = 10000", "a"),
        ("success = true", "a"),
        ("seed = 7", "b"),
        ("scores.share > 0.4", "c"),
        ("name >= b", "bc"),
        ("outcome = success or outcome = fail and score > 0.5", "a"),
        ("(outcome = success or outcome = fail) and score < 0.5", "b"),
        ("not (tags = slip or tags = grasp)", "c"),
    ],
)
def test_it_holds_for_what_it_says(text, names):
    found = Query(text).choose(EPISODES)
    assert "".join(each["name"] for each, held in zip(EPISODES, found, strict=True) if held) == names


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "a field was expected"),
        ("score >=", "what score is held against was expected"),
        ("score >= and", None),
        ("(score > 1", "parenthesis is not closed"),
        ("score > 1 note", "'note' comes after its end"),
        ("= 3", "'=' stands where a field was expected"),
        ("'a' = 3", "'a' stands where a field"),
        ("score = 'a", "is not understood"),
        ("not " * 60 + "a", "nested too deep"),
        ("__import__('os')", "comes after its end"),
    ],
)
def test_what_is_no_query_is_refused_with_an_example(text, says):
    if says is None:
        assert Query(text)  # a text like any other
        return
    with pytest.raises(UsageError, match=says) as raised:
        Query(text)
    assert "tags = grasp" in str(raised.value)


def test_a_field_that_no_episode_has_is_refused_with_the_nearest():
    with pytest.raises(ConfigurationError, match="did you mean score") as raised:
        Query("scor > 1").choose(EPISODES)
    assert "scores.share" in raised.value.text
    with pytest.raises(ConfigurationError, match="note is 'Dropped it twice', which is neither less nor more than 3"):
        Query("note > 3").choose(EPISODES[1:])
    assert Query("anything").choose([]) == []
