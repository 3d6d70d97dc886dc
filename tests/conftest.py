"""Helpers by their own names, tests side by side, and surroundings that are the same wherever the tests run."""

from __future__ import annotations

import functools
import gc
import importlib.util
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadFileScheduling

sys.path.insert(0, str(Path(__file__).parent / "support"))
from object_store import emptied, object_server, point_at

#: Tests mostly wait, so that a core can have several at once.
WORKERS_PER_CORE = 3
#: What a developer's shell may set and the product, or a library of it, reads. A test that means one sets it itself.
FOREIGN = (
    "AWS_", "COLUMNS", "FORCE_COLOR", "HF_", "HUGGINGFACE_", "JAX_", "LINES", "MUJOCO_GL", "NO_COLOR", "OFFBOARD_",
    "OPENPI_", "PYTHONWARNINGS", "TTY_", "UV_PROJECT", "XLA_",
    # The tests start hundreds of Python processes. Compiling the libraries anew in each was most of what they cost.
    "PYTHONDONTWRITEBYTECODE",
)  # fmt: skip
#: Where LeRobot is imported, which takes longer than most files: one process does it for all of them.
LEROBOT = (
    "tests/lerobot/", "tests/frontends/test_two_vendors.py", "tests/openpi_client/test_models.py", "tests/pairings/",
)  # fmt: skip
#: What needs only its files' formats.
WITHOUT_TORCH = tuple(
    f"tests/lerobot/test_{name}.py"
    for name in (
        "async_listener", "async_pickles", "codecs", "diagnosis", "light", "many_steps", "odd_folders",
        "registry", "remote",
    )
)  # fmt: skip
#: Where an S3 server is started: one for all of them.
STORES = (
    "tests/remote/test_remote.py", "tests/remote/test_refused.py", "tests/openpi/test_registry.py",
    "tests/openpi/test_named.py", "tests/lerobot/test_remote.py", "tests/lerobot/test_diagnosis.py",
    "tests/data_sets/test_store.py",
)  # fmt: skip
#: Where many processes are started, which takes most of the time: these get the marker ``processes``.
PROCESSES = (
    *LEROBOT, "tests/benchmarks/", "tests/scripted/", "tests/openpi/test_served.py",
    "tests/server/test_signals.py", "tests/cli/test_serve.py", "tests/cli/test_client_commands.py",
    "tests/cli/test_help.py", "tests/cli/", "tests/remote/", "tests/frontends/test_hook.py",
    "tests/openpi/test_training.py", "tests/openpi/test_registry.py", "tests/openpi/test_start.py",
    "tests/openpi_client/", "tests/docs/test_code_blocks.py", "tests/process/", "tests/robots/test_keyboard.py",
    "tests/frontends/test_zmq_listener.py", "tests/openpi/test_client.py", "tests/openpi/test_conformance.py",
    "tests/openpi/test_health.py", "tests/openpi/test_named.py", "tests/openpi/test_readme.py",
    "tests/server/test_asgi.py", "tests/server/test_descriptors.py", "tests/server/test_tls_unfinished.py",
    "tests/robots/test_cameras.py", "tests/robots/test_dry_run.py", "tests/robots/test_faults.py",
    "tests/docs/test_contributing.py", "tests/docs/test_host_it_elsewhere.py", "tests/testing/test_kit.py",
    "tests/client/test_other_systems.py", "tests/client/test_parts.py", "tests/workers/", "tests/environments/",
)  # fmt: skip
#: What looks at what is installed, or speaks of LeRobot: these get the marker ``light``. .ci/run runs them without it.
LIGHT = (
    "tests/plugins/", "tests/docker/", "tests/cli/test_listings.py", "tests/cli/test_reference_pages.py",
    "tests/cli/test_spellings.py", "tests/codecs/test_reference.py", "tests/docs/test_code_blocks.py",
    "tests/docs/test_places.py", "tests/docs/test_readme.py", "tests/docs/test_reference.py",
    "tests/lerobot/test_light.py", "tests/lerobot/test_odd_folders.py", "tests/lerobot/test_registry.py",
)  # fmt: skip
#: What a second or more goes to. Every process imports every test's module, and few run what needs these.
SLOW_IMPORTS = {"lerobot", "s3fs", "torch", "transformers"}

for name in [name for name in os.environ if name.startswith(FOREIGN)]:
    del os.environ[name]
sys.dont_write_bytecode = False
# Nothing may be fetched, and one thread per inference is faster than two on a busy machine. Each process that imports
# MuJoCo would start another to look for OpenGL, and tyro's type checks have no plugins to look for.
os.environ.update(HF_HUB_OFFLINE="1", OMP_NUM_THREADS="1", MUJOCO_GL="disable", TYPEGUARD_DISABLE_PLUGIN_AUTOLOAD="1")
# What an image was in is kept for the next one: fetching memory from the kernel was a third of what some tests took.
os.environ.update(MALLOC_MMAP_THRESHOLD_="33554432", MALLOC_TRIM_THRESHOLD_="536870912")

# How fast the machine is decides nothing.
settings.register_profile("offboard", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("offboard")
# For .ci/run with the lowest versions; with those of the workspace, the same tests try more.
settings.register_profile("few", settings.get_profile("offboard"), max_examples=20)

# ``nohup`` and a shell's ``&`` have signals ignored, which children would inherit; a handler they do not.
for number in (getattr(signal, name) for name in ("SIGINT", "SIGHUP", "SIGQUIT") if hasattr(signal, name)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, lambda *_: None)


def _imports_torch(nodeid: str) -> bool:
    return nodeid.startswith(LEROBOT) and not nodeid.startswith(WITHOUT_TORCH)


collect_ignore: list[str] = []
if importlib.util.find_spec("lerobot") is None:
    files = (path.relative_to(Path(__file__).parent).as_posix() for path in Path(__file__).parent.rglob("test_*.py"))
    collect_ignore += [name for name in sorted(files) if _imports_torch(f"tests/{name}")]


@pytest.fixture(scope="session", autouse=True)
def longest_chain_first(request: pytest.FixtureRequest):
    """What imports torch is begun first and ends last, so that a process which begins with something else gives way."""
    if hasattr(request.config, "workerinput") and hasattr(os, "nice"):
        os.nice(0 if _imports_torch(os.environ["PYTEST_CURRENT_TEST"]) else 5)


@pytest.fixture(scope="module", autouse=True)
def collections_go_through_little() -> Iterator[None]:
    """Every unloading collects. What a file leaves (reports, caches, what it imported) stays, so none looks at it."""
    yield
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def logging_as_it_was() -> Iterator[None]:
    """A command that a test runs in this process sets logging up for all of it; the next test finds it as before."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter):
    if collect_ignore:
        terminalreporter.write_line(
            f"left out, as LeRobot is not installed here (uv run --all-packages pytest): {len(collect_ignore)} of the "
            f"files in {', '.join(LEROBOT)}"
        )


@pytest.fixture(scope="session")
def s3():
    with object_server() as server:
        yield server


@pytest.fixture(scope="module")
def store(s3):
    """An S3 server, to which this process points. Each test has a place of its own there."""
    with pytest.MonkeyPatch.context() as patch:
        emptied(s3)
        point_at(s3, patch)
        yield s3


@pytest.hookimpl(wrapper=True)
def pytest_xdist_auto_num_workers(config: pytest.Config):
    """``-n auto``, the default: what is named runs in this process, which starts at once; all of it in many."""
    cores = yield
    return WORKERS_PER_CORE * cores if config.args_source is pytest.Config.ArgsSource.TESTPATHS else 0


def _compiled() -> bool:
    """Whether the last of the tests' modules was, and a library that all of them import."""
    library = importlib.util.find_spec("mujoco")
    last = Path(__file__).parent.glob(f"workspace/__pycache__/test_versions.{sys.implementation.cache_tag}-pytest-*")
    return any(last) and (library is None or Path(importlib.util.cache_from_source(library.origin)).exists())


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session):
    """One process compiles what many would compile at once."""
    option, everything = session.config.option, session.config.args_source is pytest.Config.ArgsSource.TESTPATHS
    if everything and option.dist != "no" and not option.collectonly and not _compiled():
        collect = [sys.executable, "-m", "pytest", "--collect-only", "-qq", "-n", "0"]
        subprocess.run(collect, cwd=session.config.rootpath, capture_output=True, check=False)


class _Files(LoadFileScheduling):
    """A file stays in one process, for its fixtures; so do those that import LeRobot, and those with a store."""

    def _split_scope(self, nodeid: str) -> str:
        if nodeid.startswith(STORES):
            return STORES[0]
        if _imports_torch(nodeid):
            return LEROBOT[0]
        return super()._split_scope(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log):
    return _Files(config, log)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]):
    """What takes longest comes first, so that nobody waits for it at the end."""

    @functools.cache
    def place(file: str) -> int:
        return next((i for i, start in enumerate(PROCESSES) if file.startswith(start)), len(PROCESSES))

    places = {item: place(item.nodeid.partition("::")[0]) for item in items}
    items.sort(key=places.__getitem__)
    for item in items:
        if places[item] < len(PROCESSES):
            item.add_marker("processes")
        if item.nodeid.startswith(LIGHT):
            item.add_marker("light")


def pytest_collection_finish():
    """What is here now stays: the collections that every unloading makes need not go through it."""
    if heavy := SLOW_IMPORTS & sys.modules.keys():
        raise pytest.UsageError(f"a test's module imports {', '.join(heavy)} and every process with it; a test may")
    gc.collect()
    gc.freeze()
