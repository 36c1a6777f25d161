"""What the commands of all roles do before their slow imports."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from skymap_scanner.roles.stop import Stop


def start_role(*, end_with_parent: bool, longest_step: float = 0.0) -> Stop:
    """Take signals as a request to stop, and touch the liveness file if there is one.

    ``longest_step``: how long the role may go without checking for such a request (s), if that is unusually long.
    Raises InputError if ``run`` has started it from another installation.
    """
    from skymap_scanner.roles.liveness import LONGEST, start_heartbeat
    from skymap_scanner.roles.stop import Stop

    if end_with_parent:
        from skymap_scanner.roles.local.local_role import check_installation

        check_installation()
    stop = Stop().on_signals(with_parent=end_with_parent)
    start_heartbeat(stop, os.environ, longest=max(LONGEST, longest_step))
    return stop
