"""Train a method from its closed-form start, in coordinates that suit Adam."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from embcomp.compression import closed_form
from embcomp.compression.loop import Schedule, train
from embcomp.compression.modules import CompressorModule, LinearCompressor, MLPCompressor, fold_input, fold_output
from embcomp.compression.objectives import Bottleneck, prefix_sizes
from embcomp.compression.problem import Problem, Solution
from embcomp.errors import DataError


def improve(problem: Problem, start: np.ndarray, build: Callable[[Tensor], CompressorModule]) -> Solution:
    """Train from a start, in coordinates where rows and codes have unit variance on average.

    Adam's step does not know units; without this the learning rate would depend on the teacher's.

    Parameters
    ----------
    problem : Problem
    start : ndarray of shape (d, dim)
        Weight to start from.
    build : callable
        Makes the module that computes a weight ``(out, in)``; for encoder and decoder alike.
    """
    params, targets, rows = problem.params, problem.targets, problem.rows
    labels = None if params["objective"] == "reconstruction" else targets
    if rows is None or (labels is None and params["objective"] != "reconstruction"):
        raise DataError("training needs the rows themselves, and labels unless the objective is reconstruction")
    covariance = problem.frame.covariance(problem.moments)
    back, gram = closed_form.decoder(start, covariance)
    row_scale = float(np.sqrt(problem.frame.total_variance(problem.moments) / len(covariance)))
    code_scale = float(np.sqrt(np.trace(gram) / len(gram))) or 1.0
    unit = replace(problem.frame, scale=problem.frame.scale * row_scale)
    multilabel = targets is not None and targets.multilabel
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(problem.seed)
        encoder = build(torch.from_numpy(start * (row_scale / code_scale)))
        decoder = build(torch.from_numpy(back * (code_scale / row_scale))) if params["objective"] != "task" else None
        head = None if labels is None else LinearCompressor(problem.n_components, len(labels.classes))
    if head is not None:
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
    weights = None if labels is None else labels.class_weights(params["class_weight"])
    model = Bottleneck(
        encoder,
        decoder,
        head,
        multilabel,
        None if weights is None else torch.tensor(weights, dtype=torch.float32),
        params["reconstruction_weight"],
        prefix_sizes(problem.n_components) if params["nested"] else (),
    )
    history: list[dict[str, Any]] = []
    if params["epochs"]:
        schedule = Schedule(**{name: params[name] for name in Schedule.__dataclass_fields__})
        generator = torch.Generator().manual_seed(problem.seed)
        values = None if labels is None else torch.from_numpy(labels.values)
        history = train(model, rows, unit, values, schedule, generator, problem.groups)
    _in_frame(encoder, decoder, head, row_scale, code_scale)
    # A linear decoder is replaced by the least-squares one, which cannot be worse.
    return Solution(encoder, decoder if isinstance(decoder, MLPCompressor) else None, head, history)


def _in_frame(
    encoder: CompressorModule,
    decoder: CompressorModule | None,
    head: LinearCompressor | None,
    row_scale: float,
    code_scale: float,
) -> None:
    """Undo the unit scaling, in place, so that codes keep the units of the start."""
    one = torch.ones((), dtype=torch.float64)
    fold_input(encoder, torch.zeros(encoder.in_features, dtype=torch.float64), one * row_scale)
    fold_output(encoder, one * 0, one.expand(encoder.out_features) * code_scale)
    if decoder is not None:
        fold_input(decoder, torch.zeros(decoder.in_features, dtype=torch.float64), one * code_scale)
        fold_output(decoder, one * 0, one.expand(decoder.out_features) * row_scale)
    if head is not None:
        fold_input(head, torch.zeros(head.in_features, dtype=torch.float64), one * code_scale)
