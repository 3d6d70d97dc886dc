"""Episodes written by LeRobot's own ``LeRobotDataset``, whichever columns they have."""

from __future__ import annotations

import io
import shutil
from collections.abc import Mapping
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any

from offboard_client.errors import ConfigurationError, told

from .library import create, resume, scalars


class Writing:
    """A data set at ``root``: a new one with ``features``, LeRobot's, or the one that is there already.

    Raises ConfigurationError for what LeRobot refuses, and OSError.
    """

    def __init__(self, root: Path, name: str, fps: int, features: dict[str, dict[str, Any]]) -> None:
        self._root = root
        self._pictures = [name for name, each in features.items() if each["dtype"] in ("video", "image")]
        #: Frames of the episode that is being written.
        self._count = 0
        repo_id = f"offboard/{name}"
        if root.exists():
            self._data = resume(root, repo_id)
            return
        try:
            self._data = create(root, repo_id, fps, features)
        except OSError:
            raise
        except Exception as error:
            raise ConfigurationError(f"LeRobot cannot begin a data set of these columns: {told(error)}") from error

    def add(self, frame: Mapping[str, Any]) -> None:
        """One more frame of the episode that is being written; its ``task`` beside the columns."""
        said = io.StringIO()
        try:
            with redirect_stdout(said):
                self._data.add_frame({**frame})
        except OSError:
            raise
        except Exception as error:
            raise ConfigurationError(f"LeRobot does not take a frame: {told(error)}") from error
        self._check_written(said.getvalue())
        self._count += 1

    def _check_written(self, said: str) -> None:
        """Of a picture that it cannot write LeRobot says a line, and goes on without: all later ones would be of
        another frame.
        """
        name = f"frame-{self._count:06d}.png"
        for key in self._pictures:
            if not any(path.is_file() for path in (self._root / "images" / key).glob(f"*/{name}")):
                why = said.strip().splitlines() or [f"{name} of {key} was not written"]
                raise OSError(why[0])

    def save(self) -> None:
        """The frames since the last one are an episode."""
        self._count = 0
        try:
            scalars(self._data)
            self._data.save_episode(parallel_encoding=False)  # no processes, which a Ctrl-C would end
        except OSError:
            raise
        except Exception as error:
            raise ConfigurationError(f"LeRobot cannot write an episode: {told(error)}") from error

    def forget(self) -> None:
        """Frames that were added and not saved are not wanted."""
        self._count = 0
        self._data.clear_episode_buffer()
        # Those of video it leaves, and they would be in the next episode's.
        shutil.rmtree(self._root / "images", ignore_errors=True)

    def finish(self) -> None:
        """All that was saved is there. Nothing is called after it."""
        self.forget()
        self._data.finalize()
        shutil.rmtree(self._root / "images", ignore_errors=True)  # empty folders of frames that are video by now

    def discard(self) -> None:
        """Let go of it. Never raises."""
        with suppress(Exception):
            self._data.finalize()
