"""A table that a command writes while it works."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

from ..errors import ConfigurationError


class CsvFile:
    """Lines of named columns, each in the file as soon as it is written. It is never a file that was there before."""

    def __init__(self, path: Path, columns: Sequence[str], flag: str) -> None:
        """``flag``: the option that named it. Raises ConfigurationError where no such file can be made."""
        self._path, self._written = path, False
        try:
            self._file = path.open("x", encoding="utf-8", newline="")
        except FileExistsError:
            raise ConfigurationError(
                f"{flag} {path}: there is such a file, and nothing is written over it; name another, or take it away"
            ) from None
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"{flag} {path}: it cannot be written: {error}") from error
        self._lines = csv.DictWriter(self._file, columns, lineterminator="\n")
        try:
            self._lines.writeheader()
            self._file.flush()
        except OSError as error:
            self.close()
            raise ConfigurationError(f"{flag} {path}: it cannot be written: {error}") from error

    def write(self, values: Mapping[str, Any]) -> None:
        """A line; a column that ``values`` lacks stays empty, a float has three decimals. Raises OSError."""
        self._written = True
        self._lines.writerow(
            {name: f"{value:.3f}" if isinstance(value, float) else value for name, value in values.items()}
        )
        self._file.flush()

    def close(self) -> None:
        """Close it; without a line it is taken away, so that what did not begin can be tried again."""
        try:
            self._file.close()
        finally:
            if not self._written:
                self._path.unlink(missing_ok=True)

    def __enter__(self) -> CsvFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()
