"""A GR00T server that others run says what its model is; what it says counts as much as the files of a checkpoint."""

import contextlib

import numpy as np
import pytest
from gr00t_standin import ACTION, POSES, SIZE, STATE, STEPS, VIDEO, gr00t_server, options, robot, write_checkpoint
from offboard_client import InferenceClient, InvalidAction, LoadFailed, ModelLost, PolicyFailed
from offboard_core import InferenceServer
from offboard_core.catalog import from_flags
from offboard_core.plugins import Plugins
from offboard_core.process import free_port
from offboard_core.types import ALONE
from waits import until


def source(codec=None, place=None, **more):
    return from_flags(
        Plugins.discover(),
        vendor="gr00t",
        checkpoints_dir=place,
        codec=codec,
        loader_options=more if place is None else options(**more),
    )


def attached(port, codec=None, **more):
    return source(codec, attach=f"tcp://127.0.0.1:{port}", **more)


@contextlib.contextmanager
def session_on(found):
    with (
        InferenceServer({"": found}, port=0) as server,
        InferenceClient(server.host, server.port) as client,
        client.new_session() as session,
    ):
        yield session


def loaded(found):
    return found.loader.load(found.default(), lambda _: None, ALONE)


def resolved(found):
    return found.codec.resolve(found.default(), {})


def test_steps_are_no_poses_whoever_started_the_server(tmp_path):
    port, step = free_port(), write_checkpoint(tmp_path / "checkpoint-7", action_configs=STEPS)
    with pytest.raises(LoadFailed, match=r"answers action\.ee_pose as DELTA"):
        resolved(source(place=str(step)))
    with gr00t_server(step, port):
        with pytest.raises(LoadFailed, match=r"answers action\.ee_pose as DELTA"):
            resolved(attached(port))
        with session_on(attached(port, "native")) as session:
            assert session.metadata["representations"] == {"ee_pose": "DELTA", "grip": "ABSOLUTE"}


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"action_configs": STEPS}, r"representations \{'ee_pose': 'DELTA', .*, not \{'ee_pose': 'ABSOLUTE'"),
        ({"action_configs": [*POSES, POSES[1]], "action": {"ee_pose": 9, "grip": 1, "torso": 3}}, "outputs .*torso"),
        ({"action_configs": POSES, "horizon": 8}, "steps 8, not 16"),
        ({"action_configs": POSES, "language": "annotation.other"}, r"inputs .*annotation\.other"),
    ],
    ids=["representations", "groups", "steps", "language"],
)
def test_another_model_behind_the_address_is_not_served_by_the_codec_of_the_one_before(tmp_path, more, says):
    port = free_port()
    found = attached(port)
    with gr00t_server(write_checkpoint(tmp_path / "checkpoint-7", action_configs=POSES), port):
        then = found.default()
        loaded(found).close()
    with gr00t_server(write_checkpoint(tmp_path / "checkpoint-8", **more), port):
        with pytest.raises(LoadFailed, match=rf"{says}[\s\S]*Next: start this server again") as caught:
            found.loader.load(then, lambda _: None, ALONE)
        assert not caught.value.permanent, "the one before may come back"
        # Who asks for it by its name has everything chosen for what is there now.
        found.loader.load(found.registry.resolve("gr00t"), lambda _: None, ALONE).close()


def test_what_is_behind_the_address_is_asked_each_time_and_is_what_it_was_where_nobody_answers(tmp_path):
    """Where the model has a process of its own, that is who notices another one: not who chooses codecs."""
    port = free_port()
    found = attached(port)
    for steps in (16, 8):
        with gr00t_server(write_checkpoint(tmp_path / f"checkpoint-{steps}", horizon=steps), port):
            assert found.registry.resolve("gr00t").chunk_length == steps
    assert found.registry.resolve("gr00t").chunk_length == 8


def test_who_asks_for_no_model_by_name_is_not_led_to_what_another_loaded_since(tmp_path):
    """Both share what is loaded; what a session is told, and its codec, were those of the model before."""
    port = free_port()
    other = write_checkpoint(tmp_path / "checkpoint-8", action_configs=STEPS, horizon=8)
    behind = contextlib.ExitStack()
    behind.enter_context(gr00t_server(write_checkpoint(tmp_path / "checkpoint-7", action_configs=POSES), port))
    with (
        behind,
        InferenceServer({"": attached(port, "native")}, port=0) as server,
        InferenceClient(server.host, server.port) as client,
    ):
        client.new_session().close()
        behind.close()
        behind.enter_context(gr00t_server(other, port))

        def served() -> bool:
            with contextlib.suppress(LoadFailed, ModelLost), client.new_session("gr00t") as session:
                return session.metadata["representations"]["ee_pose"] == "DELTA"
            return False

        until(served, "whoever names it is served what is there now")
        with pytest.raises(LoadFailed, match=r"ask for it by its id, gr00t, or start this server again"):
            client.new_session()
        assert served(), "still"


def test_a_model_of_other_widths_under_the_same_names_is_lost_to_who_has_it_open_and_loaded_for_the_next(tmp_path):
    """The server does not say them: its first answer counts, for as long as the policy is loaded."""
    port = free_port()
    wide = write_checkpoint(tmp_path / "checkpoint-8", state={**STATE, "ee_pose": 9}, action={**ACTION, "ee_pose": 9})

    def asked(session, width):
        own = {f"video.{name}": np.zeros((*SIZE[::-1], 3), np.uint8) for name in VIDEO}
        state = {f"state.{name}": np.zeros(n, np.float32) for name, n in {**STATE, "ee_pose": width}.items()}
        return session.infer({**own, **state, "task": "go"})[0]["action"]["action.ee_pose"].shape

    behind = contextlib.ExitStack()
    behind.enter_context(gr00t_server(write_checkpoint(tmp_path / "checkpoint-7"), port))
    with (
        behind,
        InferenceServer({"": attached(port, "native")}, port=0) as server,
        InferenceClient(server.host, server.port) as client,
        client.new_session() as session,
    ):
        assert asked(session, 7) == (7,)
        behind.close()
        behind.enter_context(gr00t_server(wide, port))

        def told() -> str:
            try:
                asked(session, 9)
            except PolicyFailed:  # it is not back yet
                return ""
            except InvalidAction as error:
                return error.text
            raise AssertionError("an answer of another width was played")

        until(lambda: "(1, 16, 9), expected (16, 7)" in told(), "it is seen to be another")

        def served() -> bool:
            with contextlib.suppress(ModelLost, InvalidAction), client.new_session() as another:
                return asked(another, 9) == (9,)
            return False

        until(served, "the next session loads what is there")


def test_a_server_that_was_not_there_when_a_codec_was_chosen_for_it_is_not_guessed_at(tmp_path):
    port = free_port()
    found = attached(port)
    unknown = found.default()
    assert not unknown.outputs
    with gr00t_server(write_checkpoint(tmp_path / "checkpoint-7", action_configs=STEPS), port):
        with pytest.raises(LoadFailed, match=r"did not say what its model is when this server started") as caught:
            found.loader.load(unknown, lambda _: None, ALONE)
        assert caught.value.permanent
        with pytest.raises(LoadFailed, match=r"answers action\.ee_pose as DELTA"):
            resolved(found)


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_wrapper_for_simulators_is_noticed_when_it_is_attached_to(tmp_path, wrapped):
    port, step = free_port(), write_checkpoint(tmp_path / "checkpoint-7", value=0.9)
    more = ["--use-sim-policy-wrapper"] if wrapped else []
    with gr00t_server(step, port, "n1.6", *more), session_on(attached(port)) as session:
        assert session.infer(robot())[0]["action"]["target_pose"][1] == pytest.approx(0.9)


def test_a_server_that_comes_back_with_the_wrapper_takes_other_questions(tmp_path):
    port, step = free_port(), write_checkpoint(tmp_path / "checkpoint-7")
    with gr00t_server(step, port):
        policy = loaded(attached(port))
    try:
        with gr00t_server(step, port, "n1.6", "--use-sim-policy-wrapper"):
            until(lambda: policy.health().state == "failed", "its sessions are told")
    finally:
        policy.close()


@pytest.mark.parametrize(
    ("generation", "told", "says"),
    [("n1.5", None, "n1.5"), ("n1.6", None, None), ("n1.7", None, None), ("n1.6", "n1.6", "n1.6")],
)
def test_a_generation_is_said_where_it_is_known(tmp_path, generation, told, says):
    """N1.6 and N1.7 have one wire."""
    port, step = free_port(), write_checkpoint(tmp_path / "checkpoint-7", generation)
    more = {} if told is None else {"generation": told}
    with gr00t_server(step, port, generation), session_on(attached(port, **more)) as session:
        session.infer(robot())
        assert session.metadata.get("generation") == says
        assert "embodiment_tag" not in session.metadata


def test_a_server_that_wants_what_is_yet_to_come_is_refused_by_the_load(tmp_path):
    port, step = free_port(), write_checkpoint(tmp_path / "checkpoint-7", frames=(0, 5))
    with gr00t_server(step, port), pytest.raises(LoadFailed, match=r"wants the frame 5 steps ahead[\s\S]*Next: serve"):
        loaded(attached(port, "native"))
