"""One training by several processes: who takes part, the batch divided among them, sums over all of them."""

from embcomp.distributed.group import ALONE, Group, current, joined
from embcomp.distributed.share import Share, active, adding

__all__ = ["ALONE", "Group", "Share", "active", "adding", "current", "joined"]
