"""The client's own commands. Imported for ``offboard --help``: declarations only."""

from __future__ import annotations

from ..plugins import Command

models = Command("models", "List the models that a server offers.", "offboard_client.cli.models:run")
probe = Command(
    "probe", "Open a session, show its handshake, send one synthetic observation.", "offboard_client.cli.probe:run"
)
doctor = Command("doctor", "Find what makes a link slow or a computer unsteady.", "offboard_client.cli.doctor:run")
replay = Command("replay", "Look at recorded episodes in a browser, and score them.", "offboard_client.cli.replay:run")
bench = Command("bench", "Measure a server: closed loop, one or several sessions.", "offboard_client.cli.bench:run")
run = Command("run", "Play a policy on a robot, or on the simulation.", "offboard_client.cli.run:run")
robots = Command("robots", "List the robots, or show what one measures and plays.", "offboard_client.cli.robots:run")
check = Command("check", "Hold a robot against a policy, before anything moves.", "offboard_client.cli.check:run")
evaluate = Command(
    "evaluate", "Compare a server's models by trials from the same starts.", "offboard_client.cli.evaluate:run"
)
validate = Command(
    "validate", "Try every model that a server lists on a robot.", "offboard_client.cli.validate:validate"
)
compare = Command(
    "compare",
    "Send recorded observations again, show where actions differ.",
    "offboard_client.cli.compare:run",
)
export = Command("export", "Write recordings as tables, as videos, or for Rerun.", "offboard_client.cli.export:run")
