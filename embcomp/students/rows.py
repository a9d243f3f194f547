"""What a student makes of the rows of a table, or of images, in a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from embcomp.config.inputs import WORDS
from embcomp.errors import BadClip
from embcomp.prediction.labeller import RowLabeller
from embcomp.students.arrays import as_tensors
from embcomp.students.classifier import Classifier
from embcomp.students.given import rows_for
from embcomp.students.inference import predict_logits


class RowClassifier(RowLabeller):
    """A student that takes a table or images."""

    def __init__(self, classifier: Classifier):
        self.classifier = classifier
        self.classes, self.multi_label, self.audio = classifier.classes, classifier.multi_label, classifier.audio
        self.takes = WORDS[classifier.inputs.kind]

    def label_rows(self, path: Path) -> tuple[list[str], np.ndarray, list[BadClip]]:
        rows = rows_for(self.classifier.inputs, path)
        values = rows.take(rows.ids)
        finite = np.isfinite(values).reshape(len(values), -1).all(axis=1)
        bad = [
            BadClip(row + 1, rows.ids[row], "a number is missing or not finite")
            for row in np.flatnonzero(~finite).tolist()
        ]
        found = np.empty((0, len(self.classes)), dtype=np.float32)
        if finite.any():
            logits = predict_logits(self.classifier.network, *as_tensors(values[finite]))
            found = self.classifier.probabilities(logits).numpy()
        return [name for name, usable in zip(rows.ids, finite) if usable], found, bad
