"""What --compile does to a LeRobot policy: torch compiles a part of it, and what that answers is compared first."""

import gc
import inspect
import json
import logging
import weakref
from contextlib import closing

import numpy as np
import pytest
from lerobot_checkpoints import SETTINGS, kinds, model_inputs, save_policy
from offboard_client.errors import ConfigurationError, LoadFailed
from offboard_client.plugins import build
from offboard_core.proofs import FastCall
from offboard_core.server import InferenceServer
from offboard_core.types import NO_CONTEXT, Chunk, InferContext, Item
from offboard_core.workers import Isolation
from offboard_lerobot.loader import LeRobotLoader, LeRobotOptions
from offboard_lerobot.registry import LeRobotRegistry
from offboard_lerobot.room import step_for
from robots import robot

TASK = "put the cube away"


def load(folder, **options):
    [checkpoint] = LeRobotRegistry(str(folder)).checkpoints()
    return closing(LeRobotLoader(LeRobotOptions(device="cpu", **options)).load(checkpoint, lambda _: None))


@pytest.fixture
def by_dynamo(lerobot, monkeypatch):
    """torch.compile for real, but for the backend, which takes a compiler for C++ and minutes."""
    monkeypatch.setattr("offboard_lerobot.compiled._mode", lambda device, tolerance: "eager")


@pytest.fixture
def compiler(lerobot, monkeypatch):
    """Has what it is given stand in for torch's compiler: a function that is made of the model's own."""

    def put(made):
        def compiled(method, how):
            fast = made(method)
            return lambda args, kwargs, compiles: fast(*args, **kwargs)

        monkeypatch.setattr("offboard_lerobot.compiled.Compiled", compiled)

    return put


def answers(policy, kind, robots=1, first=0, context=NO_CONTEXT, **params):
    """The chunks of ``robots`` robots that share a call, of two observations each."""
    sessions = [policy.new_session(policy.params(**params)) for _ in range(robots)]
    found = []
    for step in range(2):
        seen = [{"task": TASK, **model_inputs(first + 10 * step + i, kind)} for i in range(robots)]
        told = [context] * robots if context is not NO_CONTEXT else [seeded(policy, step, i) for i in range(robots)]
        chunks = policy.infer_many([Item(*each) for each in zip(sessions, seen, told, strict=True)])
        assert all(isinstance(chunk, Chunk) for chunk in chunks), chunks
        found.append([chunk.action for chunk in chunks])
    return np.array(found)


def seeded(policy, step, robot):
    return InferContext(seed=100 * step + robot) if "seed" in policy.context else NO_CONTEXT


def graphs():
    """How many torch has compiled in this process."""
    from torch._dynamo.utils import counters

    return counters["stats"]["unique_graphs"]


def calls_of(policy):
    """What chooses between the model's own function and the compiled one."""
    put = [value for module in policy._model.modules() for value in vars(module).values()]
    [call] = [value for value in put if type(value) is FastCall] or [
        inspect.getclosurevars(value).nonlocals["call"]
        for value in put
        if inspect.isfunction(value) and value.__module__ == "offboard_lerobot.compiled"
    ]
    return call


@pytest.mark.parametrize("kind", ["act", "diffusion"])
def test_what_torch_compiles_is_used_for_the_calls_that_were_compared(kind, by_dynamo, tmp_path, lerobot):
    folder = save_policy(tmp_path / "pretrained_model", kind, 1)
    with load(folder) as plain, load(folder, compile=True, compile_batch_sizes=(1, 2)) as fast:
        said = fast.meta["compiled"]
        assert said.items() >= {"used": True, "how": "eager", "batch_sizes": [1, 2], "difference": 0.0}.items()
        assert said["problems"] == []
        assert "compiled" not in plain.meta
        call, before = calls_of(fast), graphs()
        assert len(call.proven) == 2
        for robots in (1, 2, 3):
            np.testing.assert_array_equal(answers(fast, kind, robots, 50), answers(plain, kind, robots, 50))
        assert graphs() == before, "nothing is compiled while robots wait"
        assert len(call.proven) == 2


def test_what_torch_would_compile_anew_while_a_robot_waits_is_no_more_asked(act, by_dynamo, caplog):
    """As where a setting of the process changes that a compiler relies on."""
    with load(act, compile=True, compile_batch_sizes=(1,)) as policy, load(act) as plain:
        call, before = calls_of(policy), graphs()
        for each in (policy, plain):
            each._model.model.encoder.layers[0].norm1.eps = 0.5
        np.testing.assert_array_equal(answers(policy, "act"), answers(plain, "act"))
        assert "torch would have to compile it anew, while a robot waits" in caplog.text
        assert graphs() == before, "which takes minutes"
        assert call.proven == frozenset()
        assert policy.meta["compiled"]["used"] is False
        [problem] = policy.meta["compiled"]["problems"]
        assert "it failed while a robot waited: torch would have to compile it anew" in problem


def test_where_torch_is_told_to_compile_nothing_nothing_is_said_to_be_compiled(act, by_dynamo):
    import torch._dynamo

    with (
        torch._dynamo.config.patch(disable=True),  # as TORCHDYNAMO_DISABLE does
        load(act, compile=True, compile_batch_sizes=(1,)) as policy,
    ):
        said = policy.meta["compiled"]
    assert said["used"] is False
    assert "torch has compiled nothing of it (is TORCHDYNAMO_DISABLE" in said["problems"][0]


def test_cuda_graphs_are_not_said_to_be_used_where_there_is_no_gpu(act, compiler):
    def asked(method):
        raise AssertionError("it was compiled")

    compiler(asked)
    with load(act, compile=True, compile_mode="cudagraphs") as policy:
        said = policy.meta["compiled"]
    assert said["used"] is False
    assert said["problems"] == ["CUDA graphs are a GPU's, and the model is on cpu: take another --compile-mode"]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (RuntimeError("InvalidCxxCompiler: No working C++ compiler found in torch._inductor.config.cpp.cxx"),
         "there is no compiler for C++ here: install g++"),
        (RuntimeError("Failed to find C compiler. Please specify via CC"), "there is no C compiler here"),
        (RuntimeError("Cannot find a working triton installation."), "there is no Triton here"),
        (PermissionError(13, "Permission denied", "/tmp/torchinductor_robot/x"), "TORCHINDUCTOR_CACHE_DIR"),
        (OSError(30, "Read-only file system", "/tmp/x"), "TORCHINDUCTOR_CACHE_DIR"),
        (RuntimeError("CppCompileError: C++ compile error\n\nCommand:\ng++ a.cpp\n\nOutput:\n"
                      "a.cpp:2:10: fatal error: Python.h: No such file or directory\n"),
         "the compiler for C++ failed: a.cpp:2:10: fatal error: Python.h: No such file or directory"),
        (RuntimeError("something else"), "RuntimeError: something else"),
    ],
)  # fmt: skip
def test_what_is_missing_is_said_with_what_to_do(error, told, act, compiler):
    def fails(method):
        def play(*args, **kwargs):
            raise RuntimeError("backend='inductor' raised:") from error

        return play

    compiler(fails)
    with load(act, compile=True, compile_batch_sizes=(1,)) as policy:
        [problem] = policy.meta["compiled"]["problems"]
    expected = "RuntimeError: backend='inductor' raised:" if told.startswith("RuntimeError") else told
    assert problem.startswith("for one robot in a call: what was compiled failed: ")
    assert expected in problem


@pytest.mark.parametrize("named", ["", "/opt/notes.txt"])
def test_a_compiler_that_may_not_be_run_is_no_folder_that_may_not_be_written(named, act, compiler, monkeypatch):
    monkeypatch.setenv("CXX", named)

    def fails(method):
        def play(*args, **kwargs):
            raise RuntimeError(f"backend='inductor' raised:\nPermissionError: [Errno 13] Permission denied: {named!r}")

        return play

    compiler(fails)
    with load(act, compile=True, compile_batch_sizes=(1,)) as policy:
        [problem] = policy.meta["compiled"]["problems"]
    assert "what CXX names may not be run: have it name a compiler for C++, or unset it" in problem
    assert "TORCHINDUCTOR_CACHE_DIR" not in problem


def test_a_compiled_model_goes_when_it_is_closed_with_all_that_was_compiled(act, by_dynamo):
    with load(act, compile=True, compile_batch_sizes=(1,)) as policy:
        model, written = weakref.ref(policy._model), vars(inspect.getmodule(type(policy._model)))
        made = {name for name in written if name.startswith("__compiled")}
        assert made
    del policy
    gc.collect()
    assert model() is None
    assert not made & set(written), "which would keep a GPU's memory, too"


def test_one_that_differs_is_not_used_and_the_log_has_the_numbers(act, compiler, caplog):
    compiler(lambda function: lambda *args, **kwargs: (function(*args, **kwargs)[0] + 1e-3, None))
    with load(act) as plain, load(act, compile=True, compile_batch_sizes=(1,)) as policy:
        said = policy.meta["compiled"]
        assert said["used"] is False
        assert "for one robot in a call: its answers differ by up to 0." in said["problems"][0]
        assert [r.levelname for r in caplog.records if said["problems"][0] in r.message] == ["WARNING"]
        np.testing.assert_array_equal(answers(policy, "act"), answers(plain, "act"))


def test_a_tolerance_lets_it(act, compiler):
    compiler(lambda function: lambda *args, **kwargs: (function(*args, **kwargs)[0] + 1e-5, None))
    with load(act, compile=True, compile_batch_sizes=(1,), compile_tolerance=0.01) as policy:
        said = policy.meta["compiled"]
    assert said["used"] is True
    assert 0 < said["difference"] < 0.01
    assert said["tolerance"] == 0.01


def test_one_that_cannot_be_compiled_is_served_as_it_is(act, compiler):
    def fails(function):
        raise RuntimeError("no C++ compiler was found, see /usr/bin")

    compiler(fails)
    with load(act) as plain, load(act, compile=True) as policy:
        said = policy.meta["compiled"]
        assert said["used"] is False
        assert [problem.partition(": ")[0] for problem in said["problems"]] == [
            "for one robot in a call", "for 16 robots in a call",
        ]  # fmt: skip
        assert "no C++ compiler was found" in said["problems"][0]
        np.testing.assert_array_equal(answers(policy, "act"), answers(plain, "act"))


def test_of_other_types_nothing_is_compiled_and_the_handshake_says_so_from_a_worker_too(tmp_path, lerobot):
    from offboard_core.catalog import from_flags
    from offboard_core.plugins import Plugins

    folder = save_policy(tmp_path / "pretrained_model", "vqbet", 1)
    options = {"device": "cpu", "compile": True, "compile_batch_sizes": [1, 2], "compile_mode": "default"}
    models = from_flags(
        Plugins.discover(), vendor="lerobot", checkpoints_dir=str(folder), loader_options=options, fps=10,
        isolation=Isolation(),
    )  # fmt: skip
    with InferenceServer({"only": models}, port=0) as server, robot(server) as one:
        said = one.opened()["meta"]["compiled"]
    assert said["used"] is False
    assert said["problems"] == [
        "of the type vqbet nothing is compiled here, only of act, diffusion, pi0, pi05, smolvla"
    ]


def test_more_robots_than_share_a_call_are_refused(act):
    with pytest.raises(LoadFailed, match="compile_batch_sizes names 5, and at most 4 robots share a call") as caught:
        load(act, compile=True, compile_batch_sizes=(1, 5), max_batch_size=4)
    assert caught.value.permanent
    with pytest.raises(ConfigurationError, match="compile_mode says how to compile, and compile is not given"):
        build(LeRobotOptions, {"compile_mode": "cudagraphs"}, "the vendor lerobot", ConfigurationError)


def test_a_checkpoint_that_says_compile_model_is_not_compiled_unasked(tmp_path, lerobot, compiler, caplog):
    def unasked(function):
        raise AssertionError("it was compiled")

    folder = save_policy(tmp_path / "pretrained_model", "diffusion", 1)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    if "compile_model" not in config:
        pytest.skip("this LeRobot does not compile it")
    (folder / "config.json").write_text(json.dumps({**config, "compile_model": True}), "utf-8")
    compiler(unasked)
    caplog.set_level(logging.INFO)
    with load(folder) as policy:
        answers(policy, "diffusion")
    assert "says compile_model, which is not followed: see --compile" in caplog.text


@pytest.mark.parametrize(
    ("device", "tolerance", "mode"),
    [("cpu", 0.0, "default"), ("cuda:1", 0.0, "cudagraphs"), ("cuda", 1e-4, "reduce-overhead")],
)
def test_what_compiles_follows_from_the_device_and_from_what_is_allowed(device, tolerance, mode, lerobot):
    import torch
    from offboard_lerobot.compiled import _mode

    assert _mode(torch.device(device), tolerance) == mode


def test_what_a_graph_answers_is_copied_before_it_writes_the_next_there(act, compiler, monkeypatch):
    """A CUDA graph has one place for all of its answers."""
    import torch
    from offboard_lerobot.compiled import install

    with load(act) as policy:
        model, places, marks = policy._model.model, [], []
        monkeypatch.setattr(torch.compiler, "cudagraph_mark_step_begin", lambda: marks.append(1))

        def graph(function):
            def play(batch):
                answer = function(batch)[0]
                places[:] = places or [torch.empty_like(answer)]
                return places[0].copy_(answer), (None, None)

            return play

        compiler(graph)
        call = install("act", policy._model, "cudagraphs", torch.device("cuda"), lambda: None)
        images = torch.rand(2, 1, 3, 64, 64)
        batches = [{"observation.images": [i, i], "observation.state": torch.rand(1, 8)} for i in images]
        with torch.inference_mode(), call.trying():
            first, second = (model(batch)[0] for batch in batches)
        with torch.inference_mode(), call.as_it_is():
            assert torch.equal(first, model(batches[0])[0])
        assert not torch.equal(first, second)
        assert torch.equal(second, places[0])
        assert len(marks) == 2


NEED_TRANSFORMERS = pytest.mark.skipif("smolvla" not in kinds(), reason="they want transformers")


@NEED_TRANSFORMERS
@pytest.mark.parametrize("kind", [kind for kind in ("smolvla", "pi0", "pi05") if kind in kinds()])
def test_a_flow_is_compiled_with_each_robot_s_own_noise(kind, by_dynamo, tmp_path, lerobot):
    folder = save_policy(tmp_path / "pretrained_model", kind, 1)
    said = {"compile": True, "compile_batch_sizes": (1, 2), "compile_tasks": (TASK,)}
    with load(folder) as plain, load(folder, **said) as fast:
        assert fast.meta["compiled"].items() >= {"batch_sizes": [1, 2], "difference": 0.0, "problems": []}.items()
        call, before = calls_of(fast), graphs()
        seen = spied(call)
        for robots in (1, 2):
            np.testing.assert_array_equal(answers(fast, kind, robots, 50), answers(plain, kind, robots, 50))
        assert len(seen) == 4
        # Other steps are another loop, and what guides follows gradients: the model's own, both.
        prefix = Chunk(np.zeros((2, 8), np.float32))
        for context, params in (
            (InferContext(seed=3), {"num_inference_steps": 1}),
            (InferContext(seed=3, prefix=prefix, delay_steps=1), {}),
        ):
            ours, own = (answers(each, kind, 1, 50, context, **params) for each in (fast, plain))
            np.testing.assert_array_equal(ours, own)
        assert len(seen) == 4
        # What they had set of the model is no reason to leave the compiled one alone afterwards.
        np.testing.assert_array_equal(answers(fast, kind, 1, 50), answers(plain, kind, 1, 50))
        assert len(seen) == 6
        assert graphs() == before
        assert len(call.proven) == 2

        # One that fails is made up for by the model, of the same noise.
        def fails(*args, **kwargs):
            raise RuntimeError("out of memory")

        call._programs = dict.fromkeys(call._programs, fails)
        np.testing.assert_array_equal(answers(fast, kind, 1, 50), answers(plain, kind, 1, 50))
        assert len(call.proven) == 1


def spied(call):
    """The calls that its faster functions have been asked."""
    seen = []

    def watched(program):
        def asked(*args, **kwargs):
            seen.append(args)
            return program(*args, **kwargs)

        return asked

    call._programs = {kind: watched(program) for kind, program in call._programs.items()}
    return seen


@NEED_TRANSFORMERS
def test_where_each_length_of_a_task_is_another_program_they_have_to_be_named(by_dynamo, tmp_path, lerobot):
    assert "tokenizer_max_length" not in SETTINGS["smolvla"]
    folder = save_policy(tmp_path / "pretrained_model", "smolvla", 1)
    with load(folder, compile=True, compile_batch_sizes=(1,)) as policy:
        assert policy.meta["compiled"]["used"] is False
        assert "name those that robots send (--compile-tasks)" in policy.meta["compiled"]["problems"][0]
    with (
        load(folder) as plain,
        load(
            folder, compile=True, compile_batch_sizes=(1,), compile_tasks=("a much longer task than any other here",)
        ) as fast,
    ):
        assert fast.meta["compiled"]["used"] is True
        seen = spied(calls_of(fast))
        np.testing.assert_array_equal(answers(fast, "smolvla"), answers(plain, "smolvla"))
        assert seen == []


@pytest.mark.parametrize("said", [None, "/srv/compiled"])
def test_where_torch_cannot_keep_what_it_compiles_the_load_says_what_to_do(said, monkeypatch):
    """It makes the folder as soon as it is imported, whether anything is compiled or not."""
    if said is None:
        monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    else:
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", said)
    error = OSError(30, "Read-only file system", said or "/tmp/torchinductor_robot")
    assert "have TORCHINDUCTOR_CACHE_DIR name one that may be written" in step_for(error)
    assert step_for(OSError(30, "Read-only file system", "/elsewhere")) == ""
