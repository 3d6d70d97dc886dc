"""The real vla-eval 0.8 evaluates what is served here: its client, runners and orchestrator are its own, unchanged."""

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from offboard_client.wire import letterbox
from offboard_core import Checkpoint, Chunk, Field
from offboard_core.catalog import CodecChoice, ModelSource
from offboard_core.checkpoints import MemoryRegistry
from offboard_core.plugins import Plugins
from offboard_vla_eval.frontend import VLAEvalConnection
from puppets import Door, Puppet, PuppetLoader, arm, count_up, reached, source
from taken_in import taken_in
from vla_eval.orchestrator import Orchestrator
from vla_eval.runners.live_runner import LiveEpisodeRunner
from vla_eval.runners.sync_runner import SyncEpisodeRunner
from vla_eval_harness import Counting, Kitchen, run, shard, speaking, url, when
from waits import PATIENCE

pytestmark = pytest.mark.timeout(2 * PATIENCE)
LIBERO = "vla_eval.benchmarks.libero.benchmark:LIBEROBenchmark"
PICTURE = Field(shape=(-1, -1, 3), dtype="uint8")
SQUARE = Field(shape=(256, 256, 3), dtype="uint8")
READS = {
    "robot_state.ee_pose": Field(shape=(7,), dtype="float32"),
    "grip": Field(shape=(1,), dtype="float32"),
    "image.wrist": PICTURE,
    "image.exterior": PICTURE,
    "task": Field(dtype="str"),
}
ANSWERS = {"pose_delta": Field(shape=(7,), kind="pose_delta"), "target_grip": Field(shape=(1,), kind="grip")}
STAY = (1.0, 0.0, 0.0, 0.0)


def counting(server, steps=7, episodes=1, **more):
    """What a benchmark was told to play in each episode, by the real runner and client."""

    async def main():
        benchmark = Counting(steps, **more)
        async with shard(server) as connection:
            for _ in range(episodes):
                await SyncEpisodeRunner().run_episode(benchmark, benchmark.get_tasks()[0], connection)
        return benchmark.played

    return run(main())


def to_the_plate(episode, inputs):
    """Three steps towards where its task says, as somebody would who knows what canonical names mean."""
    position, goal = inputs["robot_state.ee_pose"][:3], np.array([-0.05, 0.1 * int(inputs["task"][-1]), 0.2])
    moves = np.clip(np.outer([1, 1, 1], goal - position) / 3, -0.04, 0.04)
    near = bool(np.linalg.norm(goal - position) < 0.02)
    return Chunk({"pose_delta": np.hstack([moves, np.tile(STAY, (3, 1))]), "target_grip": np.full((3, 1), float(near))})


def test_the_harness_evaluates_a_policy_that_knows_nothing_of_libero_and_it_succeeds(monkeypatch, tmp_path):
    policy = Puppet(to_the_plate)
    model = source({"it": lambda: policy}, inputs=READS, outputs=ANSWERS, fps=20)
    with speaking(model, codec="libero") as server:
        config = {
            "server": {"url": url(server), "timeout": PATIENCE},
            "output_dir": str(tmp_path),
            "benchmarks": [{"benchmark": "vla_eval_harness:Kitchen", "episodes_per_task": 2, "max_steps": 60}],
        }
        (result,) = asyncio.run(Orchestrator(config, no_save=True).run())
    assert result["mean_success"] == 1.0, result
    assert result["server_info"]["checkpoint_id"] == "it"
    asked = {"quat_no_antipodal": True, "send_state": True, "send_wrist_image": True}
    assert result["server_info"]["observation_params"] == asked
    episodes = {id(session) for batch in policy.batches for session in batch}
    assert len(episodes) == 1, "one connection"


def test_what_the_harness_is_told_of_the_model_fits_its_libero():
    from vla_eval.specs import DimSpec, check_specs

    async def main(server):
        async with shard(server, benchmark=LIBERO) as connection:
            return connection.server_info

    with speaking(source({"it": Puppet}, inputs=READS, outputs=ANSWERS, fps=20), codec="libero") as server:
        told = run(main(server))
    acts, sees = (
        {k: DimSpec.from_dict(v) for k, v in told[f"{what}_spec"].items()} for what in ("action", "observation")
    )
    assert acts
    assert set(sees) == {"agentview", "wrist", "state", "language"}
    theirs = Kitchen(send_state=True, send_wrist_image=True)
    assert check_specs(acts, theirs.get_action_spec(), sees, theirs.get_observation_spec()) == []


def vendors(vendor, codec, answer, checkpoint, **options):
    """A model behind a vendor's own codec, and what it has been asked."""
    asked = []

    def infer(episode, inputs):
        asked.append(inputs)
        return Chunk(answer)

    return ModelSource(
        vendor=vendor,
        registry=MemoryRegistry([checkpoint]),
        loader=PuppetLoader({checkpoint.id: lambda: Puppet(infer)}),
        codec=CodecChoice(Plugins.discover(), vendor, codec, options=options),
    ), asked


def kitchen_asks(server, steps=1):
    """What vla-eval's LIBERO sends first, and what it has been told to play."""

    async def main():
        async with shard(server, benchmark=LIBERO) as connection:
            # As the harness makes a benchmark of what the server asks of it.
            kitchen = Kitchen(**connection.server_info["observation_params"])
            task = kitchen.get_tasks()[0]
            sent = kitchen.make_obs(kitchen.reset(task), task)
            told = [(await connection.act(sent))["actions"] for _ in range(steps)]
        return sent, told

    return run(main())


def test_a_libero_checkpoint_of_openpis_sees_and_plays_what_it_was_trained_with():
    rows = np.random.default_rng(5).uniform(-1, 1, (5, 7))
    model, asked = vendors("openpi", "libero", rows, Checkpoint(id="it"))
    with speaking(model, codec="libero") as server:
        sent, told = kitchen_asks(server, 5)
    np.testing.assert_allclose(told, rows, atol=1e-6)
    (seen,) = asked
    np.testing.assert_allclose(seen["observation/state"], sent["states"], atol=1e-6)
    for ours, theirs in {"observation/image": "agentview", "observation/wrist_image": "wrist"}.items():
        np.testing.assert_array_equal(seen[ours], letterbox(sent["images"][theirs], 224, 224))
    assert seen["prompt"] == "put the bowl on plate 0"


def test_a_libero_checkpoint_of_gr00ts_as_well():
    names = ("x", "y", "z", "roll", "pitch", "yaw")
    rows = np.random.default_rng(5).uniform(-1, 1, (8, 6))
    answer = {f"action.{name}": rows[:, i : i + 1] for i, name in enumerate(names)} | {
        "action.gripper": np.ones((8, 1))
    }
    model, asked = vendors("gr00t", "libero", answer, Checkpoint(id="it"))
    with speaking(model, codec="libero") as server:
        sent, told = kitchen_asks(server, 8)
    np.testing.assert_allclose(told, np.hstack([rows, np.full((8, 1), -1.0)]), atol=1e-6)  # GR00T's 1 is open
    (seen,) = asked
    state = np.concatenate([seen[f"state.{name}"].ravel() for name in (*names, "gripper")])
    np.testing.assert_allclose(state, sent["states"], atol=1e-6)
    np.testing.assert_array_equal(np.squeeze(seen["video.image"]), sent["images"]["agentview"])


def test_a_turn_beyond_half_a_circle_reaches_the_model_as_robosuite_has_it():
    model, asked = vendors("openpi", "libero", np.zeros((5, 7)), Checkpoint(id="it"))
    with speaking(model, codec="libero") as server:
        sent, _ = kitchen_asks(server)
    turn = asked[0]["observation/state"][3:6]
    axis = np.array([1, 0.2, -0.1])
    np.testing.assert_allclose(turn, 3.2 * axis / np.linalg.norm(axis), atol=1e-6)
    assert np.linalg.norm(turn) > np.pi
    np.testing.assert_allclose(asked[0]["observation/state"], sent["states"], atol=1e-6)


@pytest.mark.parametrize("vendor", ["openpi", "gr00t"])
def test_a_codec_that_would_turn_the_pictures_once_more_is_refused(vendor):
    model, _ = vendors(vendor, "libero", np.zeros((5, 7)), Checkpoint(id="it"), pictures="robosuite")
    why = r"1008 .*try without --vla-eval.codec libero, or another --codec than \w+.libero: the pictures are…"
    with speaking(model, codec="libero") as server, pytest.raises(Exception, match=why):
        kitchen_asks(server)


def test_a_checkpoint_that_reads_the_benchmarks_own_names_by_a_map():
    inputs = {"observation.state": Field(shape=(8,), dtype="float32"), "observation.images.image": SQUARE}
    checkpoint = Checkpoint(id="it", inputs=inputs, outputs={"action": Field(shape=(7,))})
    rows = np.random.default_rng(5).uniform(-1, 1, (5, 7))
    names = {"states": "state", "images/agentview": "image"}
    model, asked = vendors("lerobot", "native", {"action": rows}, checkpoint, map=names)
    with speaking(model, codec="libero") as server:
        sent, told = kitchen_asks(server, 5)
    np.testing.assert_array_equal(told, rows)
    np.testing.assert_array_equal(asked[0]["observation.images.image"], sent["images"]["agentview"])


# -- one step for each observation -------------------------------------------------------------------------------------
@pytest.mark.parametrize(("chunk_size", "asked"), [(None, 4), (2, 4), (1, 7), (50, 4)])
def test_an_answers_steps_are_played_before_the_model_is_asked_again(chunk_size, asked):
    policy = Puppet(count_up)  # two steps each
    with speaking(source({"it": lambda: policy}), chunk_size=chunk_size) as server:
        (played,) = counting(server)
    assert len(policy.batches) == asked
    per_answer = 7 / asked if asked == 7 else 2
    np.testing.assert_array_equal(played, [[1 + int(i // per_answer)] * 3 for i in range(7)])


def test_what_is_left_of_an_answer_is_not_played_in_the_next_episode():
    policy = Puppet(count_up)
    with speaking(source({"it": lambda: policy})) as server:
        first, second = counting(server, steps=3, episodes=2)
    # The model's own count begins anew as well.
    np.testing.assert_array_equal(first, [[1] * 3, [1] * 3, [2] * 3])
    np.testing.assert_array_equal(second, first)


def test_the_end_of_an_episode_and_the_beginning_of_the_next_begin_one_anew_and_not_two():
    resets = []

    async def main(server):
        async with shard(server) as connection:
            for _ in range(3):
                await connection.start_episode({})
                await connection.act({"states": np.zeros(1)})
                policy.episodes[0].reset = lambda: resets.append(len(policy.batches))
                await connection.end_episode({})
            await connection.start_episode({})
            await connection.act({"states": np.zeros(1)})

    policy = Puppet(count_up)
    with speaking(source({"it": lambda: policy})) as server:
        run(main(server))
    assert resets == [1, 2, 3]


def test_names_pass_through_where_nothing_is_translated():
    asked = []

    def answer(episode, inputs):
        asked.append(inputs)
        return Chunk(np.zeros((1, 3)))

    with speaking(source({"it": lambda: Puppet(answer)})) as server:
        counting(server, steps=1)
    (seen,) = asked
    assert seen.keys() == {"images/primary", "states", "task"}
    assert (seen["images/primary"].shape, seen["task"]) == ((24, 32, 3), "count")


# -- what goes wrong ---------------------------------------------------------------------------------------------------
def test_an_error_is_raised_by_the_harness_with_its_text_and_the_next_episode_goes_on(caplog):
    async def main(server):
        async with shard(server) as connection:
            with pytest.raises(RuntimeError, match=r"'bad_observation: .*not finite.*'code': 'bad_observation'"):
                await connection.act({"states": np.array([np.nan, 0])})
            await connection.start_episode({})
            return (await connection.act({"states": np.zeros(2)}))["actions"]

    with speaking(source({"it": Puppet}, inputs={"states": Field(shape=(2,), dtype="float32")})) as server:
        np.testing.assert_array_equal(run(main(server)), [1] * 3)
    assert "Seq mismatch" not in caplog.text


def test_a_model_that_plays_something_else_is_refused_with_the_reason():
    async def main(server):
        async with shard(server):
            pass

    why = r"1008 .* dialect_unsupported: try without --vla-eval.codec libero, or another --codec than core.native: the"
    with speaking(arm(), codec="libero") as server, pytest.raises(Exception, match=why):
        run(main(server))


def test_another_benchmark_than_the_translated_one_is_told_so_and_played_nothing():
    policy = Puppet()

    async def main(server):
        simpler = "vla_eval.benchmarks.simpler.benchmark:SimplerEnvBenchmark"
        async with shard(server, benchmark=simpler) as connection:
            for _ in range(2):
                with pytest.raises(RuntimeError, match=r"dialect_unsupported: the benchmark is .*SimplerEnvBenchmark"):
                    await connection.act({"states": np.zeros(8)})

    with speaking(source({"it": lambda: policy}, inputs=READS, outputs=ANSWERS, fps=20), codec="libero") as server:
        run(main(server))
    assert policy.batches == []


def test_a_step_that_the_simulation_would_clip_is_an_error():
    def leap(episode, inputs):
        return Chunk({"pose_delta": np.array([[0.2, 0, 0, *STAY]]), "target_grip": np.zeros((1, 1))})

    model = source({"it": lambda: Puppet(leap)}, inputs=READS, outputs=ANSWERS, fps=20)
    why = r"invalid_action: the model answered a pose_delta of 0.2 m in one step"
    with speaking(model, codec="libero") as server, pytest.raises(RuntimeError, match=why):
        kitchen_asks(server)


@pytest.mark.parametrize("says", [None, Chunk(np.zeros((0, 3)))])
def test_a_model_that_answers_no_step_is_an_error(says):
    why = r"dialect_unsupported: the model .* vla-eval's protocol has no word"
    model = source({"it": lambda: Puppet(lambda episode, inputs: says)})
    with speaking(model) as server, pytest.raises(Exception, match=why):
        counting(server)


def test_a_simulation_that_answers_no_ping_while_it_builds_its_scene_keeps_its_connection():
    async def main(server):
        async with shard(server) as connection:
            time.sleep(1)  # noqa: ASYNC251 (on the event loop, as the harness's benchmarks do)
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(connection, "_connect_with_backoff", None)  # it would come back, with another session
                return (await connection.act({"states": np.zeros(1)}))["actions"]

    with speaking(source({"it": Puppet}), ping_interval=0.1, ping_timeout=0.1) as server:
        np.testing.assert_array_equal(run(main(server)), [1] * 3)


# -- physics that does not wait ----------------------------------------------------------------------------------------
def test_in_real_time_the_arm_holds_while_the_model_thinks_and_then_plays_its_answer(caplog):
    with Door() as door:
        policy = Puppet(count_up, doors={0: door})

        async def main(server):
            benchmark = Counting(10_000, hold=[-1.0] * 3)
            async with shard(server) as connection:
                playing = asyncio.ensure_future(
                    LiveEpisodeRunner(hz=200).run_episode(benchmark, {"name": "count"}, connection)
                )
                await asyncio.to_thread(reached, door.entered)
                await when(lambda: len(benchmark.played[0]) >= 10)
                door.open()
                await when(lambda: any(step[0] > 2 for step in benchmark.played[0]))
                benchmark.length = 0
                await playing
            return benchmark.played[0]

        with speaking(source({"it": lambda: policy})) as server:
            played = run(main(server))
    np.testing.assert_array_equal(played[:10], [[-1.0] * 3] * 10)
    heard = [step[0] for step in played if step[0] > 0]
    assert heard == sorted(heard), "vla-eval plays the newest of what came between two ticks"
    assert "busy: an observation is in flight already" in caplog.text


@pytest.mark.parametrize(("payload", "heard"), [({}, [1, 1]), ({"mode": "live"}, [1, 2])])
def test_where_physics_does_not_wait_an_answer_is_worth_as_long_as_its_steps_take(payload, heard):
    async def main(server):
        async with shard(server) as connection:
            await connection.start_episode(payload)
            first = await connection.act({"states": np.zeros(1)})
            await asyncio.sleep(0.05)  # the answer's two steps are over after two milliseconds
            second = await connection.act({"states": np.zeros(1)})
        return [first["actions"][0], second["actions"][0]]

    with speaking(source({"it": lambda: Puppet(count_up)}, fps=1000)) as server:
        assert run(main(server)) == heard


def test_an_answer_that_comes_when_its_episode_is_over_is_not_played_in_the_next_one():
    with Door() as door, taken_in(VLAEvalConnection) as frames:
        policy = Puppet(count_up, doors={0: door})

        async def main(server):
            async with shard(server) as connection:
                await connection.start_episode({})
                await connection.send_observation({"states": np.zeros(1)})
                await asyncio.to_thread(reached, door.entered)
                await connection.end_episode({})
                await connection.start_episode({})
                await asyncio.to_thread(frames.wait_for, 5)
                door.open()
                late = await connection.recv(timeout=PATIENCE)
                assert late.type == "error"
                assert late.payload["code"] == "busy"
                return (await connection.act({"states": np.zeros(1)}))["actions"]

        with speaking(source({"it": lambda: policy})) as server:
            np.testing.assert_array_equal(run(main(server)), [1] * 3)


@pytest.mark.slow
def test_its_own_command_evaluates_in_shards(tmp_path):
    config = {
        "output_dir": str(tmp_path / "out"),
        "benchmarks": [{"benchmark": "vla_eval_harness:Kitchen", "episodes_per_task": 2, "max_steps": 60}],
    }
    (tmp_path / "eval.yaml").write_text(json.dumps(config))  # which is YAML, too
    policy = Puppet(to_the_plate, max_batch_size=16)
    model = source({"it": lambda: policy}, inputs=READS, outputs=ANSWERS, fps=20)
    with speaking(model, codec="libero") as server:
        command = [Path(sys.executable).with_name("vla-eval"), "run", "--no-docker", "--config", tmp_path / "eval.yaml"]
        command += ["--server-url", url(server), "--eval-id", "it", "--num-shards", "2", "--shard-id"]
        surroundings = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1] / "support")}
        shards = [
            subprocess.Popen([*command, str(i)], env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            for i in range(2)
        ]
        said = [shard.communicate(timeout=PATIENCE)[0].decode() for shard in shards]
    assert [shard.returncode for shard in shards] == [0, 0], said
    played = [int(of) for text in said for of in re.findall(r"100\.0% \(\d+/(\d+)\)", text)]
    assert sum(played) == 4, said
