"""Robots on Protocol v1 in front, the stand-in for openpi behind, a real server and a real child between."""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from offboard_client import (
    BadObservation,
    InferenceClient,
    InferTimeout,
    InvalidAction,
    LoadFailed,
    ModelLost,
    OffboardError,
    PolicyFailed,
)
from offboard_core import InferenceServer
from offboard_core.catalog import from_flags
from offboard_core.engine import ServiceTimeouts
from offboard_core.plugins import Plugins
from offboard_core.process import free_port
from openpi_standin import PYTHON, STANDIN, openpi_server, options, robot, write_run, write_step
from puppets import until

#: Seconds after which something has failed; decides nothing.
PATIENCE = 240


@contextlib.contextmanager
def serving(place, codec=None, close=PATIENCE, **more):
    source = from_flags(
        Plugins.discover(),
        vendor="openpi",
        checkpoints_dir=None if place is None else str(place),
        codec=codec,
        loader_options=more if "attach" in more else options(**more),
    )
    with (
        InferenceServer({"": source}, port=0, limits=ServiceTimeouts(close=close)) as server,
        InferenceClient(server.host, server.port) as client,
    ):
        yield client


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("pi05_positronic_lowmem") / "cubes", {1000: 0.25, 2000: 0.75})


@pytest.fixture
def own(tmp_path):
    """A run that no other test serves at the same time."""
    return write_run(tmp_path / "own", {1000: 0.25, 2000: 0.75})


@pytest.fixture(scope="module")
def client(run):
    with serving(run) as client:
        yield client


def children(place: Path) -> list[int]:
    """Every process that serves a checkpoint below this place."""
    found = []
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            command = proc(int(entry), "cmdline")
            serves = command[1].endswith(b"serve_policy.py") and b"--policy.dir" in command
            if serves and any(c.startswith(str(place).encode()) for c in command):
                found.append(int(entry))
    return found


def proc(pid: int, what: str) -> list[bytes]:
    return Path(f"/proc/{pid}/{what}").read_bytes().split(b"\0")


def value(rows):
    """What tells the stand-in's checkpoints apart."""
    return rows[0]["action"]["target_pose"][1]


def test_a_session_gets_openpis_chunk_in_the_robots_terms(client):
    with client.new_session() as session:
        meta = session.metadata
        rows = session.infer(robot())
    assert meta["type"] == "openpi"
    assert meta["codec"] == "openpi.ee"
    assert meta["codec_source"] == "default"
    assert meta["config_name"] == "pi05_positronic_lowmem"
    assert meta["checkpoint_id"] == "2000"
    assert meta["experiment_name"] == "cubes"
    assert meta["asset_ids"] == ["lerobot"]
    assert meta["chunk_length"] == 50
    assert meta["checks"] == "positronic"
    assert meta["warmed_up"] is True
    assert meta["action_fps"] == 15
    assert len(rows) == 15
    # The stand-in answers the first number of the state it was sent, then its checkpoint's value.
    np.testing.assert_allclose(rows[0]["action"]["target_pose"], [0.4, 0.75, 0.75, 0.5, 0.5, 0.5, 0.5], atol=1e-6)
    np.testing.assert_allclose(rows[0]["action"]["target_grip"], [0.75])
    assert [row["timestamp"] for row in rows[:2]] == pytest.approx([0, 1 / 15])


def test_switching_never_answers_from_the_other_checkpoint(client, run):
    for model_id, expected in (("1000", 0.25), ("2000", 0.75), ("1000", 0.25), (None, 0.75)):
        with client.new_session(model_id) as session:
            assert value(session.infer(robot())) == expected
            assert len(children(run)) == 1


def test_a_fixed_port_is_handed_from_child_to_child(run):
    with serving(run, openpi_ws_port=free_port()) as client:
        for model_id, expected in (("1000", 0.25), ("2000", 0.75), ("1000", 0.25)):
            with client.new_session(model_id) as session:
                assert value(session.infer(robot())) == expected


def test_somebody_elses_server_on_the_port_is_not_taken_for_ours(run, tmp_path):
    port = free_port()
    other = write_step(tmp_path / "other" / "7", value=0.9)
    with (
        openpi_server(other, port),
        serving(run, openpi_ws_port=port) as client,
        pytest.raises(LoadFailed, match=rf"port {port} cannot be used[\s\S]*--attach"),
    ):
        client.new_session()


def test_attaching_outlives_the_server_it_is_attached_to(tmp_path):
    port, step = free_port(), write_step(tmp_path / "7", value=0.9)
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(openpi_server(step, port))
        client = stack.enter_context(serving(None, attach=f"ws://127.0.0.1:{port}"))
        session = stack.enter_context(client.new_session())
        assert session.metadata["checkpoint_id"] == "pi05_positronic_lowmem"
        assert value(session.infer(robot())) == 0.9
        with pytest.raises(PolicyFailed, match="a bad thing"):
            session.infer(robot("raise"))
        first.kill()
        first.wait()
        with pytest.raises(PolicyFailed, match="cannot be reached, try again later"):
            session.infer(robot())
        stack.enter_context(openpi_server(step, port))
        assert value(session.infer(robot())) == 0.9


def test_an_error_inside_openpi_costs_one_request(client, run):
    with client.new_session() as session:
        pid = children(run)
        for _ in range(3):
            with pytest.raises(PolicyFailed, match="ValueError: a bad thing in the middle of the model") as caught:
                session.infer(robot("raise"))
            assert "Traceback" not in str(caught.value)
            assert value(session.infer(robot())) == 0.75
        with pytest.raises(PolicyFailed, match="an unexpected word"):
            session.infer(robot("text"))
        assert value(session.infer(robot())) == 0.75
        assert children(run) == pid, "the child was not restarted for it"


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ("nan", "not finite, from step 3 of 50"),
        ("narrow", r"\(50, 7\)"),
        ("rows 1000000", r"\(1000000, 8\), and"),
        ("rows 0", r"\(0, 8\)"),
        ("undecodable", "could not decode what the model said"),
    ],
)
def test_numbers_nobody_meant_do_not_leave(client, task, reason):
    with client.new_session() as session:
        with pytest.raises(InvalidAction, match=reason):
            session.infer(robot(task))
        assert value(session.infer(robot())) == 0.75


def test_an_answer_too_many_is_not_taken_for_the_next_one(client):
    with client.new_session() as session:
        for x, task in ((0.1, "twice"), (0.2, "twice"), (0.3, "go"), (0.4, "go")):
            moved = np.array([x, 0, 0.3, 0.5, 0.5, 0.5, 0.5])
            rows = session.infer(robot(task, **{"robot_state.ee_pose": moved}))
            assert rows[0]["action"]["target_pose"][0] == pytest.approx(x, abs=1e-6)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"robot_state.ee_pose": np.full(7, np.nan)}, "not finite"),
        ({"robot_state.ee_pose": np.zeros(6)}, r"\(6,\)"),
        ({"task": "  "}, "the instruction"),
        ({"image.wrist": np.zeros((3, 48, 64), np.uint8)}, "image.wrist"),
    ],
)
def test_what_openpi_would_swallow_is_refused(client, change, reason):
    with client.new_session() as session:
        with pytest.raises(BadObservation, match=reason):
            session.infer(robot(**change))
        assert value(session.infer(robot())) == 0.75


def eventually_answers(session):
    """Ask as a robot does that is told to try again."""
    heard = []

    def answered():
        try:
            heard.append(session.infer(robot()))
        except PolicyFailed as error:
            heard.append(error)
        return not isinstance(heard[-1], Exception)

    until(answered, "openpi is back")
    return heard


def test_a_child_that_dies_in_mid_inference_is_restarted(own):
    with serving(own) as client, client.new_session() as session:
        [before] = children(own)
        with pytest.raises(PolicyFailed, match="broke in mid-inference"):
            session.infer(robot("crash"))
        heard = eventually_answers(session)
        assert all("try again later" in str(error) for error in heard[:-1])
        assert value(heard[-1]) == 0.75
        assert children(own) != [before]
        assert len(children(own)) == 1


def test_a_child_that_is_killed_while_nobody_asks_is_restarted(own):
    with serving(own) as client, client.new_session() as session:
        assert value(session.infer(robot())) == 0.75
        [pid] = children(own)
        os.kill(pid, signal.SIGKILL)
        until(lambda: (found := children(own)) and found != [pid], "a new child")
        assert value(eventually_answers(session)[-1]) == 0.75


def test_a_child_that_cannot_be_restarted_ends_the_sessions(tmp_path, caplog):
    caplog.set_level("INFO")  # at which the child's lines are logged
    log = tmp_path / "starts"
    run = tmp_path / "run"
    write_step(run / "5", value=0.5, starts=[str(log), 1])
    with serving(run, restarts=2) as client, client.new_session() as session, client.new_session() as other:
        assert value(session.infer(robot())) == 0.5
        [pid] = children(run)
        os.kill(pid, signal.SIGKILL)
        errors: list[OffboardError] = []

        def lost():
            try:
                session.infer(robot())
            except PolicyFailed:
                return False
            except ModelLost as error:
                errors.append(error)
            return bool(errors)

        until(lost, "the model is given up")
        # A session that asks nothing just then is closed, and a close has no room for the reason: the log has it.
        told = f"{errors[0]} {caplog.text}"
        assert "failed 3 times in a row" in told
        assert "the GPU has fallen off the bus" in told
        assert len(log.read_text().split()) == 3, "one start, two restarts"
        with pytest.raises(OffboardError):
            other.infer(robot())


def test_an_inference_that_hangs_is_ended_and_openpi_restarted(run):
    with serving(run, openpi_timeout=1.0) as client, client.new_session() as session:
        with pytest.raises(InferTimeout, match=r"within 1 s \(--openpi-timeout\); it is being restarted"):
            session.infer(robot("block 600"))
        assert value(eventually_answers(session)[-1]) == 0.75


def test_a_slow_start_is_told_with_the_childs_last_line(tmp_path):
    write_step(tmp_path / "run" / "3", value=0.5, start_seconds=1.5, infer_seconds=1.5)
    heard: list[str] = []
    source = from_flags(
        Plugins.discover(), vendor="openpi", checkpoints_dir=str(tmp_path / "run"), loader_options=options()
    )
    policy = source.loader.load(source.default(), heard.append)
    try:
        assert any("Loading model..." in line for line in heard)
        # The first inference compiles: the load ends after it.
        assert any("Connection from" in line for line in heard)
        assert policy.meta["warmed_up"] is True
    finally:
        policy.close()
    assert children(tmp_path) == []


def test_closing_leaves_nothing_behind(own):
    with serving(own) as client, client.new_session() as session:
        session.infer(robot())
        assert len(children(own)) == 1
    assert children(own) == []


def test_closing_while_openpi_hangs_leaves_nothing_behind(own):
    with serving(own, close=ServiceTimeouts.close) as client, client.new_session() as session:
        worker = threading.Thread(target=asked, args=[session])
        worker.start()
        until(lambda: len(children(own)) == 1, "the child is there")
    worker.join(PATIENCE)
    until(lambda: children(own) == [], "the child is gone")


def test_closing_while_openpi_starts_leaves_nothing_behind(tmp_path):
    write_step(tmp_path / "run" / "3", value=0.5, start_seconds=600)
    with serving(tmp_path / "run", startup_timeout=600.0) as client:
        worker = threading.Thread(target=opened, args=[client])
        worker.start()
        until(lambda: len(children(tmp_path)) == 1, "the child is there")
    until(lambda: children(tmp_path) == [], "the child is gone")
    worker.join(PATIENCE)


def opened(client):
    with contextlib.suppress(OffboardError):
        client.new_session()


def asked(session):
    with contextlib.suppress(OffboardError):
        session.infer(robot("block 6"))  # longer than the server waits for it


def test_droid_and_its_config(tmp_path):
    run = write_run(tmp_path / "run", {10: -0.5}, "pi05_droid")
    with serving(run, codec="droid", config_name="pi05_droid") as client, client.new_session() as session:
        rows = session.infer(robot())
        assert session.metadata["action_horizon_sec"] == pytest.approx(8 / 15)
    assert len(rows) == 8
    # Velocities: the first joint as observed (0.1), the others -0.5; 0.2 rad for a velocity of 1.
    np.testing.assert_allclose(rows[0]["action"]["joint_delta"], [0.02, *[-0.1] * 6], atol=1e-6)
    assert rows[0]["action"]["target_grip"] == [0.0]


def test_openpis_own_keys_pass_through_native(tmp_path):
    run = write_run(tmp_path / "run", {10: 0.3}, "pi0_aloha", metadata={"reset_pose": [0, -1.5]})
    own = {"state": np.full(14, 0.2), "images": {"cam_high": np.zeros((3, 20, 30), np.uint8)}, "prompt": "fold"}
    with serving(run, codec="native", config_name="pi0_aloha") as client, client.new_session() as session:
        assert session.metadata["openpi_metadata"] == {"reset_pose": [0, -1.5]}
        rows = session.infer(own)
        assert len(rows) == 50
        assert "timestamp" not in rows[0]
        np.testing.assert_allclose(rows[0]["action"]["action"], [0.2, *[0.3] * 13])
        with pytest.raises(BadObservation, match="cam_top"):
            session.infer({**own, "images": {"cam_top": own["images"]["cam_high"]}})


def test_a_config_that_nobody_here_knows_gets_the_generic_checks_and_says_so(tmp_path):
    run = write_run(tmp_path / "run", {10: 0.3}, "my_own_config")
    own = {
        "observation/state": np.full(8, 0.2),
        "observation/image": np.zeros((20, 30, 3), np.uint8),
        "observation/wrist_image": np.zeros((20, 30, 3), np.uint8),
    }
    with serving(run, codec="native", config_name="my_own_config") as client, client.new_session() as session:
        assert session.metadata["checks"] == "generic"
        assert session.metadata["warmed_up"] is False
        assert session.infer({**own, "task": "go"})[0]["action"]["action"][0] == pytest.approx(0.2)
        with pytest.raises(BadObservation, match="observation/state holds numbers that are not finite"):
            session.infer({**own, "observation/state": np.full(8, np.inf), "task": "go"})
        with pytest.raises(PolicyFailed, match="KeyError: 'observation/image'"):
            session.infer({"observation/state": np.zeros(8), "task": "go"})


def test_the_command_line_of_the_real_thing_starts_it(run, tmp_path, monkeypatch):
    """Without --openpi-command, through uv, in the checkout's own environment."""
    if shutil.which("uv") is None:
        pytest.skip("uv is not installed")
    root = tmp_path / "openpi"
    shutil.copytree(STANDIN, root)
    environment = {**os.environ, "UV_OFFLINE": "1", "UV_PYTHON": PYTHON}
    subprocess.run(["uv", "lock", "-q", "--project", str(root)], check=True, env=environment, timeout=PATIENCE)
    # The stand-in's environment is empty; what its scripts import is lent to it.
    monkeypatch.setenv("PYTHONPATH", os.path.dirname(os.path.dirname(np.__file__)))
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_PYTHON", PYTHON)
    monkeypatch.setenv("OPENPI_ROOT", str(root))
    more = {"openpi_command": None, "openpi_root": None, "gpu_memory_fraction": 0.5, "openpi_env": ["PYTHONPATH"]}
    with serving(run, **more) as client, client.new_session() as session:
        assert value(session.infer(robot())) == 0.75
        [pid] = [int(p) for p in os.listdir("/proc") if p.isdigit() and is_script_of(root, int(p))]
        assert b"XLA_PYTHON_CLIENT_MEM_FRACTION=0.5" in proc(pid, "environ")
        assert os.readlink(f"/proc/{pid}/cwd") == str(root)


def is_script_of(root, pid):
    with contextlib.suppress(OSError, IndexError):
        return str(root / "scripts" / "serve_policy.py").encode() == proc(pid, "cmdline")[1]
    return False
