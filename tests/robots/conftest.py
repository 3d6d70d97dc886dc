"""What drives the arm of our own server is left out where the client stands alone."""

import importlib.util

if importlib.util.find_spec("offboard_core") is None:
    collect_ignore = [
        "test_command.py",
        "test_droid.py",
        "test_entries.py",
        "test_example_robot.py",
        "test_faults.py",
        "test_gym_command.py",
        "test_pusht.py",
        "test_run_timings.py",
        "test_shadow.py",
        "test_watchdog.py",
    ]
