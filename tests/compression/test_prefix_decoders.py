"""The decoder of a prefix reads the first components, those and no others."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from embcomp.compression import Compressor

CASES = {
    "pca": {"method": "pca"},
    "linear": {"method": "linear", "objective": "both", "nested": True, "epochs": 3},
    "mlp": {"method": "mlp", "objective": "both", "nested": True, "epochs": 3, "hidden": 5},
}


@pytest.mark.parametrize("name", CASES)
def test_a_prefix_is_decoded_from_its_first_columns(name):
    rng = np.random.default_rng(0)
    y = np.arange(120) % 3
    X = (3 * rng.normal(size=(3, 7))[y] + rng.normal(size=(120, 7)) * np.linspace(2, 0.3, 7)).astype(np.float32)
    compressor = Compressor(4, **CASES[name]).fit(X, y)
    codes, decoders = compressor.transform(X), compressor.fitted_.decoders
    for size in (1, 2, 3):
        with torch.no_grad():
            found = decoders.first(size).module(torch.from_numpy(codes[:, :size])).numpy()
            zeroed = decoders.module(torch.from_numpy(np.where(np.arange(4) < size, codes, 0))).numpy()
        if name == "mlp":
            np.testing.assert_allclose(found, zeroed, atol=1e-4)
        else:
            design = np.column_stack([codes[:, :size], np.ones(len(codes))]).astype(np.float64)
            expected = design @ np.linalg.lstsq(design, X.astype(np.float64), rcond=None)[0]
            np.testing.assert_allclose(found, expected, atol=1e-3)
