"""What a peer writes reaches nobody's terminal or log as anything but text."""

import pytest
from offboard_client import BadObservation, ConnectionFailed, OffboardError
from offboard_client.errors import one_line, printable
from offboard_client.wire import Status, frame_error, read_handshake, read_reply

#: A title, a cleared screen, a reset, a colour in C1, a window moved by DCS, a turned text, and a line that is forged.
TRICKS = "\x1b]0;owned\x07 \x1b[2J \x1bc \x9b31m \x90q \u202egnp.exe \u200b\ufeff \x7f \r\noffboard: forged"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain, größer, 積む, 🤖", "plain, größer, 積む, 🤖"),
        ("\x1b[2J", r"\x1b[2J"),
        ("\x1b]0;owned\x07", r"\x1b]0;owned\x07"),
        ("\x9b31m", r"\x9b31m"),
        ("\u202egnp", r"\u202egnp"),
        ("a\u200bb\ufeff", r"a\u200bb\ufeff"),
        ("a\tb", "a b"),
        ("a\nb", r"a\nb"),
        ("a\rb", r"a\rb"),
        ("\ud800", r"\ud800"),
        ("\u2028", r"\u2028"),
    ],
)
def test_what_is_not_printable_is_written_as_python_would(text, shown):
    assert printable(text) == shown
    assert printable(shown) == shown
    assert shown.isprintable()


def test_line_feeds_stay_where_lines_are_wanted():
    assert printable("a\n\x1bb\r\n", lines=True) == "a\n\\x1bb\\r\n"
    assert one_line(" a\n\x1b b\r\n") == r"a \x1b b"


@pytest.mark.parametrize("kind", [OffboardError, BadObservation, ConnectionFailed])
def test_every_error_is_printable_whoever_made_it(kind):
    error = kind(TRICKS)
    assert error.text == str(error) == printable(TRICKS, lines=True)
    assert error.text.replace("\n", "").isprintable()


def test_what_a_server_says_is_printable():
    status = read_handshake({"status": "loading", "message": TRICKS})
    assert isinstance(status, Status)
    assert str(status).isprintable()
    assert str(Status("connecting", TRICKS)).isprintable()
    (warning,) = read_reply({"result": None, "warnings": [TRICKS]}).warnings
    assert warning.isprintable()
    error = frame_error({"error": TRICKS, "code": "policy_failed"})
    assert error is not None
    assert error.text.replace("\n", "").isprintable()
