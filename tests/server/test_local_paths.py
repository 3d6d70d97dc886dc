"""What is taken for a path of the server's machine in a text for clients, and what is not."""

import os
import site
import sys
import tempfile
import traceback
from pathlib import Path, PurePosixPath, PureWindowsPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from offboard_core.engine import HIDDEN, without_paths, without_paths_in

pytestmark = pytest.mark.rule("A-11")

HERE = {
    "cwd": os.getcwd(),
    "home": str(Path.home()),
    "home of somebody": "/home/alice.smith",
    "mac": "/Users/alice/Library/Caches/offboard",
    "mac's tmp": "/private/var/folders/x1/T/run",
    "root": "/root/.cache/huggingface/hub",
    "tmp": tempfile.gettempdir() + "/run",
    "site-packages": site.getsitepackages()[0],
    "python": sys.executable,
    "container": "/checkpoints/act/010000",
    "cluster": "/gpfs/group/alice/act",
    "file on no known root": "/lustre9/alice/w/model.safetensors",
    "tilde": "~/runs/act",
    "tilde of somebody": "~alice/runs",
    "file url": "file:///home/alice/act",
    "file url, short": "file:/home/alice/act",
    "drive": "C:\\Users\\Alice\\act",
    "drive, slashes": "D:/runs/act",
    "drive in a repr": "C:\\\\Users\\\\Alice\\\\act",
    "share": "\\\\nas\\robots\\act",
    "umlaut": "/home/jürgen/läufe",
    "two slashes": "//tmp/run/x",
    "hidden": "/home/alice/.ssh",
    "numbers": "/mnt/2024-05-01/run=3,5".partition(",")[0],
}
FORMS = {
    "alone": "{}",
    "sentence": "{} holds no checkpoint.",
    "end of a sentence": "nothing is in {}.",
    "OSError": "[Errno 13] Permission denied: '{}'",
    "two": "cannot copy {} -> {}",
    "repr": "PosixPath('{}')",
    "double quotes": 'File "{}", line 3, in load',
    "backticks": "run `ls {}`",
    "parentheses": "no weights ({})",
    "assignment": "--checkpoints-dir={}",
    "colon": "cause: {}: not there",
    "list": "['{}', '{}']",
    "search path": "PYTHONPATH={}:{}",
    "traceback": "Traceback (most recent call last):\n  File \"{}\", line 1\nOSError: {}",
    "semicolon": "it is {}; wait",
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("path", HERE)
def test_a_path_is_hidden_and_what_stands_around_it_is_not(form, path):
    said = without_paths(FORMS[form].replace("{}", HERE[path]))
    shown = without_paths(HERE[path])
    assert shown == HIDDEN or shown == f"{HIDDEN}/{HERE[path].split('/')[-1]}"
    assert said == FORMS[form].replace("{}", shown)
    for part in ("alice", "Alice", "jürgen", "nas", "runs", "act"):
        assert part not in said.replace("action", "")


STAYS = [
    "actions 3/4 done", "1/2", "0.5 m/s", "rad/s and N/m", "and/or", "image/wrist", "observation/state",
    "observation/exterior_image_1_left", "observation.state", "/joint_states", "/camera/wrist/image_raw", "a / b",
    "ws://host:1/", "wss://host.example:8000/api/v1/session/10000?codec.fps=10", "http://127.0.0.1:8000/home/page",
    "ws://[::1]:8000/tmp/x", "s3://bucket/runs/act", "gs://openpi-assets/checkpoints/pi05_droid",
    "hf://org/cubes@a1b2c3", "https://user:secret@host/home/x", "/api/v1/models", "/api/v1/session/{model_id}",
    "/readyz", "GET /metrics", "'/healthz'", "act/010000", "there is no model '../../etc/passwd' here", "./here",
    "../up", "e.g. x/y", "cubes could not be loaded: it holds 3 of 4 files", "10:30", "a:b", "~5/10", "~ 3",
    "\\x1b[31m", "\\n\\n", "C: 3", "//", "/", "<frozen importlib._bootstrap>", "torch/nn is no module",
    "float32[3, 224, 224]", "[path]/config.json", "x/", "50%/s", "lerobot/act_aloha", "--host 0.0.0.0 --port 8000",
    "(T, 7)", "a\\b", "http://127.0.0.1:9/x, http://h/home",
]  # fmt: skip


@pytest.mark.parametrize("text", STAYS)
def test_what_is_no_path_stays_as_it_is(text):
    assert without_paths(text) == text
    assert without_paths(f"it says {text!r}.") == f"it says {text!r}."


names = st.text(
    st.characters(exclude_categories=("C", "Z"), exclude_characters="/\\'\"`:;,()[]{}<>|~."), min_size=1, max_size=12
)
roots = st.sampled_from(["home", "tmp", "data", "Users", *sorted(os.listdir("/"))])


@given(roots, st.lists(names, min_size=1, max_size=6), st.sampled_from(sorted(FORMS)))
def test_no_part_of_any_path_is_left(root, parts, form):
    path = str(PurePosixPath("/", root, *(f"<{part}>".replace("<", "q").replace(">", "q") for part in parts)))
    assert without_paths(FORMS[form].replace("{}", path)) == FORMS[form].replace("{}", HIDDEN)


@given(st.lists(names, min_size=1, max_size=6))
def test_no_part_of_a_windows_path_is_left(parts):
    path = str(PureWindowsPath("C:\\", *(f"q{part}q" for part in parts)))
    assert without_paths(f"[WinError 2] not found: {path!r}") == f"[WinError 2] not found: '{HIDDEN}'"
    assert without_paths(f"{path} is not there") == f"{HIDDEN} is not there"


@given(st.lists(st.sampled_from([*STAYS, "is", "of 3"]), min_size=1, max_size=5))
def test_any_sentence_without_a_path_stays(words):
    text = ", ".join(words)
    assert without_paths(text) == text


@given(st.text())
def test_twice_is_once(text):
    assert without_paths(without_paths(text)) == without_paths(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("'/home/alice/My Runs (1)/act'", "'[path]'"),
        ("/home/alice/My Drive/Best Run/act is not there", "[path] is not there"),
        ("C:\\Program Files (x86)\\offboard\\a.json is damaged", "[path]/a.json is damaged"),
        ("'/tmp/x holds no weights, nor does anything else'", "'[path] holds no weights, nor does anything else'"),
        ("/tmp/run/x image/wrist m/s", "[path] image/wrist m/s"),
        ("'/tmp/a/config.json' and ws://h:1/tmp,/tmp/b", "'[path]/config.json' and ws://h:1/tmp,[path]"),
        ("s3://b/home/x and /home/x", "s3://b/home/x and [path]"),
    ],
)
def test_blanks_and_neighbours(text, shown):
    assert without_paths(text) == shown


def test_what_python_says_of_a_fault_here():
    try:
        Path("/nowhere", "is", "x.json").read_text()
    except OSError as error:
        said = without_paths("".join(traceback.format_exception(error)))
    assert "[path]/test_local_paths.py" in said
    assert "'[path]/x.json'" in said
    assert __file__ not in said
    assert "nowhere/is" not in said.replace('"/nowhere", "is"', "").replace("/nowhere/is", "/nowhere/is", 0)


def test_data_is_gone_through():
    assert without_paths_in({"a": ["/tmp/run/x", 3, None], "b": {"/tmp/k": ("m/s",)}}) == {
        "a": ["[path]", 3, None],
        "b": {"/tmp/k": ["m/s"]},
    }
