"""Whether a process of this machine is still there."""

from __future__ import annotations

import os


def is_alive(process: int) -> bool:
    """Whether there is a process of this number; True where that cannot be asked."""
    if os.name != "posix":
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True
    return True
