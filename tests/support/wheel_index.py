"""A package index of this process's own, with the wheels that a test wants, for uv to install from."""

from __future__ import annotations

import base64
import hashlib
import io
import sys
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


def _digest(data: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()


def wheel(name: str, version: str = "1.0", size: int = 0) -> bytes:
    """A wheel with one module of this name, and a file of ``size`` bytes that do not compress."""
    info = f"{name}-{version}.dist-info"
    filler = b"".join(hashlib.sha256(str(block).encode()).digest() for block in range(size // 32))
    files = {
        f"{name}.py": f"VERSION = {version!r}\n".encode(),
        f"{name}.bin": filler,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = [f"{path},{_digest(data)},{len(data)}" for path, data in files.items()] + [f"{info}/RECORD,,"]
    files[f"{info}/RECORD"] = "\n".join(record).encode() + b"\n"
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for path, data in files.items():
            archive.writestr(zipfile.ZipInfo(path), data)
    return out.getvalue()


def pinned(name: str, data: bytes, version: str = "1.0") -> str:
    """The line of a list that names this wheel."""
    return f"{name}=={version} --hash=sha256:{hashlib.sha256(data).hexdigest()}"


#: The package that the tests' environments hold, and the Python that they want: this one.
PEBBLE = wheel("pebble", size=300_000)
HERE = f"=={sys.version_info[0]}.{sys.version_info[1]}.*"


class Index:
    """What it has, what was asked for, and what holds it up. ``free``: cleared, who asks for a file waits."""

    def __init__(self, files: dict[str, bytes], status: int) -> None:
        self.files, self.status = files, status
        self.asked: list[str] = []
        self.free = threading.Event()
        self.free.set()
        self.held = threading.Event()
        self.url = ""


@contextmanager
def index(*, status: int = 200, suffix: str = "-1.0-py3-none-any.whl", **files: bytes) -> Iterator[Index]:
    """An index with these packages, by name; ``status``: what it answers to all."""
    made = Index({f"{name}{suffix}": data for name, data in files.items()}, status)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(self.path)
            last = self.path.rstrip("/").rpartition("/")[2]
            if last in made.files:
                made.held.set()
                assert made.free.wait(120)
                self.answer(made.files[last], "application/octet-stream")
                return
            links = "".join(f'<a href="/files/{file}">{file}</a>' for file in made.files if file.startswith(last + "-"))
            self.answer(f"<html><body>{links}</body></html>".encode(), "text/html")

        def answer(self, data: bytes, kind: str) -> None:
            self.send_response(made.status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}/simple"
    try:
        yield made
    finally:
        made.free.set()
        server.shutdown()
        thread.join()
        server.server_close()
