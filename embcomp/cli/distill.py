"""Train a student."""

from __future__ import annotations

from pathlib import Path

import click

from embcomp.cli import common
from embcomp.cli.choices import listing
from embcomp.cli.notes import notes_shown
from embcomp.errors import counted
from embcomp.storage.places import named


@click.command(cls=listing("transfer", "student"))
@click.argument("manifest", type=common.MANIFEST)
@click.option(
    "--targets", type=common.MODEL, help="Store of targets, needed by every method except none and clip_teacher."
)
@click.option(
    "--unlabelled",
    "pools",
    multiple=True,
    metavar="MANIFEST:STORE",
    help="Further clips without labels and their targets, made as --targets; repeatable.",
)
@click.option(
    "--views",
    "views",
    multiple=True,
    type=common.MODEL,
    metavar="STORE",
    help="Targets of a view of the clips, or of the unlabelled ones, from embed --views; repeatable.",
)
@click.option(
    "--teacher", "spec", metavar="NAME:ARGUMENT", help="Teacher to run at every step, needed by clip_teacher."
)
@click.option("--transfer", "method", default="compressed", show_default=True, help="Transfer method, see below.")
@click.option(
    "--inputs",
    type=click.Choice(["audio", "table", "images"]),
    default="audio",
    show_default=True,
    help="What the student is given.",
)
@click.option(
    "--input-file",
    default="",
    metavar="FILE",
    help="The table (.csv, .parquet, .npy, .npz) or images (.npy, .npz), here or in the manifest's folder.",
)
@common.out_option
@click.option(
    "--validation",
    default=0.2,
    show_default=True,
    type=click.FloatRange(0.01, 0.5),
    help="Share of the clips, by group, held out for early stopping.",
)
@common.split_option
@common.group_column_option
@common.set_option
@common.seed_option
@common.skip_bad_option
@common.allow_outside_option
@common.device_option
@common.processes_option
@common.threads_option
def distill(
    manifest: Path,
    targets: Path | None,
    pools: tuple[str, ...],
    views: tuple[Path, ...],
    spec: str | None,
    method: str,
    inputs: str,
    input_file: str,
    out: Path,
    validation: float,
    splits,
    group_column,
    overrides,
    seed,
    skip_bad,
    allow_outside,
    device,
    processes,
    threads,
) -> None:
    """Train a student on the clips of MANIFEST and their targets.

    --set changes settings of the sections audio, compressor, transfer, student and
    training. With --processes, or started by torchrun, several processes train it
    together, each on a share of every batch; the student is the same to rounding.

    \b
    Examples:
      embcomp distill train.csv --targets targets --transfer compressed --out student
      embcomp distill train.csv --targets targets --device cuda --processes 4 --out student
      torchrun --nproc-per-node 4 -m embcomp distill train.csv --targets targets --out student
    """
    from embcomp.config import parse_overrides
    from embcomp.config.schema import toml_value
    from embcomp.engines.local import limit_by_environment
    from embcomp.engines.together import own_rank, run_together, started_together

    limit_by_environment(threads)
    chosen = [f"transfer.method={toml_value(method)}"]
    if inputs != "audio" or input_file:
        chosen += [f"data.inputs={toml_value(inputs)}", f"data.input_file={toml_value(input_file)}"]
        chosen.append('teacher.spec="store:targets"')  # it reads its targets from there
    if spec is not None:
        chosen.append(f"teacher.spec={toml_value(spec)}")
    if processes is not None:
        overrides = (*overrides, f"training.processes={processes}")
    asked = parse_overrides([*chosen, *overrides]).variants[0].training.processes
    job = {
        "manifest": str(manifest),
        "out": str(out),
        "overrides": [*chosen, *overrides],
        "targets": str(targets) if targets is not None else None,
        "pools": list(pools),
        "views": [str(path) for path in views],
        "runs_teacher": spec is not None,
        "validation": validation,
        "splits": list(splits),
        "group_column": group_column,
        "seed": seed,
        "skip_bad": skip_bad,
        "allow_outside": allow_outside,
        "device": device,
        "threads": threads,
    }
    alone = asked == 1 or started_together() > 1
    classes = train_from_files(**job) if alone else run_together(train_from_files, job, asked)
    if own_rank():
        return
    from embcomp.card.writing import write_card_unless_edited

    write_card_unless_edited(out)
    click.echo(f"student of {counted(classes, 'class', 'classes')}: {named(out)}")


def train_from_files(
    *,
    manifest: str,
    out: str,
    overrides: list[str],
    targets: str | None,
    pools: list[str],
    views: list[str],
    runs_teacher: bool,
    validation: float,
    splits: list[str],
    group_column: str,
    seed: int,
    skip_bad: bool,
    allow_outside: bool,
    device: str,
    threads: int,
) -> int:
    """Train as the options of the command say, by this process or as one of several; returns the number of classes."""
    from embcomp.config import parse_overrides
    from embcomp.data.manifest import Manifest
    from embcomp.engines.local import set_threads
    from embcomp.storage.store import EmbeddingStore
    from embcomp.teachers import open_teacher
    from embcomp.training.distill import distill as train_student

    set_threads(threads)
    config = parse_overrides(overrides)
    variant = config.variants[0]
    with notes_shown(), common.bar(variant.training.steps, "train") as shown:
        student = train_student(
            Manifest.read(manifest, allow_outside, group_column).with_splits(splits),
            out,
            variant=variant,
            targets=EmbeddingStore.open(targets) if targets is not None else None,
            unlabelled=[_pool(text, allow_outside) for text in pools],
            views=[EmbeddingStore.open(path) for path in views],
            teacher=open_teacher(variant.teacher) if runs_teacher else None,
            audio=config.audio,
            data=config.data,
            validation=validation,
            seed=seed,
            device=device,
            skip_bad=skip_bad,
            progress=shown.update,
        )
    return len(student.classes)


def _pool(text: str, allow_outside: bool):
    """MANIFEST:STORE, split at the last colon, as a path may have one of its own."""
    from embcomp.data.manifest import Manifest
    from embcomp.errors import ConfigError
    from embcomp.storage.store import EmbeddingStore

    manifest, _, store = text.rpartition(":")
    if not manifest:
        raise ConfigError(f"--unlabelled takes MANIFEST:STORE, not {text!r}; embcomp embed and apply write the store")
    return Manifest.read(manifest, allow_outside), EmbeddingStore.open(store)
