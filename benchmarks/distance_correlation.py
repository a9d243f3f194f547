"""Distance correlation of a batch of 256, and ``torch.cdist`` of both its sides, with and without the backward pass."""

import torch
from measure import arguments, header, interleaved, row, scaled

from embcomp.losses import distance_correlation

BATCH = 256
INNER = 20


def repeated(run, times):
    """One sample long enough for the clock."""
    return lambda: [run() for _ in range(times)]


def sides(student, teacher):
    """Ours and the peer's, for each pass."""
    learning = student.clone().requires_grad_()
    return {
        "forward": (
            lambda: distance_correlation(student, teacher),
            lambda: (torch.cdist(student, student), torch.cdist(teacher, teacher)),
        ),
        "forward and backward": (
            lambda: distance_correlation(learning, teacher).backward(),
            lambda: (torch.cdist(learning, learning).sum().backward(), torch.cdist(teacher, teacher)),
        ),
    }


def main() -> None:
    options = arguments(__doc__, repeats=15).parse_args()
    torch.set_num_threads(1)
    inner = scaled(INNER, options)
    header("student x teacher width", "pass", "ours, ms", "cdist of both, ms", "ours / cdist")
    generator = torch.Generator().manual_seed(0)
    for width, dim in ((64, 64), (64, 1536), (512, 2048)):
        student, teacher = (torch.randn(BATCH, size, generator=generator) for size in (width, dim))
        for name, (ours, peer) in sides(student, teacher).items():
            times = interleaved({"ours": repeated(ours, inner), "cdist": repeated(peer, inner)}, options.repeats)
            ours_ms, peer_ms = (1000 * times[side] / inner for side in ("ours", "cdist"))
            row(f"{width} x {dim}", name, f"{ours_ms:.2f}", f"{peer_ms:.2f}", f"{ours_ms / peer_ms:.2f}")


if __name__ == "__main__":
    main()
