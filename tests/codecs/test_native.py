import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from offboard_client.errors import BadObservation, BadParameter, ConfigurationError
from offboard_client.plugins import build
from offboard_core.codecs import NativeOptions, Rename, make
from offboard_core.types import Checkpoint, Chunk, Field

UNKNOWN = Checkpoint(id="m")
DECLARED = Checkpoint(
    id="m",
    inputs={
        "observation.images.front": Field(shape=(-1, -1, 3), dtype="uint8"),
        "observation.state": Field(shape=(3,), dtype="float32"),
        "prompt": Field(shape=(), dtype="str", required=False),
    },
    outputs={"action": Field(shape=(2,))},
)
GOOD = {
    "image.exterior": np.zeros((4, 5, 3), np.uint8),
    "observation.state": np.zeros(3),
    "unheard.of": {"a": 1},
}
MAP = {"image.exterior": "front", "task": "prompt"}


def test_an_unknown_model_gets_everything_as_it_is():
    codec = make(NativeOptions(), UNKNOWN)
    anything = {"a": np.ones(3), "b": "text", "c": None}
    assert codec.encode(anything) == anything
    answer = Chunk({"target_joints": np.ones((2, 7))})
    assert codec.decode(answer, anything) is answer
    assert codec.meta.action_fps is None


def test_the_rate_may_be_an_option():
    codec = make(NativeOptions(fps=10.0), UNKNOWN)
    np.testing.assert_array_equal(codec.decode(Chunk(np.ones((2, 7))), {}).timestamp, [0.0, 0.1])
    assert codec.meta.action_fps == 10.0


def test_a_rate_that_is_none_is_a_bad_parameter():
    with pytest.raises(BadParameter, match="steps per second from"):
        build(NativeOptions, {"fps": -1}, "the codec core.native")


def test_declared_inputs_are_checked_and_take_their_dtype():
    codec = make(NativeOptions(map=MAP), DECLARED)
    encoded = codec.encode({**GOOD, "task": "stack"})
    assert encoded["observation.images.front"] is GOOD["image.exterior"]
    assert encoded["observation.state"].dtype == np.float32
    assert encoded["prompt"] == "stack"
    assert encoded["unheard.of"] == {"a": 1}
    assert "prompt" not in codec.encode(GOOD)


def test_the_meta_is_in_the_robots_names():
    meta = make(NativeOptions(map=MAP), DECLARED).meta
    assert set(meta.observation) == {"image.exterior", "observation.state", "task"}
    assert meta.action["action"].kind == "vector"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"observation.state": np.zeros(4)}, r"shape \(4,\), the model expects \(3,\)"),
        ({"observation.state": np.array([0, 0, np.nan])}, "not finite"),
        ({"observation.state": np.full(3, 1e300)}, "not finite"),
        ({"observation.state": [[1], [1, 2]]}, "not an array"),
        ({"observation.state": "abc"}, "shape"),
        ({"observation.state": np.array(["a", "b", "c"])}, "dtype"),
        ({"image.exterior": np.zeros((4, 5, 3))}, "dtype float64, the model expects uint8"),
        ({"image.exterior": np.zeros((4, 5), np.uint8)}, "shape"),
        ({"task": 3}, "expects text"),
    ],
)
def test_what_does_not_fit_is_refused(change, reason):
    with pytest.raises(BadObservation, match=reason):
        make(NativeOptions(map=MAP), DECLARED).encode({**GOOD, **change})


def test_a_missing_input_names_what_there_is():
    with pytest.raises(BadObservation, match=r"lacks 'observation\.state'; it holds"):
        make(NativeOptions(map=MAP), DECLARED).encode({"image.exterior": GOOD["image.exterior"]})


def test_a_map_that_names_no_input_is_a_bad_parameter():
    with pytest.raises(BadParameter, match=r"no input 'back' of the model; .*there are: observation\.images\.front"):
        make(NativeOptions(map={"image.exterior": "back"}), DECLARED)


def test_one_input_cannot_have_two_names():
    with pytest.raises(ConfigurationError, match="two names become one"):
        make(NativeOptions(map={"image.wrist": "front", "image.exterior": "front"}), DECLARED)


def test_an_ambiguous_end_of_a_name_is_a_bad_parameter():
    twice = Checkpoint(id="m", inputs={"left.image": Field(), "right.image": Field()})
    with pytest.raises(BadParameter, match=r"several: left\.image, right\.image"):
        make(NativeOptions(map={"image.wrist": "image"}), twice)


def test_a_new_name_must_be_free():
    with pytest.raises(BadObservation, match="two names of the observation become 'b'"):
        Rename({"a": "b"}).encode({"a": 1, "b": 2})
    assert Rename({"a": "b", "b": "a"}).encode({"a": 1, "b": 2}) == {"b": 1, "a": 2}


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [("robot_state.ee_pose", np.zeros(7), "length 0"), ("grip", 80.0, "grip"), ("grip.left", [1.06], r"grip\.left")],
)
def test_a_canonical_name_is_checked_for_what_it_means(name, value, reason):
    width = np.atleast_1d(value).shape
    codec = make(NativeOptions(), Checkpoint(id="m", inputs={name: Field(shape=width)}))
    with pytest.raises(BadObservation, match=reason):
        codec.encode({name: value})


@pytest.mark.parametrize(
    ("name", "good", "bad"), [("robot_state.ee_pose", [0, 0, 0, 1, 0, 0, 0], np.zeros(7)), ("grip", [0.5], [80.0])]
)
def test_a_canonical_name_is_checked_also_after_one_that_was_right(name, good, bad):
    codec = make(NativeOptions(), Checkpoint(id="m", inputs={name: Field(shape=(-1,), dtype="float64")}))
    for _ in range(2):
        codec.encode({name: np.array(good, float)})
    with pytest.raises(BadObservation, match=r"length 0|closure goes"):
        codec.encode({name: np.array(bad, float)})


SEEN_BEFORE = Checkpoint(
    id="m",
    inputs={
        "state": Field(shape=(2,), dtype="float32"),
        "image": Field(shape=(-1, -1, 3), dtype="uint8", required=False),
        "grip": Field(shape=(1,), dtype="float32", required=False),
        "task": Field(dtype="str", required=False),
        "width": Field(shape=(2,), required=False),
        "anything": Field(required=False),
    },
)
NUMBERS = st.sampled_from((0.0, 1.0, 1.5, np.nan, np.inf))
VALUES = (
    st.builds(np.full, st.sampled_from((1, 2, (2, 2, 3), (2, 2))), NUMBERS, st.sampled_from(("<f4", ">f4", "<f8")))
    | st.builds(np.full, st.sampled_from((1, 2, (2, 2, 3))), st.just(1), st.sampled_from(("u1", "i8", "?")))
    | st.sampled_from((np.full(2, 1e300), "pick", b"pick", 3, 0.5, None, [1.0, 2.0], [np.nan, 1.0], {}))
)
OBSERVATIONS = st.fixed_dictionaries(
    {"state": st.just(np.zeros(2, "<f4")) | VALUES},
    optional={name: VALUES for name in SEEN_BEFORE.inputs if name != "state"},
)


def verdict(codec, observation):
    try:
        return repr(codec.encode(observation))
    except BadObservation as error:
        return error.text


@given(st.lists(OBSERVATIONS, min_size=1, max_size=12))
def test_what_was_taken_before_changes_no_verdict(observations):
    codec = make(NativeOptions(), SEEN_BEFORE)
    for observation in [*observations, *observations]:
        assert verdict(codec, observation) == verdict(make(NativeOptions(), SEEN_BEFORE), observation)


def test_a_codec_remembers_no_more_than_so_many_forms():
    codec = make(NativeOptions(), SEEN_BEFORE)
    for side in range(1, 1000):
        codec.encode({"state": np.zeros(2, "<f4"), "image": np.zeros((side, 1, 3), np.uint8)})
    assert len(codec._seen) <= 64
