"""What a checkpoint's JSON and safetensors files say, read without torch and seen to be whole."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from typing import Any, cast

from .places import Place
from .registries import is_lfs_pointer

WEIGHTS = "model.safetensors"
#: Which file has which tensor, for weights in several files.
INDEX = f"{WEIGHTS}.index.json"

#: Of the safetensors format: the type of a number → how long it is.
_BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2"), 1),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 2),
    **dict.fromkeys(("I32", "U32", "F32"), 4),
    **dict.fromkeys(("I64", "U64", "F64"), 8),
}
# As much as tells a pointer of Git LFS.
_POINTER = 64
# Bytes of a JSON file: far more than a config and two lists of steps have.
_LONGEST_JSON = 16 * 2**20
# And of a safetensors header, of which the largest models have 5 MB; what it is read into takes 25 times as much.
_LONGEST_HEADER = 16 * 2**20


class Incomplete(Exception):
    """The folder is not, or not yet, a whole checkpoint; the text says what is wrong with which file.

    ``remedy``: what to do about it, unless it is still being written.
    """

    verdict = "is no complete checkpoint"

    def __init__(self, problem: str, remedy: str = "save or copy it again") -> None:
        super().__init__(problem)
        self.remedy = remedy


class Unfit(Incomplete):
    """Waiting does not help: what is there is of another kind."""

    verdict = "cannot be served"

    def __str__(self) -> str:
        return f"{super().__str__()}: {self.remedy}"


def read_json(place: Place, name: str) -> dict[str, Any]:
    """The map in a JSON file. Raises Incomplete."""
    size = _size(place, name)
    if size > _LONGEST_JSON:
        raise Incomplete(f"{name} has {size:,} bytes, and no such file has more than {_LONGEST_JSON:,}")
    text = _read(place, name, 0, size)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Incomplete(f"{name} cannot be read ({error})") from None
    if not isinstance(content, dict):
        raise Incomplete(f"{name} holds no map")
    return cast("dict[str, Any]", content)


def _is_name(value: object) -> bool:
    """Whether it is the plain name of a file, and no path."""
    return isinstance(value, str) and value not in ("", ".", "..") and not {"/", "\\", "\0"} & set(value)


def header(place: Place, name: str) -> dict[str, Any]:
    """The header of a safetensors file. It states the file's length: one that was cut short is found unread."""
    size = _size(place, name)
    try:
        length = int.from_bytes(_read(place, name, 0, min(_POINTER, size))[:8], "little")
        if size < 8 or length > size - 8:
            raise Incomplete(f"{name} ends within its header")
        if length > _LONGEST_HEADER:
            raise Incomplete(f"{name} has a header of {length:,} bytes, and none has more than {_LONGEST_HEADER:,}")
        found = json.loads(_read(place, name, 8, 8 + length))
        end, torn = _laid_out({key: entry for key, entry in found.items() if key != "__metadata__"})
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        raise Incomplete(f"{name} has no safetensors header") from None
    if size != 8 + length + end:
        raise Incomplete(f"{name} has {size:,} bytes, its header says {8 + length + end:,}")
    if torn is not None:
        raise Incomplete(f"{name} contradicts itself: {torn!r:.80} has {found[torn]} in its header")
    return found


def _laid_out(tensors: dict[str, Any]) -> tuple[int, str | None]:
    """Where the last of them ends; and the first that does not begin where one ends, or is not as long as it says."""
    at, torn = 0, None
    for key, entry in sorted(tensors.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = entry["data_offsets"]
        each = _BYTES.get(entry["dtype"])
        if torn is None and (begin != at or (each is not None and end - begin != each * math.prod(entry["shape"]))):
            torn = key
        at = end
    return at, torn


def weights(place: Place) -> tuple[tuple[str, ...], dict[str, Any]]:
    """The files that hold the weights, and the headers of all their tensors. Raises Incomplete.

    One file, or several if an index says which has what: then each tensor is in the file that it names, in that one
    alone, and no file has others.
    """
    if place.size(WEIGHTS) is not None or place.size(INDEX) is None:
        return (WEIGHTS,), header(place, WEIGHTS)
    listed: Any = read_json(place, INDEX).get("weight_map")
    if not isinstance(listed, dict) or not listed:
        raise Incomplete(f"{INDEX} has no weight_map: it does not say which file has which tensor")
    wanted: dict[str, set[str]] = {}
    for tensor, name in cast("dict[str, Any]", listed).items():
        if not _is_name(name) or not name.endswith(".safetensors"):
            raise Incomplete(f"{INDEX} names {name!r:.80}, which is no safetensors file of this folder")
        wanted.setdefault(name, set()).add(tensor)
    if lacking := [name for name in sorted(wanted) if place.size(name) is None]:
        raise Incomplete(f"it lacks {some(lacking)}, of {len(wanted)} files with weights that {INDEX} names")
    found: dict[str, Any] = {}
    for name in sorted(wanted):
        tensors = header(place, name)
        tensors.pop("__metadata__", None)
        if tensors.keys() != wanted[name]:
            raise Incomplete(
                f"{INDEX} does not fit {name}, which has not {some(wanted[name] - tensors.keys())}, and has besides "
                f"{some(tensors.keys() - wanted[name])}"
            )
        found |= tensors
    return tuple(sorted(wanted)), found


def some(names: Iterable[str]) -> str:
    """Names for an error: the first of them, and how many more there are."""
    listed = sorted(names)
    return ", ".join(listed[:5]) + (f" and {len(listed) - 5} more" if len(listed) > 5 else "") if listed else "nothing"


def _read(place: Place, name: str, start: int, end: int) -> bytes:
    try:
        content = place.read(name, start, end)
    except OSError as error:
        raise Incomplete(f"{name} cannot be read ({error})") from None
    if start == 0 and is_lfs_pointer(content):
        raise Unfit(
            f"{name} is a Git LFS pointer, not the file itself",
            f"run git lfs pull in {place.location}" if place.is_local else "upload the file that it stands for",
        )
    return content


def _size(place: Place, name: str) -> int:
    size = place.size(name)
    if size is None:
        raise Incomplete(f"{name} is missing")
    return size
