"""Making an environment: whole or not at all, once, whoever else wants it at the same time."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path

from offboard_client.errors import ConfigurationError, LoadFailed, counted

from ..cache import alone, bytes_in
from ..plugins import EnvironmentEntry, Offer
from ..types import ReportProgress, sized
from .folders import PART, Made, interpreter, made, place_of, write_record
from .lists import read_list
from .uv import Uv, failed

#: Files beside what uv makes: the list, and how many bytes there were at the last look, for who waits.
_LIST, _WRITTEN = "list.txt", "written"
_VERSION = re.compile(r"^version_info\s*=\s*(\S+)", re.MULTILINE)
_INSTALLED = re.compile(r"^\w+-(\d+\.\d+\.\d+\w*)", re.MULTILINE)


def make(offer: Offer[EnvironmentEntry], report: ReportProgress) -> Path:
    """The interpreter of an environment, which is made if it is not there yet; minutes then, and ``report`` is told.

    Raises LoadFailed where that cannot be, and what ``report`` raises; nothing half made is left then.
    """
    try:
        place = place_of(offer)
        if made(place) is not None:
            return interpreter(place)
        _check_cache(place.parent)
        part = place.with_name(place.name + PART)
        with alone(place, f"making the environment {offer.name}", report, lambda: _written(part)) as lock:
            if made(place) is None:
                _make(offer, place, part, lock.fileno(), report)
        return interpreter(place)
    except OSError as error:
        raise failed(offer.name, f"{error.filename or place_of(offer)}: {error.strerror or error}") from None
    except ConfigurationError as error:
        raise LoadFailed(error.text, permanent=True) from None


def _check_cache(folder: Path) -> None:
    """Raises ConfigurationError where nothing can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ConfigurationError(
            f"the cache cannot be written to ({error.filename or folder}: {error.strerror or error}): name another "
            "folder by OFFBOARD_CACHE, or make the environment as who may write there"
        ) from None


def _make(offer: Offer[EnvironmentEntry], place: Path, part: Path, lock: int, report: ReportProgress) -> None:
    # What is there is of somebody who was killed: who works on it holds the lock.
    shutil.rmtree(part, ignore_errors=True)
    shutil.rmtree(place, ignore_errors=True)
    began = time.monotonic()
    lines = read_list(offer).lines
    try:
        env = part / "env"
        part.mkdir()
        (part / _LIST).write_text("\n".join(lines) + "\n", "utf-8")
        uv = Uv(offer.name, part, lock)

        def look(said: str) -> None:
            (part / _WRITTEN).write_text(str(uv.written))
            report(f"making the environment {offer.name}: {_phase(said)}, {sized(uv.written)} written")

        _find_python(offer, uv, env, report)
        install = ["pip", "install", "--python", str(interpreter(env)), "--require-hashes", "--no-deps"]
        install += ["--only-binary", ":all:", "-r", str(part / _LIST)]
        done, said = uv.run(install, look)
        if not done:
            raise failed(offer.name, said)
        packages = len(list(env.glob("lib/python*/site-packages/*.dist-info")))
        version = _VERSION.search((env / "pyvenv.cfg").read_text("utf-8"))
        write_record(
            env,
            Made(
                python=version[1] if version else "",
                packages=packages,
                size=bytes_in(env),
                made=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            ),
        )
        os.rename(env, place)
        report(f"made the environment {offer.name}: {counted(packages, 'package')} in {time.monotonic() - began:.0f} s")
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _find_python(offer: Offer[EnvironmentEntry], uv: Uv, env: Path, report: ReportProgress) -> None:
    wanted = offer.entry.python
    venv = ["venv", "--no-project", "--relocatable", "--python", wanted, str(env)]

    def look(_: str) -> None:
        report(f"making the environment {offer.name}: looking for a Python {wanted}")

    def fetching(_: str) -> None:
        report(f"making the environment {offer.name}: there is no Python {wanted} here, and uv is asked for one")

    done, said = uv.run([*venv, "--no-python-downloads"], look)
    while not done and uv.avoid(said):
        done, said = uv.run([*venv, "--no-python-downloads"], look)
    if not done and _no_python(said):
        done, said = uv.run(venv, fetching)  # whether it may fetch one is among uv's own settings
        if not done:
            _, listed = uv.run(["python", "list", "--only-installed"], look)
            versions = sorted({*_INSTALLED.findall(listed)}, key=lambda text: [*map(int, re.findall(r"\d+", text))])
            version = re.search(r"\d+\.\d+", wanted)
            raise LoadFailed(
                f"the environment {offer.name} cannot be made: it wants a Python {wanted}; found were "
                f"{', '.join(versions) or 'none'}, and uv could fetch none. Install one, for instance with "
                f"`uv python install {version[0] if version else wanted}` where there is a network. {said}",
                permanent=True,
            )
    if not done:
        raise failed(offer.name, said)


def _no_python(said: str) -> bool:
    return "No interpreter found" in said or "No download found" in said


def _phase(said: str) -> str:
    """What uv is at, from what it said: it names what is large when it begins and when it has it."""
    total = re.search(r"^Resolved (\d+)", said, re.MULTILINE)
    if "Prepared " in said:
        return f"installing {total[1] if total else 'the'} packages"
    begun = re.findall(r"^Downloading (\S+)", said, re.MULTILINE)
    have = set(re.findall(r"^Downloaded (\S+)", said, re.MULTILINE))
    now = [name for name in begun if name not in have]
    if now:
        others = f" and {len(now) - 1} more" if len(now) > 1 else ""
        return f"fetching {now[0]}{others}, of {total[1] if total else len(begun)} packages"
    return "looking up its packages" if total is None else f"fetching {total[1]} packages"


def _written(part: Path) -> int:
    with contextlib.suppress(OSError, ValueError):
        return int((part / _WRITTEN).read_text())
    return 0


__all__ = ["make"]
