"""Single steps: embed, compress, apply, distill, evaluate."""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from pathlib import Path

import click

from embcomp.cli import common


@click.command()
@click.argument("manifest", type=common.MANIFEST)
@click.option("--teacher", "spec", required=True, metavar="KIND[:ARG]", help="kmeans, kmeans:FOLDER or store:PATH.")
@common.out_option
@click.option(
    "--seconds", default=10.0, show_default=True, type=click.FloatRange(0.01, 3600), help="Longer clips are cut."
)
@click.option("--dtype", default="float32", show_default=True, type=click.Choice(["float32", "float16"]))
@common.split_option
@common.set_option
@common.seed_option
@common.skip_bad_option
@common.allow_outside_option
@common.threads_option
def embed(
    manifest: Path,
    spec: str,
    out: Path,
    seconds: float,
    dtype: str,
    splits,
    overrides,
    seed,
    skip_bad,
    allow_outside,
    threads,
) -> None:
    """Turn the clips of MANIFEST into a store of embeddings.

    With --teacher kmeans the teacher is learned from these clips, without their
    labels, and kept as OUT.teacher; embed other clips with kmeans:OUT.teacher.
    --set reaches the section teacher.
    """
    from embcomp import teachers
    from embcomp.audio.clips import Clips
    from embcomp.config import parse_overrides
    from embcomp.engines.local import set_threads
    from embcomp.storage.files import fingerprint

    set_threads(threads)
    kind, argument = teachers.parse_spec(spec)
    whole = common.read_manifest(manifest, ())
    chosen = common.read_manifest(manifest, splits, allow_outside)
    with common.bar(len(chosen), "check") as shown:
        clips, bad = Clips(chosen, teachers.KMeansTeacher.sample_rate, seconds).usable(skip_bad, shown.update)
    hashes = clips.hashes()
    if kind == "store":
        store = teachers.stored_embeddings(clips.manifest, hashes, teachers.StoredTeacher(argument, whole), out)
    else:
        config = replace(parse_overrides(overrides).teacher, seed=seed)
        if argument:
            teacher = teachers.KMeansTeacher.load(argument, config.frames)
        else:
            key = fingerprint([teachers.kmeans_settings(config), hashes, seconds])
            teacher = teachers.learned_kmeans(clips, config, out.with_name(f"{out.name}.teacher"), key)
        with common.bar(len(clips), "embed") as shown:
            store = teachers.embed(clips, hashes, teacher, out, progress=shown.update, dtype=dtype)
    click.echo(
        f"{len(store)} clips, {store.dim} dimensions{f' {store.frames} times' if store.frames > 1 else ''}: {out}"
        + (f" ({len(bad)} unusable clips left out)" if bad else "")
    )
    for clip in bad:
        click.echo(f"  left out: {clip}", err=True)
    if kind == "kmeans" and (cut := clips.longer()):
        click.echo(f"  {cut} clips are longer than {seconds:g} s and were cut there; see --seconds", err=True)


@click.command()
@click.argument("store", type=common.FOLDER)
@click.option("--manifest", type=common.MANIFEST, help="Labels; needed by the objectives task and both, and by lda.")
@click.option("--method", default="linear", show_default=True)
@click.option("--objective", default="task", show_default=True)
@click.option("--dim", default=64, show_default=True, type=click.IntRange(1), help="Size of the target.")
@common.out_option
@common.split_option
@common.seed_option
@common.threads_option
def compress(
    store: Path,
    manifest: Path | None,
    method: str,
    objective: str,
    dim: int,
    out: Path,
    splits,
    seed: int,
    threads: int,
) -> None:
    """Fit a compressor on the embeddings in STORE; with --manifest on its clips only."""
    from embcomp.config import CompressorConfig
    from embcomp.data.labels import encode
    from embcomp.engines.local import set_threads
    from embcomp.errors import ArtifactError, ConfigError, StoreError
    from embcomp.storage.store import EmbeddingStore
    from embcomp.training.distill import fit_compressor

    set_threads(threads)
    if out.exists():
        raise ArtifactError(f"something stands at {out}; delete it or choose another --out")
    if manifest is None and splits:
        raise ConfigError("--split chooses clips of a manifest; give --manifest")
    needs_labels = method == "lda" or (method in ("linear", "mlp") and objective != "reconstruction")
    if manifest is None and needs_labels:
        raise ConfigError(
            f"--method {method} --objective {objective} learns from labels; give --manifest, or use --objective reconstruction"
        )
    opened = EmbeddingStore.open(store)
    labels, ids = None, opened.ids
    if manifest is not None:
        chosen = common.read_manifest(manifest, splits)
        labels, ids = encode(chosen.labels), chosen.ids
    rows = opened.rows(ids)
    if not len(rows):
        raise StoreError(f"{store} holds no embedding to fit a compressor on; embed some clips first")
    fitted = fit_compressor(
        CompressorConfig(method, objective, dim), opened.take(ids), labels, [opened.hashes[row] for row in rows], seed
    )
    fitted.save(out)
    click.echo(f"{opened.dim} to {fitted.n_components_} dimensions, fitted on {len(ids)} clips: {out}")


@click.command("apply")
@click.argument("compressor", type=common.FOLDER)
@click.argument("store", type=common.FOLDER)
@common.out_option
def apply(compressor: Path, store: Path, out: Path) -> None:
    """Compress every row of STORE with COMPRESSOR."""
    import numpy as np

    from embcomp.compression import Compressor
    from embcomp.errors import StoreError
    from embcomp.storage.files import file_hash
    from embcomp.storage.store import EmbeddingStore, write_store

    fitted, source = Compressor.load(compressor), EmbeddingStore.open(store)
    if source.dim != fitted.n_features_in_:
        raise StoreError(
            f"{store} holds {source.dim} dimensions, {compressor} was fitted on {fitted.n_features_in_}; "
            "apply it to embeddings of the same teacher"
        )
    settings = {
        "compressor": file_hash(compressor / "weights.safetensors"),
        "method": f"{fitted.method}/{fitted.objective}",
        "source": source.settings,
    }

    def produce(rows: np.ndarray) -> np.ndarray:
        return fitted.transform(source.take([source.ids[row] for row in rows]))

    target = write_store(out, source.ids, source.hashes, fitted.n_components_, settings, produce, batch_size=4096)
    click.echo(f"{len(target)} targets of {target.dim} dimensions: {out}")


@click.command()
@click.argument("manifest", type=common.MANIFEST)
@click.option(
    "--targets", type=common.FOLDER, help="Store to learn from; every method but none and clip_teacher needs it."
)
@click.option(
    "--teacher", "spec", metavar="kmeans:FOLDER", help="Teacher that runs at every step; clip_teacher needs it."
)
@click.option(
    "--transfer", "method", default="compressed", show_default=True, help="How to learn; a wrong name lists all."
)
@common.out_option
@click.option(
    "--validation",
    default=0.2,
    show_default=True,
    type=click.FloatRange(0.01, 0.5),
    help="Share held out by group, to know when to stop.",
)
@common.split_option
@common.set_option
@common.seed_option
@common.skip_bad_option
@common.allow_outside_option
@common.device_option
@common.threads_option
def distill(
    manifest: Path,
    targets: Path | None,
    spec: str | None,
    method: str,
    out: Path,
    validation: float,
    splits,
    overrides,
    seed,
    skip_bad,
    allow_outside,
    device,
    threads,
) -> None:
    """Train a student on the clips of MANIFEST and the vectors in --targets.

    --set reaches the sections audio, compressor, transfer, student and training.
    """
    from embcomp.config import parse_overrides
    from embcomp.engines.local import set_threads
    from embcomp.errors import ConfigError
    from embcomp.storage.store import EmbeddingStore
    from embcomp.teachers import KMeansTeacher, check_runs
    from embcomp.training.distill import distill as train_student

    set_threads(threads)
    config = parse_overrides([*overrides, f'transfer.method="{method}"'])
    variant = config.variants[0]
    teacher = None
    if spec is not None:
        argument = check_runs(spec)
        if not argument:
            raise ConfigError("--teacher needs a learned one, kmeans:FOLDER; embcomp embed leaves it at OUT.teacher")
        teacher = KMeansTeacher.load(argument)
    with common.bar(variant.training.steps, "train") as shown:
        student = train_student(
            common.read_manifest(manifest, splits, allow_outside),
            out,
            variant=variant,
            targets=EmbeddingStore.open(targets) if targets is not None else None,
            teacher=teacher,
            audio=config.audio,
            validation=validation,
            seed=seed,
            device=common.check_device(device),
            skip_bad=skip_bad,
            progress=shown.update,
        )
    click.echo(f"student of {len(student.classes)} classes: {out}")


@click.command()
@click.argument("student", type=common.FOLDER)
@click.argument("manifests", nargs=-1, required=True, type=common.MANIFEST)
@click.option("--out", required=True, type=common.MANIFEST, help="CSV of scores to write.")
@click.option(
    "--label-map", type=common.MANIFEST, help="CSV from,to: the manifests' labels to the student's; or a name."
)
@click.option("--allow-seen", is_flag=True, help="Score clips the student was trained on, too.")
@click.option("--compressor", type=common.FOLDER, help="Of the student's targets: refused if fitted on a clip scored.")
@click.option("--reestimate", is_flag=True, help="Score it also with statistics of each manifest's clips, unlabelled.")
@common.split_option
@common.skip_bad_option
@common.allow_outside_option
@common.threads_option
def evaluate(
    student: Path,
    manifests: tuple[Path, ...],
    out: Path,
    label_map: Path | None,
    allow_seen,
    compressor: Path | None,
    reestimate,
    splits,
    skip_bad,
    allow_outside,
    threads,
) -> None:
    """Score STUDENT on the labelled clips of each manifest."""
    import pandas as pd

    from embcomp.compression import Compressor
    from embcomp.data.labels import find_label_map, read_label_map
    from embcomp.engines.local import set_threads
    from embcomp.evaluation.scores import evaluate as score
    from embcomp.storage.files import write_text
    from embcomp.students.classifier import Classifier

    set_threads(threads)
    classifier = Classifier.load(student)
    fitted = Compressor.load(compressor) if compressor is not None else None
    mapping = read_label_map(find_label_map(str(label_map))) if label_map else None
    tables = []
    for path in manifests:
        with tempfile.TemporaryDirectory() as cache:
            found = score(
                classifier,
                common.read_manifest(path, splits, allow_outside),
                cache=Path(cache, "logmel"),
                label_map=mapping,
                skip_bad=skip_bad,
                allow_seen=allow_seen,
                compressor=fitted,
                reestimate=reestimate,
            )
        tables.append(found.table)
        for row in found.table.itertuples():
            how = ", re-estimated" if row.setting == "re-estimated" else ""
            ends = "" if math.isnan(row.low) else f" [{row.low:.3f}, {row.high:.3f}]"
            click.echo(f"{row.test_dataset}{how}  {row.metric} {row.value:.3f}{ends}  n={row.n}")
        for label, count in found.left_out.items():
            click.echo(f"  left out: {count} clips labelled {label!r}, which the student does not know", err=True)
        if found.not_tested:
            click.echo(f"  no clip of: {', '.join(found.not_tested)}", err=True)
    write_text(out, pd.concat(tables).to_csv(index=False, float_format="%.6g", lineterminator="\n"))
    click.echo(f"scores: {out}")
