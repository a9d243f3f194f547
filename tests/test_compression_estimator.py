"""The compressor is a scikit-learn estimator, by scikit-learn's own checks."""

import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from embcomp.compression import Compressor

FAST = {"epochs": 2, "hidden": 4}
ESTIMATORS = [
    Compressor(2, "identity"),
    Compressor(2, "random"),
    Compressor(2, "pca"),
    Compressor(2, "pca", whiten=True, scale=True),
    Compressor(2, "lda", wide=True),
    Compressor(2, "linear", "reconstruction"),
    Compressor(2, "linear", "task", **FAST),
    Compressor(2, "linear", "both", start="lda", nested=True, **FAST),
    Compressor(2, "mlp", "reconstruction", **FAST),
    Compressor(2, "mlp", "task", **FAST),
]


@pytest.mark.filterwarnings("ignore::embcomp.compression.frame.ConstantColumnWarning")
@parametrize_with_checks(ESTIMATORS)
def test_scikit_learn_checks(estimator, check):
    check(estimator)
