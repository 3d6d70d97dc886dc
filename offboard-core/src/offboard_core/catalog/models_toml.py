"""``models.toml``: several sources on one port, one table each.

::

    [act]
    vendor = "lerobot"                    # left out: the files decide
    checkpoints_dir = "~/runs/act"        # relative to this file
    checkpoint = "010000"                 # left out: the newest
    codec = "ee"                          # left out: the checkpoint's own, else the vendor's default
    variant = "ee_joints"                 # instead of codec and some of options, where the vendor has such words
    fps = 15
    replicas = 2                          # left out: 1
    isolate = true                        # left out: in this process
    python = "/opt/act/bin/python"        # left out: this server's own
    env = "act-2.0"                       # instead of python: one that `offboard envs` lists, or "auto"
    inherit = ["HF_TOKEN"]                # left out: few variables
    options = { device = "cpu" }          # the vendor's options; paths relative to this file
    codec_options = { map = { "image.exterior" = "front" } }

    [frontends.openpi]                    # no source, but the options of the frontend openpi
    codec = "droid"

    [listeners.gr00t]                     # likewise, of a listener
    codec = "ee"

    [observers."core.timings"]            # likewise, of an observer, which watches then
    file = "steps.csv"
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from offboard_client.errors import ConfigurationError, OffboardError, unknown
from offboard_client.plugins import parse_flag

from ..plugins import FRONTEND, LISTENER, OBSERVER, Kind, Plugins
from ..workers import Isolation
from .placed import workers_for
from .source import ModelSource, from_flags

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: What a table may hold, and the types of the values.
KEYS: dict[str, tuple[type, ...]] = {
    "vendor": (str,),
    "checkpoints_dir": (str,),
    "checkpoint": (str, int),
    "codec": (str,),
    "codec_options": (dict,),
    "variant": (str,),
    "fps": (int, float),
    "replicas": (int,),
    "isolate": (bool,),
    "python": (str,),
    "env": (str,),
    "inherit": (list,),
    "options": (dict,),
}
#: The tables that are no sources.
OTHERS = (FRONTEND.heading, LISTENER.heading, OBSERVER.heading)
_WORDS: dict[type, str] = {dict: "table", bool: "true or false"}
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def read_models(path: Path, plugins: Plugins, limits: Isolation | None = None) -> dict[str, ModelSource]:
    """The sources that the file names, in its order; the first one is the default. ``limits``: those of workers.

    Raises ConfigurationError naming the file and the table: not TOML, no table, an unknown key, a value of another
    type, or whatever is wrong with the source.
    """
    tables = {name: table for name, table in _read(path).items() if name not in OTHERS}
    if not tables:
        raise ConfigurationError(f"{path} names no model; expected a table for each, such as [act]")
    sources: dict[str, ModelSource] = {}
    for name, table in tables.items():
        try:
            sources[name] = _source(name, table, path.parent, plugins, limits or Isolation())
        except OffboardError as error:
            raise ConfigurationError(f"{path}: [{name}]: {error.text}") from error
    return sources


def read_options(path: Path, kind: Kind[Any]) -> dict[str, dict[str, Any]]:
    """The options of frontends, listeners or observers that the file sets, by full name; {} if it sets none.

    Raises ConfigurationError naming the file.
    """
    tables = _read(path).get(kind.heading, {})
    if not isinstance(tables, dict) or not all(isinstance(t, dict) for t in cast("dict[str, Any]", tables).values()):
        raise ConfigurationError(
            f"{path}: [{kind.heading}] holds one table for each {kind.noun}, such as [{kind.heading}.NAME]"
        )
    # An id that is a number may be written as one, as `checkpoint` may.
    return {
        name: {option: parse_flag(str(value)) if type(value) is int else value for option, value in table.items()}
        for name, table in cast("dict[str, dict[str, Any]]", tables).items()
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except IsADirectoryError:
        raise ConfigurationError(f"{path} is a folder; serve its checkpoints with --checkpoints-dir {path}") from None
    except OSError as error:
        expected = "; expected a models.toml, or --checkpoints-dir for where checkpoints lie"
        hint = "" if path.suffix == ".toml" else expected
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}{hint}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from error


def _source(name: str, table: Any, folder: Path, plugins: Plugins, limits: Isolation) -> ModelSource:
    if not _NAME.fullmatch(name):
        raise ConfigurationError("the name begins every id of this source: letters, digits, '_', '-' and '.' only")
    if not isinstance(table, Mapping):
        raise ConfigurationError(f"is {table!r}; expected a table with the keys {', '.join(KEYS)}")
    for key, value in cast("Mapping[str, Any]", table).items():
        if key not in KEYS:
            raise ConfigurationError(unknown("key", key, KEYS))
        if isinstance(value, bool) != (KEYS[key] == (bool,)) or not isinstance(value, KEYS[key]):
            kinds = " or ".join(_WORDS.get(kind, kind.__name__) for kind in KEYS[key])
            raise ConfigurationError(f"{key} is {value!r}; expected {kinds}")
    given = cast("Mapping[str, Any]", table)
    if not given.keys() & {"checkpoints_dir", "vendor"}:
        raise ConfigurationError("says neither checkpoints_dir, where they lie, nor vendor, which may need none")
    checkpoints_dir = given.get("checkpoints_dir")
    if checkpoints_dir is not None and "://" not in checkpoints_dir:
        checkpoints_dir = str(folder / Path(checkpoints_dir).expanduser())
    inherit = given.get("inherit", [])
    if not all(isinstance(word, str) for word in inherit):
        raise ConfigurationError(f"inherit is {inherit!r}; expected a list of names of variables")
    python = given.get("python")
    if python is not None and "/" in python:
        python = str(folder / Path(python).expanduser())
    isolation, worker = workers_for(limits, given.get("isolate", False), python, inherit, given.get("env"))
    return from_flags(
        plugins,
        vendor=given.get("vendor"),
        checkpoints_dir=checkpoints_dir,
        checkpoint=str(given["checkpoint"]) if "checkpoint" in given else None,
        codec=given.get("codec"),
        codec_options=given.get("codec_options"),
        variant=given.get("variant"),
        fps=given.get("fps"),
        replicas=given.get("replicas", 1),
        loader_options=given.get("options"),
        isolation=isolation,
        env=given.get("env"),
        worker=worker,
        folder=folder,
    )
