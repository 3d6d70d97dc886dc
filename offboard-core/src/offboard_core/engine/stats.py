"""Counters that the hot path can afford: plain numbers, turned into metrics when these are asked for."""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from itertools import chain
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from offboard_client.errors import OffboardError

#: The stages every reply reports, in ms.
STAGES = ("decode_ms", "codec_ms", "queue_ms", "infer_ms", "total_ms")
#: Upper bounds in seconds of the duration histograms.
BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
#: What is remembered of the last minutes: so many spans of so many seconds.
SPANS, SPAN_S = 300, 2.0
_BOUNDS_MS = np.asarray(BOUNDS) * 1e3
_STAGES_OF, _BATCH_OF = itemgetter(*STAGES), itemgetter("batch")


class Histogram(NamedTuple):
    """Counts per bucket of :data:`BOUNDS` (the last one is everything longer) and their sum in ms."""

    counts: list[int]
    sum_ms: float


class ServerStats:
    """What the whole server has done since it started.

    A finished exchange only leaves a line here; sorting it into counters waits until it is asked for, or until so many
    lines have come together that the memory would show. All of them are sorted at once.
    """

    _LINES = 256

    def __init__(self) -> None:
        self.sessions_opened = 0
        self.refused: Counter[str] = Counter()
        self.loads: Counter[str] = Counter()
        self.load_seconds = 0.0
        self._lines: deque[tuple[dict[str, float], str, float]] = deque()
        # Which span it was, the sums of its stages in ms, and how many there were; those without any are not there.
        self._spans: deque[tuple[int, list[float], int]] = deque(maxlen=SPANS)
        self._sorting = threading.Lock()
        # By stage and bucket; by stage, in ms.
        self._buckets: NDArray[np.int64] = np.zeros((len(STAGES), len(BOUNDS) + 1), np.int64)
        self._sums: NDArray[np.float64] = np.zeros(len(STAGES))
        self._outcomes: Counter[str] = Counter()
        self._batches: Counter[int] = Counter()

    def record(self, timing: dict[str, float], error: OffboardError | None) -> None:
        """Count one answered observation; from any thread."""
        self._lines.append((timing, "ok" if error is None else error.code, time.monotonic()))
        if len(self._lines) > self._LINES:
            self._sort()

    @property
    def stages(self) -> dict[str, Histogram]:
        """Durations by stage."""
        self._sort()
        with self._sorting:
            counts, sums = self._buckets.tolist(), self._sums.tolist()
        return {stage: Histogram(*each) for stage, *each in zip(STAGES, counts, sums, strict=True)}

    @property
    def outcomes(self) -> Counter[str]:
        """Answered observations by ``ok`` or error code."""
        self._sort()
        return self._outcomes

    @property
    def batches(self) -> Counter[int]:
        """Answered observations by how many shared the call."""
        self._sort()
        return self._batches

    def recent(self) -> dict[str, list[float | None]]:
        """The mean of each stage in ms in the last :data:`SPANS` spans, the present one last; None: nothing was."""
        self._sort()
        now = int(time.monotonic() // SPAN_S)
        found: dict[str, list[float | None]] = {stage: [None] * SPANS for stage in STAGES}
        with self._sorting:
            for span, sums, count in self._spans:
                if 0 <= now - span < SPANS:
                    for stage, total in zip(STAGES, sums, strict=True):
                        found[stage][span - now - 1] = total / count
        return found

    def _sort(self) -> None:
        with self._sorting:
            if not (count := len(self._lines)):
                return
            take = self._lines.popleft  # more may come meanwhile
            lines = [take() for _ in range(count)]
            timings, outcomes, at = zip(*lines, strict=True)
            self._outcomes.update(outcomes)
            self._batches.update(map(_BATCH_OF, timings))
            numbers = chain.from_iterable(map(_STAGES_OF, timings))
            ms = np.fromiter(numbers, np.float64, count * len(STAGES)).reshape(count, len(STAGES))
            buckets = np.searchsorted(_BOUNDS_MS, ms) + self._buckets.shape[1] * np.arange(len(STAGES))
            self._buckets += np.bincount(buckets.ravel(), minlength=self._buckets.size).reshape(self._buckets.shape)
            self._sums += ms.sum(axis=0)
            self._remember(ms, np.asarray(at) // SPAN_S)

    def _remember(self, ms: NDArray[np.float64], spans: NDArray[np.float64]) -> None:
        """Lines, (N, stage), in ms, and the span of each."""
        # What another thread notes late counts for the span that is there.
        last, before, many = self._spans.pop() if self._spans else (int(spans[0]), [0.0] * len(STAGES), 0)
        spans = np.maximum.accumulate(np.maximum(spans, last))
        firsts = np.flatnonzero(np.diff(spans, prepend=last - 1))
        sums, counts = np.add.reduceat(ms, firsts), np.diff(firsts, append=len(ms))
        if spans[0] == last:
            sums[0] += before
            counts[0] += many
        elif many:
            self._spans.append((last, before, many))
        self._spans.extend(zip(spans[firsts].astype(int).tolist(), sums.tolist(), counts.tolist(), strict=True))


class SessionStats:
    """What one session has done: counts, and the last 512 timings."""

    __slots__ = ("_recent", "_server", "errors", "steps")

    def __init__(self, server: ServerStats) -> None:
        self._server = server
        self._recent: deque[dict[str, float]] = deque(maxlen=512)
        self.steps = 0
        self.errors: Counter[str] = Counter()

    def record(self, timing: dict[str, float], error: OffboardError | None) -> None:
        """Count one answered observation."""
        self.steps += 1
        if error is not None:
            self.errors[error.code] += 1
        self._recent.append(timing)
        self._server.record(timing, error)

    def summary(self) -> dict[str, Any]:
        """Counts, and p50/p95/p99 in ms of each stage over the last 512 steps."""
        timing: dict[str, dict[str, float]] = {}
        if self._recent:
            values = np.asarray([[line[stage] for stage in STAGES] for line in self._recent])
            for i, stage in enumerate(STAGES):
                p50, p95, p99 = np.percentile(values[:, i], (50, 95, 99))
                timing[stage] = {"p50": float(p50), "p95": float(p95), "p99": float(p99)}
        return {"steps": self.steps, "errors": dict(self.errors), "timing": timing}
