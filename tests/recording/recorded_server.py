"""A server that records into the folder that it is told, and says its port."""

import sys
import time

from offboard_core import InferenceServer

with InferenceServer(lambda o: {"target_joints": o["robot_state.q"]}, port=0, recording_dir=sys.argv[1]) as server:
    print(server.port, flush=True)
    time.sleep(600)
