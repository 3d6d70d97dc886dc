"""Between a benchmark's names and the served model's codec."""

from __future__ import annotations

from dataclasses import replace

from offboard_core.frontends import (
    Joined,
    ResolvedCodec,
    Translated,
    VectorLayout,
    check_own,
    check_translation,
    check_vector,
    reads_own,
    vector_layout,
)

from .benchmarks import BenchmarkKeys


def bridge(keys: BenchmarkKeys | None, codec: ResolvedCodec) -> tuple[ResolvedCodec, VectorLayout]:
    """The codec of a session, whose actions are one vector, and what its columns are.

    ``keys`` None, or a model that reads the benchmark's own names: everything passes through. Else the key set is
    translated. Raises DialectUnsupported where that cannot be.
    """
    inner, layout = codec.codec, vector_layout(codec.meta.action)
    if keys is not None and reads_own(keys, codec):
        _check_own(keys, codec)
    elif keys is not None:
        check_translation(keys, codec, _try(keys, codec))
        inner = Translated(keys) | inner
        layout = vector_layout(inner.meta.action)
    return replace(codec, codec=Joined(inner.meta.action) | inner), layout


def _check_own(keys: BenchmarkKeys, codec: ResolvedCodec) -> None:
    """A model that reads the benchmark's own names answers as many numbers as it plays, as far as anybody knows."""
    check_own(keys, codec, _try(keys, codec))
    check_vector(keys, codec, _try(keys, codec))


def _try(keys: BenchmarkKeys, codec: ResolvedCodec) -> str:
    # A close frame holds the first hundred characters of a refusal: what to do comes first.
    return f"try without --vla-eval.codec {keys.name}, or another --codec than {codec.name}: "
