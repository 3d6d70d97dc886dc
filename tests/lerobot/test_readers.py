"""A data set that the LeRobot which is here wrote, read as files: as LeRobot reads it."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

if importlib.util.find_spec("pyarrow") is None or importlib.util.find_spec("datasets") is None:
    pytest.skip("LeRobot's data sets are what this is about", allow_module_level=True)

import lerobot_rows

#: LeRobot 0.4 reads video by torchvision, which says that it will not for ever.
pytestmark = pytest.mark.filterwarnings("ignore:The video decoding and encoding capabilities of torchvision")


def test_what_lerobot_wrote_is_read_as_lerobot_reads_it(
    lerobot: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    lerobot_rows.write(str(tmp_path / "set"))
    lerobot_rows.check(str(tmp_path / "set"), lerobot_rows.rows(str(tmp_path / "set")))
