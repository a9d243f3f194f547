"""A training step of small students by device: one thread of the processor, and a GPU where there is one."""

import statistics
import time

import torch
from measure import arguments, header, row, scaled

from embcomp.compression.apply import multiplies_bfloat16
from embcomp.config import TrainingConfig, read_choice
from embcomp.data.labels import encode
from embcomp.students import build_student
from embcomp.training.examples import Examples
from embcomp.training.loop import train
from embcomp.transfer import Transfer

CLASSES, MELS, FRAMES, WARM = 10, 64, 101, 20


def clips(count: int, seed: int) -> Examples:
    generator = torch.Generator().manual_seed(seed)
    features = torch.randn(count, MELS, FRAMES, generator=generator)
    return Examples(features, torch.full((count,), FRAMES), encode([f"c{number % CLASSES}" for number in range(count)]))


def step(kind: str, device: str, batch: int, amp: bool, steps: int) -> float:
    """Median milliseconds of a step, with what it takes to draw and change its clips."""
    torch.manual_seed(0)
    student = build_student(read_choice("student", {"kind": kind}), CLASSES, MELS)
    ended: list[float] = []

    def tick(_: int) -> None:
        if device != "cpu":
            torch.cuda.synchronize()
        ended.append(time.perf_counter())

    config = TrainingConfig(steps=WARM + steps + 1, batch_size=batch, evaluate_every=10**6, amp=amp, patience=0)
    train(student, Transfer(), clips(512, 0), clips(64, 1), config, seed=0, device=device, progress=tick)
    # The first are slower, and the last one ends with an evaluation.
    times = [later - earlier for earlier, later in zip(ended[WARM:-2], ended[WARM + 1 : -1])]
    return 1000 * statistics.median(times)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("--steps", type=int, default=60, help="timed (default: %(default)s)")
    options = parser.parse_args()
    torch.set_num_threads(1)
    devices = ["cpu"] + ["cuda"] * torch.cuda.is_available()
    names = [torch.cuda.get_device_name() if device == "cuda" else "one thread" for device in devices]
    # Without instructions for it, a processor takes minutes for a step in bfloat16.
    half = {"cpu": multiplies_bfloat16(), "cuda": True}
    header("student", "batch", *(f"{name}{kind}, ms" for name in names for kind in ("", ", bfloat16")))
    for kind in ("ds_cnn", "tc_resnet", "mobilenet_v3"):
        for batch in (2, 4) if options.small else (32, 256):
            steps = max(3, scaled(options.steps, options))
            times = [
                step(kind, device, batch, amp, steps) if half[device] or not amp else "no instructions"
                for device in devices
                for amp in (False, True)
            ]
            row(kind, batch, *times)


if __name__ == "__main__":
    main()
