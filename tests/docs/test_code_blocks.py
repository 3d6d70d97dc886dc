"""Every Python block of the README files and of docs/ is executed, and every ``offboard`` command line exists.

The blocks of a page share a namespace and a folder, in their order. A block whose first line is ``# NAME.py`` is
also written to that file. If it serves, it runs as a process of its own until the page ends, and then has to stop
cleanly; the blocks that follow are its clients. The port 8000 of the text stands for a free one.
"""

import contextlib
import functools
import itertools
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from importlib.metadata import entry_points
from pathlib import Path

import pytest
from offboard_core.process import free_port
from offboard_process import in_process

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    [ROOT / "CONTRIBUTING.md", ROOT / "README.md", *ROOT.glob("offboard-*/README.md"), *ROOT.glob("docs/**/*.md")]
)
#: Seconds that a server may take to come and to leave: a bound for a test that has failed.
PATIENCE = 240


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL)


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@contextlib.contextmanager
def process(path: Path, port: int):
    """A server in a process of its own, once it listens; stopped by SIGTERM, as a service manager would."""
    server = subprocess.Popen([sys.executable, "-W", "error", path], cwd=path.parent, stderr=subprocess.PIPE, text=True)
    try:
        end = time.monotonic() + PATIENCE
        while not listens(port):
            assert server.poll() is None, server.communicate()[1]
            assert time.monotonic() < end, f"nothing listens on port {port}"
        yield
        server.send_signal(signal.SIGTERM)
        _, said = server.communicate(timeout=PATIENCE)
        assert server.returncode == 0, said
    finally:
        server.kill()
        server.communicate()


def listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except (ConnectionRefusedError, TimeoutError):
        time.sleep(0.05)
        return False
    return True


@pytest.fixture
def beside(tmp_path, monkeypatch):
    """The folder of a page's modules, which are imported from there, and afterwards from nowhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if (tmp_path / name.partition(".")[0]).exists() or (tmp_path / f"{name}.py").exists():
            del sys.modules[name]


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=named)
def test_the_python_of_a_page_runs(page, beside):
    port, namespace = free_port(), {"__name__": "page"}
    with contextlib.ExitStack() as servers:
        for number, block in enumerate(blocks(page, "python")):
            code = re.sub(r"\b8000\b", str(port), block)
            name = re.match(r"# (\S+\.py)\n", code)
            path = beside / (name[1] if name else f"block_{number}.py")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(code, "utf-8")
            if ".serve()" in code:
                servers.enter_context(process(path, port))
            else:
                exec(compile(code, f"{named(page)}, block {number}", "exec"), namespace)


def command_lines() -> list[tuple[str, str]]:
    lines = [
        (named(page), line.partition("#")[0])
        for page in PAGES
        for block in blocks(page, "bash")
        for line in block.replace("\\\n", " ").splitlines()
    ]
    offered = re.compile(r"(?:^|\buv run (?:--no-dev )?(?:--group \w+ )?|&& )(offboard [a-z].*)")
    matches = [(page, offered.search(line)) for page, line in lines]
    return [(page, match[1]) for page, match in matches if match]


@functools.cache
def help_of(*words: str) -> subprocess.CompletedProcess[str]:
    return in_process(*words, "--help")


#: Commands whose first word is a robot.
ROBOTS = ("run", "check", "evaluate")


@pytest.mark.parametrize(("page", "line"), command_lines())
def test_a_command_of_a_page_exists_with_its_options(page, line):
    _, command, *words = shlex.split(line)
    assert command in {point.name for point in entry_points(group="offboard.commands")}
    options = [word.partition("=")[0] for word in words if word.startswith("--")]
    # These words choose which options there are. The reader's own vendor or robot is not installed here.
    robots = {point.name for point in entry_points(group="offboard.robots")}
    chosen = [word if word.partition(":")[0] in robots else "sim" for word in words[:1] if command in ROBOTS]
    chosen += [word for word in words[:1] if command == "robots" and word.partition(":")[0] in robots]
    vendors = {point.name for point in entry_points(group="offboard")}
    chosen += [
        word for pair in itertools.pairwise(words) if pair[0] == "--vendor" and pair[1] in vendors for word in pair
    ]
    forms = {point.name for point in entry_points(group="offboard.exports")}
    chosen += [word for pair in itertools.pairwise(words) if pair[0] == "--to" and pair[1] in forms for word in pair]
    chosen += [word for pair in itertools.pairwise(words) if pair[0] == "--policy" for word in pair]
    helped = help_of(command, *chosen)
    assert helped.returncode == 0
    assert [option for option in options if option not in helped.stdout] == []
