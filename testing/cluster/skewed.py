"""``skymap-operator`` on a machine whose clock is wrong.

    python -m testing.cluster.skewed SECONDS [ARGUMENT ...]

The clock is ahead by ``SECONDS``, or behind if they are negative.
"""

from __future__ import annotations

import sys
import time

SECONDS, *ARGUMENTS = sys.argv[1:]
_right = time.time
time.time = lambda: _right() + float(SECONDS)  # the one function by which the operator reads it

from skymap_operator import start  # noqa: E402

sys.argv = ["skymap-operator", *ARGUMENTS]
start.main()
