"""LeRobot's data sets in the versions that there are: 0.4 and 0.6."""

from __future__ import annotations

import contextlib
import logging
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from offboard_client.errors import ConfigurationError, told

_INSTALL = "pip install 'offboard-lerobot[lerobot]' (with LeRobot 0.6 'lerobot[dataset]' beside it)"


def quiet() -> None:
    """Keep what its libraries say beside the point from the terminal. Raises ConfigurationError where they are not."""
    os.environ.setdefault("SVT_LOG", "1")  # the video's encoder, which reads it as it is loaded
    _dataset()
    import av.logging
    import datasets  # pyright: ignore[reportMissingTypeStubs]

    av.logging.set_libav_level(av.logging.ERROR)
    datasets.disable_progress_bars()
    warnings.filterwarnings("ignore", module=r"lerobot\..*")
    logging.getLogger().addFilter(_is_told)  # which is LeRobot's own, and is asked of no other's records
    for name in ("lerobot", "datasets"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _is_told(record: logging.LogRecord) -> bool:
    return record.levelno >= logging.ERROR


def create(root: Path, repo_id: str, fps: int, features: dict[str, Any]) -> Any:
    """A new one at ``root``, which is not there yet."""
    return _dataset().create(repo_id, fps, features, root=root, video_backend="pyav")


def resume(root: Path, repo_id: str) -> Any:
    """The one at ``root``, to be added to. Raises ConfigurationError for what is none."""
    kind = _dataset()
    try:
        with _offline():
            if hasattr(kind, "resume"):
                return kind.resume(repo_id, root=root, video_backend="pyav")
            found = kind(repo_id, root=root, video_backend="pyav")
            found.episode_buffer = found.create_episode_buffer()
            return found
    except Exception as error:
        raise ConfigurationError(f"LeRobot cannot go on with this data set: {told(error)}") from error


def scalars(data: Any) -> None:
    """Make what LeRobot 0.4 keeps of one number a number, which numpy 2.4 no longer does for it."""
    buffer: Any = getattr(data, "episode_buffer", None)
    if buffer is None:  # 0.6, which does that itself
        return
    for name, feature in data.features.items():
        if tuple(feature["shape"]) == (1,) and isinstance(buffer[name], list):
            buffer[name] = [np.asarray(value).reshape(()) for value in buffer[name]]


def _dataset() -> Any:
    try:
        from lerobot.datasets.lerobot_dataset import LeRobotDataset  # pyright: ignore[reportMissingTypeStubs]
    except ImportError as error:
        raise ConfigurationError(f"LeRobot's data sets need LeRobot here ({told(error)}): {_INSTALL}") from error
    return LeRobotDataset


@contextlib.contextmanager
def _offline() -> Any:
    """Nothing is looked for on the Hub: it is here, or it is none."""
    import huggingface_hub.constants as constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
