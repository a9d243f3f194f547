"""What fitting a compressor yields; the estimator, its files and its report all work on this."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from embcomp.compression.apply import apply
from embcomp.compression.decoders import Decoders, first_inputs
from embcomp.compression.modules import CompressorModule, LinearCompressor
from embcomp.compression.rows import Rows, raise_not_finite
from embcomp.storage.seen import Seen


@dataclass(frozen=True, eq=False)
class Fitted:
    """A fitted compression.

    Attributes
    ----------
    module : CompressorModule
        Raw embedding to target, ``(*, dim) -> (*, d)``.
    decoders : Decoders
        From the target, or any prefix of it, back to the embedding.
    head : LinearCompressor or None
        The classifier trained on the target.
    classes : list or None
        Labels seen in fitting.
    history : list of dict
        Losses per check, empty for closed forms.
    n_samples : int
        Rows fitted on.
    ids : Seen or None
        The ids fitted on; None where fitting was given none.
    feature_names : list of str or None
        Of the columns of a data frame, dim of them.
    """

    module: CompressorModule
    decoders: Decoders
    head: LinearCompressor | None
    classes: list[Any] | None
    history: list[dict[str, Any]]
    n_samples: int
    ids: Seen | None
    feature_names: list[str] | None

    @property
    def n_features(self) -> int:
        """Width of the embedding, dim."""
        return self.module.in_features

    @property
    def n_components(self) -> int:
        """Width of the target, d."""
        return self.module.out_features

    def transform(self, rows: Rows) -> np.ndarray:
        """Targets of rows ``(n, dim)``, float32 ``(n, d)``.

        Raises
        ------
        DataError
            NaN or infinity: which rows.
        """
        out = apply(self.module, rows)
        if not np.isfinite(out).all():
            raise_not_finite(rows)
        return out

    def inverse_transform(self, codes: Rows) -> np.ndarray:
        """Best guess of the embeddings, float32 ``(n, dim)``, from targets ``(n, d)``."""
        return apply(self.decoders.in_use, codes)

    def first(self, size: int) -> Fitted:
        """The same compression to the first `size` components, from 1 to d."""
        return replace(
            self,
            module=self.module.first(size),
            decoders=self.decoders.first(size),
            head=None if self.head is None else first_inputs(self.head, size),
        )

    def seen(self, ids: Iterable[str]) -> list[str]:
        """Those of `ids` that fitting used, in the order given; none where it was given no ids.

        An id ``file#start-end`` is a part of a file: it was used if a part that overlaps it was, or the whole file.
        """
        return [] if self.ids is None else self.ids.among(ids)
