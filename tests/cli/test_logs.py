"""What a log line looks like, and what does not get into it."""

import logging
import re
import sys

import pytest
from offboard_client.errors import FETCHING, Lines, LoadFailed, log_to_stderr
from offboard_process import serving
from terminal import Terminal


@pytest.fixture
def log_from(monkeypatch):
    """``log_to_stderr`` in a program that has set up no logging, unlike pytest."""
    root = logging.getLogger()
    level, levels = root.level, {name: logging.getLogger(name).level for name in FETCHING}

    def begin(*arguments, **more):
        monkeypatch.setattr(root, "handlers", [])
        log_to_stderr(*arguments, **more)

    yield begin
    monkeypatch.undo()
    root.setLevel(level)
    for name, before in levels.items():
        logging.getLogger(name).setLevel(before)


def written(capsys):
    return capsys.readouterr().err


def test_a_line_leaves_room_for_the_message(monkeypatch, log_from):
    with Terminal(monkeypatch).stands_for("stderr") as terminal:
        log_from("info")
        logging.getLogger("offboard_core.engine.model_loader").info("loaded act in 3.2 s")
        logging.getLogger("uvicorn.error").warning("odd")
    assert re.fullmatch(r"\d\d:\d\d:\d\d INFO loaded act in 3\.2 s", terminal.lines[0])
    assert terminal.lines[1].endswith(" WARNING uvicorn.error: odd")


def test_a_terminal_breaks_a_commands_lines_between_words(monkeypatch, log_from):
    with Terminal(monkeypatch).stands_for("stderr") as terminal:
        log_from("warning", times=False)
        logging.getLogger("offboard_client.drivers").warning(" ".join(["observing"] * 20))
    lines = terminal.lines[:-1]
    assert max(map(len, lines)) <= 80
    assert {word for line in lines for word in line.split()} == {"offboard:", "observing"}
    assert all(line.startswith("  ") for line in lines[1:])


def test_a_file_has_the_date(log_from, capsys):
    log_from("info")
    logging.getLogger("offboard_lerobot").info("hello")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d INFO hello\n", written(capsys))


def test_a_record_is_text_and_forges_no_other(log_from, capsys):
    log_from("info", times=False)
    logging.getLogger("uvicorn.error").warning("path %s", "\x1b]0;x\x07\x9b2J\u202e\noffboard: all is well")
    assert written(capsys) == "offboard: uvicorn.error: path \\x1b]0;x\\x07\\x9b2J\\u202e\n  offboard: all is well\n"


def test_a_failed_download_is_one_line_of_ours(log_from, capsys):
    log_from("info")
    try:
        raise OSError("no route to the bucket")
    except OSError:
        logging.getLogger("gcsfs").exception("_request out of retries on exception")
        logging.getLogger("huggingface_hub.utils._http").warning("Retrying in 1s [Retry 1/5].")
    assert written(capsys) == ""


@pytest.mark.parametrize("level", ["info", "debug"])
def test_an_expected_failure_has_its_trace_at_debug_only(level, log_from, capsys):
    log_from(level)
    try:
        raise LoadFailed("act has no weights")
    except LoadFailed:
        logging.getLogger("offboard_core.x").warning("loading act failed", exc_info=True)
    said = written(capsys)
    assert "act has no weights" in said
    assert ("Traceback" in said) == (level == "debug")
    assert level == "debug" or said.count("\n") == 1


def test_a_fault_has_its_trace():
    try:
        raise KeyError("x")
    except KeyError:
        record = logging.LogRecord("offboard_core", logging.ERROR, "", 1, "failed", None, sys.exc_info())
    assert "KeyError" in Lines("%(message)s").format(record)


def test_a_server_logs_so(tmp_path):
    with serving("--vendor", "scripted") as (process, _):
        while "loaded scripted" not in (line := process.stderr.readline()):
            assert re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [A-Z]+ \S", line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d INFO loaded scripted in \d\.\d s\n", line)
