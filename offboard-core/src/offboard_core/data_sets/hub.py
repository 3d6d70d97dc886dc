"""A data set's repository on the Hugging Face Hub, written in one commit at a time."""

from __future__ import annotations

import importlib
import json
import re
from pathlib import Path
from typing import Any

from offboard_client.errors import ConfigurationError, told

_URL = re.compile(r"hf://datasets/(?P<repository>[^/@]+/[^/@]+)")
#: What of a data set says which form it has; LeRobot asks the Hub for a tag of that name.
_INFO, _FORM = Path("meta") / "info.json", "codebase_version"


class Hub:
    """The repository of a data set. Raises ConfigurationError for another URL, and for what the Hub refuses."""

    def __init__(self, url: str) -> None:
        match = _URL.fullmatch(url)
        if match is None:
            raise ConfigurationError(f"{url} names no data set's repository: write hf://datasets/OWNER/NAME")
        self._url, self._repository = url, match["repository"]
        try:
            self._library: Any = importlib.import_module("huggingface_hub")
        except ImportError as error:
            raise ConfigurationError(
                f"{url} needs {error.name or error}, which is not installed: pip install 'offboard-core[remote]'"
            ) from None
        self._api = self._library.HfApi()

    def exists(self) -> bool:
        """Whether there is such a repository that we may see."""
        return bool(self._ask(lambda: self._api.repo_exists(self._repository, repo_type="dataset")))

    def push(self, folder: Path, changed: list[str], gone: list[str]) -> None:
        """One commit: all of it is there, or what was there before. A repository is made, private, if there is none."""
        library = self._library
        operations = [
            library.CommitOperationAdd(path_in_repo=path, path_or_fileobj=str(folder / path)) for path in changed
        ] + [library.CommitOperationDelete(path_in_repo=path) for path in gone]
        given: dict[str, Any] = {"repo_id": self._repository, "repo_type": "dataset"}
        self._ask(lambda: self._api.create_repo(**given, private=True, exist_ok=True))
        self._ask(lambda: self._api.create_commit(**given, operations=operations, commit_message="offboard convert"))
        if (form := _form(folder)) is not None:
            try:
                self._api.delete_tag(**given, tag=form)
            except library.errors.RevisionNotFoundError:
                pass
            except Exception as error:
                raise self._refused(error) from error
            self._ask(lambda: self._api.create_tag(**given, tag=form))

    def _ask(self, question: Any) -> Any:
        try:
            return question()
        except Exception as error:
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> ConfigurationError:
        return ConfigurationError(
            f"{self._url} cannot be written: {told(error):.300} (writing needs HF_TOKEN, or `hf auth login`)"
        )


def _form(folder: Path) -> str | None:
    try:
        said = json.loads((folder / _INFO).read_bytes())[_FORM]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return said if isinstance(said, str) else None
