"""The compressors as plain ``nn.Module``: raw embedding in, compact target out.

They need nothing else of the package and can be trained inside any loop.
"""

from __future__ import annotations

from typing import TypeAlias, TypeVar

import torch
from torch import Tensor, nn

Built = TypeVar("Built", bound=nn.Module)


class LinearCompressor(nn.Linear):
    """Affine map of an embedding, ``W e + b``.

    A fitted one carries ``-W @ mean`` as its bias, so it takes raw embeddings.
    This is the trainable teacher transformation of Ding & Lerch,
    "Embedding Compression for Teacher-to-Student Knowledge Transfer" (2024),
    https://arxiv.org/abs/2402.06761.

    Parameters
    ----------
    in_features : int
        Width of the embedding, dim.
    out_features : int
        Width of the target, d.

    Shape
    -----
    Input ``(*, dim)``, output ``(*, d)``.

    Examples
    --------
    >>> LinearCompressor(512, 64)(torch.zeros(3, 10, 512)).shape
    torch.Size([3, 10, 64])
    """

    @classmethod
    def from_affine(cls, weight: Tensor, bias: Tensor | None = None) -> LinearCompressor:
        """Build from a weight of shape ``(d, dim)`` and a bias ``(d,)``."""
        module = blank(cls, weight.shape[1], weight.shape[0])
        with torch.no_grad():
            module.weight.copy_(weight)
            module.bias.copy_(torch.zeros(len(weight)) if bias is None else bias)
        return module

    def first(self, size: int) -> LinearCompressor:
        """The compressor that gives the first `size` of the components."""
        return LinearCompressor.from_affine(self.weight.detach()[:size], self.bias.detach()[:size])


class MLPCompressor(nn.Module):
    """Affine map plus a one-hidden-layer correction, ``W e + b + V gelu(U e + c)``.

    The correction starts at zero, so training starts from the affine map; a
    skip beside a small MLP is also how Matryoshka-Adaptor
    (https://arxiv.org/abs/2407.20243) adapts frozen embeddings.

    Parameters
    ----------
    in_features, out_features : int
        Widths of the embedding and of the target.
    hidden_features : int, default=256
        Width of the hidden layer.

    Shape
    -----
    Input ``(*, dim)``, output ``(*, d)``.

    Examples
    --------
    >>> MLPCompressor(512, 64)(torch.zeros(2, 512)).shape
    torch.Size([2, 64])
    """

    def __init__(self, in_features: int, out_features: int, hidden_features: int = 256):
        super().__init__()
        self.in_features, self.out_features, self.hidden_features = in_features, out_features, hidden_features
        self.skip = LinearCompressor(in_features, out_features)
        self.hidden = nn.Linear(in_features, hidden_features)
        self.out = nn.Linear(hidden_features, out_features, bias=False)
        nn.init.zeros_(self.out.weight)

    @classmethod
    def from_affine(cls, weight: Tensor, bias: Tensor | None = None, hidden_features: int = 256) -> MLPCompressor:
        """Build one that computes the affine map of `weight` ``(d, dim)`` and `bias` ``(d,)``."""
        module = cls(weight.shape[1], weight.shape[0], hidden_features)
        module.skip = LinearCompressor.from_affine(weight, bias)
        return module

    def forward(self, embedding: Tensor) -> Tensor:
        return self.skip(embedding) + self.out(nn.functional.gelu(self.hidden(embedding)))

    def first(self, size: int) -> MLPCompressor:
        """The compressor that gives the first `size` of the components."""
        module = blank(MLPCompressor, self.in_features, size, self.hidden_features)
        module.skip = self.skip.first(size)
        module.hidden.load_state_dict(self.hidden.state_dict())
        with torch.no_grad():
            module.out.weight.copy_(self.out.weight[:size])
        return module


CompressorModule: TypeAlias = LinearCompressor | MLPCompressor


def blank(cls: type[Built], *args: int) -> Built:
    """Build a module whose weights will be overwritten, without drawing from the global generator."""
    with torch.random.fork_rng(devices=[]):
        return cls(*args)


@torch.no_grad()
def fold_input(module: CompressorModule, shift: Tensor, scale: Tensor) -> None:
    """Make a module that took ``(e - shift) / scale`` take `e` itself, in place.

    Parameters
    ----------
    shift, scale : Tensor of shape (dim,), float64
        The arithmetic is done in their precision: with a large mean, float32 would lose digits.
    """
    for layer in (module.skip, module.hidden) if isinstance(module, MLPCompressor) else (module,):
        weight = layer.weight.double() / scale
        layer.weight.copy_(weight)
        layer.bias.copy_(layer.bias.double() - layer.weight.double() @ shift)


@torch.no_grad()
def fold_output(module: CompressorModule, shift: Tensor, scale: Tensor) -> None:
    """Make a module that gave ``(e - shift) / scale`` give `e` itself, in place."""
    layer = module.skip if isinstance(module, MLPCompressor) else module
    layer.bias.copy_(layer.bias.double() * scale + shift)
    layer.weight.copy_(layer.weight.double() * scale[:, None])
    if isinstance(module, MLPCompressor):
        module.out.weight.copy_(module.out.weight.double() * scale[:, None])
