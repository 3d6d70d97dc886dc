"""The status of the model slot: for ``/api/v1/status``, and for a client that waits for it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from offboard_client.wire import Status

from .lease import LoadedModel, ModelSpec
from .model_loader import ModelLoader


def standing(loaded: LoadedModel | None, loader: ModelLoader, now: float, limit: float) -> dict[str, Any]:
    """Plain data for ``/api/v1/status``. ``limit``: seconds that one call may take."""
    spec, failure = loader.spec, loader.failure
    return {
        "loaded": loaded and {"model": loaded.label, "for_s": round(now - loaded.since, 1), "health": loaded.health()},
        "loading": spec and {"model": spec.label, "for_s": round(now - loader.since, 1), "progress": loader.progress},
        "replicas": [
            {
                "health": replica.health(),
                "stuck": replica.executor.stuck(limit),
                "sessions": len(replica.leases),
                "in_flight": replica.executor.queued,
                "elsewhere": replica.elsewhere(),
                "compiled": replica.policy.meta.get("compiled"),
            }
            for replica in (loaded.replicas if loaded else ())
        ],
        "holders": [
            {
                "client": lease.holder,
                "for_s": round(now - lease.since, 1),
                "idle_s": round(lease.idle(now), 1),
                "session": lease.session,
            }
            for lease in sorted(loaded.leases if loaded else (), key=lambda lease: lease.since)
        ],
        "last_failure": failure
        and {"model": failure.model, "text": failure.text, "time": failure.time.isoformat(timespec="seconds")},
        "in_flight": sum(replica.executor.queued for replica in loaded.replicas) if loaded else 0,
    }


def news(wanted: ModelSpec, loaded: LoadedModel | None, loader: ModelLoader, now: float) -> Status:
    """What whoever waits for ``wanted`` is told."""
    if (spec := loader.spec) is not None:
        status = loader.status(spec)
        if spec.key == wanted.key:
            return status
        after = f"{wanted.label} comes after: "
        return replace(status, state="waiting", message=after + status.message, phase=after + status.phase)
    if loaded is not None and loaded.recovering and loaded.key == wanted.key:
        return next(replica for replica in loaded.replicas if replica.recovering).watch.status(now)
    if loaded is None or not loaded.leases:
        return Status("loading", f"loading {wanted.label}")
    first = min(loaded.leases, key=lambda lease: lease.since)
    others = f" and {len(loaded.leases) - 1} more" if len(loaded.leases) > 1 else ""
    used, then = (
        f"{loaded.label} is in use by {first.holder}{others}",
        (
            f"{wanted.label} is loaded when they end"
            if wanted.key != loaded.key
            else f"it takes {loaded.max_sessions} at a time (max_sessions); the next begins when they end"
        ),
    )
    seconds = now - first.since
    return Status("waiting", f"{used}, for {seconds:.0f} s; {then}", phase=f"{used}; {then}", elapsed_s=seconds)
