"""What the whole server remembers of the last minutes."""

from __future__ import annotations

from random import Random
from types import SimpleNamespace

import pytest
from offboard_client.errors import BadMessage
from offboard_core.engine import ServerStats


def test_the_last_minutes_are_remembered_by_stage_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("offboard_core.engine.stats.time", SimpleNamespace(monotonic=lambda: now))
    stats = ServerStats()

    def answered(at: float, total: float) -> None:
        nonlocal now
        now = at
        stages = {"decode_ms": 1.0, "codec_ms": 2.0, "queue_ms": 0.0, "infer_ms": 3.0, "total_ms": total}
        stats.record({**stages, "batch": 1}, None)

    def total(back: int) -> float | None:
        return stats.recent()["total_ms"][-1 - back]

    assert set(map(type, stats.recent()["total_ms"])) == {type(None)}
    answered(1000.0, 10.0)
    answered(1001.9, 20.0)
    answered(1004.0, 40.0)
    assert [total(back) for back in range(4)] == [40.0, None, 15.0, None]
    assert stats.recent()["infer_ms"][-1] == 3.0
    answered(1003.9, 60.0)  # noted late, by another thread
    now = 1005.0
    assert [total(back) for back in range(3)] == [50.0, None, 15.0]
    now = 1600.0
    assert [each for each in stats.recent()["total_ms"] if each is not None] == [50.0]
    for second in range(2000, 3400):
        answered(float(second), 1.0)
    assert stats.recent()["total_ms"] == [1.0] * 300


def test_many_lines_at_once_count_as_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    random, now = Random(7), 1000.0
    monkeypatch.setattr("offboard_core.engine.stats.time", SimpleNamespace(monotonic=lambda: now))
    infers: list[float] = []
    together, single = ServerStats(), ServerStats()
    for i in range(1000):
        now += random.choice((0.0, 0.1, -0.5, 3.0))
        timing = {stage: random.choice((0.0, 0.5, random.expovariate(0.1), 1e5)) for stage in ServerStats().stages}
        infers.append(timing["infer_ms"])
        error = random.choice((None, None, BadMessage("no")))
        for stats in (together, single):
            stats.record({**timing, "batch": i % 3 + 1}, error)
        assert single.outcomes.total() == i + 1
    for name, histogram in together.stages.items():
        assert histogram.counts == single.stages[name].counts
        assert histogram.sum_ms == pytest.approx(single.stages[name].sum_ms)
        assert together.recent()[name] == [
            None if mean is None else pytest.approx(mean) for mean in single.recent()[name]
        ]
    counts = together.stages["infer_ms"].counts
    assert counts[0] == sum(timing <= 0.5 for timing in infers)
    assert counts[-1] == sum(timing > 1e4 for timing in infers) > 0
    assert together.outcomes == single.outcomes
    assert together.batches == single.batches == {1: 334, 2: 333, 3: 333}
