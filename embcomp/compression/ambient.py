"""Torch as fitting needs it, whatever the caller has set: gradients, and single precision by default."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def own_torch() -> Iterator[None]:
    """Gradients on and a default of float32; the caller's settings come back afterwards.

    For callers inside ``torch.no_grad()`` or ``torch.inference_mode()``, or with another default dtype.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float32)
    try:
        with torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        torch.set_default_dtype(before)
