"""The laws of composition, checked on arithmetic codecs whose results are easy to tell apart."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from offboard_client.errors import BadObservation, ConfigurationError, InvalidAction
from offboard_core.codecs import ActionHorizon, ActionSplit, ActionTiming, LetterboxImage, Rename, StateVector, TaskText
from offboard_core.types import Chunk, Codec, CodecMeta, Feature, Field, Stage, decodes, encodes


@dataclass(frozen=True)
class Affine(Stage):
    """Multiplies and adds to ``x``, both ways; decoding also adds what it observes, to prove what it was shown."""

    factor: int
    offset: int

    def encode(self, observation):
        return {**observation, "x": observation["x"] * self.factor + self.offset}

    def decode(self, chunk, observation):
        return chunk.replace(action=chunk.action * self.factor - self.offset + observation["x"])

    def encode_actions(self, chunk, observation):
        return chunk.replace(action=(chunk.action + self.offset - observation["x"]) / self.factor)


@dataclass(frozen=True)
class EncodeOnly(Codec):
    offset: int

    def encode(self, observation):
        return {**observation, "x": observation["x"] * 2 + self.offset}


@dataclass(frozen=True)
class DecodeOnly(Codec):
    offset: int

    def decode(self, chunk, observation):
        return chunk.replace(action=chunk.action * 3 + self.offset + observation["x"])

    def encode_actions(self, chunk, observation):
        return chunk.replace(action=(chunk.action - self.offset - observation["x"]) / 3)


small = st.integers(-5, 5)
factors = st.sampled_from([-4, -2, -1, 1, 2, 4])
parts = st.one_of(st.builds(Affine, factors, small), st.builds(EncodeOnly, small), st.builds(DecodeOnly, small))


def behaviour(codec: Codec, x: int, action: int) -> tuple[Any, Any]:
    observation = {"x": x, "y": "kept"}
    chunk = Chunk(np.full((2, 1), action, np.int64))
    return (
        codec.encode(observation) if encodes(codec) else None,
        codec.decode(chunk, observation).action.tolist() if decodes(codec) else None,
    )


@given(parts, parts, parts, small, small)
def test_sequences_associate(a, b, c, x, action):
    assert behaviour((a | b) | c, x, action) == behaviour(a | (b | c), x, action)
    assert ((a | b) | c).meta == (a | (b | c)).meta


@given(parts, parts, parts, small, small)
def test_sequences_associate_backwards_and_undo_what_they_decode(a, b, c, x, action):
    left, right = (a | b) | c, a | (b | c)
    observation = {"x": x, "y": "kept"}
    assert left.one_way is None
    assert right.one_way is None
    if not decodes(left):
        return
    made = left.decode(Chunk(np.full((2, 1), action, np.int64)), observation)
    back = [codec.encode_actions(made, observation).action for codec in (left, right)]
    np.testing.assert_array_equal(back[0], back[1])
    np.testing.assert_allclose(left.decode(Chunk(back[0]), observation).action, made.action, atol=1e-9)


@given(st.builds(Affine, factors, small), st.builds(Affine, factors, small), small, small)
def test_a_sequence_encodes_forwards_and_decodes_backwards(a, b, x, action):
    observation = {"x": x}
    seen = a.encode(observation)
    assert (a | b).encode(observation) == b.encode(seen)
    chunk = Chunk(np.full((1, 1), action))
    expected = a.decode(b.decode(chunk, seen), observation)
    np.testing.assert_array_equal((a | b).decode(chunk, observation).action, expected.action)


@dataclass(frozen=True)
class Side(Codec):
    """Reads one name, makes one input, one action and one training column."""

    name: str

    @property
    def meta(self):
        return CodecMeta(observation={f"in.{self.name}": Field(shape=(1,))}, action={self.name: Field(shape=(1,))})

    def encode(self, observation):
        return {self.name: observation["x"]}

    def decode(self, chunk, observation):
        return Chunk({self.name: chunk.columns()["action"]})

    @property
    def features(self) -> Mapping[str, Feature]:
        return {self.name: Feature(shape=(1,), dtype="float32")}

    def label(self, frame):
        return {self.name: frame["x"]}


names = st.lists(st.sampled_from("abcdef"), min_size=3, max_size=3, unique=True)


@given(names, small)
def test_parallels_associate_and_merge_what_both_make(three, x):
    a, b, c = map(Side, three)
    observation = {"x": x}
    chunk = Chunk(np.full((2, 1), x))
    for codec in ((a & b) & c, a & (b & c)):
        assert codec.encode(observation) == dict.fromkeys(three, x)
        assert codec.label(observation) == dict.fromkeys(three, x)
        assert set(codec.features) == set(codec.meta.action) == set(codec.decode(chunk, observation).columns())
        assert codec.meta == (a & b & c).meta


@given(names, small)
def test_a_sequence_over_a_parallel_is_the_sequence_over_each(three, x):
    first = Affine(2, 1)
    a, b = Side(three[0]), Side(three[1])
    whole = (first | (a & b)).encode({"x": x})
    assert whole == (first | a).encode({"x": x}) | (first | b).encode({"x": x})


@dataclass(frozen=True)
class Part(Codec):
    """Some of the numbers of a model's vector of six, times two; it knows nothing of the others."""

    name: str
    start: int
    stop: int

    @property
    def meta(self):
        return CodecMeta(action={self.name: Field(shape=(self.stop - self.start,))})

    def decode(self, chunk, observation):
        return Chunk({self.name: chunk.columns()["action"][:, self.start : self.stop] * 2}, chunk.timestamp)

    def encode_actions(self, chunk, observation):
        assert set(chunk.columns()) == {self.name}, "a part is given what is its own"
        vector = np.full((len(chunk), 6), np.nan)
        vector[:, self.start : self.stop] = chunk.columns()[self.name] / 2
        return Chunk({"action": vector})


@st.composite
def three_parts(draw):
    """Of one vector; they may overlap, and leave numbers out."""
    spans = [sorted(draw(st.tuples(st.integers(0, 5), st.integers(1, 6)))) for _ in range(3)]
    return [Part(name, start, max(stop, start + 1)) for name, (start, stop) in zip("abc", spans, strict=True)]


@given(three_parts(), st.lists(st.floats(-10, 10), min_size=12, max_size=12))
def test_parallels_associate_backwards_and_complete_each_other(three, numbers):
    a, b, c = three
    chunk = Chunk(np.reshape(numbers, (2, 6)))
    known = {i for part in three for i in range(part.start, part.stop)}
    for codec in ((a & b) & c, a & (b & c)):
        assert codec.one_way is None
        made = codec.decode(chunk, {})
        back = codec.encode_actions(made, {}).columns()["action"]
        for i in range(6):
            np.testing.assert_array_equal(back[:, i], chunk.action[:, i] if i in known else np.nan)
        for name, column in codec.decode(Chunk(back), {}).columns().items():
            np.testing.assert_array_equal(column, made.columns()[name])


def test_parts_that_contradict_each_other_are_refused():
    both = Part("a", 0, 3) & Part("b", 2, 6)
    rows = {"a": np.ones((2, 3)), "b": np.ones((2, 4))}
    assert both.encode_actions(Chunk(rows), {}).columns()["action"].tolist() == [[0.5] * 6] * 2
    rows["b"][1, 0] = 1.001
    with pytest.raises(BadObservation, match="two codecs side by side make another action of these actions"):
        both.encode_actions(Chunk(rows), {})


@dataclass(frozen=True)
class Clips(Side):
    one_way: str = "it clips"


@pytest.mark.parametrize(
    ("codec", "reason"),
    [
        (EncodeOnly(1), None),
        (ActionTiming(10), None),
        (Side("a"), "Side decodes actions and has no inverse (encode_actions)"),
        (Clips("a"), "it clips"),
        (EncodeOnly(1) | Clips("a"), "it clips"),
        (Clips("a") | EncodeOnly(1), "it clips"),
        (ActionTiming(10) | (EncodeOnly(1) & Clips("a")), "it clips"),
        (Part("b", 0, 1) & Clips("a"), "it clips"),
        (Part("b", 0, 1) & DecodeOnly(1), "of two codecs side by side one does not declare which actions it makes"),
    ],
)
def test_what_cannot_be_undone_says_so_through_every_composition(codec, reason):
    assert codec.one_way == reason


@pytest.mark.parametrize("codec", [Side("a"), EncodeOnly(1), EncodeOnly(1) | EncodeOnly(2), EncodeOnly(1) & TaskText()])
def test_what_no_part_undoes_is_not_undone(codec):
    with pytest.raises(NotImplementedError, match="decodes"):
        codec.encode_actions(Chunk(np.ones((1, 1))), {})


def test_a_name_that_both_declare_is_an_error_at_composition():
    with pytest.raises(ConfigurationError, match="both make the training column a"):
        Side("a") & Side("a")
    with pytest.raises(ConfigurationError, match="both make the action target_grip"):
        ActionSplit(parts={"target_grip": 1}) & ActionSplit(parts={"target_grip": 1}, name="b")


def test_a_name_that_both_make_is_an_error_when_it_happens():
    with pytest.raises(BadObservation, match="both make x, y"):
        (Affine(1, 1) & Affine(1, 2)).encode({"x": 1, "y": 2})


@dataclass(frozen=True)
class Answer(Codec):
    chunk: Chunk

    def decode(self, chunk, observation):
        return self.chunk


@pytest.mark.parametrize(
    ("a", "b", "reason"),
    [
        (Chunk({"a": np.ones((2, 1))}), Chunk({"a": np.ones((2, 1))}), "both make the action a"),
        (Chunk({"a": np.ones((2, 1))}), Chunk({"b": np.ones((3, 1))}), "2 and 3 steps"),
        (Chunk({"a": np.ones((1, 1))}, np.zeros(1)), Chunk({"b": np.ones((1, 1))}, np.ones(1)), "timestamps"),
    ],
)
def test_chunks_that_contradict_each_other_are_refused(a, b, reason):
    with pytest.raises(InvalidAction, match=reason):
        (Answer(a) & Answer(b)).decode(Chunk(np.ones((1, 1))), {})


def test_timestamps_of_either_side_hold_for_both():
    timed = Chunk({"a": np.ones((2, 1))}, np.array([0.0, 0.1]))
    made = (Answer(timed) & Answer(Chunk({"b": np.zeros((2, 1))}))).decode(Chunk(np.ones((2, 1))), {})
    assert set(made.columns()) == {"a", "b"}
    np.testing.assert_array_equal(made.timestamp, [0.0, 0.1])


@pytest.mark.parametrize(
    ("compose", "what"),
    [
        (lambda: ActionTiming(15) | ActionTiming(10), r"the action rate \(fps\): 15\.0 and 10\.0"),
        (lambda: ActionHorizon(1) & ActionHorizon(2), "the action horizon"),
        (
            lambda: (
                LetterboxImage(name="a", source="image.wrist", size=(4, 4))
                & LetterboxImage(name="b", source="image.wrist", size=(8, 8))
            ),
            r"the size of image\.wrist",
        ),
        (
            lambda: StateVector(name="a", parts={"q": 6}) & StateVector(name="b", parts={"q": 7}),
            r"the shape of q: \(6,\) and \(7,\)",
        ),
    ],
)
def test_metas_are_never_merged_silently(compose, what):
    with pytest.raises(ConfigurationError, match=f"disagree about {what}"):
        compose()


def test_image_sizes_are_one_if_all_agree():
    def image(name, size):
        return LetterboxImage(name=name, source=f"image.{name}", size=size)

    assert (image("a", (4, 4)) & image("b", (4, 4))).meta.image_sizes == (4, 4)
    mixed = {"image.a": (4, 4), "image.b": (8, 6)}
    assert (image("a", (4, 4)) & image("b", (8, 6))).meta.image_sizes == mixed
    three = (image("a", (4, 4)) & image("b", (8, 6))) & image("c", (4, 4))
    assert three.meta.image_sizes == mixed | {"image.c": (4, 4)}
    assert three.meta == (image("a", (4, 4)) & (image("b", (8, 6)) & image("c", (4, 4)))).meta
    assert (Rename({"cam": "image.a"}) | image("a", (4, 4)) & image("b", (8, 6))).meta.image_sizes == {
        "cam": (4, 4),
        "image.b": (8, 6),
    }


def test_a_part_with_one_half_lets_the_other_pass():
    whole = ActionTiming(10) | (StateVector(name="s", parts={"q": 2}) & ActionSplit(parts={"target_joints": 2}))
    assert set(whole.encode({"q": [1, 2]})) == {"s"}
    assert set(whole.meta.observation) == {"q"}
    assert set(whole.meta.action) == {"target_joints"}
    assert whole.meta.action_fps == 10
    assert set(whole.decode(Chunk(np.ones((1, 2))), {}).columns()) == {"target_joints"}


@pytest.mark.parametrize("codec", [ActionTiming(10) | ActionHorizon(1), ActionTiming(10) & ActionSplit(parts={})])
def test_what_no_part_does_is_not_done(codec):
    assert not encodes(codec)
    with pytest.raises(NotImplementedError, match="does not encode"):
        codec.encode({})


@pytest.mark.parametrize("compose", [lambda a, b: a | b, lambda a, b: a & b])
def test_what_no_part_decodes_is_not_decoded(compose):
    codec = compose(StateVector(name="s", parts={"q": 1}), StateVector(name="t", parts={"s": 1}))
    assert not decodes(codec)
    with pytest.raises(NotImplementedError, match="does not decode"):
        codec.decode(Chunk(np.ones((1, 1))), {})


def test_the_encoding_is_not_made_again_for_a_decoder_that_does_not_look():
    class Counted(EncodeOnly):
        calls = 0

        def encode(self, observation):
            Counted.calls += 1
            return super().encode(observation)

    chunk = Chunk(np.ones((1, 2)))
    (Counted(1) | ActionSplit(parts={"target_joints": 2})).decode(chunk, {"x": 1})
    assert Counted.calls == 0
    (Counted(1) | DecodeOnly(0)).decode(chunk, {"x": 1})
    assert Counted.calls == 1


def test_a_sequence_labels_what_its_first_part_encodes():
    codec = Rename({"robot_state.q": "joints"}) | (
        StateVector(name="s", parts={"joints": 2})
        & ActionSplit(parts={"target_joints": 2}, labels={"target_joints": "target_joints"})
    )
    row = codec.label({"robot_state.q": [1, 2], "target_joints": [3, 4]})
    np.testing.assert_array_equal(row["s"], [1, 2])
    np.testing.assert_array_equal(row["action"], [3, 4])
    assert set(codec.features) == set(row)


@given(st.builds(Affine, small, small), st.builds(Affine, small, small), small)
def test_composing_leaves_the_parts_as_they_were(a, b, x):
    observation = {"x": x}
    before = behaviour(a, x, 1)
    (a | b).encode(observation)
    assert behaviour(a, x, 1) == before
    assert observation == {"x": x}
