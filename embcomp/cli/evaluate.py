"""Score a student, or a compressor on stored vectors."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from embcomp.cli import common
from embcomp.cli.machine import json_option, print_json, rows
from embcomp.errors import counted
from embcomp.storage.places import named

if TYPE_CHECKING:
    from embcomp.data.manifest import Manifest
    from embcomp.evaluation.compressors import CompressorEvaluation
    from embcomp.evaluation.scores import Evaluation


@click.command()
@click.argument("model", type=common.MODEL)
@click.argument("manifests", nargs=-1, required=True, type=common.MANIFEST)
@click.option("--out", required=True, type=common.OUT_FILE, help="CSV file for the scores.")
@click.option(
    "--label-map",
    type=common.MANIFEST,
    help="CSV with the columns from,to: the manifests' labels and the student's; or the name of a built-in map.",
)
@click.option("--allow-seen", is_flag=True, help="Also score clips the student was trained on.")
@click.option(
    "--compressor",
    type=common.MODEL,
    help="Compressor of the student's targets: an error if it was fitted on a scored clip.",
)
@click.option(
    "--reestimate",
    is_flag=True,
    help="Also score with normalisation statistics re-estimated on each manifest, without labels.",
)
@click.option(
    "--inputs",
    type=click.Path(exists=False, path_type=Path),
    help="Table or images of a student that takes these, here or in each manifest's folder; {dataset} is its name.",
)
@click.option(
    "--vectors",
    type=click.Path(path_type=Path),
    help="Of a compressor: the store or file of embeddings, here or in each manifest's folder; {dataset} is its name.",
)
@click.option(
    "--probe-on",
    type=common.MANIFEST,
    help="Of a compressor: fit the probes on these clips.  [default: cross-validation on each manifest, by group]",
)
@click.option("--probe-split", multiple=True, help="Of --probe-on: only clips with this value in the column split.")
@common.split_option
@common.group_column_option
@common.skip_bad_option
@common.allow_outside_option
@common.ffmpeg_option
@common.threads_option
@json_option
def evaluate(
    model: Path,
    manifests: tuple[Path, ...],
    out: Path,
    label_map: Path | None,
    allow_seen,
    compressor: Path | None,
    reestimate,
    inputs: Path | None,
    vectors: Path | None,
    probe_on: Path | None,
    probe_split: tuple[str, ...],
    splits,
    group_column,
    skip_bad,
    allow_outside,
    ffmpeg: bool,
    threads,
    as_json: bool,
) -> None:
    """Score MODEL, a student, on the labelled clips of each manifest.

    Of a compressor, probes are scored on stored embeddings, as they are and compressed;
    no audio is read. Give the embeddings with --vectors.

    \b
    Example:
      embcomp evaluate student test.csv --out scores.csv
      embcomp evaluate compressor test.csv --vectors test.npy --out scores.csv
    """
    import pandas as pd

    from embcomp.data.labels import find_label_map, read_label_map
    from embcomp.data.manifest import Manifest
    from embcomp.engines.local import set_threads
    from embcomp.errors import ConfigError
    from embcomp.storage.files import write_table
    from embcomp.storage.ownership import check_file, kind_of

    check_file(out, "table of scores", lambda head: head.startswith("method,teacher,"))
    of_compressor = kind_of(model) == "compressor"
    for_students = {"--compressor": compressor, "--inputs": inputs, "--skip-bad": skip_bad, "--ffmpeg": ffmpeg}
    for_compressors = {"--vectors": vectors, "--probe-on": probe_on, "--probe-split": probe_split}
    for option, value in (for_students if of_compressor else for_compressors).items():
        if value:
            other, own = ("students", "a compressor") if of_compressor else ("compressors", "no compressor")
            raise ConfigError(f"{option} is for {other}; {model} is {own}")
    set_threads(threads)
    read = [Manifest.read(path, allow_outside, group_column) for path in manifests]
    options: dict[str, Any] = {
        "label_map": read_label_map(find_label_map(str(label_map))) if label_map else None,
        "allow_seen": allow_seen,
        "reestimate": reestimate,
    }
    if of_compressor:
        fit_on = None if probe_on is None else Manifest.read(probe_on, allow_outside, group_column)
        score = _compressor(model, vectors, fit_on, probe_split)
    else:
        options |= {"skip_bad": skip_bad, "ffmpeg": ffmpeg, "inputs": inputs}
        score = _student(model, compressor)
    tables, not_scored = [], {}
    for manifest in read:
        found = score(manifest, manifest.with_splits(splits), options)
        tables.append(found.table)
        not_scored[manifest.name] = {"left_out": found.left_out, "classes_without_clips": found.not_tested}
        if not as_json:
            _show(found, "probes" if of_compressor else "student")
    scores = pd.concat(tables)
    write_table(out, scores)
    if as_json:
        print_json({"scores": rows(scores), "not_scored": not_scored, "out": out})
    else:
        click.echo(f"scores: {named(out)}")


Score = Callable[["Manifest", "Manifest", dict], "Evaluation | CompressorEvaluation"]


def _student(model: Path, compressor: Path | None) -> Score:
    """How a student is scored on the chosen clips of a manifest."""
    import embcomp

    classifier = embcomp.Classifier.load(model)
    fitted = embcomp.Compressor.load(compressor) if compressor is not None else None
    return lambda whole, chosen, options: embcomp.evaluate(classifier, chosen, compressor=fitted, **options)


def _compressor(model: Path, vectors: Path | None, fit_on: Manifest | None, fit_splits: tuple[str, ...]) -> Score:
    """How a compressor is scored by probes."""
    from embcomp.compression import Compressor
    from embcomp.errors import ConfigError
    from embcomp.evaluation.compressors import VectorSet, evaluate_compressor

    if vectors is None:
        raise ConfigError(f"{model} is a compressor, which takes embeddings; give their file with --vectors FILE")
    if fit_splits and fit_on is None:
        raise ConfigError("--probe-split selects clips of --probe-on; add --probe-on MANIFEST")
    fitted = Compressor.load(model)
    learned = None if fit_on is None else VectorSet.open(fit_on.with_splits(fit_splits), vectors, fit_on)
    return lambda whole, chosen, options: evaluate_compressor(
        fitted, VectorSet.open(chosen, vectors, whole), probe_on=learned, **options
    )


def _show(found: Evaluation | CompressorEvaluation, who: str) -> None:
    """Print scores, and what was not scored."""
    for row in found.table.itertuples():
        how = ", adapted" if row.setting == "adapted" else ""
        variant = f"  {row.variant}" if who == "probes" else ""
        ends = "" if math.isnan(row.low) else f" [{row.low:.3f}, {row.high:.3f}]"
        click.echo(f"{row.test_dataset}{how}{variant}  {row.metric} {row.value:.3f}{ends}  n={row.n}")
    for label, count in found.left_out.items():
        click.echo(
            f"  left out: {counted(count, 'clip')} labelled {label!r}, which is not a class of the {who}", err=True
        )
    if found.not_tested:
        click.echo(f"  classes without clips: {', '.join(found.not_tested)}", err=True)
