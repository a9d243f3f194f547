"""One store embedded by workers of each engine: seconds, interleaved, medians, without the time that engines start in.

Processor seconds are those of this process and of the engine's, Ray's own among them; on a busy machine they say more.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import statistics
import time
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
from measure import arguments, header, line, row, scaled

from embcomp.audio.clips import Clips
from embcomp.config import AudioConfig, read_choice
from embcomp.data.manifest import Manifest
from embcomp.engines import open_engine
from embcomp.teachers.embedding import embed, learned_teacher, open_teacher
from embcomp.teachers.spread import Spread

RATE = 16_000


def write_clips(folder: Path, count: int, seconds: float) -> Path:
    """A manifest of noisy tones, in folders of a thousand."""
    folder = folder / f"{count}x{seconds:g}s"
    rng, rows = np.random.default_rng(0), []
    times = np.arange(round(RATE * seconds)) / RATE
    for number in range(count):
        rows.append((f"{number // 1000}/{number}.wav", f"tone{number % 8}"))
        if (folder / "manifest.csv").exists():
            continue
        (folder / str(number // 1000)).mkdir(parents=True, exist_ok=True)
        wave = np.sin(2 * np.pi * 200 * (1 + number % 8) * times) * rng.uniform(0.1, 0.8)
        soundfile.write(folder / rows[-1][0], wave + rng.normal(0, 0.02, len(times)), RATE)
    pd.DataFrame(rows, columns=["path", "label"]).assign(group=lambda table: table["label"]).to_csv(
        folder / "manifest.csv", index=False
    )
    return folder / "manifest.csv"


def processor_seconds(name: str) -> float:
    """Of this process, and of all below it that are the engine's."""
    parents, used, local = {}, {}, set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                numbers = (entry / "stat").read_text().rsplit(")", 1)[1].split()
                parents[int(entry.name)] = int(numbers[1])
                used[int(entry.name)] = (int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK")
                if b"embcomp.engines.local" in (entry / "cmdline").read_bytes():
                    local.add(int(entry.name))
    below = {os.getpid()}
    while more := {child for child, parent in parents.items() if parent in below} - below:
        below |= more
    return sum(used[one] for one in below if one == os.getpid() or (one in local) == (name == "local"))


def main() -> None:
    parser = arguments(__doc__.splitlines()[0], repeats=3)
    parser.add_argument("--clips", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=0.5, help="length of a clip")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    count = scaled(options.clips, options)
    clips = Clips.of(Manifest.read(write_clips(options.folder, count, options.seconds)), AudioConfig(), options.seconds)
    hashes = clips.hashes()
    place = options.folder / f"teacher{count}"
    if not place.exists():
        some = Clips.of(clips.manifest.select(np.arange(min(count, 500))), AudioConfig(), options.seconds)
        learned_teacher(some, read_choice("teacher", {"spec": "kmeans"}), place, "")
    settings = read_choice("teacher", {"spec": f"kmeans:{place}"})
    teacher = open_teacher(settings)
    names = ["local"] + ["ray"] * (importlib.util.find_spec("ray") is not None)
    starts, written = {}, {}
    times, processor = ({name: [] for name in names} for _ in range(2))
    with contextlib.ExitStack() as stack:
        engines = {}
        for name in names:
            started = time.perf_counter()
            engines[name] = stack.enter_context(open_engine(name, options.workers))
            # Every worker has its imports and its teacher done: there are more chunks than workers.
            few = np.arange(min(count, 64 * 4 * options.workers))
            out = options.folder / f"first-{name}"
            remove(out)
            part = Clips(clips.manifest.select(few), clips.sample_rate, clips.seconds)
            embed(part, hashes[: len(few)], teacher, out, spread=Spread(engines[name], settings))
            starts[name] = time.perf_counter() - started
        for _ in range(options.repeats):
            for name in names:
                out = options.folder / f"store-{name}"
                remove(out)
                started, before = time.perf_counter(), processor_seconds(name)
                embed(clips, hashes, teacher, out, spread=Spread(engines[name], settings))
                times[name].append(time.perf_counter() - started)
                processor[name].append(processor_seconds(name) - before)
                written[name] = (out / "data.npy").read_bytes()
    line(f"{count} clips of {options.seconds:g} s, {options.workers} workers, k-means features of {teacher.dim}\n")
    header("engine", "start and first chunks, s", "embedding, s", "beside local", "processor, s", "beside local")
    for name in names:
        cells = []
        for kind in (times, processor):
            middle = statistics.median(kind[name])
            cells += [middle, f"{100 * (middle / statistics.median(kind['local']) - 1):+.1f} %"]
        row(name, starts[name], *cells)
    line("")
    line(f"all seconds: {', '.join(f'{name} ' + ' '.join(f'{one:.1f}' for one in times[name]) for name in names)}")
    line(f"same bytes: {'yes' if len(set(written.values())) == 1 else 'no'}")
    if len(names) < 2:
        line("ray is not installed")


def remove(store: Path) -> None:
    """Take away the store of an earlier turn."""
    for name in ("data.npy", "index.csv", "meta.json"):
        (store / name).unlink(missing_ok=True)


if __name__ == "__main__":
    main()
