"""Where an episode of a data set came from, and what came of it, as plain JSON data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from .attempts import Attempt


def origin_of(attempt: Attempt, about: Mapping[str, Any], outcome: Mapping[str, Any]) -> dict[str, Any]:
    """``about``, ``outcome``: what the recording says of itself, as an episode or a glance at it has them."""
    run, meta, scores = (
        cast("dict[str, Any]", found if isinstance(found := where.get(key), dict) else {})
        for where, key in ((about, "run"), (about, "meta"), (outcome, "scores"))
    )
    review, clip = attempt.review, attempt.clip
    return {
        "recording": attempt.path.name, "began": attempt.began,
        "outcome": attempt.outcome, "success": outcome.get("success"), "score": attempt.score,
        "items": review.items, "items_total": review.items_total, "tags": [*review.tags], "note": review.note,
        "scores": {name: _finite(score) for name, score in scores.items()},
        "clip": None if clip is None else clip.as_dict(),
        "model": _text(meta.get("model_id") or meta.get("checkpoint_id")), "seed": about.get("seed"),
        "task": _text(run.get("task")), "command": _text(run.get("command")),
    }  # fmt: skip


def _finite(value: object) -> object:
    """A score as JSON has a form for; None for one that is no number."""
    return value if isinstance(value, int | float) and abs(value) < float("inf") else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None
