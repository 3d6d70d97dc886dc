from dataclasses import dataclass

from lerobot.teleoperators import Teleoperator, TeleoperatorConfig

from .config_trial import MOTORS

#: Where the one who corrects holds it.
HELD = 42.0


@TeleoperatorConfig.register_subclass("trial_lead")
@dataclass
class TrialLeadConfig(TeleoperatorConfig):
    pass


class TrialLead(Teleoperator):
    config_class = TrialLeadConfig
    name = "trial_lead"
    is_connected = False
    is_calibrated = True
    feedback_features = {}

    @property
    def action_features(self):
        return {f"{name}.pos": float for name in MOTORS}

    def connect(self, calibrate=True):
        self.is_connected = True

    def calibrate(self):
        """Nothing to do."""

    def configure(self):
        """Nothing to do."""

    def get_action(self):
        return dict.fromkeys(self.action_features, HELD)

    def send_feedback(self, feedback):
        raise AssertionError("it has no motors")

    def disconnect(self):
        self.is_connected = False
