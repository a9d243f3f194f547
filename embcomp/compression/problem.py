"""What a method is given, and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from embcomp.compression.frame import Frame
from embcomp.compression.modules import CompressorModule, LinearCompressor
from embcomp.compression.moments import Moments
from embcomp.compression.rows import Rows
from embcomp.compression.solvers import FactoredMoments
from embcomp.compression.targets import Targets


@dataclass(frozen=True)
class Problem:
    """Everything a method may look at.

    Attributes
    ----------
    params : dict
        The compressor's constructor parameters.
    n_components : int
        Resolved, d.
    moments : Moments or FactoredMoments
        Of all rows.
    class_moments : Moments, optional
        Of the labelled rows, each weighed by its classes; may be the same object.
    frame : Frame
    seed : int
    rows : Rows, optional
        None when only moments are known.
    targets : Targets, optional
    groups : ndarray, optional
    """

    params: dict[str, Any]
    n_components: int
    moments: Moments | FactoredMoments
    frame: Frame
    seed: int
    class_moments: Moments | None = None
    rows: Rows | None = None
    targets: Targets | None = None
    groups: np.ndarray | None = None


@dataclass
class Solution:
    """What a method found, in the frame.

    Attributes
    ----------
    encoder : CompressorModule, ``(*, dim) -> (*, d)``
    decoder : CompressorModule, optional
        ``(*, d) -> (*, dim)``; None asks for the least-squares one.
    head : LinearCompressor, optional
        The classifier trained on the code.
    history : list of dict
        Epochs, for what was trained.
    keeps_rows : bool
        The folded encoder is to pass raw rows on as they are.
    """

    encoder: CompressorModule
    decoder: CompressorModule | None = None
    head: LinearCompressor | None = None
    history: list[dict[str, Any]] = field(default_factory=list)
    keeps_rows: bool = False
