"""How LeRobot lays out what it trains."""

from __future__ import annotations

from offboard_core.checkpoints import Place

#: What LeRobot calls the folder of one checkpoint, in the folder of its training step.
PRETRAINED = "pretrained_model"
#: And the folder of all steps, in the one of the run.
CHECKPOINTS = "checkpoints"
#: And the link to the newest step's folder, beside it.
LAST = "last"


def run_of(place: Place) -> Place | None:
    """The run's folder, for the ``pretrained_model`` of a step in its ``checkpoints``."""
    steps = None if (step := step_of(place)) is None else step.above()
    return None if steps is None or steps.location.rpartition("/")[2] != CHECKPOINTS else steps.above()


def step_of(place: Place) -> Place | None:
    """The step's folder, for the ``pretrained_model`` in it."""
    return place.above() if place.location.rpartition("/")[2] == PRETRAINED else None
