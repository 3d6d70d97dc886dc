"""What ``.ci/run`` checks in environments that hold built wheels and nothing of the workspace.

``client``: the client alone has its three dependencies and imports nothing else.
``round-trip HOST:PORT``: the client alone gets its own pose back from a served echo.
``inside``: what LeRobot finds by its name brings nothing but the client.
``vendors``: the packages of the vendors bring no model library and do not limit numpy.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import sys


def installed() -> set[str]:
    """The distributions of this environment, the tools that uv may seed it with left out."""
    return {dist.name.lower() for dist in importlib.metadata.distributions()} - {"pip", "setuptools", "wheel"}


def client() -> None:
    """Nothing but numpy, msgpack and websockets is installed or imported."""
    before = set(sys.modules)
    import offboard_client

    assert offboard_client.InferenceClient  # the package alone loads nothing; its clients are loaded when asked for
    # Cython puts names of its own there that are no modules; they have no spec.
    modules = {name for name in set(sys.modules) - before if getattr(sys.modules[name], "__spec__", None)}
    loaded = {name.partition(".")[0] for name in modules} - sys.stdlib_module_names
    assert installed() == {"offboard-client", "msgpack", "numpy", "websockets"}, installed()
    assert loaded == {"offboard_client", "msgpack", "numpy", "websockets"}, loaded
    print(offboard_client.__name__, "imports", *sorted(loaded))


def inside() -> None:
    """LeRobot imports what is called so, underscores and all; it brings no LeRobot of its own."""
    name = "lerobot_policy_offboard"
    assert importlib.metadata.distribution(name).metadata["Name"] == name
    assert importlib.util.find_spec(name) is not None
    assert installed() == {name, "offboard-client", "msgpack", "numpy", "websockets"}, installed()
    print(name, "brings the client")


def round_trip(address: str) -> None:
    """The echo plugin answers the pose it was sent."""
    import numpy as np
    from offboard_client import InferenceClient

    host, _, port = address.rpartition(":")
    pose = np.array([0.4, 0.0, 0.3, 1.0, 0.0, 0.0, 0.0])
    with InferenceClient(host, int(port)).new_session() as session:
        rows = session.infer({"robot_state.ee_pose": pose, "grip": 0.5})
    assert rows is not None
    (row,) = rows
    assert np.allclose(row["action"]["target_pose"], pose), row
    print("the echo answered", row)


def vendors() -> None:
    """The vendors, whose models may run in environments of their own, bring nothing heavy into this one."""
    heavy = {"torch", "jax", "lerobot", "transformers", "openpi-client", "vla-eval"} & installed()
    assert not heavy, heavy
    for name in ("offboard-gr00t", "offboard-lerobot", "offboard-openpi", "offboard-vla-eval"):
        limits = [need for need in importlib.metadata.requires(name) or [] if need.startswith("numpy")]
        assert not limits, limits
    print("gr00t, lerobot, openpi and vla-eval bring no model library and do not limit numpy")


if __name__ == "__main__":
    {"client": client, "inside": inside, "round-trip": round_trip, "vendors": vendors}[sys.argv[1]](*sys.argv[2:])
