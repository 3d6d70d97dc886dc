"""The form of data sets that openpi trains on: LeRobot's v2.1, which the LeRobot that openpi pins reads."""

from __future__ import annotations

from offboard_core.data_sets import V21Writer


class OpenPIDataSet(V21Writer):
    """Just that form: openpi's config says which column is what."""

    def finish(self) -> str:
        """See :class:`~offboard_core.DataSetWriter`."""
        return f"{super().finish()}; offboard stats --vendor openpi, then offboard train --vendor openpi"
