"""Asks the page of a run as a browser does, until it is ended: ``python benchmarks/page_browser.py URL``."""

from __future__ import annotations

import http.client
import json
import os
import struct
import sys
import time
from urllib.parse import urlsplit

EVERY = 0.1


def main(url: str) -> None:
    """Look. A browser is on another machine: what this takes of this one is nobody's."""
    os.nice(10)
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=30)
    since, have = 0, ""
    while True:
        began = time.monotonic()
        connection.request("GET", f"/api/now?since={since}&have={have}&width=640")
        body = connection.getresponse().read()
        if not have:
            print("{}", flush=True)
        (size,) = struct.unpack("<I", body[4:8])
        state = json.loads(body[8 : 8 + size])
        since = state["upto"]
        have = ",".join(f"{name}:{number}" for name, number, _ in state["cameras"]) or "none:0"
        time.sleep(max(0.01, EVERY - (time.monotonic() - began)))


if __name__ == "__main__":
    main(sys.argv[1])
