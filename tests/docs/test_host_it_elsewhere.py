"""The page about other hosts: its commands and applications are run, and what cannot be run here is compiled."""

import ast
import asyncio
import contextlib
import importlib
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hosting import get, on_uvicorn, robot
from model_bench import run
from offboard_client import InferenceClient
from offboard_core.process import free_port
from puppets import PATIENCE

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "host-it-elsewhere.md"


def block(language, text):
    found = re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text("utf-8"), re.MULTILINE | re.DOTALL)
    return next(one for one in found if text in one)


@pytest.fixture
def hosted(tmp_path, monkeypatch):
    (tmp_path / "hosted.py").write_text(block("python", "# hosted.py"), "utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield importlib.import_module("hosted")
    del sys.modules["hosted"]


@contextlib.contextmanager
def command(line, port):
    """The page's command, on another port; stopped by SIGTERM."""
    words = shlex.split(re.sub(r"\b8000\b", str(port), line))
    process = subprocess.Popen([sys.executable, "-m", *words], stderr=subprocess.PIPE, text=True)
    try:
        while "Uvicorn running on" not in (line := process.stderr.readline()):
            assert line, "it has left"
        yield
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=PATIENCE)
        assert "Application shutdown complete" in said
        assert "Traceback" not in said
    finally:
        process.kill()
        process.communicate()


def test_its_command_serves_a_robot(hosted):
    port = free_port()
    with (
        command(block("bash", "uvicorn"), port),
        InferenceClient("127.0.0.1", port).new_session() as session,
    ):
        assert len(session.infer({"robot_state.q": np.zeros(7)})) == 1


def test_its_command_fails_where_the_model_does(hosted):
    path = Path("hosted.py")
    path.write_text(
        path.read_text("utf-8").replace("    return lambda", "    import no_such_library\n    return lambda")
    )
    words = shlex.split(re.sub(r"\b8000\b", str(free_port()), block("bash", "uvicorn")))
    done = subprocess.run(
        [sys.executable, "-m", *words], stderr=subprocess.PIPE, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 3
    last = done.stderr.splitlines()[-2]
    assert "hold could not be loaded" in last
    assert "ModuleNotFoundError: No module named 'no_such_library'" in last


def test_its_mounted_application_serves_a_robot_below_its_path(hosted):
    namespace = {"hold": hosted.hold}
    exec(compile(block("python", "Mount("), PAGE.name, "exec"), namespace)

    async def main():
        async with on_uvicorn(namespace["site"]) as address:
            assert await get(address, "/robots/arm/readyz") == (200, "OK\n")
            async with robot(address, base="/robots/arm") as one:
                await one.opened()
                assert "result" in await one.ask({"robot_state.q": np.zeros(7)})
            client = InferenceClient(f"ws://127.0.0.1:{address[1]}/robots/arm")
            session = await asyncio.to_thread(client.new_session)
            assert len(await asyncio.to_thread(session.infer, {"robot_state.q": np.zeros(7)})) == 1
            await asyncio.to_thread(session.close)

    run(main())


def test_what_ray_is_given_compiles_and_builds_an_application():
    tree = ast.parse(block("text", "from ray"))
    build = next(node for node in tree.body if isinstance(node, ast.FunctionDef))
    namespace = {}
    exec(compile(ast.Module([build], []), PAGE.name, "exec"), namespace)

    async def main():
        async with on_uvicorn(namespace["build"]()) as address, robot(address) as one:
            await one.opened()
            assert "result" in await one.ask({"robot_state.q": np.zeros(7)})

    run(main())
