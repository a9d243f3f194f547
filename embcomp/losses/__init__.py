"""The equations, as pure functions on tensors; each cites its source."""

from embcomp.losses.contrast import contrastive_loss, prototype_logits, softmax_twice_loss
from embcomp.losses.direct import REGRESSIONS, cosine_distance, softmax_divergence
from embcomp.losses.kd import binary_kd, multiclass_kd
from embcomp.losses.prediction import prediction_loss
from embcomp.losses.relations import align_frames, cosine_distance_difference, distance_correlation, time_shares

__all__ = [
    "DISTANCES",
    "REGRESSIONS",
    "RELATIONS",
    "align_frames",
    "binary_kd",
    "contrastive_loss",
    "cosine_distance",
    "cosine_distance_difference",
    "distance_correlation",
    "multiclass_kd",
    "prediction_loss",
    "prototype_logits",
    "softmax_divergence",
    "softmax_twice_loss",
    "time_shares",
]

# Distances between sets of vectors, by how those of a set lie to each other.
RELATIONS = {
    "distance_correlation": distance_correlation,
    "cosine_distance_difference": cosine_distance_difference,
}
DISTANCES = {**RELATIONS, "cosine": cosine_distance}
