"""What a trained compressor is asked to keep: the input, the labels, or both."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from embcomp.errors import DataError
from embcomp.losses import prediction_loss


class Bottleneck(nn.Module):
    """Encoder, and what reads its code during training.

    Parameters
    ----------
    encoder : nn.Module
        ``(n, dim) -> (n, d)``.
    decoder : nn.Module or None
        ``(n, d) -> (n, dim)``; adds the reconstruction term.
    head : nn.Module or None
        ``(n, d) -> (n, n_classes)``; adds the task term, the papers' L_teacher:
        a linear classifier on the compact embedding.
    multilabel : bool
        Targets are 0/1 matrices with NaN for unknown, not class indices.
    class_weights : Tensor of shape (n_classes,), optional
    reconstruction_weight : float
        Factor of the reconstruction term where both are present.
    sizes : sequence of int, optional
        Prefixes of the code that must each do the whole job; their losses are
        averaged, with one head and one decoder for all (Kusupati et al.,
        "Matryoshka Representation Learning", 2022, the efficient variant;
        https://arxiv.org/abs/2205.13147).
    """

    def __init__(
        self,
        encoder: nn.Module,
        decoder: nn.Module | None = None,
        head: nn.Module | None = None,
        multilabel: bool = False,
        class_weights: Tensor | None = None,
        reconstruction_weight: float = 1.0,
        sizes: Sequence[int] = (),
    ):
        super().__init__()
        self.encoder, self.decoder, self.head = encoder, decoder, head
        self.multilabel, self.class_weights = multilabel, class_weights
        self.reconstruction_weight = reconstruction_weight
        self.sizes = tuple(sizes)

    def losses(self, rows: Tensor, targets: Tensor | None) -> dict[str, Tensor]:
        """Terms of the loss and their weighted sum ``total``.

        Parameters
        ----------
        rows : Tensor of shape (n, dim)
        targets : Tensor of shape (n,) or (n, n_classes), or None without a head
        """
        code = self.encoder(rows)
        sizes = self.sizes or (code.shape[1],)
        terms: dict[str, Tensor] = {}
        if self.head is not None:
            if targets is None:
                raise DataError("a head needs targets")
            logits = prefix_outputs(self.head, code, sizes)
            repeated = targets.repeat(len(sizes), *[1] * (targets.ndim - 1))
            terms["task"] = prediction_loss(logits.flatten(0, 1), repeated, self.multilabel, self.class_weights)
        if self.decoder is not None:
            terms["reconstruction"] = F.mse_loss(
                prefix_outputs(self.decoder, code, sizes), rows.expand(len(sizes), -1, -1)
            )
        weight = 1.0 if self.head is None else self.reconstruction_weight
        nothing = code.new_zeros(())
        total = terms.get("task", nothing) + weight * terms.get("reconstruction", nothing)
        return {"total": total, **terms}


def prefix_outputs(reader: nn.Module, code: Tensor, sizes: Sequence[int]) -> Tensor:
    """Outputs of `reader` for each prefix of the code, the rest being zero, ``(len(sizes), n, out)``.

    Parameters
    ----------
    reader : nn.Module, ``(n, d) -> (n, out)``
    code : Tensor of shape (n, d)
    sizes : sequence of int, ascending
    """
    if len(sizes) == 1:
        return reader(code)[None]
    if isinstance(reader, nn.Linear):
        # A longer prefix only adds columns, so every column is multiplied once.
        pairs = zip((0, *sizes[:-1]), sizes, strict=True)
        added = [code[:, start:stop] @ reader.weight[:, start:stop].T for start, stop in pairs]
        return torch.stack(added).cumsum(dim=0) + reader.bias
    return torch.stack([reader(F.pad(code[:, :size], (0, code.shape[1] - size))) for size in sizes])


def prefix_sizes(n_components: int) -> tuple[int, ...]:
    """Powers of two up to `n_components`, and itself.

    Examples
    --------
    >>> prefix_sizes(12)
    (1, 2, 4, 8, 12)
    """
    sizes = [2**power for power in range(n_components.bit_length()) if 2**power < n_components]
    return (*sizes, n_components)
