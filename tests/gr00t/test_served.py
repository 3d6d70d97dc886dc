"""Robots on Protocol v1 in front, the stand-in for GR00T behind, a real server and a real child between."""

import contextlib
import os
import re
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
from gr00t_clients import N16Client
from gr00t_clients import observation as asked_by
from gr00t_standin import (
    ACTION,
    LANGUAGE,
    SIZE,
    STATE,
    STEPS,
    VIDEO,
    gr00t_server,
    options,
    robot,
    write_checkpoint,
    write_run,
)
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
from offboard_core.frontends import make_listeners
from offboard_core.plugins import Plugins
from offboard_core.process import free_port
from offboard_core.types import ALONE
from waits import PATIENCE, until

#: What a session of ``gr00t.native`` sends.
OWN = {
    **{f"video.{name}": np.zeros((*SIZE[::-1], 3), np.uint8) for name in VIDEO},
    **{f"state.{name}": np.full(width, 0.25, np.float32) for name, width in STATE.items()},
    "task": "go",
}


@contextlib.contextmanager
def serving(place, codec=None, close=PATIENCE, listeners=(), generation="n1.6", **more):
    with serving_on(place, codec, close, listeners, generation, **more) as (_, client):
        yield client


@contextlib.contextmanager
def serving_on(place, codec=None, close=PATIENCE, listeners=(), generation="n1.6", **more):
    source = from_flags(
        Plugins.discover(),
        vendor="gr00t",
        checkpoints_dir=None if place is None else str(place),
        codec=codec,
        loader_options=more if "attach" in more else options(generation, **more),
    )
    bound = make_listeners(Plugins.discover(), listeners, {})
    with (
        InferenceServer({"": source}, port=0, limits=ServiceTimeouts(close=close), listeners=bound) as server,
        InferenceClient(server.host, server.port) as client,
    ):
        yield server, client


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("groot") / "cubes", {1000: 0.25, 2000: 0.75})


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
            # The shim of core's that runs beside each begins otherwise.
            own = command[1] == b"-c" or command[1].endswith(b"run_gr00t_server.py")
            if own and any(word.startswith(str(place).encode()) for word in command):
                found.append(int(entry))
    return found


def proc(pid: int, what: str) -> list[bytes]:
    return Path(f"/proc/{pid}/{what}").read_bytes().split(b"\0")


def value(rows):
    """What tells the stand-in's checkpoints apart."""
    return pytest.approx(rows[0]["action"]["target_pose"][1])


@pytest.mark.parametrize(
    ("generation", "form"), [("n1.5", "npy"), ("n1.6", "npy"), ("n1.7", "numpy"), ("n1.7", "numpy-only")]
)
def test_a_session_gets_gr00ts_chunk_in_the_robots_terms(tmp_path, generation, form):
    write_run(tmp_path / "cubes", {1000: 0.25, 2000: 0.75}, generation, form=form)
    with serving(tmp_path / "cubes", generation=generation) as client, client.new_session() as session:
        meta = session.metadata
        rows = session.infer(robot())
        # The stand-in answers the state it was sent, with its checkpoint's value in the second place.
        np.testing.assert_allclose(rows[0]["action"]["target_pose"], [0.4, 0.75, 0.3, 0.5, 0.5, 0.5, 0.5], atol=1e-6)
        np.testing.assert_allclose(rows[0]["action"]["target_grip"], [0.25])
        with pytest.raises(PolicyFailed, match="a bad thing in the middle of the model; it was asked get_action with"):
            session.infer(robot("raise"))
        assert value(session.infer(robot())) == 0.75
    assert (meta["type"], meta["codec"], meta["codec_source"]) == ("gr00t", "gr00t.ee_quat", "default")
    assert (meta["generation"], meta["embodiment_tag"]) == (generation, "new_embodiment")
    assert meta["checkpoint_id"] == "2000"
    assert meta["chunk_length"] == 16
    assert meta["warmed_up"] is True
    assert "gr00t_args" not in meta
    assert meta.get("data_config") == ("examples.arm:Arm" if generation == "n1.5" else None)


def test_switching_never_answers_from_the_other_checkpoint(client, run):
    for model_id, expected in (("1000", 0.25), ("2000", 0.75), ("1000", 0.25), (None, 0.75)):
        with client.new_session(model_id) as session:
            assert value(session.infer(robot())) == expected
            assert len(children(run)) == 1


def test_what_gr00t_is_told_besides_is_in_the_handshake(tmp_path):
    write_run(tmp_path / "run", {1: 0.5})
    more = {"gr00t_args": "--use-sim-policy-wrapper --device cpu"}
    with serving(tmp_path / "run", **more) as client, client.new_session() as session:
        assert session.metadata["gr00t_args"] == ["--use-sim-policy-wrapper", "--device", "cpu"]
        assert value(session.infer(robot())) == 0.5
        [pid] = children(tmp_path)
        assert b"--use-sim-policy-wrapper" in proc(pid, "cmdline")


@pytest.mark.parametrize("keeps_axes", [False, True])
def test_n1_5_answers_a_group_of_one_number_with_and_without_its_axis(tmp_path, keeps_axes):
    write_run(tmp_path / "run", {1: 0.5}, "n1.5", keeps_axes=keeps_axes)
    more = {"gr00t_args": "--denoising-steps 8"}
    with serving(tmp_path / "run", "native", generation="n1.5", **more) as client, client.new_session() as session:
        rows = session.infer(OWN)
        assert len(rows) == 16
        assert np.shape(rows[0]["action"]["action.grip"]) == (1,)
        np.testing.assert_allclose(rows[0]["action"]["action.grip"], [0.25])


def test_a_model_that_looks_back_is_told_what_its_own_robot_saw(tmp_path):
    write_run(tmp_path / "run", {1: 0.5}, "n1.7", frames=(-15, 0))
    with serving(tmp_path / "run", generation="n1.7") as client, client.new_session() as session:
        assert session.metadata["frames"] == {"video": [-15, 0], "state": [0]}
        assert session.metadata["history"]["offsets_sec"] == [-1.0]
        names = session.metadata["history"]["observation"]
        assert value(session.infer(robot())) == 0.5, "it has seen nothing before: the server says what it tells"
        before = {name: part for name, part in robot().items() if name in names}
        assert value(session.infer(robot(**{"offboard.history": [before]}))) == 0.5


def test_n1_5_takes_images_of_one_size_and_says_so_before(tmp_path):
    write_run(tmp_path / "run", {1: 0.5}, "n1.5", size=(64, 48))
    images = {f"video.{name}": np.zeros((48, 64, 3), np.uint8) for name in VIDEO}
    with serving(tmp_path / "run", "native", generation="n1.5") as client, client.new_session() as session:
        assert len(session.infer({**OWN, **images})) == 16
        with pytest.raises(BadObservation, match=r"video\.\w+ .*48.*64"):
            session.infer(OWN)


@pytest.mark.parametrize("generation", ["n1.5", "n1.6"])
def test_attaching_outlives_the_server_it_is_attached_to(tmp_path, generation):
    """Which generation it is, and which keys it has, it is asked itself; it is neither started nor ended."""
    port, step = free_port(), write_checkpoint(tmp_path / "checkpoint-7", generation, value=0.9)
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(gr00t_server(step, port, generation))
        client = stack.enter_context(serving(None, attach=f"tcp://127.0.0.1:{port}"))
        with client.new_session() as session:
            assert session.metadata.get("generation") == ("n1.5" if generation == "n1.5" else None)
            assert session.metadata["warmed_up"] is False
            assert value(session.infer(robot())) == 0.9
            with pytest.raises(PolicyFailed, match="'front'"):
                session.infer(robot("key"))
            assert value(session.infer(robot())) == 0.9
            first.kill()
            first.wait()
            with pytest.raises(PolicyFailed, match=r"GR00T cannot be reached|broke in mid-inference"):
                session.infer(robot())
            stack.enter_context(gr00t_server(step, port, generation))
            assert value(eventually_answers(session)[-1]) == 0.9
    with gr00t_server(step, port, generation) as server:
        with serving(None, attach=f"tcp://127.0.0.1:{port}") as client, client.new_session() as session:
            session.infer(robot())
        assert server.poll() is None, "a server of others' is left alone"


def test_an_attached_server_that_comes_back_with_another_model_ends_the_sessions(tmp_path):
    port = free_port()
    one = write_checkpoint(tmp_path / "checkpoint-7")
    other = write_checkpoint(tmp_path / "checkpoint-8", horizon=8)
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(gr00t_server(one, port))
        client = stack.enter_context(serving(None, attach=f"tcp://127.0.0.1:{port}"))
        session = stack.enter_context(client.new_session())
        session.infer(robot())
        first.kill()
        first.wait()
        stack.enter_context(gr00t_server(other, port))
        errors = []

        def lost():
            with contextlib.suppress(PolicyFailed):
                try:
                    session.infer(robot())
                except OffboardError as error:
                    if isinstance(error, PolicyFailed):
                        raise
                    errors.append(error)
            return errors

        until(lost, "the session is ended")


def test_a_token_of_an_attached_server_is_read_from_the_environment(tmp_path, monkeypatch):
    port, step = free_port(), write_checkpoint(tmp_path / "checkpoint-7", value=0.9, token="s3cret")
    attach = f"tcp://127.0.0.1:{port}"
    with gr00t_server(step, port):
        source = from_flags(Plugins.discover(), vendor="gr00t", loader_options={"attach": attach})
        with pytest.raises(LoadFailed, match="Next: start this server with the variable GR00T_API_TOKEN"):
            source.loader.load(source.default(), lambda _: None, ALONE)
        monkeypatch.setenv("GR00T_API_TOKEN", "s3cret")
        with serving(None, attach=attach) as client, client.new_session() as session:
            assert value(session.infer(robot())) == 0.9


def test_somebody_elses_server_on_the_port_is_not_taken_for_ours(run, tmp_path):
    port = free_port()
    with (
        gr00t_server(write_checkpoint(tmp_path / "checkpoint-7", value=0.9), port),
        serving(run, gr00t_port=port) as client,
        pytest.raises(LoadFailed, match=rf"port {port} cannot be used[\s\S]*--attach"),
    ):
        client.new_session()


def test_an_error_inside_gr00t_costs_one_request(client, run):
    with client.new_session() as session:
        pid = children(run)
        for _ in range(3):
            with pytest.raises(PolicyFailed, match="a bad thing in the middle of the model"):
                session.infer(robot("raise"))
            assert value(session.infer(robot())) == 0.75
        with pytest.raises(PolicyFailed, match=r"can not serialize 'numpy\.float32' object"):
            session.infer(robot("scalar"))
        assert value(session.infer(robot())) == 0.75
        assert children(run) == pid, "the child was not restarted for it"


@pytest.mark.parametrize(
    ("task", "reason"), [("nan", "not finite, from step 3 of 16"), ("narrow", r"\(1, 16, 6\)"), ("rows 3", r"\(1, 3, ")]
)
def test_numbers_nobody_meant_do_not_leave(client, task, reason):
    with client.new_session() as session:
        with pytest.raises(InvalidAction, match=reason):
            session.infer(robot(task))
        assert value(session.infer(robot())) == 0.75


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"robot_state.ee_pose": np.full(7, np.nan)}, "not finite"),
        ({"robot_state.ee_pose": np.zeros(6)}, r"\(6,\)"),
        ({"task": "  "}, "instruction"),
        ({"image.wrist": np.zeros((3, 48, 64), np.uint8)}, "image.wrist"),
    ],
)
def test_what_gr00t_would_swallow_is_refused(client, change, reason):
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

    until(answered, "GR00T is back")
    return heard


@pytest.mark.parametrize("generation", ["n1.5", "n1.7"])
def test_a_child_that_dies_in_mid_inference_is_restarted(tmp_path, generation):
    own = write_run(tmp_path / "own", {2000: 0.75}, generation)
    with serving(own, generation=generation) as client, client.new_session() as session:
        [before] = children(own)
        with pytest.raises(PolicyFailed, match=r"broke in mid-inference"):
            session.infer(robot("crash"))
        heard = eventually_answers(session)
        assert all("try again later" in str(error) for error in heard[:-1])
        assert value(heard[-1]) == 0.75
        assert children(own) != [before]
        assert len(children(own)) == 1


def test_a_child_that_cannot_be_restarted_ends_the_sessions(tmp_path, caplog):
    caplog.set_level("INFO")  # at which the child's lines are logged
    log = tmp_path / "starts"
    run = tmp_path / "run"
    write_checkpoint(run / "checkpoint-5", value=0.5, starts=[str(log), 1])
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


def test_an_inference_that_hangs_is_ended_and_its_answer_is_nobodys(own):
    with serving(own, gr00t_timeout=1.0) as client, client.new_session() as session:
        with pytest.raises(InferTimeout, match=r"within 1 s \(--gr00t-timeout\); it is being restarted"):
            session.infer(robot("block 600"))
        moved, heard = robot(**{"robot_state.ee_pose": np.array([0.9, 0, 0.3, 0.5, 0.5, 0.5, 0.5])}), []

        def answered():
            with contextlib.suppress(PolicyFailed, InferTimeout):  # a busy machine may need longer than a second, too
                heard.append(session.infer(moved))
            return heard

        until(answered, "GR00T is back")
        assert heard[0][0]["action"]["target_pose"][0] == pytest.approx(0.9)


def test_a_slow_start_is_told_with_the_childs_last_line(tmp_path):
    write_checkpoint(tmp_path / "run" / "checkpoint-3", value=0.5, start_seconds=1.5, infer_seconds=1.5)
    heard: list[str] = []
    source = from_flags(
        Plugins.discover(), vendor="gr00t", checkpoints_dir=str(tmp_path / "run"), loader_options=options()
    )
    policy = source.loader.load(source.default(), heard.append)
    try:
        assert any("Loading model..." in line for line in heard)
        # The first inference compiles: the load ends after it.
        assert any("Server is ready and listening" in line for line in heard)
        assert policy.meta["warmed_up"] is True
    finally:
        policy.close()
    assert children(tmp_path) == []


def test_closing_while_gr00t_hangs_leaves_nothing_behind(own):
    with serving(own, close=ServiceTimeouts.close) as client, client.new_session() as session:
        worker = threading.Thread(target=asked, args=[session])
        worker.start()
        until(lambda: len(children(own)) == 1, "the child is there")
    worker.join(PATIENCE)
    until(lambda: children(own) == [], "the child is gone")


def asked(session):
    with contextlib.suppress(OffboardError):
        session.infer(robot("block 6"))  # longer than the server waits for it


def test_closing_while_gr00t_starts_leaves_nothing_behind(tmp_path):
    write_checkpoint(tmp_path / "run" / "checkpoint-3", value=0.5, start_seconds=600)
    with serving(tmp_path / "run", startup_timeout=600.0) as client:
        worker = threading.Thread(target=opened, args=[client])
        worker.start()
        until(lambda: len(children(tmp_path)) == 1, "the child is there")
    until(lambda: children(tmp_path) == [], "the child is gone")
    worker.join(PATIENCE)


def opened(client):
    with contextlib.suppress(OffboardError):
        client.new_session()


def test_gr00ts_own_robots_drive_gr00ts_own_model_and_neither_wait_for_nor_kill_it(tmp_path):
    """GR00T's server answers no ping while it infers, and ends for whoever says kill."""
    own = write_run(tmp_path / "own", {2000: 0.75}, action_configs=STEPS)
    with serving_on(own, codec="native", listeners=["gr00t:0"]) as (server, client), client.new_session():
        [pid] = children(own)
        port = server.listeners.addresses["gr00t"][1]
        with N16Client(port, timeout=PATIENCE) as one, N16Client(port, timeout=PATIENCE) as other:
            question = asked_by(N16Client, cameras=VIDEO, size=SIZE[::-1], groups=STATE)
            answers, _ = one.get_action(question)
            assert one.get_modality_config()["action"]["action_configs"] == STEPS, "its numbers are the model's own"
            assert {name: steps.shape for name, steps in answers.items()} == {n: (1, 16, w) for n, w in ACTION.items()}
            heard, gate = [], tmp_path / "gate"
            question["language"] = {LANGUAGE: [[f"await {gate}"]]}
            asking = threading.Thread(target=lambda: heard.append(one.get_action(question)))
            asking.start()
            until(gate.with_suffix(".begun").exists, "it infers")
            assert other.ping() == {"status": "ok", "message": "Server is running"}
            with pytest.raises(RuntimeError, match="kill is refused"):
                other.kill_server()
            assert not heard
            gate.touch()
            asking.join(PATIENCE)
            assert heard
        assert children(own) == [pid]


SO100 = {
    "video": ("front", "wrist"),
    "state": {"single_arm": 5, "gripper": 1},
    "action": {"single_arm": 5, "gripper": 1},
}


def test_a_codec_that_an_n1_5_checkpoints_data_have_no_groups_for_is_refused_before_it_is_loaded(tmp_path):
    """Which of them its model takes only the load tells; what the data lack it cannot answer."""
    write_run(tmp_path / "so100", {1: 0.5}, "n1.5", **SO100)
    refused = "no --codec and no offboard.json says one, so it is the default, gr00t.ee_quat: choose another --codec: "
    refused += "gr00t.ee_quat does not fit the checkpoint 1, which answers action.single_arm, .* fit: gr00t.native$"
    with pytest.raises(LoadFailed, match=refused), serving(tmp_path / "so100", generation="n1.5") as client:
        client.new_session()
    with serving(tmp_path / "so100", "native", generation="n1.5") as client, client.new_session() as session:
        own = {f"video.{name}": OWN[f"video.{VIDEO[0]}"] for name in SO100["video"]}
        state = {f"state.{name}": np.zeros(width, np.float32) for name, width in SO100["state"].items()}
        assert session.infer({**own, **state, "task": "go"})
    write_run(tmp_path / "nine", {1: 0.5}, "n1.5", state={"grip": 1, "ee_pose": 9}, action={"ee_pose": 9, "grip": 1})
    refused = r"reads state.ee_pose as \(9,\); .* fit: gr00t.ee_rot6d, gr00t.ee_rot6d_joints, "
    with pytest.raises(LoadFailed, match=refused), serving(tmp_path / "nine", generation="n1.5") as client:
        client.new_session()


def test_a_codec_that_lacks_a_group_that_an_n1_5_model_reads_fails_the_load(tmp_path):
    """The data have the joints; whether the model reads them its data config says, once it is loaded."""
    state = {**STATE, "joint_position": 7}
    write_run(tmp_path / "joints", {1: 0.5}, "n1.5", state=state)
    write_run(tmp_path / "without", {1: 0.5}, "n1.5", state=state, takes=["grip", "ee_pose"])
    refused = (
        "could not be loaded: .*ee_quat does not fit the checkpoint 1, which reads state.joint_position; .* fit: gr"
    )
    refused += "00t.ee_quat_joints, gr00t.ee_quat_joints_traj, gr00t.native$"
    with pytest.raises(LoadFailed, match=refused), serving(tmp_path / "joints", generation="n1.5") as client:
        client.new_session()
    assert not children(tmp_path / "joints")
    with serving(tmp_path / "without", generation="n1.5") as client, client.new_session() as session:
        assert value(session.infer(robot())) == 0.5


LIBERO = dict.fromkeys(("x", "y", "z", "roll", "pitch", "yaw"), 1)


def test_a_session_names_the_cameras_of_an_n1_5_model_itself_and_one_that_names_others_ends_nothing(tmp_path, caplog):
    write_run(
        tmp_path, {1: 0.5}, "n1.5", video=("front", "wrist"), size=(256, 256),
        state={**LIBERO, "gripper": 2}, action={**LIBERO, "gripper": 1},
    )  # fmt: skip
    cameras = {"image.exterior": "front", "image.wrist": "wrist"}
    refused = "name its cameras with codec.map, or choose another --codec: .* reads video.front; "
    with serving(tmp_path, "libero", generation="n1.5") as client:
        for _ in range(2):
            with pytest.raises(LoadFailed, match=refused):
                client.new_session()
            with client.new_session(**{"codec.map": cameras}) as session:
                assert session.infer(robot())
    told = [record.message for record in caplog.records if "every session without options" in record.message]
    assert re.search(f"refused: {refused}", *told), "once, where the server is started, with a codec that was named"
