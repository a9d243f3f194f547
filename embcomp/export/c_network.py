"""A student's layers as plain arrays for C: batch norms folded, weights rounded to 8 bits where asked for."""

from __future__ import annotations

import copy
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from embcomp.errors import ConfigError
from embcomp.students.ds_cnn import DSCNN
from embcomp.students.norm import NormReLU

NORMS = ("none", "global", "clip", "band", "blend")
STEPS = 127  # an 8-bit weight is in -127 ... 127


@dataclass(frozen=True)
class Layer:
    """One layer.

    Attributes
    ----------
    name : str
        In C.
    weights : ndarray of shape (out, ...), float32 or int8
    scales : ndarray of shape (out,), float32
        What 8-bit weights are multiplied by; ones of float weights.
    biases : ndarray of shape (out,), float32
    """

    name: str
    weights: np.ndarray
    scales: np.ndarray
    biases: np.ndarray

    @property
    def bytes(self) -> int:
        """Of read-only memory."""
        scales = self.scales.nbytes if self.weights.dtype == np.int8 else 0
        return self.weights.nbytes + self.biases.nbytes + scales

    @property
    def effective(self) -> np.ndarray:
        """What the weights amount to, float32."""
        return self.weights.astype(np.float32) * self.scales.reshape(-1, *[1] * (self.weights.ndim - 1))


@dataclass(frozen=True)
class Block:
    """A separable block: two layers, strides and channels."""

    depthwise: Layer
    pointwise: Layer
    stride: int
    skip: bool


@dataclass(frozen=True)
class Network:
    """What the C template runs.

    Attributes
    ----------
    stem, across, project, classify : Layer
    blocks : list of Block
    per_clip : bool
        The input norm takes the clip's own statistics out.
    norm_a, norm_b : ndarray of shape (n_mels,), float32
        Per clip: how much of each band's own mean is taken out, in [0, 1]. Else means and deviations.
    reference : nn.Module
        The student with these very weights.
    """

    stem: Layer
    blocks: list[Block]
    across: Layer
    project: Layer
    classify: Layer
    per_clip: bool
    norm_a: np.ndarray
    norm_b: np.ndarray
    reference: nn.Module

    @property
    def layers(self) -> list[Layer]:
        """All of them, in order."""
        inner = [layer for block in self.blocks for layer in (block.depthwise, block.pointwise)]
        return [self.stem, *inner, self.across, self.project, self.classify]


def check_network(network: nn.Module) -> None:
    """Refuse what the template does not have.

    Raises
    ------
    ConfigError
        Another student than ``ds_cnn``, or another input norm.
    """
    if not isinstance(network, DSCNN):
        name = getattr(network, "name", type(network).__name__)
        raise ConfigError(f"--to c has a template for the student ds_cnn, not for {name}; use --to onnx or tflite")
    if network.norm.kind not in NORMS:
        raise ConfigError(
            f"--to c has the input norms {', '.join(NORMS)}, not {network.norm.kind}; use --to onnx or tflite"
        )


def flatten(network: DSCNN, int8: bool) -> Network:
    """Fold, round and order the layers of a student; it is not changed."""
    found = copy.deepcopy(network).cpu().eval()

    def layer(name: str, module: nn.Module, norm: NormReLU | None = None) -> Layer:
        weights, biases = _folded(module, norm)
        one = _rounded(name, weights, biases) if int8 else Layer(name, weights, np.ones_like(biases), biases)
        _put(module, norm, one)
        return one

    with torch.no_grad():
        stem = layer("stem", found.stem, found.stem_norm)
        blocks = [
            Block(
                layer(f"depthwise{number}", block.depthwise, block.norm1),
                layer(f"pointwise{number}", block.pointwise, block.norm2),
                block.stride,
                block.skip,
            )
            for number, block in enumerate(found.blocks)
        ]
        across = layer("across", found.across, found.across_norm)
        project, classify = layer("project", found.project), layer("classify", found.classify)
        per_clip, a, b = _norm(found)
    return Network(stem, blocks, across, project, classify, per_clip, a, b, found)


def _folded(module: nn.Module, norm: NormReLU | None) -> tuple[np.ndarray, np.ndarray]:
    weights = module.weight.double()
    if norm is None:
        return weights.float().numpy().copy(), module.bias.float().numpy().copy()
    gain = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    biases = norm.bias.double() - norm.running_mean.double() * gain
    weights = weights * gain.view(-1, *[1] * (weights.dim() - 1))
    return weights.float().numpy(), biases.float().numpy()


def _rounded(name: str, weights: np.ndarray, biases: np.ndarray) -> Layer:
    largest = np.abs(weights).reshape(len(weights), -1).max(axis=1)
    scales = np.where(largest > 0, largest / STEPS, 1.0).astype(np.float32)
    steps = np.rint(weights / scales.reshape(-1, *[1] * (weights.ndim - 1)))
    return Layer(name, np.clip(steps, -STEPS, STEPS).astype(np.int8), scales, biases)


def _put(module: nn.Module, norm: NormReLU | None, layer: Layer) -> None:
    """Give the student the weights that C has."""
    module.weight.copy_(torch.from_numpy(layer.effective))
    biases = torch.from_numpy(layer.biases)
    if norm is None:
        module.bias.copy_(biases)
        return
    norm.running_mean.zero_()
    norm.running_var.fill_(1 - norm.eps)
    norm.weight.fill_(1)
    norm.bias.copy_(biases)


def _norm(network: DSCNN) -> tuple[bool, np.ndarray, np.ndarray]:
    kind, mean = network.norm.kind, network.norm.mean.float()
    one, zero = torch.ones_like(mean), torch.zeros_like(mean)
    pairs: dict[str, tuple[bool, Tensor, Tensor]] = {
        "none": (False, zero, one),
        "global": (False, mean, network.norm.deviation),
        "clip": (True, zero, one),
        "band": (True, one, one),
    }
    if kind == "blend":
        pairs["blend"] = (True, network.norm.strength.detach().sigmoid(), one)
    per_clip, a, b = pairs[kind]
    return per_clip, a.float().numpy(), b.float().numpy()
