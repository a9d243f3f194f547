"""What a student makes of waveforms, a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from embcomp.audio.decoding import fit_length
from embcomp.audio.features import front_end
from embcomp.prediction.labeller import Labeller
from embcomp.students.classifier import Classifier
from embcomp.students.inference import predict_logits


class WaveformClassifier(Labeller):
    """A student and its front end, for waveforms."""

    def __init__(self, classifier: Classifier):
        classifier.needs_audio("labelling audio")
        self.classifier = classifier
        self.classes, self.multi_label, self.audio = classifier.classes, classifier.multi_label, classifier.audio
        self.module = front_end(classifier.audio)

    def probabilities(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        batch, lengths = fit_length(list(waveforms))
        frames = torch.from_numpy(self.module.frames(lengths))
        with torch.inference_mode():
            features = self.module(torch.from_numpy(batch))[..., : int(frames.max())]
            features *= (torch.arange(features.shape[-1]) < frames[:, None])[:, None]
        logits = predict_logits(self.classifier.network, features, frames)
        return self.classifier.probabilities(logits).numpy()
