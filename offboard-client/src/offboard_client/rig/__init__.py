"""The robot's end of the wire: robots, the limits they obey, and the driver that plays a policy on them.

A robot is whatever implements :class:`~.robot.Robot`; :class:`~.sim.robot.SimRobot` is the simulated one
(``pip install 'offboard-client[sim]'``), and ``offboard run sim`` drives it.
"""
