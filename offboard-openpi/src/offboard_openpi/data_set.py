"""The form of data sets that openpi trains on: LeRobot's v2.1, which the LeRobot that openpi pins reads."""

from __future__ import annotations

from pathlib import Path

from offboard_core import DataSetForm
from offboard_core.data_sets import V21Writer


class OpenPIDataSet(V21Writer):
    """Just that form: openpi's config says which column is what."""

    def __init__(self, folder: Path, form: DataSetForm) -> None:
        super().__init__(folder, form)
        self._target = form.target

    def finish(self) -> str:
        """See :class:`~offboard_core.DataSetWriter`."""
        super().finish()
        return f"offboard stats --vendor openpi --input-path {self._target} …, then offboard train the same way"
