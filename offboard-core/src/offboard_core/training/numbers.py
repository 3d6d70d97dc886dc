"""Whether a data set that others made holds numbers only: as its statistics say it, and as its rows do."""

from __future__ import annotations

import importlib
import json
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
from offboard_client.errors import ConfigurationError, told

#: LeRobot's statistics: of the whole set, and of each episode (v2.1).
_WHOLE, _EACH = "stats.json", "episodes_stats.jsonl"
#: Beginnings of the dtypes of numbers; the rest are pictures, texts, and what is said of a scene.
_NUMBERS = ("float", "int", "uint", "bool")
#: Rows that are in memory at once.
_ROWS = 65_536


def check_numbers(folder: Path, columns: Collection[str] | None = None) -> None:
    """Raises ConfigurationError where a column of a LeRobot data set is NaN or infinite, or lacks a number.
    ``columns``: those that are looked at, where it is not all of them.

    What is trained on such numbers is NaN as a whole, after hours. The statistics are asked first; some sets have none,
    and some tools leave NaN out of their means, so the rows are asked, too, where pyarrow is here to read them.
    """
    features = _features(folder / "meta" / "info.json")
    features &= features if columns is None else {*columns}
    for path, where, said in (*_of_all(folder), *_of_each(folder)):
        wrong = [name for name, found in said.items() if name in features and not _is_finite(path, found)]
        if wrong:
            raise ConfigurationError(
                f"{folder} has numbers in {', '.join(wrong)} that are NaN or infinite, its {path.name} says{where}: "
                "all that is learnt of it would be, too. Take such episodes out (offboard convert leaves them out by "
                "name)"
            )
    _check_rows(folder, features)


def _check_rows(folder: Path, features: set[str]) -> None:
    try:
        parquet: Any = importlib.import_module("pyarrow.parquet")
    except ImportError:  # of the extra `convert`, which a training alone does not need
        return
    for path in sorted((folder / "data").glob("*/*.parquet")):
        try:
            with parquet.ParquetFile(path) as file:
                wrong = _not_numbers(file, [name for name in file.schema_arrow.names if name in features])
        except Exception as error:  # Arrow has errors of its own for what is cut short, besides OSError
            raise ConfigurationError(f"{path} is damaged, or cut short: {told(error)}") from error
        if wrong:
            raise ConfigurationError(
                f"{folder} has numbers in {', '.join(wrong)} that are NaN, infinite or missing, in the rows of "
                f"{path.relative_to(folder)}: all that is learnt of it would be, too. Take such episodes out (offboard "
                "convert leaves them out by name)"
            )


def _not_numbers(file: Any, names: list[str]) -> list[str]:
    wrong = dict[str, None]()
    for batch in file.iter_batches(_ROWS, columns=names, use_threads=False) if names else ():
        wrong |= {name: None for name in names if name not in wrong and not _has_numbers(batch.column(name))}
    return [*wrong]


def _has_numbers(column: Any) -> bool:
    """What is no number at all, such as a text, is none that could be NaN."""
    while hasattr(column, "flatten") and hasattr(column.type, "value_type"):
        if column.null_count:
            return False
        column = column.flatten()
    if column.null_count:
        return False
    values = np.asarray(column.to_numpy(zero_copy_only=False))
    return values.dtype.kind != "f" or bool(np.isfinite(values).all())


def check_finite(path: Path, what: str) -> None:
    """Raises ConfigurationError where a file of JSON, ``what``, holds NaN or an infinity."""
    if not _plain(_read(path, path.read_text("utf-8"))):
        raise ConfigurationError(
            f"{path}, {what}, holds NaN or an infinity: the data set that it was made of does. Take such episodes out "
            "(offboard convert leaves them out by name), and make it again"
        )


def _features(path: Path) -> set[str]:
    if not path.is_file():
        return set()
    found: Any = _map(path, _read(path, path.read_text("utf-8"))).get("features")
    named = cast("dict[str, dict[str, Any]]", found) if isinstance(found, dict) else {}
    return {name for name, one in named.items() if isinstance(one, dict) and str(one.get("dtype")).startswith(_NUMBERS)}  # pyright: ignore[reportUnnecessaryIsInstance] (others made it)


def _of_all(folder: Path) -> Iterator[tuple[Path, str, dict[str, Any]]]:
    path = folder / "meta" / _WHOLE
    if path.is_file():
        yield path, "", _map(path, _read(path, path.read_text("utf-8")))


def _of_each(folder: Path) -> Iterator[tuple[Path, str, dict[str, Any]]]:
    path = folder / "meta" / _EACH
    for line in path.read_text("utf-8").splitlines() if path.is_file() else ():
        if line.strip():
            episode = _map(path, _read(path, line))
            yield path, f" of episode {episode.get('episode_index')}", _map(path, episode.get("stats"))


def _is_finite(path: Path, found: Any) -> bool:
    try:
        return bool(np.isfinite(np.asarray(found["mean"], np.float64)).all())
    except (TypeError, ValueError, LookupError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None


def _plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_plain, cast("dict[str, Any]", value).values()))
    if isinstance(value, list):
        return all(map(_plain, cast("list[Any]", value)))
    return not isinstance(value, float) or bool(np.isfinite(value))


def _read(path: Path, text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path} cannot be read: {error}") from None


def _map(path: Path, found: Any) -> dict[str, Any]:
    if not isinstance(found, dict):
        raise ConfigurationError(f"{path} cannot be read: it holds {type(found).__name__}, expected maps")
    return cast("dict[str, Any]", found)
