import json
import re
import signal
import socket
import subprocess

import pytest
from offboard_client.chunks import choose_strategy, lay
from offboard_client.cli import show_contract, show_handshake
from offboard_process import LIMIT, environment, in_process, serving, started
from plugin_dists import write_plugin
from toy_vendor import TOY, write_runs


@pytest.fixture(scope="module")
def server():
    with serving("--vendor", "scripted") as (_, info):
        yield f"127.0.0.1:{info['port']}"


def test_models_lists_ids(server):
    assert in_process("models", server).stdout == "scripted\n"
    assert json.loads(in_process("models", f"ws://{server}/api/v1/session", "--json").stdout) == {
        "models": ["scripted"]
    }


def test_probe_shows_the_handshake_the_answer_and_the_timings(server):
    done = in_process("probe", server)
    assert done.returncode == 0, done.stderr
    for text in (
        "robot_state.ee_pose",
        "w x y z",
        "target_pose",
        "absolute_pose",
        "what may be asked",
        "speed, a number (0.4)",
        "first step",
        "server.infer",
        "network",
    ):
        assert text in done.stdout


@pytest.mark.rule("M-22", "M-27")
def test_probe_shows_what_goes_along_and_what_an_answer_means_without(capsys):
    show_contract(
        {
            "action_fps": 10,
            "context": ["delay_steps", "history", "seed"],
            "context_absent": {"history": "yesterday's", "prefix": "it begins anew"},
            "context_refused": {"prefix": "the codec rounds"},
            "history": {"offsets_sec": [-0.2, -0.1], "observation": ["grip"]},
            "max_delay_steps": 4,
        }
    )
    shown = re.sub(r"[\s│]+", " ", capsys.readouterr().out)
    assert "what goes along: delay_steps 4 at most" in shown
    assert "what was observed 0.2, 0.1 s before (offboard run keeps and sends it); without: yesterday's" in shown
    assert "what goes along: seed optional" in shown
    assert "what goes along: prefix not possible: the codec rounds; so: it begins anew" in shown


@pytest.mark.parametrize(
    ("meta", "says"),
    [
        ({"n_action_steps": 4, "chunk_length": 16}, "4 are meant to be played before the next one"),
        (
            {"n_action_steps": 4, "chunk_length": 16},
            "offboard run ROBOT SERVER --chunks latest --chunks-threshold 0.75",
        ),
        (
            {"n_action_steps": 1, "chunk_length": 16, "temporal_ensemble_coeff": 0.01},
            "offboard run ROBOT SERVER --chunks ensemble",
        ),
        ({"n_action_steps": 16, "chunk_length": 16}, None),
        ({"n_action_steps": "4", "chunk_length": None}, None),
    ],
)
def test_how_a_checkpoint_was_meant_to_be_played_is_told_in_this_programs_words(meta, says, capsys):
    show_contract({"action_fps": 10, **meta})
    told = re.sub(r"\s+", " ", "".join(capsys.readouterr()))
    assert (says in told) if says else "--chunks" not in told


@pytest.mark.parametrize(("played", "steps"), [(10, 15), (4, 16), (1, 100), (99, 100), (8, 50), (2, 3), (7, 1000)])
def test_the_line_to_type_plays_as_many_steps_as_were_meant(played, steps, capsys):
    show_contract({"action_fps": 10, "n_action_steps": played, "chunk_length": steps})
    line = re.search(r"^  offboard run .*$", capsys.readouterr().out, re.MULTILINE)[0].split()
    strategy = choose_strategy(line[line.index("--chunks") + 1], float(line[line.index("--chunks-threshold") + 1]))
    for chunk in range(3):
        began = chunk * played / 10
        rows = [{"action": {}, "timestamp": n / 10} for n in range(steps)]
        strategy.take(lay(rows, began, 0.1, None), began)
        for step in range(1, played + 1):
            strategy.play(began + step / 10)
            assert strategy.asks(began + step / 10, 0.0) == (step == played)


def test_probe_shows_which_policy_it_is_and_where_it_runs(capsys):
    elsewhere = {"python": "3.12.1", "environment": "lerobot-0.6"}
    show_handshake({"type": "lerobot", "policy_type": "act", "elsewhere": elsewhere}, 5.0)
    shown = re.sub(r"[\s│]+", " ", capsys.readouterr().out)
    for told in ("policy_type act", "where it runs: python 3.12.1", "where it runs: environment lerobot-0.6"):
        assert told in shown


@pytest.mark.rule("M-28")
@pytest.mark.parametrize(
    ("said", "told"),
    [
        (
            {"used": True, "how": "cudagraphs", "tolerance": 0.0, "batch_sizes": [1, 8], "difference": 0.0,
             "speedup": 2.5, "problems": []},
            "by cudagraphs, for 1 or 8 robots in a call, 2.5 times as fast, the same numbers",
        ),
        (
            {"used": True, "how": "default", "tolerance": 0.1, "batch_sizes": [1], "difference": 1.0728836e-06,
             "speedup": None, "problems": ["for 8 robots in a call: it failed"]},
            "by default, for one robot in a call, within 1.07e-06 of the model's own numbers; "
            "else as it is: for 8 robots in a call: it failed",
        ),
        (
            {"used": False, "how": "default", "tolerance": 0.0, "problems": ["its answers differ by up to 0.25"]},
            "no, it answers as it is: its answers differ by up to 0.25",
        ),
    ],
)  # fmt: skip
def test_probe_shows_whether_what_was_compiled_answers(said, told, capsys):
    show_handshake({"type": "lerobot", "compiled": said}, 5.0)
    assert f"compiled {told}" in re.sub(r"[\s│]+", " ", capsys.readouterr().out)


def test_probe_for_machines_is_one_object(server):
    done = in_process("probe", server, "--json")
    found = json.loads(done.stdout)
    assert found["meta"]["type"] == "scripted"
    assert found["sent"]["task"] == "str"
    assert found["steps"] == len(found["timestamps"]) > 0
    assert len(found["first"]["action"]["target_pose"]) == 7
    assert found["timing"]["server.total_ms"] > 0


@pytest.mark.parametrize("argument", ["--wait=0", "--timeout=-1", "--wait=inf"])
def test_a_time_that_is_none_is_wrong_usage_and_named_as_it_was_typed(server, argument):
    done = in_process("models", server, argument)
    flag, _, value = argument.partition("=")
    assert (done.returncode, done.stderr) == (2, f"offboard: {flag} is {value}; expected seconds, a number above 0\n")


def test_bench_counts_what_was_asked_for(server):
    done = in_process("bench", server, "--json", "--requests", "20", "--sessions", "1", "3", "--warmup", "1")
    assert done.returncode == 0, done.stderr
    one, three = json.loads(done.stdout)["runs"]
    assert (one["sessions"], one["requests"], one["errors"]) == (1, 20, {})
    assert (three["sessions"], three["requests"]) == (3, 60)
    for run in (one, three):
        p50, p95, p99 = (run["round_trip_ms"][p] for p in ("p50", "p95", "p99"))
        assert 0 < p50 <= p95 <= p99
        assert run["requests_per_s"] == pytest.approx(run["requests"] / run["seconds"])
        assert {"server.infer_ms", "server.total_ms", "network_ms"} <= run["stages_ms"].keys()


def test_bench_for_people_is_a_table(server):
    done = in_process("bench", server, "--seconds", "0.2")
    assert "requests/s" in done.stdout
    assert "server.queue" in done.stdout


def test_bench_tells_what_the_server_answers_instead(tmp_path):
    write_plugin(tmp_path, "toy", TOY)
    write_runs(tmp_path / "runs", "1")
    with serving("--checkpoints-dir", tmp_path / "runs", "--codec.map", "robot_state.q=q", path=tmp_path) as (_, info):
        done = in_process("bench", info["url"], "--requests", "3", "--json")
    assert done.returncode == 1
    assert json.loads(done.stdout)["runs"][0]["errors"] == {"policy_failed": 3}
    assert "the server answered with errors, first: " in done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "text"),
    [
        (
            ["models", "127.0.0.1:1", "--wait", "3"],
            1,
            "127.0.0.1:1 refuses connections: is the server running there?",
        ),
        (["probe", "127.0.0.1:1", "--wait", "3"], 1, "127.0.0.1:1 refuses connections"),
        (["bench", "127.0.0.1:1", "--wait", "3"], 1, "127.0.0.1:1 refuses connections"),
        (["probe", "ftp://x"], 1, "'ftp' in 'ftp://x' is not a scheme of offboard"),
        (["bench", "x", "--sessions", "0"], 2, "--sessions, --requests and --seconds need numbers above 0"),
        (["bench", "x", "--seconds", "0"], 2, "need numbers above 0"),
        (["bench", "x", "--seconds", "nan"], 2, "need numbers above 0"),
        (["bench", "x", "--warmup", "-1"], 2, "--warmup -1 is below 0"),
        (["models"], 2, "SERVER is missing: HOST, HOST:PORT, or ws://"),
        (["models", "--nope"], 2, "Unrecognized options: --nope"),
    ],
)
def test_bad_input_is_one_clear_error(arguments, status, text):
    done = in_process(*arguments)
    assert (done.returncode, done.stdout) == (status, "")
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_is_quiet():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        process = started(
            "models", f"127.0.0.1:{silent.getsockname()[1]}",
            env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        silent.settimeout(LIMIT)
        connection, _ = silent.accept()
        with connection:
            connection.recv(1)
            process.send_signal(signal.SIGINT)
            assert process.communicate(timeout=LIMIT) == ("", "")
    assert process.returncode == 130


def test_an_unknown_model_and_a_bad_parameter_are_told(server):
    assert (
        "there is no model 'nope' here; there are: scripted" in in_process("probe", server, "--model-id", "nope").stderr
    )
    done = in_process("probe", f"ws://{server}/api/v1/session?codec.fsp=3")
    assert done.returncode == 1
    assert "there is no option 'fsp' of the codec scripted" in done.stderr


def test_probe_shows_each_replica_where_there_are_several(server):
    assert "replica" not in in_process("probe", server).stdout
    assert json.loads(in_process("probe", server, "--json").stdout)["replicas"] == 1
    with serving("--vendor", "scripted", "--replicas", "2") as (_, info):
        shown = in_process("probe", f"127.0.0.1:{info['port']}").stdout
        counted = json.loads(in_process("probe", f"127.0.0.1:{info['port']}", "--json").stdout)["replicas"]
    rows = re.findall(r"│ (\d of 2) +│ ready +│ (\d) ", shown)
    assert [number for number, _ in rows] == ["1 of 2", "2 of 2"]
    assert sorted(sessions for _, sessions in rows) == ["0", "1"], "the probe's own"
    assert counted == 2
