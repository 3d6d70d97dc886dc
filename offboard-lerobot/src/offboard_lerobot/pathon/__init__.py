"""PathOn-AI's protocol (``awesome-lerobot``) in front of any model that is served. Needs neither torch nor LeRobot."""
