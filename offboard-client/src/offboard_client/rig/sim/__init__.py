"""A simulated robot in MuJoCo: :class:`~.robot.SimRobot`. Importing this package imports nothing heavy."""
