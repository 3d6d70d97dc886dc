"""Takes the paths of this machine out of texts that clients see (decision 0015).

What is taken for a local path, wherever it stands in a text: an absolute path whose first part is a folder at the root
of this machine or one that machines commonly have, or whose last part is a file; ``~/…``; ``file://…``; a drive's and a
share's of Windows. Everything else that has slashes stays: URLs, the server's own routes, ``image/wrist``, ``m/s``, a
robot's ``/joint_states``.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, cast

#: What stands for a path, or for the folders before the name of a file.
HIDDEN = "[path]"

#: What is at the root of machines: a text may be about another one, or about a container's.
_COMMON = frozenset(
    {
        "Applications", "Library", "System", "Users", "Volumes", "app", "bin", "boot", "cache", "checkpoints",
        "content", "data", "datasets", "dev", "etc", "gpfs", "home", "kaggle", "lib", "lib64", "lustre", "media",
        "mnt", "models", "nfs", "nix", "opt", "outputs", "private", "proc", "root", "run", "runs", "sbin",
        "scratch", "srv", "storage", "sys", "tmp", "usr", "var", "work", "workspace",
    }
)  # fmt: skip
_OWN_ROUTES = ("/api/v1", "/docs", "/healthz", "/livez", "/metrics", "/readyz")
#: Names of such files stay, since they say what is wrong with what. Elsewhere a dot may part the names of a person.
_FILE = re.compile(
    r"[\w.+=@-]+\.(bin|cfg|ckpt|crt|cu|gz|h5|ini|json|jsonl|key|lock|log|md|model|mp4|msgpack|npy|npz|onnx|parquet|pem|pkl"
    r"|png|pt|pth|py|safetensors|sh|so|tar|toml|txt|whl|xml|yaml|yml|zip)"
)
#: A path where nothing quotes it ends at these; a blank goes on only to a part that looks like a name (``My Runs/…``).
_ENDS = r"\s'\"`:;,()\[\]{}<>|"
_PATH = re.compile(
    rf"""
      (?P<file>   \bfile:/+ [^{_ENDS}]*)
    | (?P<url>    (?<![\w+.-]) [A-Za-z][\w+.-]{{0,20}}:// (?:[^\s@/]*@)? (?:\[[^\s\]]*\])? [^\s'"`<>,()\[\]]*)
    | (?P<quote>['"`]) (?P<quoted> (?:~(?:[A-Za-z_][\w.-]*)?)?/[^\n]*? | [A-Za-z]:[\\/][^\n]*?
                  | \\\\(?:\\\\)?[A-Za-z][\w.$-]+\\[^\n]*?) (?P=quote)
    | (?P<drive>  (?<!\w) [A-Za-z]:[\\/]+ (?:[^{_ENDS}]+ (?:(?:[ ][^\s'"`:;,<>|\\]+){{1,3}}\\)?)+)
    | (?P<share>  (?<![^\s'"=(\[:,;]) \\\\(?:\\\\)?[A-Za-z][\w.$-]+ (?:\\{{1,2}}[^{_ENDS}\\]+)+)
    | (?P<home>   (?<![\w~]) ~(?:[A-Za-z_][\w.-]*)? /[^{_ENDS}]+)
    | (?P<posix>  (?<![\w.\])}}>/~\\]) /+[^{_ENDS}/] [^{_ENDS}]* (?:[ ][A-Z][^{_ENDS}/]*/[^{_ENDS}]*)*)
    """,
    re.VERBOSE,
)


def _roots() -> frozenset[str]:
    try:
        return frozenset(os.listdir("/"))
    except OSError:
        return frozenset()


_HERE = _roots()


def without_paths(text: str) -> str:
    """``text`` with :data:`HIDDEN` in the place of each local path; the name of a file at its end stays."""
    return _PATH.sub(_hide, text) if "/" in text or "\\" in text else text


def without_paths_in(value: Any) -> Any:
    """Plain data with :func:`without_paths` of every text in it; the names in maps stay."""
    if isinstance(value, str):
        return without_paths(value)
    if isinstance(value, Mapping):
        return {name: without_paths_in(part) for name, part in cast("Mapping[Any, Any]", value).items()}
    if isinstance(value, list | tuple):
        return [without_paths_in(part) for part in cast("list[Any]", value)]
    return value


def _hide(match: re.Match[str]) -> str:
    kind, found = match.lastgroup, match[0]
    if kind == "url":
        return found
    if match["quote"]:
        quote, inside = match["quote"], match["quoted"]
        # A sentence that begins with a path has more blanks after the last slash than a name has.
        if re.split(r"[\\/]", inside)[-1].count(" ") > 2:
            return f"{quote}{without_paths(inside)}{quote}"
        return f"{quote}{_short(inside)}{quote}" if inside[0] != "/" or _is_local(inside) else found
    end = found[len(found.rstrip(".")) :]
    path = found.removesuffix(end)
    return found if kind == "posix" and not _is_local(path) else _short(path) + end


def _is_local(path: str) -> bool:
    if path.startswith(_OWN_ROUTES):
        return False
    parts = [part for part in path.split("/") if part]
    if len(parts) < 2:
        return bool(parts) and parts[0] in _HERE
    return parts[0] in _HERE or parts[0] in _COMMON or _FILE.fullmatch(parts[-1]) is not None


def _short(path: str) -> str:
    name = re.split(r"[\\/]", path)[-1]
    return f"{HIDDEN}/{name}" if _FILE.fullmatch(name) else HIDDEN
