"""How the benchmarks measure: CPU seconds, interleaved, medians; peak anonymous memory."""

from __future__ import annotations

import argparse
import ctypes
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np


def arguments(description: str, repeats: int = 7) -> argparse.ArgumentParser:
    """Parser with what every script takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--repeats", type=int, default=repeats, help="runs of each side (default: %(default)s)")
    parser.add_argument("--small", action="store_true", help="a hundredth of the data, to see that it runs")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "embcomp-benchmarks")
    return parser


def scaled(count: int, options: argparse.Namespace) -> int:
    """`count`, or a hundredth of it with ``--small``."""
    return max(1, count // 100) if options.small else count


def interleaved(sides: dict[str, Callable[[], object]], repeats: int, warm: bool = False) -> dict[str, float]:
    """Median CPU seconds of each side; the sides take turns, after one warm-up each unless they are `warm`."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(repeats + (not warm)):
        for name, run in sides.items():
            start = time.process_time()
            run()
            if turn or warm:
                times[name].append(time.process_time() - start)
    return {name: statistics.median(values) for name, values in times.items()}


def peak_memory(run: Callable[[], object]) -> float:
    """Peak MB of memory above the start, leaving out pages of mapped files, by sampling each millisecond."""
    peak, stop = [0], threading.Event()
    # Give back what earlier runs freed, or this one would use it unseen.
    ctypes.CDLL(None).malloc_trim(0)
    start = _anonymous()

    def watch() -> None:
        while not stop.wait(0.001):
            peak[0] = max(peak[0], _anonymous() - start)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        run()
    finally:
        stop.set()
        watcher.join()
    return peak[0] / 1024


def _anonymous() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1])
    raise OSError("/proc/self/status has no RssAnon; memory is measured on Linux only")


@contextmanager
def embeddings_on_disk(folder: Path, n: int, dim: int, rank: int = 256) -> Iterator[np.ndarray]:
    """A memory-mapped float32 array (n, dim): power-law factors, a mean, and noise."""
    path = folder / f"{n}x{dim}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        rng = np.random.default_rng(0)
        rank = min(rank, dim)
        basis = np.linalg.qr(rng.standard_normal((dim, rank)))[0].T.astype(np.float32)
        basis *= 10 * np.arange(1, rank + 1, dtype=np.float32)[:, None] ** -1.0
        out = np.lib.format.open_memmap(path.with_suffix(".part"), "w+", np.float32, (n, dim))
        for start in range(0, n, 10_000):
            rows = min(10_000, n - start)
            noise = rng.standard_normal((rows, dim), dtype=np.float32)
            out[start : start + rows] = rng.standard_normal((rows, rank), dtype=np.float32) @ basis + 0.05 * noise + 0.3
        out.flush()
        del out
        path.with_suffix(".part").rename(path)
    yield np.load(path, mmap_mode="r")


def captured(components: np.ndarray, covariance: np.ndarray, count: int) -> float:
    """Variance in the span of `components` (d, dim) over the most that `count` directions can hold."""
    from scipy.linalg import eigh

    dim = len(covariance)
    best = eigh(covariance, eigvals_only=True, subset_by_index=[dim - count, dim - 1]).sum()
    basis, _ = np.linalg.qr(components.astype(float).T)
    return float(np.einsum("ij,ij->", basis, covariance @ basis) / best)


def covariance_of(X: np.ndarray) -> np.ndarray:
    """Covariance (dim, dim), straightforwardly in float64 a block at a time."""
    mean = np.mean([X[start : start + 10_000].mean(axis=0, dtype=float) for start in range(0, len(X), 10_000)], axis=0)
    total = np.zeros((X.shape[1], X.shape[1]))
    for start in range(0, len(X), 10_000):
        block = X[start : start + 10_000] - mean
        total += block.T @ block
    return total / (len(X) - 1)


def row(*cells: object) -> None:
    """Print one row of a Markdown table."""
    line("| " + " | ".join(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in cells) + " |")


def header(*names: str) -> None:
    """Print the head of a Markdown table."""
    row(*names)
    line("|" + "---|" * len(names))


def line(text: str) -> None:
    """Print a line at once, so that a long run can be followed."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()
