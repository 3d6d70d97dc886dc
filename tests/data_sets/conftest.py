"""Data sets are made of recordings, which need the extra ``record``."""

import importlib.util

if importlib.util.find_spec("mcap") is None:
    collect_ignore_glob = ["test_*.py"]
