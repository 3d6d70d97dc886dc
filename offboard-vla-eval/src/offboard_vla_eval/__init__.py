"""vla-eval's protocol in front of offboard: its benchmarks evaluate any policy that is served, of whichever vendor."""

from __future__ import annotations

from collections.abc import Iterator

from offboard_core import FrontendEntry, hookimpl


@hookimpl
def offboard_frontends() -> Iterator[FrontendEntry]:
    """What vla-eval's benchmarks ask of a model server."""
    yield FrontendEntry(
        name="vla-eval",
        summary="vla-eval's protocol: its benchmarks evaluate any model.",
        factory="offboard_vla_eval.frontend:VLAEvalFrontend",
        paths=("/vla-eval",),
        options="offboard_vla_eval.options:VLAEvalOptions",
    )
