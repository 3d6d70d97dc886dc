"""The first thing that runs in a worker, whatever its Python: it finds offboard's packages, or says why it cannot.

    python _boot.py QUESTIONS EVENTS

Both are descriptors of socket pairs. Standard library only, and nothing that an old Python could not read: what is
wrong with an environment has to be told by that environment.
"""

import json
import os
import socket
import struct
import sys

#: Raised with every change of what is said between a server and its worker.
PROTOCOL = 1
#: What offboard itself runs on, and what it needs there.
OLDEST = (3, 10)
NEEDED = ("msgpack", "numpy", "pluggy", "websockets")


def main() -> None:
    """Find offboard, and serve."""
    questions = socket.socket(fileno=int(sys.argv[1]))
    events = socket.socket(fileno=int(sys.argv[2]))
    for end in (questions, events):
        end.set_inheritable(False)
    try:
        start = json.loads(_line(events))
        version = ".".join(map(str, sys.version_info[:3]))
        _tell(events, hello=PROTOCOL, pid=os.getpid(), python=version)
        if sys.version_info < OLDEST:
            oldest = ".".join(map(str, OLDEST))
            _fail(events, f"{sys.executable} is Python {version}; a worker needs {oldest} or newer")
            return
        if start["whole"]:
            sys.path[:] = start["path"]
        else:
            sys.path[:1] = start["path"]
        try:
            from offboard_core.workers.main import serve
        except ImportError as error:
            import traceback

            traceback.print_exc()
            _fail(events, _lacking(error))
            return
    except (OSError, ValueError):  # the server is gone
        return
    serve(questions, events, start)


def _lacking(error: ImportError) -> str:
    name = (error.name or "").partition(".")[0]
    installed = f"{sys.executable} -m pip install {' '.join(NEEDED)}"
    if isinstance(error, ModuleNotFoundError) and name and not name.startswith("offboard"):
        return f"the environment of {sys.executable} lacks {name}, which offboard needs in a worker: {installed}"
    return f"offboard cannot be imported by {sys.executable} ({error}): {installed}"


def _line(events: socket.socket) -> str:
    size = struct.unpack("<I", _exactly(events, 4))[0]
    return _exactly(events, size).decode()


def _exactly(events: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = events.recv(size - len(data))
        if not part:
            raise OSError("the server is gone")
        data += part
    return data


def _tell(events: socket.socket, **told: object) -> None:
    data = json.dumps(told).encode()
    events.sendall(struct.pack("<I", len(data)) + data)


def _fail(events: socket.socket, text: str) -> None:
    _tell(events, failed=text, permanent=True)


if __name__ == "__main__":
    main()
