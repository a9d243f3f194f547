"""What a student makes of waveforms, a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from embcomp.audio.decoding import fit_length
from embcomp.audio.features import front_end
from embcomp.prediction.labeller import Labeller
from embcomp.students.classifier import Classifier
from embcomp.students.inference import predict_outputs


class WaveformClassifier(Labeller):
    """A student and its front end, for waveforms."""

    def __init__(self, classifier: Classifier):
        classifier.needs_audio("labelling audio")
        self.classifier = classifier
        self.classes, self.multi_label, self.audio = classifier.classes, classifier.multi_label, classifier.audio
        self.module = front_end(classifier.audio)

    def probabilities(self, waveforms: Sequence[np.ndarray]) -> np.ndarray:
        return self.outputs(waveforms)[0]

    def outputs(self, waveforms: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        """Probabilities (n, classes) and embeddings (n, width) of waveforms (samples,), float32."""
        batch, lengths = fit_length(list(waveforms))
        frames = torch.from_numpy(self.module.frames(lengths))
        with torch.inference_mode():
            features = self.module(torch.from_numpy(batch))[..., : int(frames.max())]
            features *= (torch.arange(features.shape[-1]) < frames[:, None])[:, None]
        logits, embeddings = predict_outputs(self.classifier.network, features, frames)
        return self.classifier.probabilities(logits).numpy(), embeddings.numpy()
