"""The laws of codecs: pure, vectorised over the steps of a chunk, and exactly what their meta says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pytest
from offboard_client.errors import BadObservation, InvalidAction

from ..catalog import ResolvedCodec
from ..engine import check_action
from ..types import Array, Chunk, Observation
from ._vendor import Vendor


def _frozen(values: Mapping[str, Any]) -> dict[str, Any]:
    """Copies whose arrays refuse to be written to."""
    return {
        name: _frozen_array(cast("Array", value)) if isinstance(value, np.ndarray) else value
        for name, value in values.items()
    }


def _frozen_array(array: Array) -> Array:
    copy = array.copy()
    copy.flags.writeable = False
    return copy


def _frozen_chunk(chunk: Chunk) -> Chunk:
    action = chunk.action
    return chunk.replace(action=_frozen(action) if isinstance(action, dict) else _frozen_array(action))


def _different(a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    """The names of ``a`` under which ``b`` has something else, or nothing."""
    return [name for name, value in a.items() if name not in b or not _equal(value, b[name])]


def _equal(a: Any, b: Any) -> bool:
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        one, other = cast("Array", a), cast("Array", b)
        return one.dtype == other.dtype and np.array_equal(one, other)
    if isinstance(a, Mapping):  # some models take maps of images
        one, other = cast("Mapping[str, Any]", a), cast("Mapping[str, Any]", b)
        return one.keys() == other.keys() and _different(one, other) == []
    return bool(a == b)


class CodecLaws(Vendor):
    """The codec that serves the vendor's default checkpoint."""

    def test_encode_is_pure(self, resolved_codec: ResolvedCodec, observation: Observation) -> None:
        """It writes into nothing, and equal observations give equal inputs."""
        first, second = resolved_codec.encode(_frozen(observation)), resolved_codec.encode(_frozen(observation))
        assert first.keys() == second.keys()
        assert _different(first, second) == []

    def test_encode_reads_what_meta_declares_and_nothing_else(
        self, resolved_codec: ResolvedCodec, observation: Observation
    ) -> None:
        """A robot that sends exactly ``meta.observation`` gives the model the same input as one that sends more."""
        declared = {name: value for name, value in observation.items() if name in resolved_codec.meta.observation}
        everything, exactly = resolved_codec.encode(observation), resolved_codec.encode(declared)
        assert _different(exactly, everything) == []
        lost = everything.keys() - exactly.keys() - observation.keys()
        assert not lost, "made of names that meta does not declare"

    def test_a_required_name_is_required(self, resolved_codec: ResolvedCodec, observation: Observation) -> None:
        """Without it the codec raises BadObservation that names it; without an optional one it encodes."""
        for name, field in resolved_codec.meta.observation.items():
            rest = {other: value for other, value in observation.items() if other != name}
            if not field.required:
                resolved_codec.encode(rest)
                continue
            assert name in observation, "the sample observation lacks a name that the codec declares as required"
            with pytest.raises(BadObservation, match=name):
                resolved_codec.encode(rest)

    def test_decode_is_pure(self, resolved_codec: ResolvedCodec, chunk: Chunk, observation: Observation) -> None:
        """It writes into neither the chunk nor the observation, and equal chunks give equal actions."""
        first = resolved_codec.decode(_frozen_chunk(chunk), _frozen(observation)).columns()
        second = resolved_codec.decode(_frozen_chunk(chunk), _frozen(observation)).columns()
        assert first.keys() == second.keys()
        assert _different(first, second) == []

    def test_decode_makes_what_meta_declares(
        self, resolved_codec: ResolvedCodec, chunk: Chunk, observation: Observation
    ) -> None:
        """The names and shapes of ``meta.action``; timestamps i / ``action_fps`` up to the horizon, or none."""
        decoded, meta = resolved_codec.decode(chunk, observation), resolved_codec.meta
        check_action(decoded, meta)
        if meta.action_fps is None:
            assert decoded.timestamp is None
            assert len(decoded) == len(chunk)
        else:
            times = np.arange(len(chunk)) / meta.action_fps
            if meta.action_horizon_sec is not None:
                times = times[times < meta.action_horizon_sec]
            assert decoded.timestamp is not None
            np.testing.assert_allclose(decoded.timestamp, times)

    def test_decode_works_on_every_step_alone(
        self, resolved_codec: ResolvedCodec, chunk: Chunk, observation: Observation
    ) -> None:
        """A chunk of T steps decodes to what its steps decode to one by one."""
        whole = resolved_codec.decode(chunk, observation)
        for i in range(len(whole)):
            alone = resolved_codec.decode(_step(chunk, i), observation).columns()
            for name, column in whole.columns().items():
                np.testing.assert_allclose(alone[name][0], column[i], rtol=1e-6, atol=1e-7, err_msg=f"{name}, step {i}")

    def test_decode_hides_no_number_that_is_not_finite(
        self, resolved_codec: ResolvedCodec, chunk: Chunk, observation: Observation
    ) -> None:
        """NaN anywhere in the model's answer is refused, or still there for the server to refuse."""
        for name, column in chunk.columns().items():
            for index in np.ndindex(column.shape[1:]):
                bad = column.astype(np.float64)
                bad[(0, *index)] = np.nan
                action = {**chunk.action, name: bad} if isinstance(chunk.action, dict) else bad
                with pytest.raises(InvalidAction):
                    check_action(resolved_codec.decode(chunk.replace(action=action), observation), resolved_codec.meta)


def _step(chunk: Chunk, i: int) -> Chunk:
    action = chunk.action
    picked = (
        {name: column[i : i + 1] for name, column in action.items()} if isinstance(action, dict) else action[i : i + 1]
    )
    return Chunk(picked, None if chunk.timestamp is None else chunk.timestamp[:1])
