"""The commands of CONTRIBUTING.md exist, and those that take seconds are run."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
IN_TEXT = re.findall(r"`(uv run [^`]+)`", PAGE)
#: What a command of the page runs in the environment of this test.
OURS = sorted(
    match[1]
    for line in [*"".join(BLOCKS).splitlines(), *IN_TEXT]
    if (match := re.match(r"uv run (?:--no-sync )?(.+)", line))
)
SCRIPTS = [line for line in OURS if line.partition(" ")[0].endswith(".py")]
SHORT = [line for line in OURS if line.startswith(("ruff ", "python "))]


def run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*command], cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)


@pytest.mark.parametrize("line", SCRIPTS)
def test_a_script_exists_with_its_options(line):
    script, *words = shlex.split(line)
    helped = run(sys.executable, script, "--help")
    assert helped.returncode == 0, helped.stderr
    assert [word for word in words if word.startswith("--") and word not in helped.stdout] == []


@pytest.mark.parametrize("line", SHORT)
def test_what_takes_seconds_runs(line):
    program, *words = shlex.split(line)
    done = run(sys.executable, *(words if program == "python" else ["-m", program, *words]))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_markers_and_folders_that_pytest_is_given_exist():
    given = [shlex.split(line)[1:] for line in OURS if line.startswith("pytest ")]
    assert len(given) == 3
    listed = run(sys.executable, "-m", "pytest", "--markers").stdout
    markers = {word for words in given if words[0] == "-m" for word in re.findall(r"\b(?!not\b|and\b)\w+", words[1])}
    assert [name for name in markers if not re.search(rf"^@pytest\.mark\.{name}:", listed, re.MULTILINE)] == []
    assert [word for words in given if words[0] != "-m" for word in words if not (ROOT / word).exists()] == []


def test_every_file_of_ours_that_is_named_exists():
    named = re.findall(r"(?<![\w/])((?:tools|benchmarks|\.ci)/[\w.]+\w)", PAGE)
    assert len(named) > 3
    assert [name for name in named if not (ROOT / name).exists()] == []
    assert "[CONTRIBUTING.md](CONTRIBUTING.md)" in (ROOT / "README.md").read_text("utf-8")
