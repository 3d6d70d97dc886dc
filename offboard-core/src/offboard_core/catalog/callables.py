"""Anything that answers observations, as a :class:`Policy`.

``InferenceServer({"name": build})`` calls ``build()`` when the model is loaded. What it returns may be a
:class:`Policy`; an object with ``infer(observation)`` or ``select_action(observation)``; or a plain function of
the observation. Each of these may also be given itself: what needs an argument cannot be a ``build``.
:func:`~offboard_core.catalog.answers.as_chunk` says what functions and objects may answer. They get an observation
that is theirs: its arrays are copies, which they may write into.

Only a :class:`Policy` keeps robots apart. The others are one object that all sessions share. If it has ``reset()`` or
``select_action``, it remembers an episode: it serves one session at a time, for which ``reset()`` is called when it
starts an episode; the next session waits until that one ends. An object that says ``copyable = True`` is copied for
each session (``copy.deepcopy``; define ``__deepcopy__`` to share the weights); one that says ``max_sessions`` (a
number, or None for any) keeps that many apart itself. Others are taken to have no memory. One that says
``blocking = False`` makes the promise of :attr:`Policy.blocking`; for a function it is an attribute of that.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping
from typing import Any, cast

import numpy as np
from offboard_client.errors import ConfigurationError, InvalidAction, LoadFailed, OffboardError, told

from ..checkpoints import MemoryRegistry
from ..plugins import Plugins
from ..types import (
    ALONE,
    Array,
    Checkpoint,
    CheckpointLoader,
    Chunk,
    InferContext,
    Placement,
    Policy,
    ReportProgress,
    Session,
)
from .answers import as_chunk, kind_of
from .codec_choice import CodecChoice
from .declared import Steps, declared
from .source import ModelSource

#: Builds what answers observations; called once per load, on the thread that will call the policy.
Build = Callable[[], Any]


def from_callables(models: Mapping[str, Any], fps: float | None = None, replicas: int = 1) -> ModelSource:
    """The source behind ``InferenceServer({"name": …})``; what may stand there is said above, in this module.

    The first key is the default model. Observations reach the policy under their canonical names.
    ``fps``: steps per second of what it answers, for the timestamps; None where the answers bring their own or none.
    ``replicas``: as of :class:`ModelSource`; each callable is called once for each.
    Raises ConfigurationError for a value that is no policy and makes none, for one policy where several are asked for,
    and for a name that is no text.
    """
    for name in models:
        if not isinstance(name, str) or not name:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ConfigurationError(f"a model is named {name!r:.60}; expected a text, which sessions ask for it by")
    builds = {name: as_build(name, value) for name, value in models.items()}
    alone = [name for name, value in models.items() if is_itself(value)]
    if alone and type(replicas) is int and replicas > 1:
        raise ConfigurationError(
            f"replicas is {replicas}, and the model {alone[0]!r} is {kind_of(models[alone[0]])}, which is there once; "
            f"give a callable without arguments that makes one, {{{alone[0]!r}: build}}: it is called once for each"
        )
    return ModelSource(
        vendor="python",
        registry=MemoryRegistry([_of_callable(name, value) for name, value in models.items()]),
        loader=CallableLoader(builds, itself=bool(alone)),
        codec=CodecChoice(Plugins.of(), None, "native", fps=fps),
        replicas=replicas,
    )


def _of_callable(name: str, value: Any) -> Checkpoint:
    inputs, outputs, steps = declared(value) or ({}, {}, None)
    fewest, most = steps or (None, None)
    return Checkpoint(
        id=name, type="python", inputs=inputs, outputs=outputs, chunk_length=most,
        extras={} if fewest == most else {"shortest_chunk": fewest},
    )  # fmt: skip


class CallableLoader(CheckpointLoader):
    """Loads the models of a dict: the checkpoint's id is the key, the value is called without arguments."""

    def __init__(self, builds: Mapping[str, Build], *, itself: bool = False) -> None:
        """``itself``: a build hands out the same object at every call, so that there can be no second replica."""
        self._builds = dict(builds)
        self.max_replicas = 1 if itself else None

    def load(self, checkpoint: Checkpoint, report: ReportProgress, place: Placement = ALONE) -> Policy[Any]:
        """Raises LoadFailed if the callable raises or returns nothing that answers observations."""
        report(f"calling {checkpoint.id!r} of the server's models")
        try:
            made = self._builds[checkpoint.id]()
        except OffboardError:
            raise
        except Exception as error:
            raise LoadFailed(
                f"the callable of the model {checkpoint.id!r} raised {told(error)}; "
                "it is called without arguments and returns what answers observations",
                permanent=isinstance(error, ImportError),
            ) from error
        if declared(made) and not (checkpoint.inputs or checkpoint.outputs or checkpoint.chunk_length):
            raise LoadFailed(
                f"what the model {checkpoint.id!r} declares is found only when it is loaded, too late for the "
                "handshake; give the server what was declared itself ({'name': function}), not what returns it"
            )
        most = checkpoint.chunk_length
        steps = None if most is None else (int(checkpoint.extras.get("shortest_chunk", most)), most)
        return as_policy(made, checkpoint.id, steps)


def as_build(name: str, value: Any) -> Build:
    """What was given for the model ``name``, as what builds it: itself, or a function that returns what it already is.

    Raises ConfigurationError for what can be neither.
    """
    if is_itself(value):
        return lambda: value
    if not callable(value):
        raise ConfigurationError(
            f"the model {name!r} is {kind_of(value)}; expected a function of the observation, an object with infer or "
            "select_action, a Policy, or a callable without arguments that makes one of these"
        )
    return cast("Build", value)


def is_itself(value: Any) -> bool:
    """Whether this answers observations, and is no callable that makes what does."""
    if not isinstance(value, type) and (isinstance(value, Policy) or _method(value) is not None):
        return True
    return callable(value) and _needs_argument(value)


def _needs_argument(function: Callable[..., Any]) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (ValueError, TypeError):  # some that are written in C do not tell
        return False
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return any(p.kind in positional and p.default is inspect.Parameter.empty for p in parameters)


def _method(made: Any) -> Callable[[Any], Any] | None:
    found = (getattr(made, name, None) for name in ("infer", "select_action"))
    return next((cast("Callable[[Any], Any]", method) for method in found if callable(method)), None)


def as_policy(made: Any, name: str, steps: Steps | None = None) -> Policy[Any]:
    """What a callable of the model ``name`` returned, as a policy. Raises LoadFailed if nothing there can be called.

    ``steps``: how many a function's or an object's answer has at least and at most.
    """
    if isinstance(made, Policy):
        return cast("Policy[Any]", made)
    if (method := _method(made)) is not None:
        return _ObjectPolicy(made, method, steps)
    if callable(made) and not isinstance(made, type):
        return _ObjectPolicy(made, made, steps)
    raise LoadFailed(
        f"the callable of the model {name!r} returned {kind_of(made)}; expected a Policy, an object with infer or "
        "select_action, or a function of the observation"
    )


class _ObjectPolicy(Policy["_ObjectSession"]):
    def __init__(self, owner: Any, call: Callable[[Any], Any], steps: Steps | None) -> None:
        self._owner = owner
        self._call = call
        self._steps = steps
        self._copies = getattr(owner, "copyable", False) is True
        remembers = callable(getattr(owner, "reset", None)) or hasattr(owner, "select_action")
        self.max_sessions = getattr(owner, "max_sessions", 1 if remembers and not self._copies else None)
        self.blocking = getattr(owner, "blocking", True) is not False
        self._close: Callable[[], Any] | None = getattr(owner, "close", None)

    def new_session(self, params: Any) -> _ObjectSession:
        if not self._copies:
            return _ObjectSession(self._owner, self._call, self._steps)
        owner = copy.deepcopy(self._owner)
        return _ObjectSession(owner, _method(owner) or owner, self._steps)

    def close(self) -> None:
        if self._close is not None:
            self._close()


class _ObjectSession(Session):
    def __init__(self, owner: Any, call: Callable[[Any], Any], steps: Steps | None) -> None:
        self._call = call
        self._steps = steps
        self._reset: Callable[[], Any] | None = getattr(owner, "reset", None)
        self.reset()

    def infer(self, inputs: Mapping[str, Any], context: InferContext) -> Chunk | None:
        chunk = as_chunk(self._call(_own(inputs)))
        if chunk is not None and len(chunk) and self._steps is not None:
            fewest, most = self._steps
            if not fewest <= len(chunk) <= most:
                said = f"{most}" if fewest == most else f"{fewest} to {most}"
                raise InvalidAction(f"the policy answered {len(chunk)} steps; it declares {said} (declare(steps=…))")
        return chunk

    def reset(self) -> None:
        if self._reset is not None:
            self._reset()


def _own(value: Any) -> Any:
    """A copy down to the arrays. What is written into it reaches neither the codec nor whatever reads it after this."""
    if isinstance(value, np.ndarray):
        return cast("Array", value).copy()
    if isinstance(value, Mapping):
        return {name: _own(item) for name, item in cast("Mapping[str, Any]", value).items()}
    if isinstance(value, list):
        return [_own(item) for item in cast("list[Any]", value)]
    return value
