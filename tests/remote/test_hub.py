"""hf:// through huggingface_hub's own client, against a server that answers as the Hub does."""

import contextlib
import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

import pytest

FILES = {
    "exp/10/params/_METADATA": b"{}",
    "exp/10/params/d/0": bytes(range(256)) * 40,
    "exp/10/train_state/big": b"x" * 100,
    "README.md": b"# a model",
}


class Hub(BaseHTTPRequestHandler):
    """One repository, org/name, of which the revision v1 exists."""

    asked: list[tuple[str, str | None]] = []

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        if match := re.fullmatch(r"/api/models/org/name/tree/v1/?(.*)", path):
            self.answer(self.tree(match[1]) or None)
        elif re.fullmatch(r"/api/models/org/name(/revision/v1)?", path):
            self.answer({"id": "org/name", "sha": "abc", "siblings": [], "tags": [], "private": False, "downloads": 0})
        elif (match := re.fullmatch(r"/org/name/resolve/v1/(.*)", path)) and match[1] in FILES:
            start, end = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"]).groups()
            self.asked.append((match[1], self.headers["Range"]))
            self.answer(FILES[match[1]][int(start) : int(end) + 1], 206)
        else:
            self.answer(None)

    def do_POST(self):
        form = self.rfile.read(int(self.headers["Content-Length"])).decode()
        wanted = re.findall(r"paths=([^&]+)", form) or json.loads(form)["paths"]
        self.answer([entry for path in wanted for entry in self.tree("") if entry["path"] == unquote(path)])

    def tree(self, under):
        found = {}
        for name, content in FILES.items():
            parts = name.split("/")
            for i in range(1, len(parts)):
                folder = "/".join(parts[:i])
                found[folder] = {"type": "directory", "path": folder, "oid": folder, "size": 0}
            found[name] = {"type": "file", "path": name, "oid": f"oid-{name}", "size": len(content)}
        return [entry for path, entry in found.items() if not under or path.startswith(f"{under}/")]

    def answer(self, value, status=200):
        body = value if isinstance(value, bytes) else json.dumps(value if value is not None else {}).encode()
        self.send_response(404 if value is None else status)
        if value is None:
            self.send_header("X-Error-Code", "EntryNotFound" if "resolve" in self.path else "RevisionNotFound")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


PROGRAM = """
import sys
from offboard_core.remote import RemoteFolder, fetch
folder = RemoteFolder("hf://org/name@v1/exp")
print(folder.folders(), sorted(folder.files()))
place = fetch(folder.below("10"), lambda _: None, lambda path: not path.startswith("train_state/"))
print(sorted(p.relative_to(place).as_posix() for p in place.rglob("*") if p.is_file() and p.name[0] != "."))
print((place / "params" / "d" / "0").read_bytes() == bytes(range(256)) * 40)
try:
    RemoteFolder("hf://org/name@v2/exp").files()
except Exception as error:
    print(type(error).__name__)
"""


def test_a_repository_on_the_hub_is_listed_and_fetched_at_its_revision(hub, cache, tmp_path):
    Hub.asked.clear()
    environment = {**os.environ, "HF_ENDPOINT": hub, "HF_HOME": str(tmp_path), "OFFBOARD_CACHE": str(cache)}
    with contextlib.suppress(KeyError):
        del environment["HF_HUB_OFFLINE"]
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, env=environment, timeout=120, check=False
    )
    assert done.stdout.splitlines() == [
        "['10'] ['10/params/_METADATA', '10/params/d/0', '10/train_state/big']",
        "['params/_METADATA', 'params/d/0']",
        "True",
        "ConfigurationError",
    ], done.stderr
    assert {name for name, _ in Hub.asked} == {"exp/10/params/_METADATA", "exp/10/params/d/0"}
