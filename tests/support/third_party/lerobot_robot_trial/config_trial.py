from dataclasses import dataclass, field

from lerobot.robots import RobotConfig

MOTORS = ("shoulder_pan", "shoulder_lift", "elbow_flex", "wrist_flex", "wrist_roll", "gripper")


@RobotConfig.register_subclass("trial_arm")
@dataclass
class TrialArmConfig(RobotConfig):
    log: str = ""
    use_degrees: bool = True
    side: list[int] = field(default_factory=lambda: [64, 64])
    eyes: list[str] = field(default_factory=lambda: ["front"])
    motors: list[str] = field(default_factory=lambda: list(MOTORS))
