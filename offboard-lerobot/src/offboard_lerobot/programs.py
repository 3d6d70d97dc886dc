"""A function of a model, compiled by torch for calls of one kind, and asked without compiling anything more."""

# torch leaves much of what it takes and gives untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportPrivateUsage=false

from __future__ import annotations

import os
import types
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from offboard_client.errors import PolicyFailed, told
from torch._C._dynamo.eval_frame import reset_code

#: What :func:`torch.compile` calls a mode; all else is a backend.
_MODES = ("default", "reduce-overhead", "max-autotune")
#: What torch and Triton say where something is missing → what to do.
_STEPS = {
    "No working C++ compiler": "there is no compiler for C++ here: install g++, or say by CXX where it is",
    "Failed to find C compiler": "there is no C compiler here, which Triton needs: install gcc, or say by CC where it "
    "is",
    "working triton installation": "there is no Triton here, which makes a GPU's code: install it, or take "
    "--compile-mode cudagraphs, which does without",
    "Permission denied": "torch cannot write where it keeps what it compiles: have TORCHINDUCTOR_CACHE_DIR name a "
    "folder that may be written",
    "Read-only file system": "torch cannot write where it keeps what it compiles: have TORCHINDUCTOR_CACHE_DIR name a "
    "folder that may be written",
}


class Compiled:
    """``method`` compiled, for calls of one kind. For one thread."""

    def __init__(self, method: Any, how: str) -> None:
        self._compiler = _Compiler(how)
        alone = _alone(method)
        self._compiling: Callable[..., Any] = torch.compile(alone, dynamic=False, backend=self._compiler)
        # Goes by what is compiled, and takes the function as it is for all else: no robot waits for a compiler.
        self._as_compiled: Callable[..., Any] = torch._dynamo.run(alone)
        self._share = 0
        # Else what was compiled, and a GPU's memory with it, would stay in the module where the method was written.
        weakref.finalize(self, reset_code, alone.__code__).atexit = False

    def __call__(self, args: Sequence[Any], kwargs: Mapping[str, Any], *, compiles: bool) -> Any:
        """The answer. ``compiles``: whether what is not compiled yet may be.

        Raises PolicyFailed where no part of it was compiled, or another one than when it was last compiled: its answer
        is right then, and not what was proven.
        """
        before = self._compiler.ran
        # What turns random numbers to a robot's own generator is none of the compiler's business.
        with torch._C.DisableTorchFunction():
            answer = (self._compiling if compiles else self._as_compiled)(*args, **kwargs)
        ran = self._compiler.ran - before
        if not ran and compiles:
            raise PolicyFailed(
                "torch has compiled nothing of it (is TORCHDYNAMO_DISABLE or TORCH_COMPILE_DISABLE set?)"
            )
        if compiles:
            self._share = ran
        elif ran != self._share:
            raise PolicyFailed("torch would have to compile it anew, while a robot waits")
        return answer


class _Compiler:
    """torch's own, of which ``ran`` counts how often something that it made was run."""

    def __init__(self, how: str) -> None:
        self._make: Callable[..., Any] = (
            torch._TorchCompileInductorWrapper(how, None, False) if how in _MODES else torch._dynamo.lookup_backend(how)  # pyright: ignore[reportPrivateImportUsage]
        )
        self.ran = 0

    def __call__(self, graph: Any, inputs: Any) -> Callable[..., Any]:
        made = self._make(graph, inputs)

        def run(*args: Any) -> Any:
            self.ran += 1
            return made(*args)

        return run


def _alone(method: Any) -> Callable[..., Any]:
    """The method with a code of its own, for torch counts how often one code is compiled, and gives up at the eighth.

    Each is compiled once, for one kind of call, and what was compiled goes with it.
    """
    was = method.__func__
    made = types.FunctionType(was.__code__.replace(), was.__globals__, was.__name__, was.__defaults__, was.__closure__)
    made.__kwdefaults__ = was.__kwdefaults__
    return types.MethodType(made, method.__self__)


def own(answer: Any) -> Any:
    """A copy: a graph writes its next answer where this one lies."""
    if isinstance(answer, torch.Tensor):
        return answer.clone()
    if isinstance(answer, Mapping):
        return {name: own(each) for name, each in answer.items()}
    return type(answer)(map(own, answer)) if type(answer) in (tuple, list) else answer


def explained(error: Exception) -> Exception:
    """The error with what to do about it, where that is known; else as it is."""
    texts = [told(each) for each in _chain(error)]
    for name, what in (("CXX", "compiler for C++"), ("CC", "C compiler")):
        named = os.environ.get(name)
        if named is not None and any(f"Permission denied: {named!r}" in text for text in texts):
            return PolicyFailed(f"what {name} names may not be run: have it name a {what}, or unset it")
    for said, step in _STEPS.items():
        if any(said in text for text in texts):
            return PolicyFailed(step)
    for text in texts:
        first, *rest = text.splitlines() or [""]
        if "CppCompileError" in first and (found := next((line for line in rest if "error:" in line), None)):
            return PolicyFailed(f"the compiler for C++ failed: {found.strip()}")
    return error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


__all__ = ["Compiled", "explained", "own"]
