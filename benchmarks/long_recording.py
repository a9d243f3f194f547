"""Memory and speed of `embcomp predict --window` on recordings of hours: one row of a table for each length and container."""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile as sf

from embcomp import Clips, Manifest

RATE = 16000  # Hz


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("manifest", type=Path, help="of the clips that the student learns and the recording is made of")
    parser.add_argument("--hours", default="1,10", help="lengths of the recordings")
    parser.add_argument("--containers", default="flac", help="flac, wav or ogg")
    parser.add_argument("--steps", type=int, default=400, help="training steps of the student")
    parser.add_argument("--folder", type=Path, help="for the recordings, which are deleted again")
    options = parser.parse_args()
    clips = Clips(Manifest.read(options.manifest), RATE, 1.0)
    sounds = [clips.decode(row) for row in range(0, len(clips), max(1, len(clips) // 500))]
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        folder = Path(place)
        train = ["distill", options.manifest, "--transfer", "none", "--out", folder / "student"]
        measure([*train, "--set", "audio.seconds=1.0", "--set", f"training.steps={options.steps}"])
        sys.stdout.write(
            "| recording | hours | MB on disk | rows | seconds | x real time | peak memory, MB |\n|---|---|---|---|---|---|---|\n"
        )
        for container in options.containers.split(","):
            for hours in map(float, options.hours.split(",")):
                audio, table = folder / f"long.{container}", folder / "rows.csv"
                write(audio, hours, sounds)
                call = ["predict", folder / "student", audio, "--window", "1", "--hop", "0.5", "--out", table]
                seconds, peak = measure(call)
                with open(table, encoding="utf-8") as file:
                    rows = sum(1 for _ in file) - 1
                sys.stdout.write(
                    f"| {container} | {hours:g} | {audio.stat().st_size / 1e6:.0f} | {rows} | {seconds:.0f} "
                    f"| {3600 * hours / seconds:.0f} | {peak:.0f} |\n"
                )
                sys.stdout.flush()
                audio.unlink()
                table.unlink()


def write(path: Path, hours: float, sounds: list[np.ndarray]) -> None:
    """Clips in random order, one after the other, for that many hours."""
    rng, left = np.random.default_rng(0), round(3600 * hours * RATE)
    with sf.SoundFile(path, "w", RATE, 1) as file:
        while left:
            sound = sounds[rng.integers(len(sounds))][:left]
            file.write(sound)
            left -= len(sound)


def measure(arguments: list) -> tuple[float, float]:
    """Wall seconds and peak resident memory, MB, of a command in a process of its own."""
    started = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "embcomp", *map(str, arguments)], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"embcomp {arguments[0]} failed")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


if __name__ == "__main__":
    main()
