"""Score a student."""

from __future__ import annotations

import math
from pathlib import Path

import click

from embcomp.cli import common


@click.command()
@click.argument("student", type=common.FOLDER)
@click.argument("manifests", nargs=-1, required=True, type=common.MANIFEST)
@click.option("--out", required=True, type=common.FILE, help="CSV file for the scores.")
@click.option(
    "--label-map",
    type=common.MANIFEST,
    help="CSV with the columns from,to: the manifests' labels and the student's; or the name of a built-in map.",
)
@click.option("--allow-seen", is_flag=True, help="Also score clips the student was trained on.")
@click.option(
    "--compressor",
    type=common.FOLDER,
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
@common.split_option
@common.group_column_option
@common.skip_bad_option
@common.allow_outside_option
@common.ffmpeg_option
@common.threads_option
def evaluate(
    student: Path,
    manifests: tuple[Path, ...],
    out: Path,
    label_map: Path | None,
    allow_seen,
    compressor: Path | None,
    reestimate,
    inputs: Path | None,
    splits,
    group_column,
    skip_bad,
    allow_outside,
    ffmpeg: bool,
    threads,
) -> None:
    """Score STUDENT on the labelled clips of each manifest.

    \b
    Example:
      embcomp evaluate student test.csv --out scores.csv
    """
    import pandas as pd

    import embcomp
    from embcomp.data.labels import find_label_map, read_label_map
    from embcomp.engines.local import set_threads
    from embcomp.storage.files import write_text
    from embcomp.storage.ownership import check_file

    check_file(out, "table of scores", lambda head: head.startswith("method,teacher,"))
    set_threads(threads)
    classifier = embcomp.Classifier.load(student)
    fitted = embcomp.Compressor.load(compressor) if compressor is not None else None
    mapping = read_label_map(find_label_map(str(label_map))) if label_map else None
    tables = []
    for path in manifests:
        found = embcomp.evaluate(
            classifier,
            embcomp.Manifest.read(path, allow_outside, group_column).with_splits(splits),
            label_map=mapping,
            skip_bad=skip_bad,
            allow_seen=allow_seen,
            compressor=fitted,
            reestimate=reestimate,
            ffmpeg=ffmpeg,
            inputs=inputs,
        )
        tables.append(found.table)
        for row in found.table.itertuples():
            how = ", adapted" if row.setting == "adapted" else ""
            ends = "" if math.isnan(row.low) else f" [{row.low:.3f}, {row.high:.3f}]"
            click.echo(f"{row.test_dataset}{how}  {row.metric} {row.value:.3f}{ends}  n={row.n}")
        for label, count in found.left_out.items():
            click.echo(f"  left out: {count} clips labelled {label!r}, which is not a class of the student", err=True)
        if found.not_tested:
            click.echo(f"  classes without clips: {', '.join(found.not_tested)}", err=True)
    write_text(out, pd.concat(tables).to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    click.echo(f"scores: {out}")
