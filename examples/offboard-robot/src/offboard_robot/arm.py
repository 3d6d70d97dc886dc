import threading
from dataclasses import dataclass

import numpy as np
from offboard_client.robots import Channel, Robot, RobotSpec

LINKS = np.array([0.3, 0.25, 0.1])
JOINTS = Channel(shape=(3,), unit="rad", order=("shoulder", "elbow", "wrist"))
POSE = Channel(shape=(7,), unit="m, unit quaternion wxyz", frame="the arm's base; of the finger tips")
GRIP = Channel(shape=(1,), unit="0 open to 1 closed")


class Plane:
    def forward(self, q):
        """Where joints put the end effector: x y z, quaternion w x y z, as in robot_state.ee_pose."""
        angles = np.cumsum(q)
        x, y = LINKS @ np.cos(angles), LINKS @ np.sin(angles)
        return np.array([x, y, 0.3, np.cos(angles[-1] / 2), 0, 0, np.sin(angles[-1] / 2)])


@dataclass(frozen=True, kw_only=True)
class Options:
    real_time: bool = False
    """Take as long as an arm would."""


class Arm(Robot):
    spec = RobotSpec(
        measures={"robot_state.q": JOINTS, "robot_state.ee_pose": POSE, "grip": GRIP},
        plays={"target_joints": JOINTS},
        control_period=0.01,  # seconds from one set-point that the hardware takes to the next
        simulated=True,  # False, which is the default, for what moves: `offboard run` wants its limits then
    )
    kinematics = Plane()  # None where there is none

    def __init__(self, options):
        """Touch no hardware: whoever only wants to know what the robot is comes this far."""
        self.realtime = options.real_time  # False: time passes in `apply` only, and waits for the policy
        self.joints = np.zeros(3)
        self.stopped = threading.Event()

    def connect(self):
        """Your driver: open the port, enable the motors. Nothing moves yet."""

    def observe(self):
        """What is measured now."""
        self.stopped.clear()
        pose = Plane().forward(self.joints)
        return {"robot_state.q": self.joints.copy(), "robot_state.ee_pose": pose, "grip": np.zeros(1)}

    def apply(self, action, seconds):
        """Go there evenly in `seconds`, a whole number of control periods; an empty action holds still."""
        goal = self.checked(action).get("target_joints", self.joints)  # refused is what `spec` does not play
        for set_point in np.linspace(self.joints, goal, round(seconds / self.control_period) + 1)[1:]:
            if self.stopped.is_set():
                return
            self.joints = set_point  # your driver: send it
            if self.realtime:
                self.stopped.wait(self.control_period)

    def stop(self):
        """Hold still, from any thread. What was commanded before the next observe is over."""
        self.stopped.set()

    def close(self):
        """Your driver: close the port. Called in the end, whatever has happened."""


class Homing:
    """The task: all joints to zero."""

    def __init__(self, arm, instruction):
        self.arm = arm
        self.instruction = instruction or "go home"  # what the policy is told

    def start(self, seed):
        """Where the arm is when an episode starts; the driver brings it there within the limits."""
        return {"target_joints": np.random.default_rng(seed).uniform(-0.2, 0.2, 3)}

    def reset(self, seed):
        """Bring the rest of the scene to where an episode starts."""

    def succeeded(self):
        """Whether it is done; None where nobody can tell."""
        return bool(np.abs(self.arm.joints).max() < 0.01)
