"""The laws of codecs: pure, vectorised over the steps of a chunk, and exactly what their meta says."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pytest
from offboard_client.errors import BadObservation, BadParameter, InvalidAction
from offboard_client.plugins import describe
from offboard_client.wire import POSES

from ..catalog import ModelSource, ResolvedCodec
from ..engine import check_action
from ..types import Array, Checkpoint, Chunk, Observation
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

    def test_trained_on_is_what_a_training_row_is_made_of(
        self, resolved_codec: ResolvedCodec, chunk: Chunk, observation: Observation
    ) -> None:
        """Of just these names, and the instruction, a row is made, with the columns of ``features`` in their shapes."""
        codec = resolved_codec.codec
        if not codec.features:
            return
        commanded = {name: rows[0] for name, rows in resolved_codec.decode(chunk, observation).columns().items()}
        frame = {**observation, **commanded}
        exactly = {name: frame[name] for name in (*codec.trained_on, "task") if name in frame}
        row, whole = codec.label(exactly), codec.label(frame)
        assert row.keys() - {"task"} == codec.features.keys()
        assert _different(whole, row) == []
        assert {name: np.shape(row[name]) for name in codec.features} == {
            name: feature.shape for name, feature in codec.features.items()
        }
        for name in codec.trained_on:
            with pytest.raises(BadObservation, match=name):
                codec.label({other: value for other, value in exactly.items() if other != name})

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

    def test_encode_actions_undoes_decode_or_one_way_says_why_not(
        self, resolved_codec: ResolvedCodec, chunk: Chunk, observation: Observation
    ) -> None:
        """What decode made, taken back and decoded again, is the same to a robot; nothing is written into."""
        codec, made = resolved_codec.codec, _frozen_chunk(resolved_codec.decode(chunk, observation))
        if codec.one_way is not None:
            assert codec.one_way.strip(), "one_way is None, or says why"
            return
        back = resolved_codec.encode_actions(made, _frozen(observation))
        assert back.columns().keys() == chunk.columns().keys(), "the model's own names"
        assert len(back) == len(made)
        again = resolved_codec.decode(back, observation)
        assert again.columns().keys() == made.columns().keys()
        for name, column in made.columns().items():
            np.testing.assert_allclose(
                _either_sign(name, again.columns()[name], column), column, rtol=1e-5, atol=1e-6, err_msg=name
            )
        assert (again.timestamp is None) == (made.timestamp is None)
        if again.timestamp is not None and made.timestamp is not None:
            np.testing.assert_allclose(again.timestamp, made.timestamp)

    def test_a_codec_whose_decoding_loses_something_says_so(
        self, resolved_codec: ResolvedCodec, chunk: Chunk, observation: Observation
    ) -> None:
        """Two numbers of a model that become one action (clipped, rounded, left out) are what ``one_way`` is for."""
        if resolved_codec.codec.one_way is not None:
            return
        for name, column in chunk.columns().items():
            # Off what is special: along its own direction a quaternion may grow, and stays the same rotation.
            column = column + np.linspace(0.05, 0.15, column.size).reshape(column.shape)
            for index in np.ndindex(column.shape[1:]):
                made: list[Mapping[str, Array]] = []
                with contextlib.suppress(InvalidAction):  # refused is not lost
                    for more in (1.0, 2.0):
                        moved = column.copy()
                        moved[(0, *index)] += more
                        decoded = resolved_codec.decode(_with_column(chunk, name, moved), observation)
                        made.append(decoded.columns())
                if len(made) == 2:
                    assert any(not np.allclose(made[0][n], made[1][n]) for n in made[0]), (
                        f"decode makes the same of two different numbers at {name}{list(index)}, and one_way is None"
                    )

    def test_decode_hides_no_number_that_is_not_finite(
        self, resolved_codec: ResolvedCodec, chunk: Chunk, observation: Observation
    ) -> None:
        """NaN anywhere in the model's answer is refused, or still there for the server to refuse."""
        for name, column in chunk.columns().items():
            for index in np.ndindex(column.shape[1:]):
                bad = column.astype(np.float64)
                bad[(0, *index)] = np.nan
                with pytest.raises(InvalidAction):
                    check_action(
                        resolved_codec.decode(_with_column(chunk, name, bad), observation), resolved_codec.meta
                    )

    def test_an_option_that_may_change_changes_nothing_that_the_handshake_said(
        self, source: ModelSource, checkpoint: Checkpoint, resolved_codec: ResolvedCodec
    ) -> None:
        """``configure`` would be refused, with every other value that it may have (L-34)."""
        for option in describe(resolved_codec.options.__class__):
            for value in _others(getattr(resolved_codec.options, option.name)) if option.changeable else []:
                with contextlib.suppress(BadParameter):  # refused for itself
                    other = source.codec.resolve(checkpoint, {option.name: value})
                    assert other.meta == resolved_codec.meta, f"{option.name} = {value}"
                    assert other.codec.one_way == resolved_codec.codec.one_way, f"{option.name} = {value}"


def _others(value: Any) -> list[Any]:
    """Other values of the same kind, of which an option may take some."""
    if isinstance(value, bool):
        return [not value]
    return [value + 1, value - 1, value * 2, value / 2] if isinstance(value, int | float) else []


def _either_sign(name: str, found: Array, expected: Array) -> Array:
    """``found``, its quaternions with the signs of ``expected``: they are the same rotations."""
    if name.partition(".")[0] not in POSES:
        return found
    sign = np.where(np.sum(found[:, 3:] * expected[:, 3:], axis=1, keepdims=True) < 0, -1, 1)
    return np.concatenate([found[:, :3], found[:, 3:] * sign], axis=1)


def _with_column(chunk: Chunk, name: str, column: Array) -> Chunk:
    return chunk.replace(action={**chunk.action, name: column} if isinstance(chunk.action, dict) else column)


def _step(chunk: Chunk, i: int) -> Chunk:
    action = chunk.action
    picked = (
        {name: column[i : i + 1] for name, column in action.items()} if isinstance(action, dict) else action[i : i + 1]
    )
    return Chunk(picked, None if chunk.timestamp is None else chunk.timestamp[:1])
