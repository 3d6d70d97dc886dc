"""``offboard replay``, from its command line to the page."""

from __future__ import annotations

import json
import os
import subprocess
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from offboard_client.cli import main
from offboard_process import environment, killed_if_it_hangs, started


@pytest.mark.parametrize(
    ("words", "token"), [(["{}"], None), (["--dataset.path={}"], "s3cret"), (["--dataset.path", "{}"], None)]
)
def test_the_page_is_there_until_it_is_ended(folder: Path, words: list[str], token: str | None) -> None:
    given = [word.format(folder) for word in words]
    more = {} if token is None else {"OFFBOARD_AUTH_TOKEN": token}
    process = started(
        "replay", *given, "--port=0", "--json", env=environment(**more),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    with process, killed_if_it_hangs(process):
        told = json.loads(process.stdout.readline())
        assert (told["folder"], told["episodes"]) == (str(folder), 2)
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        request = urllib.request.Request(f"{told['url']}api/episodes", headers=headers)
        with urllib.request.urlopen(request, timeout=600) as answer:
            assert len(json.load(answer)["episodes"]) == 2
        if token is not None:
            with pytest.raises(urllib.error.HTTPError, match="401"):
                urllib.request.urlopen(f"{told['url']}api/episodes", timeout=600)
        process.terminate()
        _, err = process.communicate()
    assert process.returncode == 0
    assert f"2 episodes of {folder} at http://127.0.0.1:" in err.replace("\n  ", " ")
    assert "Traceback" not in err


@pytest.mark.parametrize(
    ("words", "status", "says"),
    [
        ([], 2, "DIR is missing: the folder that `offboard run --output-dir DIR` recorded into"),
        (["{}", "--dataset.path={}"], 2, "the folder is given twice"),
        (["--dataset.path"], 2, "--dataset.path needs a value"),
        (["{}/none"], 1, "is not there: give the folder"),
        (["{}", "--host=0.0.0.0"], 1, "is reached from other machines: give the pages a token"),
        (["{}", "--port=99999"], 1, "the port is 99999"),
        (["{}", "--auth-token-file=/none"], 1, "the token file /none cannot be read"),
    ],
)
def test_what_cannot_be_served_is_said(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], status: int, says: str
) -> None:
    assert "OFFBOARD_AUTH_TOKEN" not in os.environ
    assert main(["replay", *(word.format(folder) for word in words)]) == status
    assert says in capsys.readouterr().err.replace("\n  ", " ")


def test_without_uvicorn_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.util
    import sys

    from offboard_client.errors import ConfigurationError

    for name in [name for name in sys.modules if name.startswith("offboard_client.pages")]:
        monkeypatch.delitem(sys.modules, name)
    find: Any = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "uvicorn" else find(name, *more)
    )
    with pytest.raises(ConfigurationError, match=r"here \(uvicorn\): pip install 'offboard-client\[pages\]'"):
        importlib.import_module("offboard_client.pages")
