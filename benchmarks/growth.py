"""How time and memory of embed, compress and distill grow with the number of clips: wall and CPU seconds of each command.

Clips are generated, a quarter of a second of a tone in noise; a student is trained for the same number of steps whatever their
number, so that distill grows by its log-mels alone.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from measure import arguments, header, line, row, scaled

RATE, SECONDS, LABELS = 16_000, 0.25, 4
STEPS = 50


def generated(folder: Path, count: int) -> Path:
    """Clips and their manifest."""
    (folder / "audio").mkdir(parents=True)
    rng, time_axis = np.random.default_rng(0), np.arange(round(RATE * SECONDS)) / RATE
    lines = ["path,label,group"]
    for number in range(count):
        tone = np.sin(2 * np.pi * (300 * 2 ** (number % LABELS) + rng.uniform(-50, 50)) * time_axis)
        name = f"audio/{number}.wav"
        soundfile.write(folder / name, 0.3 * tone + 0.1 * rng.standard_normal(len(tone)), RATE)
        lines.append(f"{name},{number % LABELS},{number // LABELS % 50}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return folder / "manifest.csv"


def measured(command: list) -> tuple[float, float, float]:
    """Wall and CPU seconds, and peak resident MB, of a command in a process of its own."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "embcomp", *map(str, command)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"embcomp {command[0]} failed")
    return time.perf_counter() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


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
    header("clips", "command", "wall s", "CPU s", "peak MB")
    found: dict[str, list[tuple[int, float, float]]] = {}
    for count in (scaled(count, options) for count in options.clips):
        with tempfile.TemporaryDirectory() as place:
            manifest = generated(Path(place, "clips"), count)
            for name, command in commands(manifest, Path(place)).items():
                wall, cpu, peak = measured(command)
                found.setdefault(name, []).append((count, cpu, peak))
                row(f"{count:,}", name, wall, cpu, peak)
    for name, points in found.items() if len(options.clips) > 1 else ():
        clips, seconds, _ = np.array(points).T
        slopes = np.diff(np.log(seconds)) / np.diff(np.log(clips))
        line(f"\n{name}: log-log slope of the CPU time {', '.join(f'{one:.2f}' for one in slopes)}")
    if options.picture:
        picture(found, options.picture)


def picture(found: dict[str, list[tuple[int, float, float]]], path: Path) -> None:
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3.5), layout="constrained")
    for name, points in found.items():
        clips, seconds, memory = np.array(points).T
        left.plot(clips, seconds, "o-", label=name)
        right.plot(clips, memory, "o-", label=name)
    left.set(xscale="log", yscale="log", xlabel="clips", ylabel="CPU seconds")
    right.set(xscale="log", xlabel="clips", ylabel="peak memory, MB", ylim=(0, None))
    left.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
