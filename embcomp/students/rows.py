"""What a student makes of the rows of a table, or of images, in a file."""

from __future__ import annotations

import numpy as np

from embcomp.config.inputs import WORDS
from embcomp.prediction.labeller import RowLabeller
from embcomp.students.arrays import as_tensors
from embcomp.students.classifier import Classifier
from embcomp.students.inference import predict_logits


class RowClassifier(RowLabeller):
    """A student that takes a table or images."""

    def __init__(self, classifier: Classifier):
        self.classifier, self.inputs = classifier, classifier.inputs
        self.classes, self.multi_label, self.audio = classifier.classes, classifier.multi_label, classifier.audio
        self.takes = WORDS[classifier.inputs.kind]

    def row_probabilities(self, values: np.ndarray) -> np.ndarray:
        return self.classifier.probabilities(predict_logits(self.classifier.network, *as_tensors(values))).numpy()
