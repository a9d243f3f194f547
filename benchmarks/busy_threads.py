"""How long a fit takes on a busy machine: one thread, the default, and one thread per core.

python benchmarks/busy_threads.py [--busy 2]
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

import click

FIT = """
import sys, time
from embcomp.engines.local import available_cores, free_cores, set_threads
chosen = sys.argv[1]
set_threads({"one": 1, "free": free_cores(), "all": available_cores()}[chosen])
import numpy as np
from embcomp.compression import Compressor
rng = np.random.default_rng(0)
labels = rng.integers(0, 10, 4000)
vectors = (rng.normal(size=(10, 512))[labels] + 3 * rng.normal(size=(4000, 512))).astype(np.float32)
started = time.perf_counter()
Compressor(32, epochs=5, random_state=0).fit(vectors, labels)
print(time.perf_counter() - started)
"""


def seconds(threads: str) -> float:
    """Of one fit in a process of its own."""
    done = subprocess.run([sys.executable, "-c", FIT, threads], capture_output=True, text=True, check=True)
    return float(done.stdout)


@click.command(help=__doc__)
@click.option("--busy", default=os.cpu_count() or 1, show_default=True, help="Processes that keep a core busy each.")
@click.option("--repeats", default=3, show_default=True, type=click.IntRange(1))
def main(busy: int, repeats: int) -> None:
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    try:
        time.sleep(1.0)
        taken = {name: statistics.median(seconds(name) for _ in range(repeats)) for name in ("one", "free", "all")}
    finally:
        for process in others:
            process.kill()
            process.wait()
    click.echo("| threads | seconds | of one thread's |\n|---|---|---|")
    for name, label in (("one", "1 (the default)"), ("free", "one per free core"), ("all", "one per core")):
        click.echo(f"| {label} | {taken[name]:.2f} | {taken[name] / taken['one']:.2f} |")
    if taken["free"] > 1.5 * taken["one"]:
        raise SystemExit("threads on the free cores take more than 1.5 times as long as one thread")


if __name__ == "__main__":
    main()
