"""The equalised weights of an ONNX graph put back into the network it came from, for formats that are not ONNX."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from embcomp.errors import DataError
from embcomp.export.equalise import equalise
from embcomp.export.finetune import NORMS, WEIGHED
from embcomp.export.onnx_body import body_graph
from embcomp.export.source import Source

if TYPE_CHECKING:
    import onnx

CLOSE = 1e-3  # of the outputs; rounding is far below, a weight in a wrong place far above


def equalised_network(source: Source, features: Sequence[np.ndarray], body: onnx.ModelProto | None = None) -> nn.Module:
    """A copy of a student's body with batch norms folded and channels equalised; see `embcomp.export.equalise`.

    Folded batch norms remain as modules that add a bias.

    Parameters
    ----------
    source : Source
        A student.
    features : sequence of ndarray of shape (1, n_mels, frames)
        To measure activations on.
    body : ModelProto, optional
        What `body_graph` gave for `source`, where that was asked before.

    Raises
    ------
    DataError
        The copy does not compute the same: the weights of this kind of network are not where they are looked for.
    """
    from onnx import numpy_helper

    graph = equalise(body_graph(source) if body is None else body, features)
    weights = {
        tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in graph.graph.initializer
    }
    changed = copy.deepcopy(source.masked_body).eval()
    example = torch.from_numpy(features[0])
    length = torch.tensor([example.shape[-1]])
    norms = _norms_after(changed.network, example, length)
    with torch.no_grad():
        expected = changed(example, length)
        try:
            for name, module in changed.network.named_modules():
                if isinstance(module, WEIGHED):
                    _fill(module, norms.get(module), name, weights)
        except KeyError as error:
            raise _Failed(changed, f"weights {error} are not in its graph") from None
        found = changed(example, length)
    for before, after in zip(expected, found):
        if not torch.allclose(before, after, atol=CLOSE * float(before.abs().max()), rtol=CLOSE):
            raise _Failed(changed, "it no longer computes what it did")
    return changed


class _Failed(DataError):
    def __init__(self, body: nn.Module, reason: str):
        name = type(body.network).__name__
        super().__init__(f"the channels of {name} cannot be equalised ({reason}); export without --int8")


def _fill(module: nn.Module, norm: nn.Module | None, name: str, weights: dict[str, Tensor]) -> None:
    module.weight.copy_(weights[f"{name}.weight"].reshape(module.weight.shape))
    folded = weights.get(f"{name}.weight_bias")
    if norm is not None and folded is not None:  # a norm of other groups than the channels cannot be folded
        norm.running_mean.zero_()
        norm.running_var.fill_(1 - norm.eps)
        norm.weight.fill_(1)
        norm.bias.copy_(folded)
    elif module.bias is not None:
        module.bias.copy_(weights.get(f"{name}.bias", torch.zeros(())))  # the exporter leaves out biases that are zero


def _norms_after(network: nn.Module, example: Tensor, length: Tensor) -> dict[nn.Module, nn.Module]:
    """The batch norm that runs next after each convolution, where one does."""
    order: list[nn.Module] = []
    handles = [
        module.register_forward_hook(lambda layer, inputs, output: order.append(layer))
        for module in network.modules()
        if isinstance(module, (*WEIGHED, *NORMS))
    ]
    try:
        with torch.inference_mode():
            network(example, length)
    finally:
        for handle in handles:
            handle.remove()
    return {first: second for first, second in zip(order, order[1:]) if isinstance(second, NORMS)}
