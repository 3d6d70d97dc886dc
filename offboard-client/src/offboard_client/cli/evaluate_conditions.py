"""What has to be the same for all trials of an evaluation, beside them: it goes on only under the same conditions."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any, cast

from ..errors import ConfigurationError
from .evaluate_options import write_whole

CONDITIONS = "conditions.json"
#: Under which key it says what each model was, by the handshake.
_POLICIES = "policies"
#: It is over all that a policy is and was given: what differs where nothing does that has a name.
_HASH = "spec_hash"
#: What of a handshake says which policy it is, wherever it is served, first what earlier versions kept of it.
_BEFORE = ("type", "checkpoint_id", "experiment_name", "codec", "action_fps")
_NAMED = (*_BEFORE, "policy_type", "checkpoint_path", "revision", "chunk_length", _HASH)
#: What of these tells a person which model it is.
_TELLING = frozenset(_NAMED) - {"action_fps", "chunk_length", _HASH}


class Conditions:
    """The conditions of an evaluation, kept in its folder. ``policies``: of each model, what it was, as texts."""

    def __init__(self, path: Path, now: Mapping[str, Any], begun: bool) -> None:
        """``begun``: whether there are trials under them. Raises ConfigurationError, saying what differs."""
        self._path, self._now, self._lock = path, dict(now), threading.Lock()
        self.policies: dict[str, dict[str, str]] = {}
        if not begun:
            self._write()
            return
        before = _read(path)
        self.policies = {
            model: {name: str(value) for name, value in _map(policy).items()}
            for model, policy in _map(before.get(_POLICIES)).items()
        }
        if said := _differing(before, self._now):
            raise ConfigurationError(
                f"the evaluation in {path.parent} was begun otherwise ({said}); go on with the same, or begin one in "
                "another folder"
            )

    def same_policies(self, policies: Mapping[str, Mapping[str, str]], mask: Callable[[str], str]) -> None:
        """The models are what they were in the trials before; those that are new are kept. ``mask``: hides their names.

        From any thread. Raises ConfigurationError.
        """
        with self._lock:
            for model, policy in policies.items():
                before = self.policies.get(model, policy)
                if before.keys() <= set(_BEFORE):  # of an earlier version: the rest is kept from now on
                    policy = {name: value for name, value in policy.items() if name in _BEFORE}
                now = {**dict.fromkeys(before), **policy}  # what is no more, too
                hidden = _TELLING if mask(model) != model else ()
                named = {name: value for name, value in now.items() if name != _HASH}
                if said := _differing(before, named, hidden) or _differing(before, now):
                    raise ConfigurationError(
                        mask(
                            f"{model} is another policy than that of the trials before ({said}): serve it as it was, "
                            "or begin in another folder"
                        )
                    )
            if (kept := self.policies | {model: dict(policy) for model, policy in policies.items()}) != self.policies:
                self.policies = kept
                self._write()

    def _write(self) -> None:
        write_whole(self._path, json.dumps(self._now | {_POLICIES: self.policies}, indent=1))


def as_policy(metadata: Mapping[str, Any]) -> dict[str, str]:
    """What a session's handshake says of which policy it is."""
    return {name: str(metadata[name])[:500] for name in _NAMED if metadata.get(name) is not None}


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"{path} cannot be read, and says under which conditions the trials there were played: put it back, or "
            f"begin in another folder ({error})"
        ) from error
    if not isinstance(found, dict):
        raise ConfigurationError(f"{path}: these are no conditions of an evaluation. Begin in another folder")
    return cast("dict[str, Any]", found)


def _differing(before: Mapping[str, Any], now: Mapping[str, Any], hidden: Collection[str] = ()) -> str:
    return "; ".join(
        f"{name}, of a model that is blind" if name in hidden else f"{name}: {before.get(name)!s}, now {value!s}"
        for name, value in now.items()
        if before.get(name) != value
    )


def _map(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}
