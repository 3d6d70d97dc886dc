"""A load fetches nothing: what is named on the Hub is in its cache, whole, or the load says what of it is not.

huggingface_hub and transformers ask a flag whether they may use the network. While a thread loads, it is set for that
thread alone: another may fetch a checkpoint from the Hub at the same time.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
from collections.abc import Generator, Iterator
from traceback import walk_tb
from typing import Any

from offboard_client.errors import told as told_of

from .hub import fetch_it

_LOADING = threading.local()
_SETTING = threading.Lock()
#: What makes something of files of the Hub, by a ``from_pretrained``.
_MAKERS = ("diffusers", "transformers")
#: Files that an error names: more than one tokenizer looks for.
_MOST = 12


class _Switch:
    """In the place of a flag that was ``usual``."""

    def __init__(self, usual: object) -> None:
        self._usual = usual

    def __bool__(self) -> bool:
        return bool(self._usual) or getattr(_LOADING, "absent", None) is not None

    def __repr__(self) -> str:
        return str(bool(self))


class Absent:
    """What was looked for on the Hub and was not here."""

    def __init__(self) -> None:
        self._seen: list[tuple[BaseException, str, str, str | None]] = []

    def add(self, error: BaseException, repository: str, file: str, revision: str | None) -> None:
        """``error``: by which it was told."""
        self._seen.append((error, repository, file, revision))

    def of(self, error: BaseException) -> str | None:
        """Of which file ``error`` tells, or may; and what to type. None: it tells of something else."""
        chain = [*_chain(error)]
        told = [seen for seen in self._seen if any(seen[0] is each for each in chain)]
        if not self._seen or not (told or any(map(_is_of_files, chain))):
            return None
        _, repository, _, revision = (told or self._seen)[-1]
        names = dict.fromkeys(file for _, of, file, _ in reversed(told or self._seen) if of == repository)
        files = ", ".join([*names][:_MOST])
        fetch = fetch_it(repository, None if revision == "main" else revision)
        if told:
            return f"{files} of {repository!r} is not on this machine, and nothing is fetched at a load. {fetch}"
        # A tokenizer looks for many files, and says in the end that it cannot be made of what it found.
        return f"{told_of(error)}. Of {repository!r} were looked for, and are not on this machine: {files}. {fetch}"

    def forget(self) -> None:
        """Let go of the errors, and of all that they hold."""
        self._seen.clear()


def _is_of_files(error: BaseException) -> bool:
    """Whether it was raised where something is made of what the Hub has: an optional file may be what was missing."""
    frames = (frame for frame, _ in walk_tb(error.__traceback__))
    return any(
        frame.f_code.co_name == "from_pretrained" and frame.f_globals.get("__name__", "").partition(".")[0] in _MAKERS
        for frame in frames
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    while error is not None and not any(error is each for each in seen):
        seen.append(error)
        yield error
        error = error.__cause__ or error.__context__


@contextlib.contextmanager
def offline() -> Generator[Absent]:
    """This thread fetches nothing from the Hub before the block ends."""
    _set()
    _LOADING.absent = absent = Absent()
    _forget_connections()
    try:
        yield absent
    finally:
        _LOADING.absent = None
        absent.forget()
        _forget_connections()


def _set() -> None:
    hub: Any = importlib.import_module("huggingface_hub.constants")
    files: Any = importlib.import_module("huggingface_hub.file_download")
    with _SETTING:
        if not isinstance(hub.HF_HUB_OFFLINE, _Switch):
            hub.HF_HUB_OFFLINE = _Switch(hub.HF_HUB_OFFLINE)
        # transformers 4 takes it once, when it is imported.
        transformers: Any = sys.modules.get("transformers.utils.hub")
        usual = getattr(transformers, "_is_offline_mode", None)
        if usual is not None and not isinstance(usual, _Switch):
            transformers._is_offline_mode = _Switch(usual)
        fetch = getattr(files, "_hf_hub_download_to_cache_dir", None)
        if fetch is not None and not hasattr(fetch, "watched"):
            files._hf_hub_download_to_cache_dir = _watched(fetch)


def _watched(fetch: Any) -> Any:
    """All that asks for one file of the Hub comes here, and not all says which it was."""

    def watched(*where: Any, **what: Any) -> Any:
        try:
            return fetch(*where, **what)
        except Exception as error:
            if (absent := getattr(_LOADING, "absent", None)) is not None:
                absent.add(error, str(what.get("repo_id")), str(what.get("filename")), what.get("revision"))
            raise

    watched.watched = fetch  # pyright: ignore[reportFunctionMemberAccess]
    return watched


def _forget_connections() -> None:
    """huggingface_hub before 1.0 asks the flag when a thread first connects, and keeps the connection."""
    utils: Any = importlib.import_module("huggingface_hub.utils")
    if (forget := getattr(utils, "reset_sessions", None)) is not None:
        forget()
