"""The cost of a running teacher against cached embeddings: python recipes/clip_embed_kd/cost.py MANIFEST."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a clone works without installing the recipes

from embcomp.errors import DataError
from embcomp.storage.files import write_text
from recipes.common import input_errors

PROCESS = Path(__file__).with_name("cost_process.py")
# Each method, and the method with a running teacher that it is compared with.
METHODS = {
    "none": "",
    "clip_teacher": "",
    "clip_samples": "clip_teacher",
    "clip_prototypes": "clip_teacher",
    "logit_teacher": "",
    "logit_kd": "logit_teacher",
}
EPOCHS = 100  # of a whole training, over which the cost of caching is spread
PASSES = {"decode": "decoding all clips", "features": "log-mels", "cache": "embeddings"}
CACHED = {"clip_samples": "embeddings", "clip_prototypes": "class means", "logit_kd": "scores"}


def measure(job: dict) -> dict[str, float]:
    """Run one task in its own process.

    Raises
    ------
    DataError
        The process failed; the message has its last line of output.
    """
    threads = {name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")}
    command = [sys.executable, str(PROCESS), json.dumps(job)]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **threads}, check=False)
    if done.returncode:
        raise DataError(f"{job['task']} failed: {done.stderr.strip().splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def measure_all(job: dict, methods: tuple[str, ...], repeats: int) -> pd.DataFrame:
    """Measure all passes and methods, `repeats` times.

    Parameters
    ----------
    job : dict
        All fields of `cost_process.Job` except the task and the folder.

    Returns
    -------
    DataFrame
        Columns ``what``, ``quantity``, ``repeat``, ``value``: seconds, MB of 2^20 bytes, or bytes.
    """
    rows = []
    with tempfile.TemporaryDirectory() as first:
        if job["teacher"] == "kmeans":
            measure(job | {"task": "learn", "folder": first})
        for repeat in range(repeats):
            with tempfile.TemporaryDirectory() as folder:
                if job["teacher"] == "kmeans":
                    # The same teacher every time; only the measured steps are repeated.
                    Path(folder, "teacher").symlink_to(Path(first, "teacher"))
                for task in (*PASSES, *methods):
                    found = measure(job | {"task": task, "folder": folder})
                    rows += [(task, quantity, repeat, value) for quantity, value in found.items()]
                    click.echo(f"  {repeat + 1}/{repeats} {task}", err=True)
    return pd.DataFrame(rows, columns=["what", "quantity", "repeat", "value"])


def table_lines(measured: pd.DataFrame) -> list[str]:
    """Markdown of medians over the repeats.

    The caching pass counts for every method that reads its result. Caching pays from the first epoch
    after which the pass and the epochs cost less CPU time than the same epochs with a running teacher. How many
    times faster is by CPU time, beside the method with a running teacher that gives the same or the same kind of student.
    """
    medians = measured.groupby(["what", "quantity"])["value"].median()

    def value(what: str, quantity: str) -> float:
        return float(medians[what, quantity])

    lines = [
        "| method | peak memory, MB | weights alone, MB | epoch, CPU s | once, CPU s | cached, bytes | pays from epoch "
        f"| times faster, an epoch | times faster, {EPOCHS} epochs and once |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for method, loop in METHODS.items():
        if (method, "epoch, CPU") not in medians.index:
            continue
        runs_teacher = method in METHODS.values() and bool(method)
        weights = 4 * value(method, "student") + (value("cache", "teacher") if runs_teacher else 0)
        cells = [f"{value(method, 'peak memory'):.0f}", f"{weights / 2**20:.2f}"]
        epoch = value(method, "epoch, CPU")
        cells += [f"{epoch:.2f}"]
        if method in CACHED:
            once = value("cache", "cpu") + value(method, "prepare, CPU")
            running = value(loop, "epoch, CPU") if (loop, "epoch, CPU") in medians else math.nan
            pays = str(math.floor(once / (running - epoch)) + 1) if running > epoch else "never"
            cells += [f"{once:.1f}", f"{value('cache', CACHED[method]):,.0f}", pays]
            cells += [f"{running / epoch:.1f}", f"{EPOCHS * running / (EPOCHS * epoch + once):.1f}"]
        else:
            cells += ["0", "0", "", "", ""]
        lines.append(f"| {method} | {' | '.join(cells)} |")
    return lines


@click.command("cost")
@click.argument("manifest", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--out", default="runs/cost.csv", show_default=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--seconds", default=5.0, show_default=True, help="Longer clips are cut to this length.")
@click.option("--teacher", default="kmeans", show_default=True, help="kmeans, or any that embcomp embed takes.")
@click.option("--centroids", default=512, show_default=True, help="Clusters of the k-means teacher.")
@click.option("--whitened", default=768, show_default=True, help="Dimensions after whitening.")
@click.option("--patch-frames", default=24, show_default=True, help="Frames per patch.")
@click.option("--batch-size", default=32, show_default=True, type=click.IntRange(2))
@click.option(
    "--epochs", default=3, show_default=True, type=click.IntRange(1), help="Measured epochs, after one warm-up epoch."
)
@click.option("--clips", default=0, help="Only so many of the clips; 0 are all.", type=click.IntRange(0))
@click.option("--repeats", default=3, show_default=True, type=click.IntRange(1))
@click.option("--method", "methods", multiple=True, type=click.Choice(list(METHODS)), help="Only these; repeatable.")
def main(manifest: Path, out: Path, repeats: int, methods: tuple[str, ...], **settings) -> None:
    """Train the same student with every method on the clips of MANIFEST and measure the cost of each.

    Every measurement runs in its own process with one thread. An epoch is as many draws as there are clips.
    """
    with input_errors():
        job = {"manifest": str(manifest.resolve()), **settings}
        measured = measure_all(job, methods or tuple(METHODS), repeats)
        write_text(out, measured.to_csv(index=False, float_format="%.10g", lineterminator="\n"))
        for line in table_lines(measured):
            click.echo(line)


if __name__ == "__main__":
    main()
