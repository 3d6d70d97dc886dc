"""A vendor's training, run where the vendor lives; ``offboard stats`` and ``offboard train`` call it."""

from __future__ import annotations

import abc
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from offboard_client.errors import ConfigurationError

from ..types import NoParams, ReportProgress


class Trainer(abc.ABC):
    """Makes checkpoints of a data set.

    ``stats_options``, ``train_options``: frozen dataclasses of the vendor's flags for the two commands. ``passed_on``:
    the field of ``train_options``, a text, that takes what ``offboard train`` was given and nobody declares, as a shell
    would have it (``--batch_size=8 --policy.chunk_size=50``), for the vendor's own program to judge; None: such is
    refused.
    Raises ConfigurationError for whatever is wrong, with the end of the log of what was run.
    """

    stats_options: type = NoParams
    train_options: type = NoParams
    passed_on: str | None = None

    def said_of(self, options: Any) -> Mapping[str, Any]:
        """What the data set says of itself, where it does: ``codec`` (in full), ``codec_options``, ``action_fps``.

        Of one that says its rate and no codec the rate alone is recorded, unless a codec is asked for. Raises
        ConfigurationError where it cannot be read.
        """
        return {}

    def stats(self, options: Any, report: ReportProgress) -> Path:
        """Compute what training needs to know of a data set beforehand; where it was written."""
        raise ConfigurationError("this vendor computes no statistics beforehand: train at once")

    @abc.abstractmethod
    def train(self, options: Any, record: Mapping[str, Any], report: ReportProgress) -> Path:
        """Train; where the checkpoints are. ``record`` (``codec``, its options, ``action_fps``) belongs beside them."""
