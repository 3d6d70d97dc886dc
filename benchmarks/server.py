"""One server process: ``server.py PEER POLICY`` prints ``{"port": N}`` and serves until its stdin ends."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading

from peers import load


def _leave_with_parent() -> None:
    # Not sys.stdin: its lock, held by this thread, would be in the interpreter's way when it leaves by itself.
    while os.read(0, 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


def _tell(port: int) -> None:
    print(json.dumps({"port": port}), flush=True)


def main() -> None:
    """Serve, and tell the port."""
    peer, policy = sys.argv[1:]
    threading.Thread(target=_leave_with_parent, daemon=True).start()
    load(peer).serve(policy, _tell)


if __name__ == "__main__":
    main()
