"""The Python that a worker runs in: which one is meant, and whether it is one."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from offboard_client.errors import ConfigurationError, LoadFailed

from ..process import Child
from ..types import ReportProgress
from ._boot import NEEDED, OLDEST

#: Seconds that a program may take to say that it is a Python: it may be read for the first time, from a slow disk.
PATIENCE = 60.0
#: For any Python, the oldest too: its version, and which of some modules it lacks.
_ASK = """
import sys
print("Python %d.%d.%d" % sys.version_info[:3])
if sys.version_info >= (3, 4):
    from importlib.util import find_spec
    lacks = [name for name in sys.argv[1:] if find_spec(name) is None]
    if lacks:
        print("lacks " + " ".join(lacks))
"""
_EXPECTED = (
    "an interpreter such as /opt/lerobot/bin/python, the name of one on the PATH, or the folder of an environment"
)


def interpreter(text: str, inherit: Sequence[str]) -> Path:
    """The Python that ``text`` means, which has been asked whether a worker can run in it.

    ``inherit``: as of :class:`Isolation`. Raises ConfigurationError.
    """
    if not text.strip():
        raise ConfigurationError(f"python is empty; expected {_EXPECTED}")
    path = Path(text).expanduser()
    if path.is_dir():
        path = path / "bin" / "python"
    elif path.name == text and not path.exists():
        path = Path(shutil.which(text) or text)
    if not runs(path):
        raise ConfigurationError(f"python is {text}, and {path} is no program that can be run; expected {_EXPECTED}")
    # Absolute, but not through links: an environment's interpreter is one, and where it lies says which environment.
    path = path.absolute()
    if lacks := _lacking(path, inherit, NEEDED):
        raise ConfigurationError(
            f"the environment of {path} lacks {', '.join(lacks)}, which offboard needs in a worker: "
            f"{path} -m pip install {' '.join(NEEDED)}"
        )
    return path


def look_for(
    needs: Mapping[str, str], python: Path, inherit: Sequence[str], vendor: str, instead: str | None = None
) -> None:
    """That this Python has what a vendor's models import. Raises ConfigurationError naming it, and what to type.

    ``needs``: as of its :class:`LoaderEntry`. ``instead``: what to type in place of this Python.
    """
    if lacks := _lacking(python, inherit, list(needs)) if needs else ():
        wanted = " ".join(shlex.quote(needs[name]) for name in lacks)
        raise ConfigurationError(
            f"the environment of {python} lacks {', '.join(lacks)}, which models of the vendor {vendor} import: "
            f"{python} -m pip install {wanted}" + (f"; or give {instead} in place of --python" if instead else "")
        )


def _lacking(path: Path, inherit: Sequence[str], modules: Sequence[str]) -> list[str]:
    """Which of these this program lacks. Raises ConfigurationError for one in which no worker can run."""
    try:
        with Child([str(path), "-c", _ASK, *modules], name=str(path), inherit=inherit, grace=0.5) as child:
            ended = child.wait(PATIENCE)
            how = f"{child.how()} when it was asked for its version" if ended else f"said nothing for {PATIENCE:g} s"
            said = child.death().partition("\n")[2] if ended else child.tail()
    except LoadFailed as error:
        raise ConfigurationError(f"python is {path}: {error.text}") from None
    version = re.search(r"^Python (\d+)\.(\d+)\.(\d+)$", said, re.MULTILINE)
    if version is None or not ended:
        raise ConfigurationError(
            f"{path} is no Python: it {how}. The end of what it said:\n{said or '(it wrote nothing)'}"
        )
    if tuple(map(int, version.groups())) < OLDEST:
        raise ConfigurationError(f"{path} is {version[0]}; a worker needs {'.'.join(map(str, OLDEST))} or newer")
    lacks = re.search(r"^lacks (.+)$", said, re.MULTILINE)
    return [] if lacks is None else [name for name in modules if name in lacks[1].split()]


def runs(path: Path) -> bool:
    """Whether it is a program."""
    return path.is_file() and os.access(path, os.X_OK)


def python_of(python: Path | Callable[[ReportProgress], Path] | None, report: ReportProgress) -> Path:
    """The interpreter of a worker, as :class:`Isolation` has it. Raises LoadFailed for one that is not there."""
    path = Path(sys.executable) if python is None else python if isinstance(python, Path) else python(report)
    if not runs(path):
        raise LoadFailed(f"{path} is no program that can be run; expected a Python interpreter", permanent=True)
    return path


__all__ = ["PATIENCE", "interpreter", "look_for", "python_of", "runs"]
