"""The conformance kit: what every vendor's plugin must do, as tests to inherit (extra ``testing``).

In a vendor's own test suite::

    import numpy as np
    import pytest
    from offboard_core.testing import VendorConformance

    class TestEcho(VendorConformance):
        plugin = "echo"

        @pytest.fixture
        def observation(self):
            return {"robot_state.ee_pose": np.array([0.4, 0, 0.3, 1, 0, 0, 0]), "grip": 0.5}

A vendor with checkpoints inherits :class:`CheckpointConformance` and says where a complete one lies. What a test
proves is its docstring; what it needs to know about the vendor is an attribute or a fixture of :class:`Vendor`. The
tests of a listener inherit :class:`ListenerLaws`, those of an observer :class:`ObserverLaws`. A vendor whose model runs
in a process of its own inherits :class:`ChildLaws` beside the others.
"""

from __future__ import annotations

import pytest

# The asserts of these modules are rewritten like those of a test file, so that a failure shows its values.
pytest.register_assert_rewrite(
    *(
        f"{__name__}._{part}"
        for part in (
            "child",
            "codec",
            "control",
            "listener",
            "observer",
            "plugin",
            "policy",
            "protocol",
            "registry",
            "served",
        )
    )
)

from ._child import ChildLaws  # noqa: E402
from ._codec import CodecLaws  # noqa: E402
from ._control import ControlLaws  # noqa: E402
from ._listener import ListenerLaws  # noqa: E402
from ._observer import ObserverLaws  # noqa: E402
from ._plugin import PluginLaws  # noqa: E402
from ._policy import PolicyLaws  # noqa: E402
from ._protocol import ProtocolLaws  # noqa: E402
from ._registry import RegistryLaws  # noqa: E402
from ._vendor import Vendor  # noqa: E402


class VendorConformance(PluginLaws, CodecLaws, PolicyLaws, ControlLaws, ProtocolLaws):
    """Everything that holds for every vendor."""


class CheckpointConformance(VendorConformance, RegistryLaws):
    """Everything that holds for a vendor whose models are files."""


__all__ = [
    "CheckpointConformance", "ChildLaws", "CodecLaws", "ControlLaws", "ListenerLaws", "ObserverLaws", "PluginLaws",
    "PolicyLaws", "ProtocolLaws", "RegistryLaws", "Vendor", "VendorConformance",
]  # fmt: skip
