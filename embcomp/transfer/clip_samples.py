"""In-batch contrast of student embeddings with the clips' own cached teacher embeddings."""

from __future__ import annotations

from torch import Tensor

from embcomp.transfer.base import Batch
from embcomp.transfer.clip import ContrastiveTransfer


class ClipSamples(ContrastiveTransfer):
    """Contrast with the teacher vectors of the clips in the batch.

    The loss of CLIP-Teacher-KD (Nair 2024, arXiv 2404.06170) with vectors computed once instead of a
    teacher that runs at every step: the baseline that work leaves out. It needs no label.
    See `ContrastiveTransfer` for the loss and its options.

    Differs from the paper by default: a clip that was drawn twice is its own partner both
    times. ``faithful=True`` takes the identity, as published. A mixed clip (training.mixup) looks
    for the mix of the two vectors; its partners are mixes of the same two.
    """

    name = "clip_samples"
    summary = "the clips' own embeddings, by contrast within the batch"

    def partners(self, batch: Batch) -> tuple[Tensor, Tensor]:
        vectors = self.target_of(batch)
        if self.settings.faithful:
            matches = vectors.new_ones(len(vectors)).diag()
        else:
            same = batch.rows.unsqueeze(1) == batch.rows
            if batch.mixing is not None:
                same &= batch.mixing.partners.unsqueeze(1) == batch.mixing.partners
            matches = same.to(vectors.dtype)
        return vectors, matches
