"""A third party's robot for LeRobot, without hardware, and an environment: both go where they are sent.

What they are sent stands in a file, one line for each action.
"""

from .config_trial import TrialArmConfig as TrialArmConfig
from .env_trial import TrialEnvConfig as TrialEnvConfig
from .trial import TrialArm as TrialArm
