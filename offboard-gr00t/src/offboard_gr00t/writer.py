"""Data sets for GR00T, written as its own loaders read them."""

from __future__ import annotations

import json
from pathlib import Path

from offboard_core import DataSetForm
from offboard_core.data_sets import V21Writer

from . import arm
from .data_set import MODALITY, modality_json

#: What GR00T's training computes of a data set, once, and believes from then on.
_COMPUTED = ("stats.json", "relative_stats*.json")


class GR00TDataSet(V21Writer):
    """LeRobot's form v2.1, and beside it ``meta/modality.json`` for GR00T's own arm codecs.

    A column of one number holds lists: N1.5's loader takes no bare numbers.
    """

    def __init__(self, folder: Path, form: DataSetForm) -> None:
        super().__init__(folder, form, vectors=True)
        self._modality, self._target = folder / MODALITY, form.target
        plugin, _, codec = form.codec.rpartition(".")
        self._known = codec if plugin == "gr00t" and codec in arm.LAYOUTS else None

    def save_episode(self) -> None:
        """See :class:`~offboard_core.DataSetWriter`. What was computed of the episodes before holds no more."""
        super().save_episode()
        for pattern in _COMPUTED:
            for path in self._modality.parent.glob(pattern):
                path.unlink()

    def finish(self) -> str:
        """See :class:`~offboard_core.DataSetWriter`."""
        super().finish()
        if self._known is None:
            return f"say in {self._target}/{MODALITY.as_posix()} what its columns hold, which GR00T reads"
        if not self._modality.exists():
            self._modality.write_text(json.dumps(modality_json(self._known), indent=2) + "\n", "utf-8")
        return f"offboard train --vendor gr00t --input-path {self._target} …"
