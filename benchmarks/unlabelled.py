"""Memory and time of a training with many unlabelled clips on disk, each in a process of its own.

python benchmarks/unlabelled.py [--clips 10000,100000] [--folder FOLDER]
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import numpy as np

MELS, FRAMES, DIM, LABELLED = 64, 101, 64, 500


def store(folder: Path, name: str, count: int, width: int):
    """A store of that many rows, made once: 512 different ones, repeated."""
    from embcomp.storage.store import write_store

    rows = np.random.default_rng(0).normal(-8, 3, size=(512, width)).astype(np.float32)
    rows[:, -1] = FRAMES
    names = [f"{row}" for row in range(count)]
    return write_store(folder / f"{name}-{count}", names, names, width, {}, lambda n: rows[n % 512], batch_size=4096)


def anonymous() -> float:
    """Memory of this process that is not a mapped file, MB."""
    lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return int(lines["RssAnon"].split()[0]) / 1024


def measure(folder: Path, count: int, steps: int) -> dict[str, float]:
    """Peak of all memory and growth of anonymous memory (MB), and CPU time of a step (ms)."""
    from embcomp.audio.features import Features
    from embcomp.config import AudioConfig, parse
    from embcomp.data.labels import encode
    from embcomp.training.assembly import Lesson, Part, train_student

    training = {"steps": steps, "evaluate_every": 10**6, "checkpoint_every": 10**6, "batch_size": 64}
    (variant,) = parse({"training": training}).variants
    features, vectors = (
        [store(folder, name, number, width) for number in (LABELLED, count)]
        for name, width in (("log-mels", MELS * FRAMES + 1), ("targets", DIM))
    )
    names = features[0].ids
    labels = encode([str(row % 10) for row in range(LABELLED)])
    fit = Part(names, names, Features(features[0], MELS), vectors[0], labels)
    pool = Part(features[1].ids, features[1].hashes, Features(features[1], MELS), vectors[1])
    before, stamps = anonymous(), []
    with tempfile.TemporaryDirectory() as out:
        train_student(
            variant, AudioConfig(), Lesson(fit, fit.select(np.arange(50)), [pool]), Path(out) / "student",
            about={}, seed=0, progress=lambda done: stamps.append(time.process_time()),
        )  # fmt: skip
        grown = anonymous() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"peak": peak, "grown": grown, "step": 1e3 * (stamps[-1] - stamps[10]) / (len(stamps) - 11)}


@click.command(help=__doc__)
@click.option("--clips", default="10000,100000", show_default=True, help="Sizes of the unlabelled set.")
@click.option("--steps", default=300, show_default=True, type=click.IntRange(20))
@click.option("--folder", type=click.Path(path_type=Path), help="Where the stores are kept.")
@click.option("--one", hidden=True, type=int)
def main(clips: str, steps: int, folder: Path | None, one: int | None) -> None:
    folder = folder or Path(tempfile.gettempdir()) / "embcomp-unlabelled"
    if one is not None:
        click.echo(json.dumps(measure(folder, one, steps)))
        return
    click.echo(
        "| unlabelled clips | log-mels, MB | peak memory, MB | grown, MB | CPU ms a step |\n|---|---|---|---|---|"
    )
    for count in map(int, clips.split(",")):
        size = 4e-6 * store(folder, "log-mels", count, MELS * FRAMES + 1).data.size
        for name, number, width in (
            ("targets", count, DIM),
            ("targets", LABELLED, DIM),
            ("log-mels", LABELLED, MELS * FRAMES + 1),
        ):
            store(folder, name, number, width)
        command = [sys.executable, __file__, "--folder", str(folder), "--steps", str(steps), "--one", str(count)]
        found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
        click.echo(f"| {count:,} | {size:,.0f} | {found['peak']:,.0f} | {found['grown']:,.0f} | {found['step']:.1f} |")


if __name__ == "__main__":
    main()
