"""Export what was trained to another runtime."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from embcomp.cli import common
from embcomp.cli.machine import json_option, print_json

if TYPE_CHECKING:
    from embcomp.export.writing import Written

LOSSY = 4  # exit code for a file that lost more than the limits allow


@click.command("export")
@click.argument("artifact", type=common.MODEL)
@click.option("--to", required=True, metavar="FORMAT", help="onnx, tflite, executorch or c.")
@click.option("--out", required=True, type=common.OUT_FILE, help="Output file; the parity report goes to OUT.json.")
@click.option(
    "--int8",
    is_flag=True,
    help="Quantise to 8 bits; needs --calibrate, except for c, whose weights alone are quantised.",
)
@click.option(
    "--finetune",
    is_flag=True,
    help="With --int8: fine-tune the student for 8 bits on clips of --calibrate, without labels; onnx and c.",
)
@click.option("--calibrate", type=common.MANIFEST, help="Manifest with the calibration clips for --int8.")
@click.option(
    "--check",
    type=common.MANIFEST,
    help="Manifest to compare on.  [default: half of the groups of --calibrate, or generated sounds]",
)
@click.option("--inputs", type=common.INPUT, help="Table or images of --check, for a student that takes these.")
@click.option(
    "--input", "given", default="waveform", show_default=True, help="waveform, or logmel for a graph without front end."
)
@click.option("--samples", default="float32", show_default=True, help="Waveform samples: float32 in [-1, 1], or int16.")
@click.option("--embedding", is_flag=True, help="Add the student's embedding to the outputs.")
@click.option("--threshold", default=0.5, show_default=True, help="Decision threshold of a multi-label student.")
@click.option("--min-agreement", default=0.99, show_default=True, help="Smallest share of clips with the same class.")
@click.option("--max-loss", default=0.005, show_default=True, help="Largest drop of the score.")
@click.option(
    "--min-cosine", default=0.999, show_default=True, help="For a teacher or compressor: smallest mean cosine."
)
@click.option(
    "--calibration-clips",
    default=200,
    show_default=True,
    type=click.IntRange(1),
    help="Clips to calibrate on, at most.",
)
@click.option(
    "--check-clips", default=2000, show_default=True, type=click.IntRange(1), help="Clips to compare on, at most."
)
@common.split_option
@common.group_column_option
@common.seed_option
@common.skip_bad_option
@common.allow_outside_option
@common.threads_option
@json_option
def export(
    artifact: Path,
    to: str,
    out: Path,
    int8: bool,
    finetune: bool,
    calibrate: Path | None,
    check: Path | None,
    inputs: Path | None,
    given: str,
    samples: str,
    embedding: bool,
    threshold: float,
    min_agreement: float,
    max_loss: float,
    min_cosine: float,
    calibration_clips: int,
    check_clips: int,
    splits,
    group_column: str,
    seed: int,
    skip_bad: bool,
    allow_outside: bool,
    threads: int,
    as_json: bool,
) -> None:
    """Write ARTIFACT (a student, k-means teacher or compressor) as one file for another runtime.

    Of a run, the student with the best validation score is taken.

    The file contains the front end and takes waveforms; of a student that takes a table or images, rows of these. Every export is compared with its source: if the two agree on
    too few clips, or the score drops, the file is kept as NAME.lossy and the exit code is 4. --split selects clips
    of --check, or of --calibrate if that is the only manifest.

    \b
    Example:
      embcomp export student --to onnx --out student.onnx --check test.csv
    """
    from embcomp.data.manifest import Manifest
    from embcomp.engines.local import set_threads
    from embcomp.errors import ConfigError
    from embcomp.export.parity import Limits
    from embcomp.export.source import ExportOptions
    from embcomp.export.writing import export_artifact

    def manifest(path: Path | None, chosen: tuple[str, ...]):
        return None if path is None else Manifest.read(path, allow_outside, group_column).with_splits(chosen)

    set_threads(threads)
    if splits and check is None and calibrate is None:
        raise ConfigError("--split selects clips of a manifest; give --check or --calibrate")
    written = export_artifact(
        common.student_folder(artifact),
        out,
        to,
        options=ExportOptions(given, samples, embedding, threshold),
        int8=int8,
        finetune=finetune,
        inputs=inputs,
        check=manifest(check, splits),
        calibrate=manifest(calibrate, () if check is not None else splits),
        limits=Limits(min_agreement, max_loss, min_cosine),
        calibration_clips=calibration_clips,
        check_clips=check_clips,
        skip_bad=skip_bad,
        seed=seed,
        progress=lambda text: click.echo(f"  {text}", err=True),
    )
    if as_json:
        done = {"file": written.path, "parity": written.parity, "model": written.info, "left_out": written.bad}
        print_json(done)
    else:
        _show(written)
    if written.parity.failures:
        for failure in written.parity.failures:
            click.echo(f"not the same model: {failure}", err=True)
        click.echo(f"the file was kept as {written.path.name}", err=True)
        sys.exit(LOSSY)


def _show(written: Written) -> None:
    """Print what was written, how far it is from its source, and clips left out."""
    click.echo("\n".join([str(written.path), *(f"  {line}" for line in written.parity.lines())]))
    if {"flash", "ram"} <= set(written.info.about):
        flash, ram = (written.info.about[name] / 1000 for name in ("flash", "ram"))
        click.echo(f"  on a device: {flash:.1f} kB of flash for weights and tables, {ram:.1f} kB of RAM")
    if written.info.float_layers:
        click.echo(f"  layers in float: {', '.join(written.info.float_layers)}")
    if found := written.info.about.get("finetuned"):
        (agreed, agrees), (erred, errs) = found["agreement"], found["error"]
        outcome = "kept" if found["kept"] else "not kept"
        click.echo(
            f"  fine-tuning: {outcome}; on validation clips same class {agreed:.2%} before, {agrees:.2%} after, "
            f"mean error {erred:.2g} before, {errs:.2g} after"
        )
    for clip in written.bad:
        click.echo(f"  left out: {clip}", err=True)
