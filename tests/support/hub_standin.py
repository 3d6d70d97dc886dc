"""A server that answers as the Hugging Face Hub does, for huggingface_hub's own client, with one repository."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import os
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from puppets import PATIENCE


class Hub:
    """``repository`` as the Hub has it: ``commits`` and ``revisions`` that name them; ``asked`` lists what was read."""

    def __init__(self, repository: str = "org/name") -> None:
        self.repository = repository
        self.commits: dict[str, dict[str, bytes]] = {}
        self.revisions: dict[str, str] = {}
        self.asked: list[tuple[str, int, int]] = []
        #: The paths of all requests, files or not.
        self.requests: list[str] = []
        #: Reads of a file that lead to this many bytes or beyond break off; None: none do.
        self.breaks_at: int | None = None
        #: A file's name → reads of it are not answered before this is set.
        self.held: dict[str, threading.Event] = {}
        self.url = ""
        #: A tag → the commit that it names. What makes the repository, or None where it is there from the beginning.
        self.tags: dict[str, str] = {}
        self.made: dict[str, object] | None = None
        #: Whether a commit is refused.
        self.refuses = False

    def push(self, files: dict[str, bytes], revision: str = "main") -> str:
        """A new commit of these files, which ``revision`` names from now on."""
        commit = hashlib.sha1(b"".join(name.encode() + content for name, content in sorted(files.items()))).hexdigest()
        self.commits[commit] = files
        self.revisions[revision] = commit
        return commit

    def push_folder(self, folder: Path, revision: str = "main", under: str = "") -> str:
        """A new commit of the files of a folder."""
        found = {
            f"{under}{path.relative_to(folder).as_posix()}": path.read_bytes()
            for path in folder.rglob("*")
            if path.is_file() and not any(parent.is_symlink() for parent in path.parents)
        }
        return self.push(found, revision)

    def environment(self, home: Path, **more: str) -> dict[str, str]:
        """What a process needs to take this for the Hub. ``home``: where it keeps what it fetched."""
        return {
            "HF_ENDPOINT": self.url,
            "HF_HOME": str(home),
            "HF_HUB_OFFLINE": "0",
            "OFFBOARD_CACHE": str(home / "cache"),
            "NO_PROXY": os.environ.get("NO_PROXY", "") + ",127.0.0.1",
            **more,
        }

    def files(self, revision: str) -> dict[str, bytes] | None:
        return self.commits.get(self.revisions.get(revision, revision))


def tree(files: dict[str, bytes], under: str = "") -> list[dict[str, object]]:
    found: dict[str, dict[str, object]] = {}
    for name, content in files.items():
        parts = name.split("/")
        for i in range(1, len(parts)):
            folder = "/".join(parts[:i])
            found[folder] = {"type": "directory", "path": folder, "oid": folder, "size": 0}
        oid = hashlib.sha1(content).hexdigest()
        found[name] = {"type": "file", "path": name, "oid": oid, "size": len(content)}
    return [entry for path, entry in found.items() if not under or path.startswith(f"{under}/")]


@contextlib.contextmanager
def hub_standin(repository: str = "org/name") -> Iterator[Hub]:
    """The server, until the block ends."""
    hub = Hub(repository)
    address = f"/api/{repository}" if repository.startswith("datasets/") else f"/api/models/{repository}"

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            path = unquote(urlsplit(self.path).path)
            api, files = address, f"/{repository}/resolve/"
            if match := re.fullmatch(rf"{api}/tree/([^/]+)/?(.*)", path):
                there = hub.files(match[1])
                self.answer(None if there is None else tree(there, match[2]) or None)
            elif match := re.fullmatch(rf"{api}(?:/revision/([^/]+))?", path):
                commit = hub.revisions.get(match[1] or "main", match[1])
                known = commit in hub.commits
                self.answer({"id": repository, "sha": commit, "siblings": [], "tags": []} if known else None)
            elif match := re.fullmatch(rf"{files}([^/]+)/(.*)", path):
                self.read((hub.files(match[1]) or {}).get(match[2]), match[2])
            else:
                self.answer(None)

        def do_DELETE(self):
            tag = unquote(self.path).rpartition("/")[2]
            self.answer({} if hub.tags.pop(tag, None) else None)

        def do_POST(self):
            path = unquote(urlsplit(self.path).path)
            revision = path.rpartition("/")[2]
            form = self.rfile.read(int(self.headers["Content-Length"])).decode()
            if path == "/api/repos/create":
                hub.made = hub.made or json.loads(form)
                if "main" not in hub.revisions:
                    hub.push({".gitattributes": b""})
                self.answer({"url": f"{hub.url}/{repository}"})
            elif path.startswith(f"{address}/preupload/"):
                names = [each["path"] for each in json.loads(form)["files"]]
                self.answer({
                    "files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]
                })  # fmt: skip
            elif path.startswith(f"{address}/commit/"):
                self.answer(b"no", 403) if hub.refuses else self.commit(form)
            elif path.startswith(f"{address}/tag/"):
                hub.tags[json.loads(form)["tag"]] = hub.revisions[revision]
                self.answer({})
            else:
                wanted = re.findall(r"paths=([^&]+)", form) or json.loads(form)["paths"]
                entries = tree(hub.files(revision) or {})
                self.answer([entry for path in wanted for entry in entries if entry["path"] == unquote(path)])

        def commit(self, form):
            files = dict(hub.files("main") or {})
            for line in map(json.loads, form.splitlines()):
                said = line["value"]
                if line["key"] == "file":
                    files[said["path"]] = base64.b64decode(said["content"])
                elif line["key"] == "deletedFile":
                    del files[said["path"]]
            commit = hub.push(files)
            self.answer({"commitUrl": f"{hub.url}/{repository}/commit/{commit}", "commitOid": commit})

        def read(self, content, name):
            if content is None:
                return self.answer(None)
            start, end = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"]).groups())
            hub.asked.append((name, start, end + 1))
            if name in hub.held:
                hub.held[name].wait(PATIENCE)
            if hub.breaks_at is not None and end >= hub.breaks_at:
                return self.answer(b"", 403)
            return self.answer(content[start : end + 1], 206)

        def answer(self, value, status=200):
            body = value if isinstance(value, bytes) else json.dumps(value if value is not None else {}).encode()
            self.send_response(404 if value is None else status)
            if value is None:
                found = "EntryNotFound" if "resolve" in self.path else "RevisionNotFound"
                self.send_header("X-Error-Code", found if hub.revisions else "RepoNotFound")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            hub.requests.append(self.path)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
