"""``python -m offboard_client.cli``: the command where the script ``offboard`` is not on the path."""

import sys

from .main import main

sys.exit(main())
