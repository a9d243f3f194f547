"""Processor time and memory of fit, apply and distil over a store in shards of 64 dimensions in float16.

python benchmarks/shards.py [--rows 1000000 10000000] [--folder FOLDER]

Each step runs in a process of its own. The student learns from 500 clips, whose targets are spread over the whole store.
"""

from __future__ import annotations

import json
import resource
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from measure import arguments, header, row, scaled

DIM, PER_SHARD, CLIPS, MELS, FRAMES, STEPS = 64, 1_000_000, 500, 64, 101, 100


def made(folder: Path, rows: int) -> Path:
    """A store in shards, of power-law factors and noise."""
    from embcomp.storage.files import file_hash
    from embcomp.storage.merging import write_index, write_names

    path = folder / f"store-{rows}"
    shutil.rmtree(path, ignore_errors=True)
    rng, shards = np.random.default_rng(0), []
    basis = np.linalg.qr(rng.standard_normal((DIM, DIM)))[0].astype(np.float32) / np.arange(1, DIM + 1)[:, None] ** 0.7
    for number, start in enumerate(range(0, rows, PER_SHARD)):
        count, name = min(PER_SHARD, rows - start), f"{number:05d}"
        names = [f"clips/{number}.wav" for number in range(start, start + count)]
        write_names(path / name, names, [f"{number:016x}" for number in range(start, start + count)])
        data = np.lib.format.open_memmap(path / name / "data.npy", "w+", np.float16, (count, DIM))
        for first in range(0, count, 100_000):
            some = min(100_000, count - first)
            data[first : first + some] = (
                rng.standard_normal((some, DIM), dtype=np.float32) @ basis.astype(np.float32) + 1
            )
        data.flush()
        shards.append(
            {"data": f"{name}/data.npy", "names": name, "rows": count, "hash": file_hash(path / name / "data.npy")}
        )
    write_index(path, shards, {"teacher": "made up"}, DIM, "float16")
    return path


def status(name: str) -> float:
    """A number of MB of what the system says of this process."""
    lines = dict(line.split(":") for line in Path("/proc/self/status").read_text().splitlines() if ":" in line)
    return int(lines[name].split()[0]) / 1024


def fit(folder: Path, rows: int) -> None:
    from embcomp import compress
    from embcomp.config import CompressorConfig

    config = CompressorConfig("linear", "reconstruction", 32)
    compress(folder / f"store-{rows}", folder / f"compressor-{rows}", config=config)


def apply(folder: Path, rows: int) -> None:
    import embcomp

    embcomp.apply(folder / f"compressor-{rows}", folder / f"store-{rows}", folder / f"targets-{rows}", dtype="float16")


def distil(folder: Path, rows: int) -> None:
    from embcomp.audio.features import Features
    from embcomp.config import AudioConfig, parse
    from embcomp.data.labels import encode
    from embcomp.storage.store import EmbeddingStore, write_store
    from embcomp.training.assembly import Lesson, Part, train_student

    targets = EmbeddingStore.open(folder / f"targets-{rows}")
    numbers = np.linspace(0, rows - 1, min(CLIPS, rows)).astype(int).tolist()
    names = [targets.ids[number] for number in numbers]
    logmels = np.random.default_rng(0).normal(-8, 3, (len(names), MELS * FRAMES + 1)).astype(np.float32)
    logmels[:, -1] = FRAMES
    features = write_store(folder / f"logmels-{rows}", names, names, logmels.shape[1], {}, lambda n: logmels[n])
    training = {"steps": STEPS, "evaluate_every": 10**6, "checkpoint_every": 10**6}
    (variant,) = parse({"training": training}).variants
    labels = encode([str(number % 10) for number in range(len(names))])
    part = Part(names, names, Features(features, MELS), targets, labels)
    lesson = Lesson(part, part.select(np.arange(len(names) // 10)))
    train_student(variant, AudioConfig(), lesson, folder / f"student-{rows}", about={}, seed=0)


STAGES = {"fit": fit, "apply": apply, "distil": distil}


def measured(stage: str, folder: Path, rows: int) -> dict[str, float]:
    """Of one step in this process: processor seconds, peak of all memory, and of that what libraries take before."""
    import embcomp.training.assembly  # noqa: F401, libraries are loaded before the clock starts

    before, started = status("VmRSS"), time.process_time()
    STAGES[stage](folder, rows)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"cpu": time.process_time() - started, "peak": peak, "before": before, "after": status("RssAnon")}


def main() -> None:
    parser = arguments(__doc__.splitlines()[0], repeats=1)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000])
    parser.add_argument("--one", help="a step to run in this process")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.one:
        sys.stdout.write(json.dumps(measured(options.one, options.folder, options.rows[0])) + "\n")
        return
    header("rows", "store, MB", "step", "CPU s", "rows a CPU s", "peak MB", "of it before", "anonymous MB after")
    for rows in (scaled(count, options) for count in options.rows):
        path = made(options.folder, rows)
        size = sum(one.stat().st_size for one in path.rglob("*") if one.is_file()) / 1e6
        for stage in STAGES:
            command = [sys.executable, __file__, "--one", stage, "--rows", str(rows), "--folder", str(options.folder)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found = json.loads(done.stdout.splitlines()[-1])
            speed = f"{rows / found['cpu']:,.0f}" if stage != "distil" else ""
            row(
                f"{rows:,}",
                f"{size:,.0f}",
                stage,
                found["cpu"],
                speed,
                *(f"{found[name]:,.0f}" for name in ("peak", "before", "after")),
            )
        for made_of in ("store", "compressor", "targets", "logmels", "student"):
            shutil.rmtree(options.folder / f"{made_of}-{rows}", ignore_errors=True)


if __name__ == "__main__":
    main()
