"""What others recorded is read by the extra ``convert``."""

import importlib.util

if importlib.util.find_spec("pyarrow") is None or importlib.util.find_spec("av") is None:
    collect_ignore_glob = ["test_*.py"]
