"""Pages need the extra ``pages``, and a folder of recordings."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

if importlib.util.find_spec("mcap") is None or importlib.util.find_spec("uvicorn") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    from asgi_calls import Asked
    from filmed import record
    from offboard_client.pages import Replay, pages_app

    @pytest.fixture
    def folder(tmp_path: Path) -> Path:
        """Two episodes of a few dozen frames."""
        record(tmp_path, 48, task="stack <b>cubes</b>")
        record(tmp_path, 12, task="sort")
        return tmp_path

    @pytest.fixture
    def pages(folder: Path) -> Iterator[Any]:
        """What is asked of the pages of that folder."""
        replay = Replay(folder)
        yield Asked(pages_app(replay))
        replay.close()
