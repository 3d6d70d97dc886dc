"""A third party's robot for LeRobot, without hardware, and an environment: both go where they are sent.

Beside them a leader that is held still. What they are sent stands in a file, one line for each action.
"""

from .config_trial import TrialArmConfig as TrialArmConfig
from .env_trial import TrialEnvConfig as TrialEnvConfig
from .lead_trial import TrialLead as TrialLead
from .lead_trial import TrialLeadConfig as TrialLeadConfig
from .trial import TrialArm as TrialArm
