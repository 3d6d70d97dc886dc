"""Each row of the table of exit statuses in docs/reference/cli.md, by the command itself."""

import contextlib
import json
import re
import signal
import socket
import subprocess
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
from filmed import record
from offboard_client.cli import main
from offboard_core import InferenceServer
from offboard_process import LIMIT, environment, in_process, killed_if_it_hangs, offboard, started
from plugin_dists import write_plugin
from waits import PATIENCE

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "cli.md").read_text("utf-8")
COMMANDS = sorted(point.name for point in entry_points(group="offboard.commands"))
#: What the rows say when → what makes it so: each yields statuses that all have to be the row's.
ROWS = {}
NOBODY = "127.0.0.1:1"

VENDOR = """
    import time
    from offboard_core import CheckpointLoader, LoaderEntry, hookimpl

    class Loader(CheckpointLoader):
        def __init__(self, options):
            if "hanging" in __name__:
                print("looks", flush=True)
                time.sleep(3600)

        def load(self, checkpoint, report, place):
            import no_such_library

    @hookimpl
    def offboard_checkpoint_loaders():
        yield LoaderEntry(name=__name__.partition("_")[0], summary="A vendor.", factory=Loader)
"""


def row(*when):
    def keep(function):
        ROWS[when] = function
        return function

    return keep


@contextlib.contextmanager
def running(*arguments, path=None):
    process = started(
        *arguments, env=environment(path),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        with killed_if_it_hangs(process):
            yield process
    finally:
        process.kill()
        process.communicate()


def signalled(process, number):
    process.send_signal(number)
    process.communicate()
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


@contextlib.contextmanager
def waiting(*arguments):
    """A command that waits for a server which does not answer."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(LIMIT)
        with running(*(f"127.0.0.1:{silent.getsockname()[1]}" if a == "PORT" else a for a in arguments)) as process:
            connection, _ = silent.accept()
            with connection:
                connection.recv(1)
                yield process


@row("0", "every", "it did what was asked, `--help` and `--version` too")
def asked(tmp_path):
    for name in COMMANDS:
        yield main([name, *(["sim"] if name == "run" else []), "--help"])
    yield main(["--version"])
    yield offboard("plugins").returncode


@row("0", "`serve`", "Ctrl-C or SIGTERM stopped it, whatever the model did just then")
def stopped(tmp_path):
    for number in (signal.SIGINT, signal.SIGTERM):
        with running("serve", "--vendor", "scripted", "--port", "0", "--json") as process:
            assert json.loads(process.stdout.readline())
            yield signalled(process, number)


def still(observation):
    return [{"target_joints": np.array(observation["robot_state.q"])}] * 3


@row("0", "`run`", "the episodes were played, whatever became of them")
def played(tmp_path):
    with InferenceServer(still, port=0, fps=10) as server:
        done = in_process("run", "sim", f"127.0.0.1:{server.port}", "--seconds", "0.3")
    assert "not done" in done.stderr
    yield done.returncode


def evaluated(command, server, folder):
    robot = ["sim"] if command == "evaluate" else []
    models = ["--models", "a"] if command == "evaluate" else []
    wait = "0.1" if server == NOBODY else str(PATIENCE)
    trials = ["--episodes", "1", "--seconds", "0.3", "--no-record", "--output-dir", str(folder), "--wait", wait]
    return main([command, *robot, server, *models, *trials])


@row(
    "0",
    "`evaluate`, `validate`",
    "all trials were played and say something, or the evidence told the models apart, whatever came of them",
)
def tried(tmp_path):
    with InferenceServer({"a": lambda: still}, port=0, fps=10) as server:
        for command in ("evaluate", "validate"):
            yield evaluated(command, f"127.0.0.1:{server.port}", tmp_path / command)


@row("0", "`replay`", "Ctrl-C or SIGTERM stopped it")
def looked_at(tmp_path):
    record(tmp_path)
    for number in (signal.SIGINT, signal.SIGTERM):
        with running("replay", str(tmp_path), "--port", "0", "--json") as process:
            assert json.loads(process.stdout.readline())
            yield signalled(process, number)


@row("1", "every", "it failed: the last line on stderr says why")
def failed(tmp_path):
    for name in ("models", "probe", "bench"):
        yield main([name, NOBODY, "--wait", "0.1"])
    yield main(["stats", "--vendor", "nobody"])
    yield main(["train", "--vendor", "nobody"])
    done = in_process("run", "sim", NOBODY, "--wait", "0.1")
    assert done.stderr.splitlines()[-1].startswith("offboard: ")
    yield done.returncode


@row(
    "1",
    "`serve`",
    "it cannot start: no checkpoint, a codec or an option that does not fit what it serves, a port in use",
)
def cannot_start(tmp_path):
    yield main(["serve", "--vendor", "openpi", "--checkpoints-dir", str(tmp_path)])
    for wrong in (
        "--codec nonesuch", "--codec.nonesuch 1", "--fps nan", "--replicas 0", "--observe core.timings",
        "--core.timings.fiel x",
    ):  # fmt: skip
        yield main(["serve", "--vendor", "scripted", "--port", "0", *wrong.split()])
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield main(["serve", "--vendor", "scripted", "--port", str(taken.getsockname()[1])])


@row("1", "`serve`", "its default model can never be loaded: a library or device is missing, no server at `--attach`")
def never(tmp_path):
    done = offboard("serve", "--vendor", "openpi", "--attach", f"ws://{NOBODY}", "--port", "0", "--json")
    assert json.loads(done.stdout)["port"], "it had begun to listen"
    assert "could not be loaded: no server to attach to" in done.stderr
    assert "Traceback" not in done.stderr
    yield done.returncode
    write_plugin(tmp_path, "lacks", VENDOR)
    done = offboard("serve", "--vendor", "lacks", "--port", "0", "--json", path=tmp_path)
    assert done.stderr.splitlines()[-1].endswith("ModuleNotFoundError: No module named 'no_such_library'")
    yield done.returncode


@row(
    "1", "`run`",
    "each episode has failed, and in none was anything played: the policy had no answer that could be used (each "
    "episode's line says why)",
)  # fmt: skip
def unplayed(tmp_path):
    def fails(observation):
        raise ValueError("no idea")

    for clock in ("lockstep", "real"):
        with InferenceServer(fails, port=0, fps=10) as server:
            line = "run", "sim", f"127.0.0.1:{server.port}", "--seconds", "0.3", "--clock", clock
            done = in_process(*line)
        assert re.search(r"failed after .* 0 steps in 0 chunks: policy_failed: .*no idea", done.stderr)
        yield done.returncode


@row("1", "`bench`", "an observation was answered by an error")
def answered(tmp_path):
    def fails(observation):
        raise ValueError("no")

    with InferenceServer(fails, port=0) as server:
        yield main(["bench", f"127.0.0.1:{server.port}", "--requests", "1", "--warmup", "0"])


@row("1", "`doctor`", "something is to be mended: it says what, and what to type")
def to_mend(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "99999")
        yield main(["doctor"])


@row("1", "`compare`", "something differs, a server answered by an error, or there was nothing to compare")
def differs(tmp_path):
    path = record(tmp_path)
    with InferenceServer(still, port=0, fps=10) as server:
        yield main(["compare", str(path), f"127.0.0.1:{server.port}"])


@row("1", "`export`", "a recording could not be written in the other form, or did not fit a data set; the others were")
def not_all_exported(tmp_path):
    record(tmp_path)
    (tmp_path / "z.mcap").write_text("no recording, but some text of that name")
    yield main(["export", str(tmp_path), "--to", "csv"])
    assert len(list(tmp_path.rglob("*.csv"))) == 1


@row(
    "1",
    "`evaluate`, `validate`",
    "something has ended it before, such as a trial's error without `--go-on`, or trials ended by an error, which the "
    "same command plays again; the report is of what was played",
)
def not_tried(tmp_path):
    def broken(observation):
        raise ValueError("out of memory")

    yield evaluated("evaluate", NOBODY, tmp_path / "nobody")
    with InferenceServer({"a": lambda: broken}, port=0, fps=10) as server:
        yield evaluated("evaluate", f"127.0.0.1:{server.port}", tmp_path / "broken")
        yield evaluated("validate", f"127.0.0.1:{server.port}", tmp_path / "every")
    assert (tmp_path / "broken" / "report.html").exists()
    assert not (tmp_path / "nobody" / "report.html").exists(), "nothing was played there"


@row("1", "`replay`", "there is no recording in the folder, or another process has the port")
def not_looked_at(tmp_path):
    yield main(["replay", str(tmp_path)])
    record(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield main(["replay", str(tmp_path), "--port", str(taken.getsockname()[1])])


@row("1", "`check`", "the robot and the policy do not fit: the table says where")
def unfit(tmp_path):
    with InferenceServer(still, port=0) as server:  # says no rate
        yield main(["check", "sim", f"127.0.0.1:{server.port}"])


@row("1", "`demo`", "an episode failed, or the server did not start")
def episode(tmp_path):
    yield main(["demo", "--episodes", "1", "--seconds", "0.3"])
    yield main(["demo", "--vendor", "nobody"])
    done = in_process("demo", "--vendor", "openpi", "--attach", f"ws://{NOBODY}")
    assert "no server to attach to" in done.stderr
    # Who connects before the server ends is told the cause by the server itself.
    ends = ("offboard: the server has ended (exit status 1); its log is above\n", ", or correct --attach.\n")
    assert done.stderr.endswith(ends)
    yield done.returncode


@row(
    "1", "every",
    "there is no robot, policy, vendor, codec, listener or observer of the name that was asked for",
)  # fmt: skip
def nameless(tmp_path):
    for line in (
        "robots NO", "robots --json NO", "robots sim:NO", f"run NO {NOBODY}", f"check NO {NOBODY}", "codecs NO",
        "run sim --policy NO", "check sim --policy NO", "run sim --policy local:NO", "stats --vendor NO",
        "train --vendor NO", "serve --vendor NO", "serve --vendor scripted --codec NO",
        "serve --vendor scripted --listen NO", "serve --vendor scripted --observe NO",
    ):  # fmt: skip
        yield main(line.split())


@row("1", "every", "whoever read its output has gone")
def unread(tmp_path):
    with running("plugins") as process:
        process.stdout.close()
        yield process.wait()
        process.stdout = None


@row("2", "every", "the command line makes no sense")
def nonsense(tmp_path):
    for name in COMMANDS:
        yield main([name, "--seed" if name == "demo" else "--nonsense", "x"])  # demo hands the rest to its server
    yield main(["nonsense"])


@row("2", "`doctor`", "no connection comes about: what there is to mend here is shown all the same")
def unreached(tmp_path):
    yield main(["doctor", NOBODY])


@row("130", "every other", "Ctrl-C")
def interrupted(tmp_path):
    for arguments in (("models", "PORT"), ("probe", "PORT"), ("bench", "PORT"), ("doctor", "PORT")):
        with waiting(*arguments) as process:
            yield signalled(process, signal.SIGINT)


@row("130", "`run`, `demo`, `evaluate`, `validate`", "SIGTERM or SIGHUP, after all that was started has been stopped")
def terminated(tmp_path):
    for number in (signal.SIGTERM, signal.SIGHUP):
        with waiting("run", "sim", "PORT") as process:
            yield signalled(process, number)
    with waiting("evaluate", "sim", "PORT", "--models", "a", "--output-dir", str(tmp_path)) as process:
        yield signalled(process, signal.SIGTERM)


def before_it_listens(folder, number):
    write_plugin(folder, "hanging", VENDOR)
    with running("serve", "--vendor", "hanging", path=folder) as process:
        assert process.stdout.readline() == "looks\n"
        return signalled(process, number)


@row("130", "`serve`", "Ctrl-C before it listens")
def too_soon(tmp_path):
    yield before_it_listens(tmp_path, signal.SIGINT)


@row("143", "`serve`", "SIGTERM before it listens: there is nothing to stop yet")
def ended_too_soon(tmp_path):
    yield before_it_listens(tmp_path, signal.SIGTERM)


@row("143", "every other", "SIGTERM (it is ended by the signal, which a shell shows so)")
def killed(tmp_path):
    with waiting("models", "PORT") as process:
        yield signalled(process, signal.SIGTERM)


def test_the_page_and_this_file_have_the_same_rows():
    section = re.search(r"^## Exit status\n(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL)[1]
    rows = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in section.splitlines() if "|" in line]
    assert rows[2:] == list(ROWS)


@pytest.mark.parametrize("when", ROWS, ids=lambda when: f"{when[0]} {when[2]:.30}")
def test_a_row_is_true(when, tmp_path, capsys):
    statuses = list(ROWS[when](tmp_path))
    assert statuses
    assert set(statuses) == {int(when[0])}, capsys.readouterr().err
