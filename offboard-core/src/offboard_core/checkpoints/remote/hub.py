"""Repositories of the Hugging Face Hub, at one commit."""

from __future__ import annotations

import hashlib
import importlib
import json
import logging
import os
import re
import threading
from pathlib import Path
from typing import Any

from offboard_client.errors import ConfigurationError

from .cache import place_of
from .folder import RemoteFile, RemoteFolder

log = logging.getLogger(__name__)

_PINNED = re.compile(r"hf://(?P<repo>[^@]+)@(?P<commit>[0-9a-f]{40})(/(?P<path>.+))?")
#: What is kept of a commit although nobody fetched it: configs and the headers of weights, in bytes each.
_SMALL = 2**20


def open_folder(url: str) -> RemoteFolder:
    """The folder at a URL; one of the Hub at the commit that its revision names now.

    A branch that moves later moves nothing here: who wants the new commit opens the folder anew. With HF_HUB_OFFLINE
    the commit is the one that was found when the Hub was last asked. Raises ConfigurationError.
    """
    url = url.rstrip("/")
    if not url.startswith("hf://"):
        return RemoteFolder(url)
    return HubFolder(url if _PINNED.fullmatch(url) else _pin(url))


class HubFolder(RemoteFolder):
    """A folder of a repository at one commit (``hf://org/name@COMMIT/sub``, forty hexadecimal digits).

    A commit never changes: what was listed of it, and read of it in small pieces, is kept in the cache, and needs no
    network the next time.
    """

    def __init__(self, url: str) -> None:
        super().__init__(url)
        match = _PINNED.fullmatch(self.url)
        if match is None:
            raise ConfigurationError(f"{url} names no commit of a repository on the Hub")
        self.revision = match["commit"]
        self._path = match["path"] or ""
        self._repository = match["repo"]
        self._kept = _beside(f"hf://{match['repo']}@{match['commit']}", "kept")

    @property
    def name(self) -> str:
        """The last part of the path, or the name of the repository."""
        return (self._path or self._repository).rpartition("/")[2]

    def below(self, name: str) -> HubFolder:
        """A folder in this one, at the same commit."""
        return HubFolder(f"{self.url}/{name}")

    def files(self) -> dict[str, RemoteFile]:
        """See :meth:`RemoteFolder.files`."""
        record = self._record("files", "")
        if (known := _read(record)) is None:
            files = self._online(super().files)
            known = json.dumps([[file.path, file.size, file.version] for file in files.values()]).encode()
            _write(record, known)
        return {path: RemoteFile(path, size, version) for path, size, version in json.loads(known)}

    def read(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        """See :meth:`RemoteFolder.read`."""
        record = self._record(f"{start} {end}", path)
        if (content := _read(record)) is None:
            ask = super().read
            content = self._online(lambda: ask(path, start, end))
            if end is not None and len(content) == end - start <= _SMALL:
                _write(record, content)
        return content

    def _record(self, question: str, path: str) -> Path:
        return self._kept / hashlib.sha256(f"{question} {self._path}/{path}".encode()).hexdigest()

    def _online(self, question: Any) -> Any:
        if _is_offline():
            raise ConfigurationError(
                f"{self.url} is not in the cache, and HF_HUB_OFFLINE is set: load it once with a network"
            )
        return question()


class _Moving(RemoteFolder):
    """A folder of a repository at a revision that may move."""

    def pinned(self) -> str:
        """Its URL at the commit that the revision names now."""
        return self._ask(self._look)

    def _look(self) -> str:
        hub: Any = importlib.import_module("huggingface_hub")
        at = self._files.resolve_path(self._root)
        api = hub.HfApi(endpoint=self._files.endpoint, token=self._files.token)
        commit = api.repo_info(at.repo_id, revision=at.revision, repo_type=at.repo_type).sha
        prefix = hub.constants.REPO_TYPES_URL_PREFIXES.get(at.repo_type, "")
        return f"hf://{prefix}{at.repo_id}@{commit}/{at.path_in_repo}".rstrip("/")


def _pin(url: str) -> str:
    folder = _Moving(url)
    record = _beside(url, "commit")
    known = (_read(record) or b"").decode()
    if _is_offline():
        if not known:
            raise ConfigurationError(
                f"{url} is not in the cache ({record.parent}), and HF_HUB_OFFLINE is set: "
                "load it once with a network, or give the folder of a copy"
            )
        log.warning("HF_HUB_OFFLINE is set: %s is taken as it was when the Hub was last asked, %s", url, known)
        return known
    try:
        now = folder.pinned()
    except ConfigurationError as error:
        advice = (
            f"to take it from the cache as it was when the Hub was last asked, set HF_HUB_OFFLINE=1 or give {known}"
            if known
            else "check the name, the revision and the network; a private repository needs HF_TOKEN"
        )
        raise ConfigurationError(f"{error.text}; {advice}") from None
    if known not in ("", now):
        log.warning("%s has moved since it was last opened here: from %s to %s", url, known, now)
    _write(record, now.encode())
    return now


def _beside(url: str, ending: str) -> Path:
    place = place_of(url)
    return place.with_name(f"{place.name}.{ending}")


def _is_offline() -> bool:
    hub: Any = importlib.import_module("huggingface_hub")
    return bool(hub.constants.HF_HUB_OFFLINE)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


def _write(path: Path, content: bytes) -> None:
    fresh = path.with_name(f"{path.name}.{os.getpid()}-{threading.get_ident()}.new")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh.write_bytes(content)
        os.replace(fresh, path)
    except OSError as error:
        raise ConfigurationError(
            f"{path} cannot be written: {error.strerror} (OFFBOARD_CACHE moves the cache)"
        ) from error
