"""What came over a wire is told in errors without being written out whole."""

import numpy as np
import pytest
from offboard_client import wire
from offboard_client.errors import BadMessage, brief
from offboard_client.protocol import check_meta


@pytest.mark.parametrize("value", [None, True, -3, 0.5, float("nan"), "text", b"\x1b[2J", [1, "a"], {"a": 1}, (2,), []])
def test_what_is_short_is_told_as_python_writes_it(value):
    assert brief(value) == repr(value)
    assert brief(value, 3) == repr(value)[:3]


class Counted:
    """Counts how often anybody has it written out."""

    written = 0

    def __repr__(self):
        Counted.written += 1
        return "x" * 10_000


def nested(depth, width):
    return Counted() if not depth else [nested(depth - 1, width) for _ in range(width)]


def test_no_more_is_written_than_is_shown(monkeypatch):
    monkeypatch.setattr(Counted, "written", 0)
    assert len(brief(nested(3, 20))) == 60
    assert brief({"a": nested(1, 500)}).startswith("{'a': [xxx")
    assert Counted.written <= 3


def test_an_array_is_told_by_its_shape():
    assert brief(np.zeros((200, 3))) == "ndarray of shape (200, 3)"
    assert brief([np.zeros(900)] * 900).startswith("[ndarray of shape (900,), ndarray of shape")
    assert brief(memoryview(bytes(9))) == "memoryview of shape (9,)"
    assert brief(np.float64(0.5)) in ("0.5", "np.float64(0.5)")


def test_a_long_text_is_not_escaped_whole():
    assert brief("\x00" * 10**8) == "'" + "\\x00" * 14 + "\\x0"


@pytest.fixture
def writes_nothing(monkeypatch):
    """Nobody asks for an array as text."""

    def asked(array, *_, **__):
        raise AssertionError("an array was written out whole")

    before = np.get_printoptions()
    np.set_printoptions(formatter={"all": asked})
    yield
    np.set_printoptions(**before)


HEAVY = [[np.zeros(900)] * 20] * 20


@pytest.mark.parametrize(
    "frame",
    [
        {b"__npgeneric__": True, b"data": HEAVY, b"dtype": "<f8"},
        {b"__ndarray__": True, b"data": b"", b"dtype": "<f8", b"shape": [HEAVY]},
    ],
    ids=["scalar", "shape"],
)
def test_a_frame_that_is_refused_is_not_written_out(frame, writes_nothing):
    with pytest.raises(BadMessage, match="ndarray of shape"):
        wire.decode(wire.encode({"x": frame}))


def test_a_handshake_that_is_refused_is_not_written_out(writes_nothing):
    with pytest.raises(BadMessage, match="ndarray of shape"):
        check_meta({"action_fps": HEAVY})
