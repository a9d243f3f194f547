"""The full line on real clips: train a student, export it to every format, label held-out clips with each, compare.

    python benchmarks/deploy.py --manifest ../shared/data/esc10/manifest.csv --held 4

Prints two Markdown tables: parity on the clips of the held-out split, and speed. A format whose packages are missing has a row
that says so. Every step is a call of the command line, as a user would make it; what is there already is not made again.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
from measure import arguments, interleaved

AUDIO = ("audio.seconds=5.0", "audio.n_fft=1024", "audio.win_length=1024", "audio.hop_length=800")
# Name, format, options; 8-bit exports but that to C are calibrated on training clips.
EXPORTS = (
    ("student.onnx", "onnx", ()),
    ("student.int8.onnx", "onnx", ("--int8",)),
    ("student.tflite", "tflite", ()),
    ("student.int8.tflite", "tflite", ("--int8",)),
    ("student.pte", "executorch", ()),
    ("student.c", "c", ()),
    ("student.int8.c", "c", ("--int8",)),
)
COLD = 5  # processes whose time is measured


def embcomp(*words: object, inside: Path | None = None) -> subprocess.CompletedProcess:
    """A command; one that fails is returned, not raised."""
    command = [sys.executable, "-m", "embcomp", *map(str, words)]
    click.echo(" ".join(["embcomp", *map(str, words)]), err=True)
    return subprocess.run(command, capture_output=True, text=True, cwd=inside)


def must(*words: object, inside: Path | None = None) -> str:
    done = embcomp(*words, inside=inside)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


def split_manifest(path: Path, held: str, folder: Path) -> tuple[Path, Path]:
    """The rows of a manifest outside and inside of a split, with whole paths."""
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    column = next(name for name in rows[0] if name in ("split", "fold", "fold_or_split"))
    written = []
    for name, some in (
        ("train", [row for row in rows if row[column] != held]),
        ("held", [row for row in rows if row[column] == held]),
    ):
        target = folder / f"{name}.csv"
        with open(target, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, ["path", "label", "group"], extrasaction="ignore")
            writer.writeheader()
            for row in some:
                group = row.get("group") or row.get("speaker_or_group")
                writer.writerow({**row, "path": path.parent.resolve() / row["path"], "group": group})
        written.append(target)
    return written[0], written[1]


def train(folder: Path, manifest: Path, changes: list[str]) -> Path:
    """The two-stage method with the built-in teacher."""
    student = folder / "student"
    if not student.exists():
        outside = ("--allow-outside",)
        must("embed", manifest, "--teacher", "kmeans", "--out", folder / "embeddings", *outside)
        fitted = ("--method", "linear", "--objective", "task", "--dim", 64)
        must("compress", folder / "embeddings", "--manifest", manifest, *fitted, "--out", folder / "compressor")
        must("apply", folder / "compressor", folder / "embeddings", "--out", folder / "targets")
        settings = [part for item in changes for part in ("--set", item)]
        must("distill", manifest, "--targets", folder / "targets", "--out", student, *settings, *outside)
    return student


def parity(folder: Path, student: Path, manifest: Path, held: Path) -> Iterator[tuple[str, ...]]:
    """A row for each format."""
    for name, form, options in EXPORTS:
        out = folder / name
        calibrated = ("--calibrate", manifest) if options and form != "c" else ()
        done = embcomp(
            "export", student, "--to", form, "--out", out, *options, *calibrated, "--check", held, "--allow-outside"
        )
        if done.returncode not in (0, 4):
            yield name, *[""] * 5, done.stderr.strip().splitlines()[-1].removeprefix("error: ")
            continue
        path = out if not done.returncode else out.with_name(f"{out.stem}.lossy{out.suffix}")
        content = json.loads(path.with_name(path.name + ".json").read_text(encoding="utf-8"))
        found, about = content["parity"], content["model"]["about"]
        notes = ["past the limits"] if done.returncode else []
        if "flash" in about:
            notes.append(f"{about['flash'] / 1000:.0f} kB flash, {about['ram'] / 1000:.0f} kB RAM")
        yield (
            name,
            f"{found['bytes'] / 1000:.0f}",
            f"{found['largest']:.1e}",
            f"{found['agreement']:.1%}",
            f"{found['before']:.4f}",
            f"{found['after']:.4f}",
            ", ".join(notes) or f"{found['clips']} clips",
        )


def predictions(folder: Path, student: Path, held: Path) -> Iterator[tuple[str, ...]]:
    """Whether `embcomp predict` finds the same of each that it can open, and how long one prediction takes from nothing."""
    with open(held, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    labels = {row["path"]: row["label"] for row in rows}
    expected: dict[str, str] = {}
    for model in (student, *(folder / name for name, form, _ in EXPORTS if form != "c")):
        if not model.exists():
            continue
        out = folder / f"{model.name}.csv"
        must("predict", model, *labels, "--out", out)
        with open(out, encoding="utf-8", newline="") as file:
            found = {row["path"]: row["label"] for row in csv.DictReader(file)}
        expected = expected or found
        same = statistics.fmean(found[path] == expected[path] for path in labels)
        right = statistics.fmean(found[path] == labels[path] for path in labels)
        times = []
        for _ in range(COLD):
            started = time.perf_counter()
            must("predict", model, next(iter(labels)))
            times.append(time.perf_counter() - started)
        yield model.name, f"{same:.1%}", f"{right:.1%}", f"{statistics.median(times):.2f}"


def c_speed(folder: Path, repeats: int) -> Iterator[tuple[str, ...]]:
    """Processor time of the C files for one clip of full length, front end included, compiled with ``-O3``; they take turns."""
    import numpy as np

    from embcomp.export.c import CModel
    from embcomp.export.info import ModelInfo

    paths = [folder / name for name, form, _ in EXPORTS if form == "c" and (folder / name).exists()]
    models = []
    for path in paths:
        content = json.loads(path.with_name(path.name + ".json").read_text(encoding="utf-8"))
        models.append(CModel(path, ModelInfo.from_dict(content["model"], str(path))))
    clips = [np.random.default_rng(0).normal(0, 0.1, (1, one.info.fixed_samples)).astype(np.float32) for one in models]
    runs = {str(path): lambda one=one, clip=clip: one.run(clip) for path, one, clip in zip(paths, models, clips)}
    for path, one, seconds in zip(paths, models, interleaved(runs, repeats).values()):
        yield path.name, f"{seconds * 1e3:.2f}", f"{one.info.window / seconds:,.0f}"


def table(head: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> None:
    """Print Markdown."""
    click.echo("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    for row in rows:
        click.echo("| " + " | ".join(row) + " |")
    click.echo()


def main() -> None:
    parser = arguments(__doc__.splitlines()[0], repeats=30)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--manifest", type=Path, required=True, help="with columns path, label, split or fold_or_split")
    parser.add_argument("--held", default="4", help="split that is held out (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=600, help="of training (default: %(default)s)")
    parser.add_argument(
        "--set",
        nargs="*",
        default=AUDIO,
        metavar="SECTION.KEY=VALUE",
        help="settings of the student (default: ESC-10's)",
    )
    parser.add_argument("--parity", action="store_true", help="leave speed out")
    given = parser.parse_args()
    folder = given.folder / f"deploy-{given.manifest.parent.name}"
    folder.mkdir(parents=True, exist_ok=True)
    manifest, held = split_manifest(given.manifest, given.held, folder)
    student = train(folder, manifest, [*given.set, f"training.steps={given.steps}"])
    head = ("file", "kB", "largest error", "same class", "score before", "after", "note")
    table(head, parity(folder, student, manifest, held))
    if given.parity:
        return
    table(("model", "same label", "accuracy", "cold start, s"), predictions(folder, student, held))
    table(("C file", "ms, processor time", "times real time"), c_speed(folder, given.repeats))
    files = [name for name, form, _ in EXPORTS if form != "c" and (folder / name).exists()]
    measured = must("profile", student.name, *files, "--repeats", given.repeats, inside=folder)
    click.echo(f"```\n{measured.rstrip()}\n```")


if __name__ == "__main__":
    main()
