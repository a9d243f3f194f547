"""What `embcomp plan` says of a run ten times the size of its largest trial, and what that run then takes.

python benchmarks/plan.py [--clips 3000] [--only kmeans ...]

Times are processor time, which other processes disturb little; memory is the most that the process had resident, disk what its
folder holds.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from growth import RATE
from measure import arguments, header, row

COMMON = "seeds = [0]\nworkers = 1\n[split]\nfolds = 3\n[evaluation]\nbootstrap = 200\n"
CONFIGS = {
    # name: seconds of a clip, settings
    "one student, short clips": (1.0, COMMON + "probe = false\n[audio]\nseconds = 1.0\n[training]\nsteps = 300\n"),
    "three methods, probes, two seeds": (
        2.0,
        COMMON.replace("[0]", "[0, 1]").replace("folds = 3", "folds = 2")
        + '[training]\nsteps = 100\n[[variants]]\nname = "none"\ntransfer.method = "none"\n'
        '[[variants]]\nname = "embedding"\ntransfer.method = "embedding"\n'
        '[[variants]]\nname = "compressed"\n',
    ),
    "unlabelled clips, trained compressor, long clips": (
        5.0,
        COMMON.replace("folds = 3", "folds = 2")
        + 'probe = false\n[audio]\nseconds = 5.0\n[training]\nsteps = 100\n[compressor]\nmethod = "mlp"\n'
        '[data]\nunlabelled = ["pool/manifest.csv"]\n',
    ),
}


def sounds(folder: Path, count: int, seconds: float, first: int) -> Path:
    """Clips and their manifest; those of `first` on, so that two sets share none."""
    import numpy as np
    import soundfile

    folder.mkdir(parents=True)
    time_axis = np.arange(round(RATE * seconds)) / RATE
    lines = ["path,label,group"]
    for number in range(first, first + count):
        rng = np.random.default_rng(number)
        tone = np.sin(2 * np.pi * (250 * 2 ** (number % 8 / 3) + rng.uniform(-20, 20)) * time_axis)
        soundfile.write(folder / f"{number}.wav", 0.3 * tone + 0.1 * rng.standard_normal(len(tone)), RATE)
        lines.append(f"{number}.wav,{number % 8},{first}-{number // 8 % 24}")
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder / "manifest.csv"


def predicted(config: Path, clips: int, pool: int, seconds: float, calibrate: float) -> dict:
    """What `embcomp plan` says."""
    command = ["plan", config, "--clips", clips, "--seconds", seconds, "--calibrate", calibrate, "--json"]
    command += ["--unlabelled", pool] if pool else []
    done = subprocess.run(
        [sys.executable, "-m", "embcomp", *map(str, command)], stdout=subprocess.PIPE, text=True, check=True
    )
    return json.loads(done.stdout)


def measured(config: Path, out: Path) -> tuple[float, float, float]:
    """Processor seconds, peak bytes and bytes on disk of `embcomp run`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "embcomp", "run", config, "--out", out],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit("embcomp run failed")
    disk = sum(one.stat().st_size for one in out.rglob("*") if one.is_file())
    return usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, disk


def main() -> None:
    parser = arguments(__doc__.splitlines()[0], repeats=1)
    parser.add_argument("--clips", type=int, default=3000, help="of the set trained on (default: %(default)s)")
    parser.add_argument("--calibrate", type=float, default=30.0, help="seconds (default: %(default)s)")
    parser.add_argument("--only", nargs="*", default=list(CONFIGS), help="names of configurations")
    options = parser.parse_args()
    if options.small:
        options.clips, options.calibrate, options.only = 64, 1.0, list(CONFIGS)[:1]
    header("run", "largest trial", "clips", "core s: plan", "measured", "ratio", "GB: plan", "measured", "ratio",
           "MB on disk: plan", "measured", "ratio")  # fmt: skip
    for name in options.only:
        seconds, text = CONFIGS[name]
        pool = options.clips // 2 if "unlabelled" in text else 0
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            (folder / "run.toml").write_text(
                text.replace("[data]\n", '[data]\ntrain = "clips/manifest.csv"\n')
                if pool
                else text + '[data]\ntrain = "clips/manifest.csv"\n',
                encoding="utf-8",
            )
            plan = predicted(folder / "run.toml", options.clips, pool, seconds, options.calibrate)
            sounds(folder / "clips", options.clips, seconds, 0)
            if pool:
                sounds(folder / "pool", pool, seconds, options.clips)
            cpu, memory, disk = measured(folder / "run.toml", folder / "run")
            shutil.rmtree(folder, ignore_errors=True)
        said = plan["totals"]
        row(name, max(plan["calibrated"]), f"{options.clips:,}", 3600 * said["cpu_hours"], cpu, 3600 * said["cpu_hours"] / cpu,
            said["memory"] / 1e9, memory / 1e9, said["memory"] / memory, said["disk"] / 1e6, disk / 1e6,
            said["disk"] / disk)  # fmt: skip


if __name__ == "__main__":
    main()
