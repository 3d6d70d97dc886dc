"""How the scene looked at the start of a trial when somebody set it up for the first time: to set it up so again."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from ..errors import ConfigurationError, NotFound, told
from ..recording import encode_png
from ..wire import Array

#: ``START-CAMERA.png``; a camera's name as in an address.
_NAME = re.compile(r"(\d{1,12})-([A-Za-z0-9_.%-]{1,200})\.(png|jpg|jpeg)")
_TYPES = {"png": "image/png", "jpg": "image/jpeg", "jpeg": "image/jpeg"}
#: No picture is larger, in bytes.
_LARGEST = 32 << 20


class Starts:
    """A folder of pictures ``START-CAMERA.png``, one for each start and camera. Thread-safe.

    What is asked for is looked up by name in what the folder holds, and is never a path. Raises ConfigurationError for
    a folder that cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer = ThreadPoolExecutor(1, "offboard-page-starts")
        #: Why the last could not be kept, in words.
        self.problem: str | None = None
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigurationError(
                f"no folder for start pictures can be made at {folder}: {error.strerror or told(error)}"
            ) from error
        self._files: dict[tuple[int, str], Path] = {}
        # How often those of a start were thrown away: browsers keep what they have seen under its stamp.
        self._thrown = Counter[int]()
        self._began = time.time_ns() // 1_000_000
        for path in sorted(folder.iterdir()):
            if (match := _NAME.fullmatch(path.name)) is not None:
                self._files.setdefault((int(match[1]), unquote(match[2])), path)

    def of(self, start: int) -> dict[str, Any]:
        """``start``, the ``cameras`` of which there is a picture, and a ``stamp`` that whoever confirms it repeats."""
        files = {camera: path for (number, camera), path in dict(self._files).items() if number == start}
        return {
            "start": start,
            "cameras": sorted(files),
            "stamp": f"{start}.{len(files)}.{self._began + self._thrown[start]}",
        }

    def keep(self, start: int, pictures: Mapping[str, Array]) -> bool:
        """The scene as it is: the first of a start counts, and nobody waits for the disk. (H, W, 3) uint8 RGB each.

        Whether this is the first.
        """
        first = not any(number == start for number, _ in self._files)
        if first:
            self._writer.submit(self._keep, start, dict(pictures))
        return first

    def forget(self, start: int) -> None:
        """A start shall not look so: the next that is kept is its first. Nobody waits for the disk."""
        self._writer.submit(self._forget, start)

    def read(self, start: int, camera: str) -> tuple[bytes, str]:
        """A picture's file, and its type. Raises NotFound; a file that somebody has removed is none from then on."""
        path = self._files.get((start, camera))
        if path is None:
            raise NotFound(f"there is no start picture of {camera[:200]!r} for start {start}")
        try:
            with path.open("rb") as file:
                data = file.read(_LARGEST + 1)
        except FileNotFoundError:
            if self._files.pop((start, camera), None) is not None:
                self._thrown[start] += 1
            raise NotFound(
                f"{path.name} is gone: the next scene that is confirmed for start {start} is its first"
            ) from None
        except OSError as error:
            raise NotFound(f"{path.name} cannot be read: {error.strerror or told(error)}") from error
        if len(data) > _LARGEST:
            raise NotFound(f"{path.name} is larger than {_LARGEST} bytes")
        return data, _TYPES[path.suffix[1:]]

    def close(self) -> None:
        """Write what is left. May be repeated."""
        self._writer.shutdown(wait=True)

    def _keep(self, start: int, pictures: Mapping[str, Array]) -> None:
        try:
            for camera, picture in pictures.items():
                path = self._folder / f"{start}-{_quoted(camera)}.png"
                rest = path.with_name(f".{path.name}.{os.getpid()}")
                rest.write_bytes(encode_png(picture))
                rest.replace(path)
                self._files[start, camera] = path
        except (OSError, ValueError) as error:  # FFmpeg's errors are among them
            self.problem = f"the start picture cannot be kept: {getattr(error, 'strerror', None) or told(error)}"

    def _forget(self, start: int) -> None:
        for number, camera in list(self._files):
            if number == start:
                path = self._files.pop((number, camera))
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    self.problem = f"{path.name} cannot be removed: {error.strerror or told(error)}"
        self._thrown[start] += 1


def _quoted(camera: str) -> str:
    """Of letters, digits and few signs, so that it is one name in any folder."""
    return re.sub(r"[^A-Za-z0-9_-]", lambda found: "".join(f"%{each:02X}" for each in found[0].encode()), camera)[:190]
