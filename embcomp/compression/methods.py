"""The methods: each turns moments, and rows where it must, into a module."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch

from embcomp.compression import closed_form
from embcomp.compression.modules import LinearCompressor, MLPCompressor
from embcomp.compression.problem import Problem, Solution
from embcomp.compression.shrinkage import class_covariances
from embcomp.compression.solvers import FactoredMoments
from embcomp.compression.training import improve
from embcomp.errors import ConfigError, DataError

STARTS = ("auto", "pca", "lda")


def identity(problem: Problem) -> Solution:
    """The first d dimensions: the baseline, and enough for a teacher that is nested itself."""
    d, frame, dim = problem.n_components, problem.frame, problem.moments.n_features
    solution = linear_solution(np.eye(d, dim))
    mean = torch.from_numpy(frame.mean)
    solution.keeps_rows = bool((frame.scale == 1).all())
    if solution.keeps_rows:
        solution.encoder = LinearCompressor.from_affine(torch.eye(d, dim), mean[:d])
    if d == dim:
        # Exact even where the covariance is singular and least squares would drop something.
        solution.decoder = LinearCompressor.from_affine(torch.eye(d), -mean if solution.keeps_rows else None)
    return solution


def random(problem: Problem) -> Solution:
    """Seeded Gaussian projection; blind to the data but for the frame."""
    return linear_solution(
        closed_form.random_projection(problem.n_components, problem.moments.n_features, problem.seed)
    )


def pca(problem: Problem) -> Solution:
    """Principal components, exact."""
    return linear_solution(pca_weight(problem))


def lda(problem: Problem) -> Solution:
    """Linear discriminants, with ``wide`` followed by principal components of the rest."""
    return linear_solution(lda_weight(problem))


def linear(problem: Problem) -> Solution:
    """Linear autoencoder or linear bottleneck before a classifier.

    With the reconstruction objective alone the closed form is already the
    optimum for every prefix, so there is nothing to train.
    """
    start = start_weight(problem)
    if problem.params["objective"] == "reconstruction" or problem.params["epochs"] == 0:
        return linear_solution(start)
    return improve(problem, start, LinearCompressor.from_affine)


def mlp(problem: Problem) -> Solution:
    """The linear start plus a hidden layer that corrects it."""
    hidden = problem.params["hidden"]

    def build(weight: torch.Tensor) -> MLPCompressor:
        return MLPCompressor.from_affine(weight, hidden_features=hidden)

    return improve(problem, start_weight(problem), build)


METHODS = {"identity": identity, "random": random, "pca": pca, "lda": lda, "linear": linear, "mlp": mlp}
TRAINABLE = ("linear", "mlp")
OBJECTIVES = ("reconstruction", "task", "both")


def linear_solution(weight: np.ndarray) -> Solution:
    return Solution(LinearCompressor.from_affine(torch.from_numpy(np.ascontiguousarray(weight))))


def pca_weight(problem: Problem) -> np.ndarray:
    frame, moments, count = problem.frame, problem.moments, problem.n_components
    if isinstance(moments, FactoredMoments):
        values, vectors = closed_form.leading_svd(frame.factor(moments), count)
    else:
        values, vectors = frame.leading(moments, count)
    return closed_form.pca(values, vectors, problem.params["whiten"])


def lda_weight(problem: Problem) -> np.ndarray:
    params, moments = problem.params, problem.class_moments
    if moments is None:
        raise DataError("lda needs rows with labels")
    frame = replace(problem.frame, mean=moments.mean)
    present = moments.class_mass > 0
    most = min(int(present.sum()) - 1, moments.n_features)
    count = problem.n_components
    if most < 1:
        raise DataError("lda needs rows of two classes or more")
    if count > most and params["method"] == "lda" and not params["wide"]:
        raise DataError(
            f"lda of {present.sum()} classes has at most {most} discriminants, {count} components were asked for; "
            "ask for fewer, or set wide=True to add principal components of what they leave"
        )
    means = (moments.class_mean[present] - moments.mean) / frame.scale
    priors = moments.class_mass[present] / moments.class_mass[present].sum()
    if params["shrinkage"] == "auto":
        if problem.rows is None or problem.targets is None:
            raise DataError("shrinkage='auto' needs the rows, not their moments alone; set a number")
        weights = problem.targets.class_weights(params["class_weight"])
        members = problem.targets.membership(weights)[:, present]
        within, total = class_covariances(problem.rows, frame, members, priors)
    else:
        within, total = closed_form.shrunk_pair(
            frame.covariance(moments, degrees=moments.mass), means, priors, float(params["shrinkage"] or 0.0)
        )
    weight = closed_form.lda(within, total, min(count, most))
    return weight if count <= most else closed_form.widen(weight, problem.frame.covariance(problem.moments), count)


def start_weight(problem: Problem) -> np.ndarray:
    """Where training starts, by the parameter ``start``."""
    if resolve_start(problem.params) != "lda":
        return pca_weight(problem)
    try:
        return lda_weight(problem)
    except DataError:
        # A handful of labelled rows may have no spread within classes; only an explicit wish for LDA insists.
        if problem.params["start"] == "auto":
            return pca_weight(problem)
        raise


def resolve_start(params: dict[str, Any]) -> str | None:
    """The closed form a method begins from, or None where there is none."""
    if params["method"] in ("lda", "pca"):
        return params["method"]
    if params["method"] not in TRAINABLE:
        return None
    if params["start"] == "lda" and params["objective"] == "reconstruction":
        raise ConfigError("start='lda' needs an objective with labels: 'task' or 'both'")
    if params["start"] == "auto":
        return "pca" if params["objective"] == "reconstruction" else "lda"
    return params["start"]
