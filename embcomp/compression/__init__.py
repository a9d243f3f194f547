"""Compression of frozen embeddings; needs torch, numpy and scikit-learn alone."""

from embcomp.compression.compressor import Compressor
from embcomp.compression.methods import METHODS, OBJECTIVES
from embcomp.compression.modules import LinearCompressor, MLPCompressor
from embcomp.compression.moments import Moments
from embcomp.compression.quantise import Quantiser
from embcomp.compression.rows import Concatenation

__all__ = [
    "METHODS",
    "OBJECTIVES",
    "Compressor",
    "Concatenation",
    "LinearCompressor",
    "MLPCompressor",
    "Moments",
    "Quantiser",
]
