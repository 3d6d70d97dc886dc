"""Which program this is, for what it leaves behind."""

from __future__ import annotations

import platform
import re
import shlex
import sys
from importlib.metadata import distributions
from typing import Any

_USER = re.compile(r"(?<=//)[^/@\s]*@")


def program_facts(program: str) -> dict[str, Any]:
    """``command`` (without users and passwords of URLs), ``python``, ``machine``, ``versions`` of offboard's packages.

    ``program``: what the command is called.
    """
    command = " ".join([program, *map(shlex.quote, sys.argv[1:])])
    ours = {found.name: found.version for found in distributions() if str(found.name).startswith("offboard")}
    return {
        "command": _USER.sub("", command),
        "python": platform.python_version(),
        "machine": platform.node(),
        "versions": ours,
    }
