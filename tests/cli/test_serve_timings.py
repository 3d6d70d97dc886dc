"""``offboard serve … --timings FILE.csv``, and observers that the command line and a models.toml ask for."""

import csv
import json
import signal
import socket
import time

import numpy as np
import pytest
from offboard_client import InferenceClient
from offboard_core import InferenceServer, PolicyFailed
from offboard_core.cli import SERVE_COLUMNS, ServeTimings, TimingsOptions
from offboard_process import in_process, serving
from plugin_dists import write_plugin
from puppets import PATIENCE
from watching import Noting

STAGES = ("queue_ms", "decode_ms", "codec_ms", "infer_ms")
Q = {"robot_state.q": np.zeros(7, np.float32)}
SCRIPTED = ("--vendor", "scripted")

#: A plugin with an observer that writes how many exchanges it saw.
COUNTER = """
from dataclasses import dataclass
from pathlib import Path
from offboard_core import Observer, ObserverEntry, hookimpl

@dataclass(frozen=True)
class Options:
    file: str = "count.txt"

class Counter(Observer):
    def __init__(self, options):
        self.file, self.count = Path(options.file), 0
    def exchanged(self, record):
        self.count += 1
    def close(self):
        self.file.write_text(str(self.count))

@hookimpl
def offboard_observers():
    yield ObserverEntry(name="toy", summary="Counts.", factory=Counter, options=Options)
"""


def lines(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def hold(observation):
    if observation["robot_state.q"][0] > 8:
        raise ValueError("out of reach")
    return {"target_joints": observation["robot_state.q"]}


def test_each_step_has_a_line_that_says_where_its_time_went(tmp_path):
    path, before = tmp_path / "steps.csv", time.time()
    noting = Noting(3)
    timings = ServeTimings(TimingsOptions(file=path))
    told = timings.exchanged
    timings.exchanged = lambda record: (told(record), noting.exchanged(record))
    with (
        InferenceServer(hold, port=0, observers=[timings]) as server,
        InferenceClient(server.host, server.port) as client,
        client.new_session() as session,
    ):
        session.infer(Q)
        session.infer(Q)
        with pytest.raises(PolicyFailed, match="out of reach"):
            session.infer({"robot_state.q": np.full(7, 9, np.float32)})
        assert noting.come.wait(PATIENCE)
        found = lines(path)
    assert lines(path) == found, "each line was in the file at once"
    assert list(found[0]) == list(SERVE_COLUMNS)
    assert [line["number"] for line in found] == ["1", "2", "3"]
    for line, record in zip(found, noting.records, strict=True):
        value = {name: float(text) for name, text in line.items() if name.endswith("_ms") and text}
        assert before <= float(line["time"]) <= time.time()
        assert sum(value[name] for name in STAGES) <= value["total_ms"] + 0.01
        assert (line["model"], line["replica"]) == (record.model_id, "0")
        assert line["session"] == record.session_id[:8]
        assert (line["batch"], line["frame_bytes"]) == ("1", str(record.frame_bytes))
        assert int(line["reply_bytes"]) > 0 < value["encode_ms"]
        assert record.observation is None, "nothing was copied for it"
    assert [bool(line["robot_ms"]) for line in found] == [False, True, True]
    assert [line["error"] for line in found] == ["", "", "policy_failed"]


def test_the_command_writes_them(tmp_path):
    path = tmp_path / "steps.csv"
    with serving(*SCRIPTED, "--timings", path) as (process, info):
        with InferenceClient(info["url"]) as client, client.new_session() as session:
            session.ping()
        process.send_signal(signal.SIGTERM)
        process.communicate()
        assert process.returncode == 0
    assert not path.exists(), "nothing was answered, so the next try finds its place free"


def test_a_file_that_is_there_is_never_written_over(tmp_path):
    path = tmp_path / "steps.csv"
    path.write_text("precious")
    done = in_process("serve", *SCRIPTED, "--port", 0, "--timings", path)
    assert done.returncode == 1
    assert f"--timings {path}: there is such a file" in done.stderr
    assert path.read_text() == "precious"


def test_a_path_that_cannot_be_written_keeps_the_server_from_starting(tmp_path):
    done = in_process("serve", *SCRIPTED, "--port", 0, "--timings", tmp_path / "none" / "steps.csv")
    assert done.returncode == 1
    assert "cannot be written" in done.stderr


def test_a_start_that_fails_leaves_no_file(tmp_path):
    path = tmp_path / "steps.csv"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = in_process("serve", *SCRIPTED, "--port", taken.getsockname()[1], "--timings", path)
    assert done.returncode == 1
    assert "in use" in done.stderr
    assert not path.exists()


def test_nor_does_one_whose_token_no_client_can_send(tmp_path):
    path = tmp_path / "steps.csv"
    done = in_process("serve", *SCRIPTED, "--port", 0, "--timings", path, OFFBOARD_AUTH_TOKEN="two words")
    assert done.returncode == 1
    assert "the token" in done.stderr
    assert not path.exists()


@pytest.mark.parametrize("how", ["--observe", "an option", "a table"])
def test_an_observer_watches_when_it_is_asked_for(tmp_path, how):
    write_plugin(tmp_path, "toy", COUNTER)
    counted = tmp_path / "count.txt"
    models = tmp_path / "models.toml"
    models.write_text(f'[demo]\nvendor = "scripted"\n[observers.toy]\nfile = {json.dumps(str(counted))}\n')
    arguments = {
        "--observe": (*SCRIPTED, "--observe", "toy", "--toy.file", counted),
        "an option": (*SCRIPTED, f"--toy.file={counted}"),
        "a table": (models,),
    }[how]
    with serving(*arguments, path=tmp_path) as (process, _):
        process.send_signal(signal.SIGTERM)
        process.communicate()
        assert process.returncode == 0
    assert counted.read_text() == "0"


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("--observe", "tay"), 1, "did you mean toy"),
        (("--toy.fle", "x"), 1, "did you mean file"),
        (("--observe", "core.timings"), 1, "the observer core.timings needs --core.timings.file\n"),
        (("--timings", "a.csv", "--core.timings.file", "b.csv"), 2, "give one of them"),
    ],
)
def test_an_observer_that_cannot_be_made_keeps_the_server_from_starting(tmp_path, arguments, status, said):
    write_plugin(tmp_path, "toy", COUNTER)
    done = in_process("serve", *SCRIPTED, "--port", 0, *arguments, path=tmp_path)
    assert (done.returncode, said in done.stderr) == (status, True), done.stderr


def test_an_installed_observer_that_nobody_asked_for_does_not_watch(tmp_path):
    write_plugin(tmp_path, "toy", COUNTER.replace('"count.txt"', repr(str(tmp_path / "count.txt"))))
    with serving(*SCRIPTED, path=tmp_path) as (process, _):
        process.send_signal(signal.SIGTERM)
        process.communicate()
    assert not (tmp_path / "count.txt").exists()
