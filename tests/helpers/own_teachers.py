"""Teachers of a test's own, as the text of a module."""

LEVELS = """
import numpy as np

class Levels:
    sample_rate, dim, fingerprint = 8000, 2, "levels 1"

    def embed(self, waveforms, lengths):
        level = (waveforms**2).sum(1) / lengths
        return np.stack([level, level**0.5], 1)
"""
