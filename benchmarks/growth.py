"""How time and memory of embed, compress and distill grow with the number of clips.

Clips are generated, a quarter of a second of a tone in noise; a student is trained for the same number of steps whatever their
number, so that distill grows by its log-mels alone. Of the memory, what a command holds itself (anonymous) is looked at
every few milliseconds, and beside it pages of files that are mapped, which the system takes back whenever it needs room.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from measure import arguments, header, line, row, scaled

RATE, SECONDS, LABELS = 16_000, 0.25, 4
STEPS = 50


@dataclass(frozen=True)
class Cost:
    """What a command took: wall and CPU seconds; most MB resident at once, and most of each kind of it."""

    wall: float
    cpu: float
    resident: float
    anonymous: float
    mapped: float


def generated(folder: Path, count: int) -> Path:
    """Clips and their manifest, made once."""
    manifest = folder / "manifest.csv"
    if manifest.exists():
        return manifest
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    rng, time_axis = np.random.default_rng(0), np.arange(round(RATE * SECONDS)) / RATE
    lines = ["path,label,group"]
    for number in range(count):
        tone = np.sin(2 * np.pi * (300 * 2 ** (number % LABELS) + rng.uniform(-50, 50)) * time_axis)
        name = f"audio/{number}.wav"
        soundfile.write(folder / name, 0.3 * tone + 0.1 * rng.standard_normal(len(tone)), RATE)
        lines.append(f"{name},{number % LABELS},{number // LABELS % 50}")
    manifest.write_text("\n".join(lines) + "\n")
    return manifest


def measured(command: list) -> Cost:
    """A command in a process of its own."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "embcomp", *map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    peaks, ended = {"RssAnon": 0, "RssFile": 0}, threading.Event()

    def watch() -> None:
        while not ended.wait(0.005):
            for kind, size in resident(process.pid).items():
                peaks[kind] = max(peaks[kind], size)

    watcher = threading.Thread(target=watch)
    watcher.start()
    _, status, usage = os.wait4(process.pid, 0)
    ended.set()
    watcher.join()
    if status:
        raise SystemExit(f"embcomp {command[0]} failed")
    sizes = (kilobytes / 1024 for kilobytes in (usage.ru_maxrss, peaks["RssAnon"], peaks["RssFile"]))
    return Cost(time.perf_counter() - started, usage.ru_utime + usage.ru_stime, *sizes)


def resident(process: int) -> dict[str, int]:
    """Kilobytes of each kind of memory that a process has now; none where it has just ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return {}
    found = (line.split() for line in lines if line.startswith(("RssAnon", "RssFile")))
    return {name.rstrip(":"): int(size) for name, size, _ in found}


def commands(manifest: Path, out: Path) -> dict[str, list]:
    return {
        "embed": ["embed", manifest, "--teacher", "kmeans", "--seconds", SECONDS, "--out", out / "embeddings"],
        "compress": ["compress", out / "embeddings", "--manifest", manifest, "--dim", 32, "--out", out / "compressor"],
        "apply": ["apply", out / "compressor", out / "embeddings", "--out", out / "targets"],
        "distill": [
            "distill",
            manifest,
            "--targets",
            out / "targets",
            "--out",
            out / "student",
            "--set",
            f"audio.seconds={SECONDS}",
            "--set",
            f"training.steps={STEPS}",
        ],  # fmt: skip
    }


def main() -> None:
    parser = arguments(__doc__.splitlines()[0], repeats=1)
    parser.add_argument("--clips", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--picture", type=Path, help="an .svg of the curves; needs matplotlib")
    options = parser.parse_args()
    header("clips", "command", "wall s", "CPU s", "anonymous MB", "mapped files MB", "peak MB of both")
    found: dict[str, list[tuple[int, Cost]]] = {}
    for count in (scaled(count, options) for count in options.clips):
        manifest = generated(options.folder / f"growth-{count}", count)
        with tempfile.TemporaryDirectory() as place:
            for name, command in commands(manifest, Path(place)).items():
                cost = measured(command)
                found.setdefault(name, []).append((count, cost))
                row(f"{count:,}", name, cost.wall, cost.cpu, *map(whole, (cost.anonymous, cost.mapped, cost.resident)))
    for name, points in found.items() if len(options.clips) > 1 else ():
        clips, seconds, memory = np.array([(count, cost.cpu, cost.anonymous) for count, cost in points]).T
        slopes = np.diff(np.log(seconds)) / np.diff(np.log(clips))
        line(
            f"\n{name}: log-log slope of the CPU time {', '.join(f'{one:.2f}' for one in slopes)}; "
            f"anonymous memory times {', '.join(f'{one:.2f}' for one in memory[1:] / memory[:-1])}"
        )
    if options.picture:
        picture(found, options.picture)


def whole(size: float) -> str:
    return f"{size:,.0f}"


def picture(found: dict[str, list[tuple[int, Cost]]], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    for name, points in found.items():
        clips = [count for count, _ in points]
        left.plot(clips, [cost.cpu for _, cost in points], "o-", label=name)
        right.plot(clips, [cost.anonymous for _, cost in points], "o-", label=name)
    left.set(xscale="log", yscale="log", xlabel="clips", ylabel="CPU seconds")
    right.set(xscale="log", xlabel="clips", ylabel="anonymous memory at its peak, MB", ylim=(0, None))
    left.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
