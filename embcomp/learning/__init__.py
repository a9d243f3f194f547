"""What several rooms learn with; needs torch, numpy and scikit-learn alone."""

from embcomp.learning.logistic import STRENGTH, Logistic
from embcomp.learning.stopping import EarlyStopping

__all__ = ["STRENGTH", "EarlyStopping", "Logistic"]
