from __future__ import annotations

import pytest
from object_store import object_store


@pytest.fixture(scope="module")
def store():
    with pytest.MonkeyPatch.context() as patch, object_store(patch) as url:
        yield url


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("OFFBOARD_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
