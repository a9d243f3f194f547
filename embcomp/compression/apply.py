"""Run a compressor module over rows, block by block, in the rows' own precision."""

from __future__ import annotations

import copy
import functools

import numpy as np
import torch

from embcomp.compression.modules import CompressorModule, LinearCompressor
from embcomp.compression.rows import Rows, block_rows


@torch.inference_mode()
@np.errstate(invalid="ignore", over="ignore")
def apply(module: CompressorModule, rows: Rows) -> np.ndarray:
    """Apply `module` to rows ``(n, dim)``; returns float32 ``(n, d)``.

    float64 rows are multiplied in float64, so that a row's result does not
    depend on the rows beside it; bfloat16 rows in bfloat16 where the processor can, else in float32.
    """
    tensor = len(rows.parts) == 1 and isinstance(rows.parts[0], torch.Tensor)
    if tensor and isinstance(module, LinearCompressor) and multiplies_bfloat16():
        return _bfloat16(module, rows.parts[0])
    if rows.dtype == np.float64:
        module = copy.deepcopy(module).double()
    else:
        module = module.float()
    out = np.empty((len(rows), module.out_features), np.float32)
    # Short blocks: what is read here is still in cache for the multiplication.
    size = block_rows(rows.shape[1], limit=1024)
    if isinstance(module, LinearCompressor):
        # numpy's BLAS and not torch's: it was a third faster where both were measured.
        weight, bias = np.ascontiguousarray(module.weight.numpy().T), module.bias.numpy()
        for start, block in rows.blocks(size):
            part = out[start : start + len(block)]
            if rows.dtype == np.float32:
                np.matmul(block, weight, out=part)
                part += bias
            else:
                part[:] = block @ weight + bias
        return out
    for start, block in rows.blocks(size):
        out[start : start + len(block)] = module(torch.from_numpy(np.require(block, requirements=("C", "W")))).numpy()
    return out


@functools.cache
def multiplies_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself; otherwise torch takes more than twenty times as long as in float32."""
    return torch._C._has_mkldnn and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _bfloat16(module: LinearCompressor, X: torch.Tensor, size: int = 8192) -> np.ndarray:
    out = torch.empty((len(X), module.out_features), dtype=torch.float32)
    weight = module.weight.bfloat16().T.contiguous()
    for start in range(0, len(X), size):
        out[start : start + size] = X[start : start + size] @ weight
    # In float32: the bias holds the mean, which bfloat16's 8 bits would swamp the code with.
    out += module.bias
    return out.numpy()
