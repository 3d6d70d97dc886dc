"""Runs N1.5's server script, which binds every interface whatever it is told, so that it listens on loopback alone.

    python -c THIS SCRIPT [ARGUMENT ...]

It is handed to GR00T's Python as text, so that it need not lie in the container where that may be. The token in the
environment becomes the script's own, where the script knows one: on the command line everybody could read it.
"""

import os
import re
import runpy
import sys
from pathlib import Path
from typing import Any

import zmq

_class: Any = zmq.Socket
_bind: Any = _class.bind


def _bind_loopback(self: Any, addr: str, *more: Any) -> Any:
    return _bind(self, re.sub(r"^tcp://.*:", "tcp://127.0.0.1:", addr), *more)


_class.bind = _bind_loopback
sys.argv = sys.argv[1:]
script = sys.argv[0]
token = os.environ.pop("OFFBOARD_GR00T_TOKEN", None)
if token and "api_token" in Path(script).read_text():
    sys.argv += [f"--api-token={token}"]
sys.path[0] = os.path.dirname(os.path.abspath(script))
runpy.run_path(script, run_name="__main__")
