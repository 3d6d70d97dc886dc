"""What needs more than the client is left out where that is not there: our own server, a terminal as POSIX has it."""

import importlib.util

collect_ignore: list[str] = []
if importlib.util.find_spec("pty") is None:
    collect_ignore += ["test_keyboard.py"]
if importlib.util.find_spec("offboard_core") is None:
    collect_ignore += [
        "test_command.py",
        "test_entries.py",
        "test_example_robot.py",
        "test_faults.py",
        "test_run_timings.py",
    ]
