"""A training step of the default student, beside the loop people write: DataLoader, the same layers, AdamW.

The limit is what no code of ours could avoid: the products of matrices of the pointwise convolutions, forward and backward, by torch
and without anything between them.
"""

import statistics
import time
from collections.abc import Callable, Iterator
from functools import partial
from unittest.mock import patch

import torch
from measure import arguments, header, row
from torch import nn

from embcomp.config import TrainingConfig
from embcomp.data.labels import encode
from embcomp.students import DSCNN, STUDENTS, compiled, count_parameters
from embcomp.training.loop import Examples, train
from embcomp.transfer import Transfer

BATCH, MELS, CLIPS, CLASSES = 32, 64, 512, 10
STEPS, SKIPPED = 5, 1  # of one turn, and those of them that only warm up


def plain_student() -> nn.Module:
    """The layers of the default student in a row, without masks, for clips of one length."""

    def normed(layer: nn.Module) -> list[nn.Module]:
        return [layer, nn.BatchNorm2d(layer.out_channels), nn.ReLU()]

    def separable(into: int, out: int, stride: int) -> list[nn.Module]:
        depthwise = nn.Conv2d(into, into, 3, stride, padding=1, groups=into, bias=False)
        return normed(depthwise) + normed(nn.Conv2d(into, out, 1, bias=False))

    class Skipped(nn.Sequential):
        def forward(self, x):
            return x + super().forward(x)

    return nn.Sequential(
        *normed(nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False)),
        *separable(16, 64, 2),
        Skipped(*separable(64, 64, 1)),
        *separable(64, 128, 2),
        Skipped(*separable(128, 128, 1)),
        Skipped(*separable(128, 128, 1)),
        *normed(nn.Conv2d(128, 128, (8, 1), groups=128, bias=False)),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(128, 64),
        nn.Dropout(0.1),
        nn.Linear(64, CLASSES),
    )


class Clips(torch.utils.data.Dataset):
    """Log-mels one by one, each with mean 0 and deviation 1."""

    def __init__(self, features: torch.Tensor):
        self.features = features

    def __len__(self) -> int:
        return len(self.features)

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        x = self.features[number]
        return ((x - x.mean()) / x.std()).unsqueeze(0), number % CLASSES


def plain(features: torch.Tensor, tuned: bool, steps: int) -> list[float]:
    """CPU seconds of each step of the peer; tuned: channels last after the first layer, and a fused optimiser."""
    student = plain_student().train()
    if tuned:
        student.insert(1, ChannelsLast())
    optimiser = torch.optim.AdamW(student.parameters(), lr=2e-3, weight_decay=1e-2, fused=tuned or None)
    loader, times, started = endless(torch.utils.data.DataLoader(Clips(features), BATCH, shuffle=True)), [], 0.0
    for _ in range(steps):
        started = time.process_time()
        x, labels = next(loader)
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(student(x), labels)
        loss.backward()
        optimiser.step()
        loss.item()
        times.append(time.process_time() - started)
    return times


def products(features: torch.Tensor, steps: int) -> list[float]:
    """CPU seconds of the products of a step alone."""
    shapes, student = [], plain_student()
    for layer in student.modules():
        if isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1):
            layer.register_forward_hook(lambda layer, given, out: shapes.append((out.numel() // out.shape[1], *layer.weight.shape[:2])))  # fmt: skip
    with torch.no_grad():
        student(features[:BATCH].unsqueeze(1))
    sides = [[torch.randn(*size) for size in ((rows, into), (rows, out), (out, into))] for rows, out, into in shapes]
    times = []
    for _ in range(steps):
        started = time.process_time()
        for x, gradient, weight in sides:
            x @ weight.T, gradient @ weight, gradient.T @ x
        times.append(time.process_time() - started)
    return times


class ChannelsLast(nn.Module):
    def forward(self, x):
        return x.contiguous(memory_format=torch.channels_last)


def endless(loader: torch.utils.data.DataLoader) -> Iterator:
    while True:
        yield from loader


def ours(
    features: torch.Tensor,
    lengths: torch.Tensor,
    steps: int,
    kernels: bool = True,
    amp: bool = False,
    student: type = DSCNN,
) -> list[float]:
    """CPU seconds of each step of ours, augmentation included."""
    examples = Examples(features, lengths, encode([f"c{number % CLASSES}" for number in range(len(features))]))
    held = Examples(features[:BATCH], lengths[:BATCH], examples.labels.select(range(BATCH)))
    config = TrainingConfig(steps=steps + 1, batch_size=BATCH, evaluate_every=steps + 1, patience=0, amp=amp)
    marks: list[float] = []
    with patch.object(compiled, "kernels", compiled.kernels if kernels else lambda *_: None):
        train(
            student(CLASSES, MELS),
            Transfer(),
            examples,
            held,
            config,
            seed=0,
            progress=lambda _: marks.append(time.process_time()),
        )
    return [after - before for before, after in zip(marks, marks[1 : steps + 1])]


def sides_of(seconds: float, published: bool, steps: int) -> dict[str, Callable[[], list[float]]]:
    """What is measured on clips of a length."""
    frames = round(100 * seconds) + 1
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(CLIPS, MELS, frames, generator=generator)
    full = torch.full((CLIPS,), frames)
    ragged = torch.randint(frames // 2, frames + 1, (CLIPS,), generator=generator)
    sides = {
        "plain loop": lambda: plain(features, False, steps),
        "plain loop, channels last, fused optimiser": lambda: plain(features, True, steps),
        "ours, by torch's layers": lambda: ours(features, full, steps, kernels=False),
        "ours": lambda: ours(features, full, steps),
        "ours, clips of many lengths": lambda: ours(features, ragged, steps),
        "ours, training.amp": lambda: ours(features, full, steps, amp=True),
        "limit: products of matrices alone": lambda: products(features, steps),
    }
    others = [student for student in STUDENTS if published and student is not DSCNN]
    return sides | {f"ours, {one.name}": partial(ours, features, full, steps, student=one) for one in others}


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--seconds", type=float, nargs="+", default=[1.0, 5.0], help="lengths of the clips")
    parser.add_argument("--published", action="store_true", help="also every other student")
    options = parser.parse_args()
    torch.set_num_threads(1)
    assert count_parameters(plain_student()) == count_parameters(DSCNN(CLASSES, MELS))
    header("clips", "training", "ms per step", "least", "most", "times faster than the plain loop")
    for seconds in options.seconds:
        sides = sides_of(seconds, options.published, SKIPPED + 1 if options.small else STEPS)
        times: dict[str, list[float]] = {name: [] for name in sides}
        for turn in range(options.repeats + 1):
            for name, run in sides.items():
                found = statistics.median(run()[SKIPPED:])
                if turn:
                    times[name].append(1000 * found)
        peer = statistics.median(times["plain loop"])
        for name, found in times.items():
            middle = statistics.median(found)
            cells = (f"{value:.1f}" for value in (middle, min(found), max(found)))
            row(f"{BATCH} of {seconds:g} s", name, *cells, f"{peer / middle:.2f}")


if __name__ == "__main__":
    main()
