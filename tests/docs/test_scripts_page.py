"""docs/how-to/scripts.md: what its command lines do, typed as they stand there."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from offboard_process import serving
from puppets import PATIENCE

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "scripts.md").read_text("utf-8")


@pytest.mark.skipif(shutil.which("curl") is None, reason="the page asks by curl")
def test_the_curl_of_the_page_is_answered():
    (asked,) = re.findall(r"```bash\n(curl .+?)```", PAGE, re.DOTALL)
    (started,) = re.findall(r"```bash\noffboard serve (.+?)\n```", PAGE)
    with serving(*started.split()) as (_, said):
        here = asked.replace("localhost:8000", f"{said['host']}:{said['port']}")
        done = subprocess.run(["bash", "-c", here], capture_output=True, text=True, timeout=PATIENCE, check=True)
    answer = json.loads(done.stdout)
    assert answer["result"][0]["action"].keys() == {"target_pose", "target_grip"}, answer
    assert answer["result"][1]["timestamp"] > 0
    assert "warnings" not in answer, answer
