"""An observation that is like those before is read as it is by who sees it for the first time, with the same checks."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from offboard_client.errors import OffboardError
from offboard_client.wire import DEADLINE_MS, SEQ, encode
from offboard_core import CodecMeta, Field
from offboard_core.frontends.v1 import V1

OBS_TIME = "obs_time"
CODEC = SimpleNamespace(
    meta=CodecMeta(
        observation={"q": Field(shape=(3,)), "image.wrist": Field(shape=(-1, -1, 3), dtype="uint8")}, action={}
    )
)
PICTURE = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)
OBSERVATION = {"wrist_image": PICTURE, "q": np.arange(3.0), "prompt": "go", SEQ: 1000, DEADLINE_MS: 50.0, OBS_TIME: 1.5}


def serializer(seen=()):
    made = V1().connect({"path": "/api/v1/session", "query_string": b"", "headers": []}).serializer(CODEC)
    for frame in seen:
        made.read(frame)
    return made


def outcome(read, frame):
    """What was read, with all there is to say about it, or why not."""
    try:
        observation, warnings = read(frame)
    except OffboardError as error:
        return type(error), error.text
    spelt = {
        name: (value.dtype.str, value.shape, value.tobytes(), value.flags.writeable)
        if isinstance(value, np.ndarray)
        else (type(value), repr(value))
        for name, value in observation.items()
    }
    return list(spelt.items()), warnings


def used(serializer, frame):
    """Whether the frame was not decoded as any other."""
    found = serializer.read(frame)[0]
    return np.shares_memory(found["image.wrist"], np.frombuffer(frame, np.uint8))


@pytest.mark.parametrize("at_once", [True, False])
def test_from_the_third_on_nothing_of_a_picture_is_copied(at_once):
    frames = [encode({**OBSERVATION, SEQ: 1000 + i}) for i in range(5)]
    one = serializer()
    read = one.read_at_once if at_once else one.read
    shared = [np.shares_memory(read(f)[0]["image.wrist"], np.frombuffer(f, np.uint8)) for f in frames]
    assert shared == [False, False, True, True, True]
    assert one.read(frames[4])[0][SEQ] == 1004


CHANGES = {
    "a deadline that is none": {DEADLINE_MS: float("nan")},
    "a deadline before now": {DEADLINE_MS: -1.0},
    "another task": {"prompt": "no"},
    "a number of a text's length": {SEQ: "ab"},
    "another camera": {"wrist_image": PICTURE[:32]},
    "half floats": {"q": np.arange(3, dtype=np.float32)},
    "NaN": {"q": np.array([np.nan, 1, 2])},
    "no time": {OBS_TIME: None},
    "a control frame": {"type": "reset"},
    "two names of one thing": {"task": "go"},
    "its number is a float": {SEQ: 1.0},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_what_is_else_about_it_is_read_or_refused_as_ever(change):
    seen = [encode(OBSERVATION)] * 3
    frame = encode({**OBSERVATION, **change})
    assert outcome(serializer(seen).read, frame) == outcome(serializer(seen[:1]).read, frame)


@given(st.binary(min_size=1, max_size=2), st.data())
def test_a_mutated_frame_is_read_or_refused_as_ever(other, data):
    frame = encode(OBSERVATION)
    around = [at for at in range(len(frame)) if not 200 < at < len(frame) - 200]  # but for most of the picture
    at = data.draw(st.sampled_from(around))
    mutated = frame[:at] + other + frame[at + data.draw(st.sampled_from([len(other), 0, 3])) :]
    if data.draw(st.booleans()):
        mutated = mutated[: data.draw(st.integers(1, len(mutated)))]
    learnt, fresh = serializer([frame] * 3), serializer([frame])
    assert outcome(learnt.read, mutated) == outcome(fresh.read, mutated)
    assert learnt.read_at_once(mutated) is None or outcome(learnt.read_at_once, mutated) == outcome(fresh.read, mutated)
    assert used(learnt, frame), "nor is anything of it kept"


def test_a_refusal_has_the_number_of_the_frame_that_it_refuses():
    one = serializer([encode(OBSERVATION)] * 3)
    with pytest.raises(OffboardError) as refused:
        one.read(encode({**OBSERVATION, DEADLINE_MS: -1.0, SEQ: 1234}))
    assert SEQ.encode() in (reply := one.write(refused.value, {}, {}, []))
    assert (1234).to_bytes(2, "big") in reply


def test_what_is_too_large_to_be_read_at_once_is_not_because_it_was_learnt():
    large = encode({**OBSERVATION, "wrist_image": np.zeros((1200, 1200, 3), np.uint8)})
    one = serializer([large] * 3)
    assert used(one, large)
    assert one.read_at_once(large) is None


def test_after_a_text_its_answers_are_frames_again():
    one = serializer([encode(OBSERVATION)] * 3)
    one.read('{"q": [1, 2, 3]}')
    observation, warnings = one.read(encode(OBSERVATION))
    assert isinstance(one.write(None, {}, observation, warnings), bytes)
