"""Run the benchmarks one after the other and write what they print to RESULTS.md: python benchmarks/run_all.py.

A benchmark that fails, or whose packages or data are missing, has a section that says so. RESULTS.md is written anew after each, so that
an interruption loses one.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

HERE = Path(__file__).resolve().parent
SHARED = HERE.parent.parent / "shared" / "data"
PEERS = (
    "torch",
    "numpy",
    "scipy",
    "scikit-learn",
    "librosa",
    "soundfile",
    "soxr",
    "faiss-cpu",
    "onnxruntime",
    "ai-edge-litert",
)
# What ratios depend on, of the flags in /proc/cpuinfo.
FLAGS = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "bfloat16"}
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True)
class Benchmark:
    """A script with its arguments.

    Attributes
    ----------
    title : str
    script : str
    arguments : tuple of str
        Of the measurement.
    small : tuple of str or None
        Of a run that takes seconds and shows that the script works; None where there is none.
    needs : tuple of Path
        Files without which it is left out.
    long : bool
        Takes hours, and is run where `--only` names it.
    """

    title: str
    script: str
    arguments: tuple[str, ...] = ()
    small: tuple[str, ...] | None = ("--small", "--repeats", "1")
    needs: tuple[Path, ...] = ()
    long: bool = False


ESC10, FSDD = SHARED / "esc10" / "manifest.csv", SHARED / "fsdd" / "manifest.csv"
BENCHMARKS = (
    Benchmark("Start of the command line", "startup.py"),
    Benchmark("Files to log-mels", "front_end.py"),
    Benchmark("Clips through the k-means teacher", "kmeans_teacher.py"),
    Benchmark("A training step, batches of 32 log-mels of 64 bands, 101 frames a second", "training_step.py", (), ("--small", "--repeats", "1", "--seconds", "0.2")),
    Benchmark("From files to a trained student, beside a DataLoader with workers", "loop.py", ("--steps", "60")),
    Benchmark("Students by kind and width, FSDD", "student_sizes.py", (str(FSDD),), needs=(FSDD,), long=True),
    Benchmark("A training step by device", "devices.py", ("--steps", "3"), ("--small",)),
    Benchmark("Steps of one student by two processes", "processes.py", ("--repeats", "3", "--steps", "20", "--batches", "32")),
    Benchmark("Distance correlation of a batch of 256", "distance_correlation.py"),
    Benchmark("Fit from disk", "compression_fit.py", ("--rows", "100000", "--repeats", "2")),
    Benchmark("Fit at 2048 dimensions, 100,000 rows in memory", "compression_wide.py", ("--repeats", "1")),
    Benchmark("Linear autoencoder, 100,000 x 512 to 64", "compression_autoencoder.py", ("--repeats", "1")),
    Benchmark("Growth with rows and dimensions", "compression_scaling.py", ("--largest", "1e8", "--repeats", "1")),
    Benchmark("Transform to 64", "compression_transform.py"),
    Benchmark("Shuffled batches of 256 rows, 200,000 x 512 float32, page cache warm", "compression_batches.py"),
    Benchmark("Fits beside other processes", "busy_threads.py", (), None),
    Benchmark("Growth with the number of clips", "growth.py", ("--picture", str(HERE / "growth.svg")), ("--small", "--clips", "4000")),
    Benchmark("What `embcomp plan` says, and what a run of ten times the size takes", "plan.py", ("--only", "one student, short clips", "--clips", "1000", "--calibrate", "10"), ("--small",)),
    Benchmark("Millions of rows of 64 dimensions in shards", "shards.py", ("--rows", "1000000", "4000000"), ("--small", "--rows", "100000")),
    Benchmark("One store embedded by two workers, locally and on Ray", "engines.py"),
    Benchmark("Training with unlabelled clips on disk", "unlabelled.py", ("--clips", "10000,30000", "--steps", "100"), ("--clips", "600,700", "--steps", "20")),
    Benchmark("Prediction on long recordings", "long_recording.py", (str(FSDD), "--hours", "0.1,1"), None, (FSDD,)),
    Benchmark("From a manifest to exported files, ESC-10", "deploy.py", ("--manifest", str(ESC10), "--steps", "100", "--repeats", "15"), None, (ESC10,)),
)  # fmt: skip


def run(one: Benchmark, arguments: tuple[str, ...]) -> str:
    """What a benchmark prints, or why there is nothing."""
    if missing := [path for path in one.needs if not path.exists()]:
        return f"Left out: {missing[0].parent.name}/{missing[0].name} is not there."
    command = [sys.executable, str(HERE / one.script), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **THREADS})
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return f"Left out: {reason}"
    return done.stdout.strip()


def machine() -> str:
    """Processor, cores, system and versions, as a list in Markdown."""
    model = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next(one.split(":")[1].strip() for one in lines if one.startswith("model name"))
        flags = next(one.split() for one in lines if one.startswith("flags"))
        model += " (" + ", ".join(name for flag, name in FLAGS.items() if flag in flags) + ")"
    except (OSError, StopIteration):
        pass
    versions = []
    for name in PEERS:
        try:
            versions.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            versions.append(f"{name} not installed")
    return f"- {model}, {os.cpu_count()} cores, one thread each; Python {platform.python_version()}\n- {', '.join(versions)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE / "RESULTS.md")
    parser.add_argument("--only", nargs="*", metavar="SCRIPT", help="names of scripts, without .py")
    parser.add_argument("--small", action="store_true", help="a hundredth of the data, to see that all run")
    options = parser.parse_args()
    known = {Path(one.script).stem for one in BENCHMARKS}
    if unknown := set(options.only or ()) - known:
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(sorted(known))}")
    chosen = [one for one in BENCHMARKS if (Path(one.script).stem in options.only if options.only else not one.long)]
    if options.small:
        chosen = [one for one in chosen if one.small is not None]
    command = f"python benchmarks/run_all.py --only {' '.join(options.only)}" if options.only else "make bench"
    sections, begun = "", time.perf_counter()
    for one in chosen:
        arguments = one.small if options.small else one.arguments
        before, started = os.getloadavg()[0], time.perf_counter()
        print(f"{one.script} ...", file=sys.stderr, flush=True)  # noqa: T201
        printed = run(one, arguments)
        took = time.perf_counter() - started
        shown = " ".join(Path(word).name if os.sep in word else word for word in arguments)
        about = f"`python benchmarks/{one.script}{' ' + shown if shown else ''}`: {took:.0f} s; {before:.1f} processes ran beside it when it began."
        sections += f"\n## {one.title}\n\n{about}\n\n{printed}\n"
        if one.script == "growth.py" and "--picture" in arguments and "Left out" not in printed:
            sections += "\n![CPU seconds and memory over the number of clips](growth.svg)\n"
        minutes = (time.perf_counter() - begun) / 60
        head = f"# Results of the benchmarks\n\nWritten by `{command}` in {minutes:.0f} minutes. Only ratios are meaningful on another machine; [README](README.md) says what was learned.\n\n{machine()}\n"  # fmt: skip
        options.out.write_text(head + sections, encoding="utf-8")


if __name__ == "__main__":
    main()
