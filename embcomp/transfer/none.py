"""No transfer: the baseline that every method is compared with."""

from __future__ import annotations

from embcomp.transfer.base import Transfer


class NoTransfer(Transfer):
    """Learn from labels alone."""

    name = "none"
    summary = "labels alone, no teacher"
