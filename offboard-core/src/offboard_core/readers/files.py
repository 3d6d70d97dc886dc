"""Parquet, JSON and JSON lines of folders that others wrote: their sizes are looked at before they are read."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from offboard_client.errors import ConfigurationError, RecordingFailed, told
from offboard_client.wire import Array

#: Bytes of a JSON file, of a line of one of JSON lines, and of a column of Parquet once it is unpacked.
_JSON, _LINE, _COLUMN = 64 * 2**20, 16 * 2**20, 4 * 2**30
#: Bytes of the file of a picture: the largest that is decoded has fewer before it is packed.
_PICTURE = 64 * 2**20
#: Rows of one Parquet file: ten days at 30 a second.
_ROWS = 30_000_000


def libraries() -> tuple[Any, Any]:
    """Apache Arrow, and its Parquet. Raises ConfigurationError."""
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        said = f"data sets of others are read by pyarrow, which is not here ({told(error)}): "
        raise ConfigurationError(said + "pip install 'offboard-core[convert]'") from error


def read_map(path: Path) -> dict[str, Any]:
    """The map in a JSON file. Raises RecordingFailed."""
    try:
        if (size := path.stat().st_size) > _JSON:
            raise RecordingFailed(f"{path} has {size:,} bytes, and no such file has more than {_JSON:,}")
        found: Any = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise RecordingFailed(f"{path} is missing") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RecordingFailed(f"{path} cannot be read: {told(error)}") from error
    if not isinstance(found, dict):
        raise RecordingFailed(f"{path} holds no map")
    return cast("dict[str, Any]", found)


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The maps in a file of JSON lines. Raises RecordingFailed."""
    try:
        with path.open("rb") as file:
            for number in range(1, _ROWS):
                line = file.readline(_LINE + 1)
                if not line:
                    return
                if len(line) > _LINE:
                    raise RecordingFailed(f"line {number} of {path} is longer than {_LINE:,} bytes")
                if not line.strip():
                    continue
                found: Any = json.loads(line)
                if not isinstance(found, dict):
                    raise RecordingFailed(f"line {number} of {path} holds no map")
                yield cast("dict[str, Any]", found)
    except FileNotFoundError:
        raise RecordingFailed(f"{path} is missing") from None
    except (OSError, ValueError, RecursionError) as error:
        raise RecordingFailed(f"{path} cannot be read: {told(error)}") from error


class Table:
    """One Parquet file. All methods raise RecordingFailed for what is damaged, missing or too large."""

    def __init__(self, path: Path) -> None:
        self.path = path
        parquet = libraries()[1]
        try:
            self._file: Any = parquet.ParquetFile(path)
            self._metadata: Any = self._file.metadata
            self.schema: Any = self._file.schema_arrow
        except FileNotFoundError:
            raise RecordingFailed(f"{path} is missing") from None
        except Exception as error:  # Arrow has errors of its own for what is cut short, besides OSError
            raise RecordingFailed(f"{path} is damaged, or cut short: {told(error)}") from error
        if len(self) > _ROWS:
            raise RecordingFailed(f"{path} says that it has {len(self):,} rows: it is damaged")

    def __len__(self) -> int:
        return int(self._metadata.num_rows)

    @property
    def names(self) -> list[str]:
        """Its columns."""
        return [str(name) for name in self.schema.names]

    def column(self, name: str, first: int = 0, count: int | None = None) -> Any:
        """Arrow's values of a column of numbers, of ``count`` rows from ``first`` on; all without."""
        count = len(self) - first if count is None else count
        groups, begin = self._groups(first, count)
        self._check(name, groups)
        if (kind := _within(self.schema.field(name).type)) is not None:  # one text may stand for each of all rows
            raise RecordingFailed(f"{name} of {self.path} holds {kind}, and no numbers")
        try:
            table = self._file.read_row_groups(groups, columns=[name], use_threads=False)
            return table.column(table.schema.get_field_index(name)).slice(first - begin, count).combine_chunks()
        except RecordingFailed:
            raise
        except Exception as error:
            raise RecordingFailed(f"{name} of {self.path} cannot be read: {told(error)}") from error

    def numbers(self, name: str, width: int | None, first: int = 0, count: int | None = None) -> Array:
        """The same as (rows, ``width``) float64; of any width, which is the same in all rows, where that is None."""
        found = self.column(name, first, count)
        what = f"{name} of {self.path}"
        if found.null_count:
            raise RecordingFailed(f"{what} has rows without numbers")
        rows, flat = len(found), found
        while hasattr(flat, "flatten") and _is_list(flat.type):
            if flat.null_count or not _is_even(flat):  # laid end to end they would be other rows' numbers
                raise RecordingFailed(f"{what} is damaged: its rows have not as many numbers each")
            flat = flat.flatten()
        try:
            values = np.asarray(flat.to_numpy(zero_copy_only=False))
            if values.dtype.kind not in "biuf":
                raise RecordingFailed(f"{what} holds {flat.type}, and no numbers")
            width = (len(values) // max(rows, 1)) if width is None else width
            return values.astype(np.float64).reshape(rows, width)
        except (ValueError, TypeError, NotImplementedError) as error:
            raise RecordingFailed(f"{what} has {len(flat)} numbers in {rows} rows, and not {width} in each") from error
        except RecordingFailed:
            raise
        except Exception as error:
            raise RecordingFailed(f"{what} cannot be read: {told(error)}") from error

    def whole(self, name: str, first: int = 0, count: int | None = None) -> Array:
        """Whole numbers, (rows,) int64."""
        found = self.column(name, first, count)
        arrow = libraries()[0]
        if found.null_count or not arrow.types.is_integer(found.type):
            raise RecordingFailed(f"{name} of {self.path} is not a whole number in each row")
        return np.asarray(found.to_numpy(zero_copy_only=False)).astype(np.int64)

    def texts(self, name: str) -> list[str]:
        """A column of texts. One that is there a million times is in memory once."""
        self._check(name, range(self._metadata.num_row_groups))
        try:
            file = libraries()[1].ParquetFile(self.path, read_dictionary=[name])
            found, texts = file.read(columns=[name], use_threads=False).column(0), list[str]()
            for chunk in found.chunks:
                words = chunk.dictionary.to_pylist() if hasattr(chunk, "dictionary") else [None]
                if chunk.null_count or not all(isinstance(word, str) for word in words):
                    raise RecordingFailed(f"{name} of {self.path} is no text in each row")
                texts += [words[place] for place in chunk.indices.to_pylist()]
        except RecordingFailed:
            raise
        except Exception as error:
            raise RecordingFailed(f"{name} of {self.path} cannot be read: {told(error)}") from error
        return texts

    def pictures(self, name: str, first: int, count: int) -> Iterator[bytes | None]:
        """The files of pictures in a column, one after the other, None where there is none; one is in memory at a
        time.
        """
        groups, begin = self._groups(first, count)
        self._check(name, groups, _PICTURE)
        try:
            rows = self._file.iter_batches(1, row_groups=groups, columns=[name], use_threads=False)
            for at, row in enumerate(rows, begin):
                if not first <= at < first + count:
                    continue
                value = row.column(row.schema.get_field_index(name))[0]
                value = value["bytes"] if value.is_valid and libraries()[0].types.is_struct(value.type) else value
                data = value.as_buffer() if value.is_valid else None
                if data is not None and data.size > _PICTURE:
                    raise RecordingFailed(
                        f"{name} of {self.path} has {data.size:,} bytes in row {at}, and no picture has more than "
                        f"{_PICTURE:,}"
                    )
                yield None if data is None else data.to_pybytes()
        except RecordingFailed:
            raise
        except Exception as error:
            raise RecordingFailed(f"{name} of {self.path} cannot be read: {told(error)}") from error

    def _groups(self, first: int, count: int) -> tuple[list[int], int]:
        """The row groups that have these rows, and the row that the first of them begins with."""
        groups, begin, at = list[int](), 0, 0
        for group in range(self._metadata.num_row_groups):
            size = self._metadata.row_group(group).num_rows
            if at < first + count and at + size > first:
                begin = begin if groups else at
                groups.append(group)
            at += size
        return groups, begin

    def _check(self, name: str, groups: Sequence[int], most: int = _COLUMN) -> None:
        """``most``: bytes of a row, in the mean of a group of rows, for nobody says which of them has how many."""
        if name not in self.names:
            raise RecordingFailed(f"{self.path} has no column {name}; it has {', '.join(self.names)}")
        size = 0
        for group in groups:
            row_group = self._metadata.row_group(group)
            before = size
            for place in range(row_group.num_columns):
                column = row_group.column(place)
                if column.path_in_schema == name or column.path_in_schema.startswith(f"{name}."):
                    size += max(column.total_uncompressed_size, 8 * column.num_values)
            if size - before > most * row_group.num_rows:
                raise RecordingFailed(
                    f"{name} of {self.path} has more than {most:,} bytes a row once it is unpacked: no picture has"
                )
        if size > _COLUMN:
            raise RecordingFailed(f"{name} of {self.path} has {size:,} bytes once it is unpacked: more than any has")


def _is_even(lists: Any) -> bool:
    """Whether all lists are as long."""
    if libraries()[0].types.is_fixed_size_list(lists.type):
        return True
    lengths = np.diff(lists.offsets.to_numpy())
    return len(lengths) == 0 or bool((lengths == lengths[0]).all())


def _within(kind: Any) -> Any:
    """What texts or bytes a column of this type, or of lists of it, holds; None where it holds none."""
    types = libraries()[0].types
    while _is_list(kind):
        kind = kind.value_type
    variable = (types.is_string, types.is_binary, types.is_large_string, types.is_large_binary, types.is_dictionary)
    return kind if any(is_one(kind) for is_one in variable) else None


def _is_list(kind: Any) -> bool:
    types = libraries()[0].types
    return bool(types.is_list(kind) or types.is_fixed_size_list(kind) or types.is_large_list(kind))
