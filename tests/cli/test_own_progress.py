"""What ``offboard serve``, ``stats`` and ``train`` show of their own work: one line that changes, or few in a log."""

import fcntl
import logging
import os
import re
import struct
import termios

import pytest
from model_bench import run, until
from offboard_core.cli import TrainingLine
from offboard_process import environment, killed_if_it_hangs, started
from plugin_dists import write_plugin
from puppets import Door, Puppet, source
from service_bed import serving
from slot_bed import becomes
from terminal import Terminal

SLOW = """
    import logging, pathlib, time
    from offboard_core import CheckpointLoader, LoadFailed, LoaderEntry, hookimpl
    from offboard_core.types import Progress

    class Loader(CheckpointLoader):
        def __init__(self, options):
            pass

        def load(self, checkpoint, report, place):
            report(Progress("fetching it", 10**9, 2 * 10**9))
            logging.getLogger("offboard_slow").warning("a word in between")
            while not pathlib.Path(__file__).with_name("seen").exists():
                time.sleep(0.02)
            raise LoadFailed("there is no GPU here", permanent=True)

    @hookimpl
    def offboard_checkpoint_loaders():
        yield LoaderEntry(name="slow", summary="Slow.", factory=Loader)
"""


def on_a_terminal(arguments, path, until, columns=80):
    """What a command writes on a terminal of its own, and its exit status; a file tells it when ``until`` was shown."""
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    env = environment(path, TERM="xterm-256color")
    del env["COLUMNS"]
    process = started(*arguments, stdin=theirs, stdout=theirs, stderr=theirs, env=env)
    os.close(theirs)
    said = b""
    with killed_if_it_hangs(process):
        while True:
            try:
                said += os.read(ours, 65536)
                if until in said:
                    (path / "seen").touch()
            except OSError:  # the other end is closed: it has left
                break
        status = process.wait()
    os.close(ours)
    return said.decode(), status


def test_serve_shows_its_own_load_as_one_line(tmp_path):
    write_plugin(tmp_path, "slow", SLOW)
    said, status = on_a_terminal(["serve", "--vendor", "slow", "--port", "0"], tmp_path, b"fetching it")
    assert status == 1
    shown = [line for line in re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said)) if line.strip()]
    loading = [line for line in shown if "loading slow" in line and "failed" not in line]
    assert any("fetching it" in line and "━" in line and "1.0 GB of 2.0 GB" in line for line in loading)
    assert all(len(line) <= 80 for line in loading)
    assert not any("INFO" in line for line in loading), "no log line says it again"
    assert sum(line.endswith("WARNING a word in between") for line in shown) == 1
    assert "\x1b[1A\x1b[2K" in said, "the line is taken away"
    assert shown[-1] == "offboard: slow could not be loaded: there is no GPU here"


def test_the_log_says_the_same_wait_once(caplog):
    caplog.set_level(logging.INFO)

    async def main():
        with Door() as door:

            def slowly():
                door.passing()
                return Puppet()

            told = []

            async def hear(status):
                told.append(status)

            async with serving(source({"a": slowly})) as service:
                service.preload(lambda error: None)
                await until(door.entered)
                model = service.catalog.default
                waiting = service._spawn(service._lease(model, "another", hear))
                await becomes(lambda: len(told) >= 20)
                door.open()
                await becomes(lambda: service.slot.loaded and len(service.slot.loaded.leases) == 1)
                del waiting

    run(main())
    assert len([r for r in caplog.records if r.getMessage().startswith("loading a: pulling strings")]) == 1


@pytest.mark.parametrize("columns", [40, 80])
def test_training_is_one_line_that_never_wraps(monkeypatch, columns):
    with Terminal(monkeypatch, columns).stands_for("stderr") as terminal, TrainingLine() as progress:
        for step in range(3):
            progress.report(f"Progress on step {step}/3: " + "loss=0.123, " * 30)
        progress.report("Writing checkpoint\x1b]0;x\x07")
    *shown, last = [line.strip() for line in terminal.lines if line.strip()]
    assert all(len(line) <= columns for line in shown)
    assert any("step 0/3" in line for line in shown)
    assert last == "Writing checkpoint\\x1b]0;x\\x07"
