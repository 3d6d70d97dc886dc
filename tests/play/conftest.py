"""What asks our own server is left out where the client stands alone."""

import importlib.util

if importlib.util.find_spec("offboard_core") is None:
    collect_ignore = ["test_real_time_chunking.py", "test_remote.py"]
