"""A folder at a URL, read through fsspec."""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from offboard_client.errors import ConfigurationError

#: Scheme → the extra of offboard-core that brings what fsspec needs for it.
_EXTRAS = {"s3": "s3", "gs": "gs", "hf": "remote"}
_HUB_PAGE = re.compile(
    r"https?://(huggingface|hf)\.co/(?P<repo>((datasets|spaces)/)?[^/]+/[^/]+)(/tree/(?P<revision>[^/]+)(/(?P<path>.+))?)?"
)
#: Characters of what a library says that are told.
_LONGEST = 200
#: What tells two versions of a file apart, by the names that stores give it, the most telling first.
_VERSIONS = ("ETag", "etag", "blob_id", "md5Hash", "crc32c", "generation", "LastModified", "mtime", "created")


def is_url(location: str) -> bool:
    """Whether a location is somewhere else than in this machine's file system."""
    return "://" in location


@dataclass(frozen=True)
class RemoteFile:
    """A file below a folder: ``path`` relative to it, ``size`` in bytes, ``version`` changes when its content does."""

    path: str
    size: int
    version: str


class RemoteFolder:
    """The folder at ``url`` (``s3://bucket/runs/a``, ``hf://org/name@revision/sub``).

    ``options``: for fsspec's file system, where the environment is not to say how the store is reached.
    Every method may wait for the network, and raises ConfigurationError for what is wrong with the place, the
    credentials or the connection.
    """

    #: The commit that is read, where the store has commits; else None.
    revision: str | None = None

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        self.url = url.rstrip("/")
        self._options = dict(options or {})
        self.scheme = url.partition("://")[0]
        if self.scheme in ("http", "https"):
            page = _HUB_PAGE.fullmatch(self.url)
            hint = (
                f"that repository is written hf://{page['repo']}"
                + (f"@{page['revision']}" if page["revision"] else "")
                + (f"/{page['path']}" if page["path"] else "")
                if page is not None
                else f"use one of {', '.join(_EXTRAS)}"
            )
            raise ConfigurationError(f"{url}: a web page cannot be listed; {hint}")
        try:
            fsspec: Any = importlib.import_module("fsspec")
            self._files, self._root = fsspec.core.url_to_fs(self.url, **self._options)
        except ImportError as error:
            extra = _EXTRAS.get(self.scheme, "remote")
            raise ConfigurationError(
                f"{url} needs {error.name or error}, which is not installed: pip install 'offboard-core[{extra}]'"
            ) from None
        except Exception as error:
            raise ConfigurationError(f"{url} cannot be understood: {type(error).__name__}: {error}") from None
        self._root = str(self._root).rstrip("/")
        # Left to itself, the Hub's file system reads five megabytes more than it is asked for, each time.
        self._reading = {"cache_type": "none"} if self.scheme == "hf" else {}

    @property
    def name(self) -> str:
        """The last part of the URL."""
        return self._root.rpartition("/")[2]

    def below(self, name: str) -> RemoteFolder:
        """A folder in this one."""
        return RemoteFolder(f"{self.url}/{name}", self._options)

    def folders(self) -> list[str]:
        """The names of the folders in it, sorted."""
        entries = self._ask(lambda: self._files.ls(self._root, detail=True))
        names = {self._relative(entry["name"]) for entry in entries if entry["type"] == "directory"}
        return sorted(name for name in names if "/" not in name)

    def files(self) -> dict[str, RemoteFile]:
        """Every file below it, by relative path. Raises for a name that would lead out of a folder."""
        found = self._ask(lambda: self._files.find(self._root, detail=True))
        files: dict[str, RemoteFile] = {}
        for full, entry in found.items():
            path = self._relative(full)
            if path and entry.get("type", "file") == "file" and not full.endswith("/"):
                files[path] = RemoteFile(path, int(entry["size"] or 0), _version(entry))
        return files

    def read(self, path: str, start: int = 0, end: int | None = None) -> bytes:
        """The bytes of a file from ``start`` to before ``end``."""
        full = f"{self._root}/{path}"
        return self._ask(lambda: self._files.cat_file(full, start=start, end=end, **self._reading))

    def write(self, path: str, local: Path) -> None:
        """Put a local file there, in place of what is."""
        self._ask(lambda: self._files.put_file(str(local), f"{self._root}/{path}"), "written")

    def remove(self, path: str) -> None:
        """Take a file away."""
        self._ask(lambda: self._files.rm_file(f"{self._root}/{path}"), "written")

    def _relative(self, full: str) -> str:
        path = str(full).rstrip("/")
        relative = path[len(self._root) :].lstrip("/") if path.startswith(self._root) else path
        parts = PurePosixPath(relative).parts
        if relative and (".." in parts or "\\" in relative or "\0" in relative or relative.startswith("/")):
            raise ConfigurationError(f"{self.url} holds a file called {relative!r}; it is not fetched")
        return relative

    def _ask(self, question: Any, what: str = "read") -> Any:
        try:
            self._files.invalidate_cache()
            return question()
        except ConfigurationError:
            raise
        except FileNotFoundError:
            raise ConfigurationError(f"{self.url} does not exist, or is empty") from None
        except PermissionError as error:
            raise ConfigurationError(f"{self.url} may not be {what}: {error}; check the credentials") from None
        except Exception as error:
            raise ConfigurationError(f"{self.url} cannot be {what}: {_spelled(error)}") from None


def _spelled(error: BaseException) -> str:
    """One line; of what holds a whole chain of others, as the Hub's does, the one that it began with."""
    said, root = f"{type(error).__name__}: {error}", error
    if len(said) > _LONGEST or "\n" in said:
        while (below := root.__cause__ or root.__context__) is not None:
            root = below
        said = " ".join(f"{type(root).__name__}: {root}".split())
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]}…"


def _version(entry: Mapping[str, Any]) -> str:
    said = next((str(entry[key]) for key in _VERSIONS if entry.get(key) is not None), "")
    return hashlib.sha256(f"{said} {entry['size']}".encode()).hexdigest()[:16]
