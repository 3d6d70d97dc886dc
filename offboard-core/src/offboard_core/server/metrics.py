"""The server's counters in Prometheus' terms, collected when they are scraped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

from ..engine import BOUNDS

if TYPE_CHECKING:
    from ..engine import PolicyService
    from .listeners import Listeners


class _ServerCollector(Collector):
    def __init__(self, service: PolicyService, listeners: Listeners) -> None:
        self._service, self._listeners = service, listeners

    def collect(self) -> Iterable[Metric]:
        service, stats = self._service, self._service.stats
        duration = HistogramMetricFamily(
            "offboard_request_duration_seconds", "Time from an observation's arrival, by stage.", labels=["stage"]
        )
        for stage, histogram in stats.stages.items():
            buckets, total = list[tuple[str, float]](), 0
            for bound, count in zip([*map(str, BOUNDS), "+Inf"], histogram.counts, strict=True):
                total += count
                buckets.append((bound, total))
            duration.add_metric([stage.removesuffix("_ms")], buckets, histogram.sum_ms / 1e3)
        yield duration
        yield _counter("offboard_requests", "Observations answered.", "outcome", stats.outcomes)
        yield _counter("offboard_batches", "Observations answered, by how many shared the call.", "size", stats.batches)
        yield _counter("offboard_rejected", "Connections refused.", "reason", stats.refused)
        yield _counter("offboard_model_loads", "Loads of a model.", "outcome", stats.loads)
        observed = CounterMetricFamily(
            "offboard_observed", "What became of the records for each observer.", labels=["observer", "outcome"]
        )
        for name, counts in service.observers.counts().items():
            for outcome, count in counts.items():
                observed.add_metric([name, outcome], count)
        yield observed
        yield CounterMetricFamily("offboard_sessions", "Sessions opened.", value=stats.sessions_opened)
        yield GaugeMetricFamily("offboard_sessions_active", "Sessions open now.", value=len(service.sessions))
        yield GaugeMetricFamily("offboard_ready", "1 while a warm policy is in the slot.", value=service.slot.ready())
        up = GaugeMetricFamily("offboard_listener_up", "1 while a listener listens.", labels=["listener"])
        for name, one in self._listeners.status().items():
            up.add_metric([name], one["failure"] is None)
        yield up
        yield GaugeMetricFamily("offboard_model_load_seconds", "How long the last load took.", value=stats.load_seconds)


def _counter(name: str, text: str, label: str, counts: Mapping[Any, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=[label])
    # A copy: the model's thread counts while this one reads.
    for key, value in dict(counts).items():
        family.add_metric([str(key)], value)
    return family


def make_registry(service: PolicyService, listeners: Listeners) -> CollectorRegistry:
    """A registry of this server alone: two servers in one process do not mix."""
    registry = CollectorRegistry()
    registry.register(_ServerCollector(service, listeners))
    return registry


def exposition(registry: CollectorRegistry) -> bytes:
    """The text format."""
    return generate_latest(registry)
