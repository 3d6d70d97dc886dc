"""A third party's policy for LeRobot, as LeRobot's documentation has them: a package that registers what it brings."""

from .configuration_tiny import TinyConfig as TinyConfig
from .modeling_tiny import TinyPolicy as TinyPolicy
from .processor_tiny import TinyGainStep as TinyGainStep
