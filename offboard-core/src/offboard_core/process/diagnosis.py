"""From the end of a child's log to the likely cause and what to do next."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from offboard_client.errors import LoadFailed


@dataclass(frozen=True)
class Fault:
    """What is in the log, what it means, and the next step. ``{root}`` and the like are filled in.

    ``pattern`` is searched for, as ``re`` has it; ``permanent``: whether it will be so at every other try.
    """

    pattern: str
    cause: str
    step: str
    permanent: bool = False


_ENVIRONMENT = Fault(
    r"ModuleNotFoundError|ImportError|lockfile|No solution found|Failed to (build|download|prepare)",
    "{name}'s environment is not complete",
    "run `uv sync` in {root} and see that `uv run python {script} --help` works there",
)
#: What keeps a Python program from running in an environment of its own. ``{name}`` is the vendor's program,
#: ``{command}`` the option that says what runs its Python, ``{root}`` the folder of the environment, ``{script}`` what
#: is run there.
PROGRAM = (
    Fault(
        r"(^|\n)uv: No such file or directory",
        "uv, which runs {name} in its own environment, is not installed",
        "install it (pip install uv), or say with {command} what runs {name}'s Python",
        permanent=True,
    ),
    Fault(
        r": No such file or directory\s*$(?![\s\S]*Traceback)",
        "the command that runs {name} does not exist",
        "correct {command}",
        permanent=True,
    ),
    # Where Python ends so; what a network may mend looks otherwise.
    replace(_ENVIRONMENT, pattern=r"(^|\n)(ModuleNotFoundError|ImportError): [^\n]*\s*$", permanent=True),
    _ENVIRONMENT,
)
#: What the machine or the environment withholds. ``{env}`` is the option that names more variables for the child.
MACHINE = (
    Fault(
        r"GatedRepoError|RepositoryNotFoundError|401 Client Error|NoCredentialsError",
        "{name} was refused what it wanted to fetch: of your secrets it gets those that are named",
        "set the variable that allows it, such as HF_TOKEN, and name it with {env}",
    ),
    Fault(
        r"KeyError: '[A-Z][A-Z0-9_]+'",
        "a variable is missing that this {name} reads: it gets few of this environment's",
        "set it, and name it with {env}",
    ),
    Fault(
        r"was killed by SIGKILL",
        "it was killed; the kernel does so when the machine's memory runs out",
        "see with dmesg whether it was the kernel, and with free how much memory there is",
    ),
    Fault(r"No space left on device", "the disk is full", "free some of it"),
)


def diagnose(text: str, faults: Sequence[Fault], **values: str) -> LoadFailed:
    """The error for ``text``: how a child ended, with the end of its log. The first of ``faults`` that matches is told.

    ``values`` fill in the faults' ``{name}`` and so on. If none matches, the text stands for itself. Raises nothing.
    """
    fault = next((fault for fault in faults if re.search(fault.pattern, text)), None)
    if fault is None:
        return LoadFailed(text)
    told = f"Likely cause: {fault.cause}. Next: {fault.step}."
    for name, value in values.items():
        told = told.replace(f"{{{name}}}", value)
    return LoadFailed(f"{text}\n{told}", permanent=fault.permanent)


__all__ = ["MACHINE", "PROGRAM", "Fault", "diagnose"]
