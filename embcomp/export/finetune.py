"""Quantisation-aware fine-tuning: a student learns to give in 8 bits what it gives in float."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrize

WEIGHED = (nn.Conv1d, nn.Conv2d, nn.Linear)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
STEPS = 300
EVERY = 25  # steps between two looks at the validation clips
BATCH = 16
LEARNING_RATE = 1e-4
MOST = 127  # an 8-bit weight is in -127 ... 127
LEVELS = 255  # an 8-bit activation is in 0 ... 255


@dataclass(frozen=True)
class Tuned:
    """A fine-tuned network.

    Attributes
    ----------
    network : nn.Module
        A copy in float, in evaluation mode; its weights are still to be rounded.
    before, after : float
        Error of the logits of the validation clips in simulated 8 bits, relative to those of the student in float:
        a root mean square over the other. Never more after than before.
    """

    network: nn.Module
    before: float
    after: float


def finetune(
    network: nn.Module,
    training: Sequence[np.ndarray],
    validation: Sequence[np.ndarray],
    *,
    floats: Sequence[str] = (),
    activations: bool = True,
    steps: int | None = None,
    seed: int = 0,
) -> Tuned:
    """Fine-tune a student while its weights, and the inputs of its layers, are rounded as in 8 bits.

    Weights are rounded for each channel that they write and activations for each tensor; the gradient passes the
    rounding as if it were not there (Jacob et al. 2018, "Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference", arXiv 1712.05877, section 3; the straight-through estimator of Bengio et al.
    2013, arXiv 1308.3432). The loss is the relative squared error of the logits and of the embedding, compared with the
    float student's, so that clips need no labels. Batch norms keep their statistics, and the weights of the step with
    the least error on the validation clips are kept, those at the start among them.

    Parameters
    ----------
    network : nn.Module
        A student, which is not changed.
    training, validation : sequence of ndarray of shape (n_mels, frames)
        Log-mels of any length, or rows of shape (columns, 1) or images.
    floats : sequence of str
        Names of layers that are not rounded.
    activations : bool, default=True
        Round the inputs of layers as well as weights.
    steps : int, optional
        300 by default, of Adam, each on 16 clips, with a learning rate that falls from 1e-4 to 0 along a cosine.
    seed : int, default=0
        Of the order of clips.

    Returns
    -------
    Tuned
    """
    steps = STEPS if steps is None else steps
    teacher = copy.deepcopy(network).eval()
    student = copy.deepcopy(network).eval()
    layers = [module for name, module in student.named_modules() if isinstance(module, WEIGHED) and name not in floats]
    for parameter in student.parameters():
        parameter.requires_grad_(False)
    learned = _learned(student)
    for parameter in learned:
        parameter.requires_grad_(True)
    with torch.inference_mode():
        expected = [_outputs(teacher, rows) for rows in _single(training)]
        target = torch.cat([_outputs(teacher, rows)[0] for rows in _single(validation)])
    with _rounded_weights(layers), _rounded_inputs(student, layers if activations else (), training):
        before = error = _error(student, validation, target)
        best = _snapshot(learned)
        order = _batches(len(training), steps, seed)
        optimiser = torch.optim.Adam(learned, lr=LEARNING_RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
        for step, rows in enumerate(order, 1):
            loss = _loss(
                _outputs(student, _padded([training[row] for row in rows])),
                tuple(torch.cat(part) for part in zip(*(expected[row] for row in rows))),
            )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
            if step % EVERY == 0 or step == steps:
                found = _error(student, validation, target)
                if found < error:
                    error, best = found, _snapshot(learned)
        with torch.no_grad():
            for parameter, values in zip(learned, best):
                parameter.copy_(values)
    return Tuned(student, before, error)


class _Rounding(nn.Module):
    """Weights rounded to 8 bits for each channel that they write; torch's operator has the straight-through gradient."""

    def forward(self, weight: Tensor) -> Tensor:
        largest = weight.detach().abs().flatten(1).amax(1)
        # A channel of zeros has no scale.
        scale = torch.where(largest > 0, largest, torch.ones_like(largest)) / MOST
        zero = torch.zeros_like(scale, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -MOST, MOST)


@contextmanager
def _rounded_weights(layers: Sequence[nn.Module]) -> Iterator[None]:
    for layer in layers:
        parametrize.register_parametrization(layer, "weight", _Rounding())
    try:
        yield
    finally:
        for layer in layers:
            parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)


@contextmanager
def _rounded_inputs(network: nn.Module, layers: Sequence[nn.Module], rows: Sequence[np.ndarray]) -> Iterator[None]:
    """Round what `layers` read to 256 levels between the least and the greatest value that `rows` show."""
    ranges: dict[nn.Module, tuple[float, float]] = {}

    def observe(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        low, high = ranges.get(layer, (0.0, 0.0))
        ranges[layer] = (min(low, float(given[0].min())), max(high, float(given[0].max())))

    def rounded(layer: nn.Module, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        low, high = ranges[layer]
        if not high > low:
            return given
        scale = (high - low) / LEVELS
        zero = min(LEVELS, max(0, round(-low / scale)))
        return (torch.fake_quantize_per_tensor_affine(given[0], scale, zero, 0, LEVELS), *given[1:])

    handles = [layer.register_forward_pre_hook(observe) for layer in layers]
    try:
        if layers:
            with torch.no_grad():
                for row in _single(rows):
                    _outputs(network, row)
        for handle in handles:
            handle.remove()
        handles = [layer.register_forward_pre_hook(rounded) for layer in layers]
        yield
    finally:
        for handle in handles:
            handle.remove()


def _learned(network: nn.Module) -> list[nn.Parameter]:
    """Weights and biases of layers and batch norms; the input norm precedes what is rounded and stays as it is."""
    found = [
        parameter
        for module in network.modules()
        if isinstance(module, (*WEIGHED, *NORMS))
        for parameter in module.parameters(recurse=False)
    ]
    return list(dict.fromkeys(found))


def _padded(rows: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    """Rows in one tensor, zeros after the shorter ones, and their lengths."""
    lengths = torch.tensor([row.shape[-1] for row in rows])
    longest = int(lengths.max())
    return torch.stack([F.pad(torch.from_numpy(row), (0, longest - row.shape[-1])) for row in rows]), lengths


def _single(rows: Sequence[np.ndarray]) -> Iterator[tuple[Tensor, Tensor]]:
    return (_padded([row]) for row in rows)


def _outputs(network: nn.Module, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    output = network(*batch)
    return output.logits, output.embedding


def _loss(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> Tensor:
    return sum(
        F.mse_loss(one, wanted) / wanted.square().mean().clamp(min=1e-12) for one, wanted in zip(found, expected)
    )


def _error(network: nn.Module, rows: Sequence[np.ndarray], expected: Tensor) -> float:
    """Of the logits, relative to those `expected`; probabilities would rest on the few clips that are in doubt."""
    with torch.no_grad():
        found = torch.cat([_outputs(network, row)[0] for row in _single(rows)])
    return float((F.mse_loss(found, expected) / expected.square().mean().clamp(min=1e-12)).sqrt())


def _batches(count: int, steps: int, seed: int) -> Iterator[np.ndarray]:
    """Rows of each step, every row once before any comes again."""
    rng, queue = np.random.default_rng(seed), np.empty(0, dtype=np.int64)
    for _ in range(steps):
        while len(queue) < min(BATCH, count):
            queue = np.concatenate([queue, rng.permutation(count)])
        yield queue[:BATCH]
        queue = queue[BATCH:]


def _snapshot(parameters: Sequence[nn.Parameter]) -> list[Tensor]:
    return [parameter.detach().clone() for parameter in parameters]
