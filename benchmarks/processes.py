"""Steps a second of one student on FSDD: by one process with one thread and with two, and by two processes."""

from __future__ import annotations

import json
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from measure import arguments, header, line, row

from embcomp.distributed import joined
from embcomp.engines.local import set_threads
from embcomp.engines.together import run_together

FSDD = Path(__file__).resolve().parents[2] / "shared" / "data" / "fsdd" / "manifest.csv"
SKIPPED = 5  # steps that only warm up
SIDES = {
    "one process, one thread": (1, 1),
    "one process, two threads": (1, 2),
    "two processes, one thread each": (2, 1),
}


def clips(folder: Path, small: bool) -> dict[str, str]:
    """Files of log-mels (n, 64, frames), of lengths and of labels: of FSDD, or of noise where it is not there."""
    from embcomp.audio.clips import Clips
    from embcomp.audio.features import compute_features
    from embcomp.config import AudioConfig
    from embcomp.data.manifest import Manifest

    folder.mkdir(parents=True, exist_ok=True)
    if small or not FSDD.exists():
        lengths = torch.full((200,), 50)
        features, labels = torch.randn(200, 64, 50), [str(number % 10) for number in range(200)]
    else:
        audio, manifest = AudioConfig(), Manifest.read(FSDD)
        found = Clips.of(manifest, audio)
        stored = compute_features(found, found.hashes(), audio, folder / "fsdd.logmel")
        features, lengths = stored.load(list(manifest.ids))
        labels = [next(iter(one)) if not isinstance(one, str) else one for one in manifest.labels]
    paths = {name: str(folder / f"{name}.npy") for name in ("features", "lengths")}
    np.save(paths["features"], features.numpy())
    np.save(paths["lengths"], lengths.numpy())
    paths["labels"] = str(folder / "labels.json")
    Path(paths["labels"]).write_text(json.dumps(list(labels)))
    return paths


def timed(
    features: str, lengths: str, labels: str, steps: int, threads: int, batch: int, method: str, profiled: bool = False
) -> dict[str, float]:
    """Median seconds of a step, and of what it waits for other processes in."""
    from embcomp.config import TrainingConfig, read_choice
    from embcomp.data.labels import encode
    from embcomp.distributed import Group
    from embcomp.students import DSCNN
    from embcomp.training.examples import Examples
    from embcomp.training.loop import train
    from embcomp.transfer import build_transfer

    set_threads(threads)
    known = encode(json.loads(Path(labels).read_text()))
    data = Examples(torch.from_numpy(np.load(features)), torch.from_numpy(np.load(lengths)), known)
    held = Examples(data.features[:20], data.lengths[:20], known.select(range(20)))
    config = TrainingConfig(steps=steps, batch_size=batch, evaluate_every=steps + 1, checkpoint_every=steps + 1)
    marks: list[float] = []
    waits = {"seconds": 0.0, "exchanges": 0}
    inner = Group.sum_

    def counted(self: Group, tensor: torch.Tensor) -> torch.Tensor:
        started = time.perf_counter()
        inner(self, tensor)
        waits["seconds"] += time.perf_counter() - started
        waits["exchanges"] += 1
        return tensor

    if profiled:
        Group.sum_ = counted
    with joined():
        torch.manual_seed(0)
        transfer = build_transfer(read_choice("transfer", {"method": method}), False)
        vectors = np.random.default_rng(0).normal(size=(len(known), 64)).astype(np.float32)
        transfer.prepare(vectors, known, 64)
        train(DSCNN(len(known.classes), 64), transfer, data, held, config, seed=0, progress=lambda _: marks.append(time.perf_counter()))  # fmt: skip
    took = [after - before for before, after in zip(marks, marks[1:])][SKIPPED:-1]
    return {
        "seconds": statistics.median(took),
        "waiting": waits["seconds"] / steps,
        "exchanges": waits["exchanges"] / steps,
    }


def main() -> None:
    from processes import timed  # by its name, which the processes import it by

    parser = arguments(__doc__, repeats=5)
    parser.add_argument("--steps", type=int, default=60, help="of one turn (default: %(default)s)")
    parser.add_argument("--batches", type=int, nargs="+", default=[32, 128], help="sizes of a batch (default: 32 128)")
    parser.add_argument("--method", default="embedding", help="of transfer (default: %(default)s)")
    options = parser.parse_args()
    paths = clips(options.folder, options.small)
    steps = SKIPPED + 4 if options.small else options.steps
    for batch in options.batches[: 1 if options.small else None]:
        found: dict[str, list[float]] = {name: [] for name in SIDES}
        job = {**paths, "steps": steps, "batch": batch, "method": options.method}
        for _ in range(options.repeats):
            for name, (processes, threads) in SIDES.items():
                found[name].append(1 / run_together(timed, {**job, "threads": threads}, processes)["seconds"])
        header("clips of a batch", "training", "steps a second", "least", "most", "times one process, one thread")
        peer = statistics.median(next(iter(found.values())))
        for name, speeds in found.items():
            middle = statistics.median(speeds)
            row(batch, name, *(f"{value:.1f}" for value in (middle, min(speeds), max(speeds))), f"{middle / peer:.2f}")
        one = run_together(timed, {**job, "threads": 1, "profiled": True}, 2)
        line(
            f"\nOf a step of two processes on {batch} clips, {1e3 * one['seconds']:.1f} ms, {1e3 * one['waiting']:.1f} ms "
            f"are {one['exchanges']:.0f} exchanges, waiting for the other process included; gradients are not among them.\n"
        )


if __name__ == "__main__":
    main()
