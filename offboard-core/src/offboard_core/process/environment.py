"""What a child may know of its server's environment: a short list, and what its vendor or the user names."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable, Sequence

#: In the environment of all that is started from a server: with which it ends.
ENDS_WITH = "OFFBOARD_ENDS_WITH"
#: What any program needs: its place, its language, the way out of the network, the GPUs, the number of threads.
_EVERYBODY = (
    "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "LC_*", "TZ", "TMPDIR", "TEMP", "TMP", "XDG_*",
    "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
    "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy",
    "CUDA_*", "NVIDIA_*", "NCCL_*", "OMP_*", "MKL_*", "OPENBLAS_*",
    ENDS_WITH,
)  # fmt: skip
#: What no child gets, whoever names it: it lets whoever has it use the server.
OURS_ALONE = frozenset({"OFFBOARD_AUTH_TOKEN"})
_SECRET_NAME = re.compile(r"SECRET|PASSW|CREDENTIAL|APIKEY|(^|_)(TOKENS?|KEYS?|AUTH|PAT|COOKIES?)(_|$)", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"://[^/\s]*:[^/\s]*@")


def inherited(names: Iterable[str] = ()) -> dict[str, str]:
    """This process's variables that everybody needs, and those of ``names``: ``NAME``, or ``PREFIX*`` for several.

    What looks like a secret, by its name or as a URL with a password, is there only where its whole name was said; the
    server's own token never is.
    """
    wanted = [*_EVERYBODY, *names]
    prefixes = tuple(name[:-1] for name in wanted if name.endswith("*"))
    return {
        name: value
        for name, value in os.environ.items()
        if name not in OURS_ALONE and (name in wanted or (name.startswith(prefixes) and not _looks_secret(name, value)))
    }


def _looks_secret(name: str, value: str) -> bool:
    return bool(_SECRET_NAME.search(name) or _SECRET_VALUE.search(value))


def check_names(option: str, names: Sequence[str]) -> None:
    """Checks an option that names variables a child inherits. Raises ValueError for what is no name, is not set,
    or is the server's own secret."""
    for name in names:
        if not re.fullmatch(r"\w+", name):
            raise ValueError(f"{option} holds {name!r}, expected names of variables, such as HF_TOKEN")
        if name in OURS_ALONE:
            raise ValueError(f"{option} names {name}, which is the server's own: no child gets it")
        if name not in os.environ:
            raise ValueError(f"{option} names {name}, which is not set in this environment")


def check_words(option: str, text: str | None) -> None:
    """Checks an option that is a command line. Raises ValueError if it has no words, or quotes that do not end."""
    try:
        words = None if text is None else shlex.split(text)
    except ValueError as error:
        raise ValueError(f"{option} is {text!r}, which no shell would read: {error}") from None
    if words == []:
        raise ValueError(f"{option} is empty")


__all__ = ["ENDS_WITH", "OURS_ALONE", "check_names", "check_words", "inherited"]
