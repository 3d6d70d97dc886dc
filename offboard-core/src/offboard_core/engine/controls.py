"""The control frames that a model has beside the protocol's own: what its policy declares, and ``configure``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from dataclasses import is_dataclass
from types import MemberDescriptorType
from typing import Any, cast

from offboard_client.errors import BadMessage, LoadFailed, PolicyFailed, told
from offboard_client.plugins import describe
from offboard_client.protocol import check_meta
from offboard_client.wire import CONFIGURE, CONTROLS, encode, why_not_plain

from ..types import Control, Policy, Session
from .configuration import Configuration
from .paths import without_paths_in

#: What a control may be called.
_NAME = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
#: What it may answer, in bytes of msgpack: an answer is sent where every robot's frames pass.
ANSWER_BYTES = 4096


def check_controls(policy: Policy[Any]) -> None:
    """Raises LoadFailed for what a policy may not declare of its controls and changeable parameters (M-25)."""
    try:
        declared = list(policy.controls.items())
        begun = {option.name: option.default for option in describe(policy.params) if option.changeable}
    except Exception as error:
        raise LoadFailed(f"the policy's controls, or its params, cannot be read ({told(error)})") from None
    _check_plain(CONFIGURE, begun)
    for name, control in declared:
        _check_declared(name, control)
        try:
            described = _described(control)
        except Exception as error:
            raise LoadFailed(f"the policy's control {name} cannot be described ({told(error)})") from None
        _check_plain(name, described)
        try:
            check_meta({"controls": {name: described}})
        except BadMessage as error:
            raise LoadFailed(f"no client takes what the policy declares of the control {name}: {error.text}") from None


def describe_controls(policy: Policy[Any], configuration: Configuration) -> dict[str, Any]:
    """``meta.controls`` (M-24). Raises LoadFailed for what began as no plain data."""
    found = {name: _described(control) for name, control in policy.controls.items()}
    if settings := configuration.settings:
        found[CONFIGURE] = {
            "summary": "Changes options of this session, from the next inference on.",
            "params": {name: {"type": setting.type, "default": setting.value} for name, setting in settings.items()},
            "answers": {"changed": "each option that was given: what it was (old) and what it is (new)"},
        }
        _check_plain(CONFIGURE, found[CONFIGURE])
    return without_paths_in(found)


def check_kept(policy: Policy[Any], session: Session, params: Any) -> None:
    """Raises LoadFailed for a session that could not be told of a change, which would go by the old parameters."""
    if not any(option.changeable for option in describe(policy.params)):
        return
    kept = inspect.getattr_static(session, "params", None)  # which runs no code of the session's
    if isinstance(kept, MemberDescriptorType):  # a slot
        kept = getattr(session, "params", None)
    if kept is not params:
        raise LoadFailed(
            f"{type(policy).__name__} declares parameters that may change in mid-session, and {type(session).__name__} "
            "does not keep those that it was started with as self.params, a plain attribute, where others would be put"
        )


def put_params(session: Session, params: Any) -> None:
    """Where :func:`check_kept` found others. Runs no code of the session's, so that it cannot fail half way."""
    object.__setattr__(session, "params", params)


def answered(name: str, control: Control, answer: Mapping[str, Any] | None) -> dict[str, Any]:
    """What ``control`` answered, as it may be sent. Raises PolicyFailed for anything else than it declares."""
    found = cast("object", {} if answer is None else answer)
    if not isinstance(found, Mapping):
        raise PolicyFailed(f"the control {name} answered a {type(found).__name__}; {_expected(control)}")
    facts = dict(cast("Mapping[str, Any]", found))
    if facts.keys() != control.answers.keys():
        raise PolicyFailed(
            f"the control {name} answered {', '.join(map(str, facts)) or 'nothing'}; {_expected(control)}"
        )
    if odd := why_not_plain(facts):
        raise PolicyFailed(f"what the control {name} answered is not sent: {odd}")
    try:
        size = len(encode(facts))
    except BadMessage as error:
        raise PolicyFailed(f"what the control {name} answered is not sent: {error.text}") from None
    if size > ANSWER_BYTES:
        raise PolicyFailed(f"the control {name} answered {size:,} bytes; expected at most {ANSWER_BYTES:,}")
    return without_paths_in(facts)


def _expected(control: Control) -> str:
    return f"it declares {', '.join(control.answers) or 'no answer'}"


def _described(control: Control) -> dict[str, Any]:
    params = {
        option.name: {"type": option.type, **({} if option.default is ... else {"default": option.default})}
        for option in describe(control.params)
    }
    return {"summary": control.summary, "params": params, "answers": dict(control.answers)}


def _check_plain(name: str, described: Mapping[str, Any]) -> None:
    if odd := why_not_plain(described):
        raise LoadFailed(f"what the policy declares of the control {name} has no place in the handshake: {odd}")


def _check_declared(name: object, control: object) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name) or name in CONTROLS or name == CONFIGURE:
        raise LoadFailed(
            f"the policy calls a control {name!r:.80}; expected at most 64 of a-z, 0-9, '.', '_' and '-', a letter "
            f"first, and none of {', '.join([*CONTROLS, CONFIGURE])}, which are the protocol's own"
        )
    if not isinstance(control, Control) or not is_dataclass(control.params):
        raise LoadFailed(f"the policy's control {name} is no Control with a dataclass of parameters")
