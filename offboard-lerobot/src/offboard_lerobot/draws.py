"""The random numbers of one inference, out of generators of its own.

torch's own generator belongs to the whole process: seeding that would decide what other models answer. LeRobot's
policies draw from it wherever they like and few take a generator, so what they draw is turned to another one on its
way: within :func:`seeded` each function of torch that draws is given the generator of the robot whose row it is.
"""

# torch leaves much of what it takes and gives untyped.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

#: What draws as many numbers as its arguments say, and takes a generator.
_SIZED = {torch.randn, torch.rand}
#: What draws as many as the tensor has that it is given.
_LIKE: dict[Any, Callable[..., Any]] = {torch.randn_like: torch.randn, torch.rand_like: torch.rand}
#: What draws a row for each row of the tensor that it is given, and takes a generator.
_ROWS = {torch.multinomial, torch.bernoulli}

#: What fills the tensor that it is given.
_FILLS = {torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.exponential_, torch.Tensor.bernoulli_}


def seeded(seeds: Sequence[int | None]) -> contextlib.AbstractContextManager[object]:
    """Within it the calling thread draws row *i* of a batch from ``seeds[i]``; None: from torch's own, as ever."""
    return contextlib.nullcontext() if all(seed is None for seed in seeds) else _Draws(seeds)


class _Draws(TorchFunctionMode):
    def __init__(self, seeds: Sequence[int | None]) -> None:
        super().__init__()
        self._seeds = seeds
        self._generators: dict[torch.device, list[torch.Generator | None]] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        if kwargs.get("generator") is not None:
            return func(*args, **kwargs)
        kwargs.pop("generator", None)
        if func in _LIKE:
            like = args[0]
            kwargs.pop("memory_format", None)
            return self._sized(_LIKE[func], tuple(like.shape), {"dtype": like.dtype, "device": like.device, **kwargs})
        if func is torch.normal:
            return self._normal(args, kwargs)
        if func is torch.randint:
            *bounds, size = args if "size" not in kwargs else (*args, kwargs.pop("size"))
            return self._sized(partial(func, *bounds), tuple(size), kwargs)
        if func in _SIZED:
            size = kwargs.pop("size") if "size" in kwargs else args[0] if isinstance(args[0], (tuple, list)) else args
            return self._sized(func, tuple(size), kwargs)
        if func in _ROWS or func is torch.Tensor.multinomial:
            tensor, rest = args[0], args[1:]
            return self._each(
                tensor.shape[0], tensor.device, lambda i, g: func(tensor[i], *rest, generator=g, **kwargs)
            )
        if func in _FILLS:
            return self._filled(args[0], lambda rows, own: func(rows, *args[1:], generator=own, **kwargs))
        return func(*args, **kwargs)

    def _filled(self, tensor: torch.Tensor, fill: Callable[[torch.Tensor, torch.Generator | None], Any]) -> Any:
        generators = self._of(tensor.device)
        self._expect(tuple(tensor.shape))
        for i, own in enumerate(generators):
            fill(tensor if len(generators) == 1 else tensor[i : i + 1], own)
        return tensor

    def _normal(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        mean = args[0] if args else kwargs.pop("mean")
        std = args[1] if len(args) > 1 else kwargs.pop("std", 1.0)
        size = args[2] if len(args) > 2 else kwargs.pop("size", None)
        if size is not None:
            return self._sized(partial(torch.normal, mean, std), tuple(size), kwargs)
        shape = torch.broadcast_shapes(*(t.shape for t in (mean, std) if isinstance(t, torch.Tensor)))
        like = mean if isinstance(mean, torch.Tensor) else std
        return mean + std * self._sized(torch.randn, tuple(shape), {"dtype": like.dtype, "device": like.device})

    def _sized(self, draw: Callable[..., Any], shape: tuple[int, ...], kwargs: dict[str, Any]) -> Any:
        device = torch.device(kwargs.get("device") or torch.get_default_device())
        count = len(self._seeds)
        if count == 1:
            return draw(shape, generator=self._of(device)[0], **kwargs)
        self._expect(shape)
        return torch.cat([draw((1, *shape[1:]), generator=own, **kwargs) for own in self._of(device)])

    def _expect(self, shape: tuple[int, ...]) -> None:
        count = len(self._seeds)
        if count > 1 and (not shape or shape[0] != count):
            raise RuntimeError(f"the model draws {shape} numbers for {count} robots: whose seed decides them?")

    def _each(self, rows: int, device: torch.device, draw: Callable[[slice, torch.Generator | None], Any]) -> Any:
        generators = self._of(device)
        if len(generators) == 1:
            return draw(slice(None), generators[0])
        share, rest = divmod(rows, len(generators))
        if rest:
            raise RuntimeError(f"the model draws {rows} rows for {len(generators)} robots: whose seed decides them?")
        parts = [draw(slice(i * share, (i + 1) * share), own) for i, own in enumerate(generators)]
        return torch.cat(parts)

    def _of(self, device: torch.device) -> list[torch.Generator | None]:
        """One for each row, on the device that it is drawn on; None: torch's own."""
        if device not in self._generators:
            self._generators[device] = [
                None if seed is None else torch.Generator(device).manual_seed(seed) for seed in self._seeds
            ]
        return self._generators[device]
