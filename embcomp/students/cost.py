"""What a student costs: parameters, multiplications, time."""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from embcomp.audio.features import front_end
from embcomp.students import count_parameters
from embcomp.students.classifier import Classifier

COUNTED = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


@dataclass(frozen=True)
class Cost:
    """What one clip of the configured length costs.

    Attributes
    ----------
    parameters : int
        Trainable numbers.
    macs : int
        Multiply-accumulates of convolutions and linear layers, see `count_macs`.
    seconds : float
        Length of the clip; 0 where the input is no audio.
    """

    parameters: int
    macs: int
    seconds: float


def student_cost(classifier: Classifier) -> Cost:
    """Parameters and multiplications of a student for one clip of full length."""
    features, lengths = _example(classifier)
    return Cost(
        count_parameters(classifier.network),
        count_macs(classifier.network, features, lengths),
        0.0 if classifier.inputs.shape else classifier.audio.seconds,
    )


def count_macs(module: nn.Module, *inputs: Tensor) -> int:
    """Multiply-accumulates of every convolution and linear layer in one forward pass.

    Normalisation, activations, pooling and additions are not counted, nor is the
    log-mel front end; a layer called twice counts twice.

    Parameters
    ----------
    *inputs : Tensor
        Of one clip; they are passed to `module`, which is left in the mode it was in.

    Examples
    --------
    >>> count_macs(nn.Linear(10, 3), torch.zeros(1, 10))
    30
    """
    total = 0

    def count(layer: nn.Module, _: tuple, output: Tensor) -> None:
        nonlocal total
        # The weight's first axis is outputs (channels); the others are what each output sums over.
        total += output.numel() * layer.weight[0].numel()

    hooks = [layer.register_forward_hook(count) for layer in module.modules() if isinstance(layer, COUNTED)]
    training = module.training
    try:
        with torch.inference_mode():
            module.eval()(*inputs)
    finally:
        module.train(training)
        for hook in hooks:
            hook.remove()
    return total


def latency(classifier: Classifier, repeats: int = 30) -> float:
    """Median seconds from a waveform of full length, or another input, to its logits, one at a time on one thread.

    Parameters
    ----------
    repeats : int, default=30
        Measured after a fifth as many that are not.
    """
    audio = classifier.audio
    example, lengths = _example(classifier)
    front, shape = nn.Identity(), example.shape
    if not classifier.inputs.shape:
        front, shape = front_end(audio), (1, round(audio.sample_rate * audio.seconds))
    given = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    network = classifier.network.cpu().eval()
    threads, times = torch.get_num_threads(), []
    torch.set_num_threads(1)
    try:
        with torch.inference_mode():
            for _ in range(max(1, repeats // 5) + repeats):
                started = time.perf_counter()
                network(front(given), lengths)
                times.append(time.perf_counter() - started)
    finally:
        torch.set_num_threads(threads)
    return float(np.median(times[-repeats:]))


def machine() -> str:
    """The processor in words."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
        name = next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor()
    return f"{name or 'unknown processor'} ({platform.machine()})"


def _example(classifier: Classifier) -> tuple[Tensor, Tensor]:
    audio = classifier.audio
    if classifier.inputs.shape:
        return torch.zeros(1, *classifier.inputs.shape), torch.tensor([classifier.inputs.shape[-1]])
    frames = 1 + round(audio.sample_rate * audio.seconds) // audio.hop_length
    return torch.zeros(1, audio.n_mels, frames), torch.tensor([frames])
