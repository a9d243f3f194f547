"""Show a clip, a store, a run or a student."""

from __future__ import annotations

from pathlib import Path

import click

from embcomp.cli import common
from embcomp.cli.machine import json_option, print_json

KINDS = {
    "clip": {"--model", "--window", "--hop"},
    "store": {"--manifest", "--map", "--link", "--most"},
    "run": set(),
    "student": {"--manifest", "--link", "--skip-bad"},
}


@click.command()
@click.argument("what", type=common.INPUT, metavar="CLIP|STORE|RUN|STUDENT")
@click.option("--out", required=True, type=common.LOCAL, help="FILE.png for a picture, or a folder for a page, too.")
@click.option("--model", type=common.INPUT, help="Of a clip: draw what this student or exported file says.")
@click.option("--window", type=float, metavar="SECONDS", help="Of --model.  [default: as it was trained]")
@click.option(
    "--hop", type=float, metavar="SECONDS", help="Between the starts of windows.  [default: half of --window]"
)
@click.option(
    "--manifest", type=common.MANIFEST, help="Labels and audio of the clips of a store, or to try a student on."
)
@click.option("--map", "how", help="Of a store: pca, or umap, which needs the extra umap.  [default: pca]")
@click.option("--most", type=int, help="Of a store: points that are drawn.  [default: 1000]")
@click.option("--link", is_flag=True, help="The page plays the audio where it lies.  [default: copies in the folder]")
@common.split_option
@common.seed_option
@common.skip_bad_option
@common.allow_outside_option
@common.ffmpeg_option
@common.threads_option
@json_option
def show(
    what: Path,
    out: Path,
    model: Path | None,
    window: float | None,
    hop: float | None,
    manifest: Path | None,
    how: str | None,
    most: int | None,
    link: bool,
    splits: tuple[str, ...],
    seed: int,
    skip_bad: bool,
    allow_outside: bool,
    ffmpeg: bool,
    threads: int,
    as_json: bool,
) -> None:
    """Draw a picture, or write a page to look at and listen to.

    Of a clip, a file or FILE#START-END: the log-mel, and what a model says over time. Of a
    store: a map of its vectors by label, with clips to play on a click. Of a run: the
    learning curves; with --manifest its best student. Of a student: the confusion matrix
    with the clips behind each cell.

    \b
    Example:
      embcomp show recording.wav --model student --out recording.png
      embcomp show embeddings --manifest clips.csv --out map
      embcomp show runs/mine --out curves.png
      embcomp show student --manifest test.csv --out confusion
    """
    from embcomp.data.manifest import Manifest
    from embcomp.engines.local import set_threads
    from embcomp.errors import ConfigError

    kind = _kind(what)
    if kind == "run" and manifest is not None:
        kind, what = "student", common.student_folder(what)
    given = {"--model": model, "--window": window, "--hop": hop, "--manifest": manifest, "--map": how, "--most": most}
    given |= {"--link": link or None, "--skip-bad": skip_bad or None}
    for option, value in given.items():
        if value is not None and option not in KINDS[kind]:
            kinds = " or ".join(f"a {name}" for name, options in KINDS.items() if option in options)
            raise ConfigError(f"{option} is for {kinds}; {what} is a {kind}")
    if out.suffix and out.suffix.lower() != ".png":
        raise ConfigError(f"--out is FILE.png or a folder, not {out}")
    if window is None and hop is not None and model is None:
        raise ConfigError("--hop is for --model")
    set_threads(threads)
    clips = None if manifest is None else Manifest.read(manifest, allow_outside).with_splits(splits)
    notes: list[str] = []
    if kind == "clip":
        from embcomp.export.labelling import open_audio_labeller
        from embcomp.show.clip import show_clip

        opened = None if model is None else open_audio_labeller(_student(model), threads)
        written = show_clip(what, out, opened, window, hop, ffmpeg)
    elif kind == "store":
        from embcomp.show.maps import MOST, show_store

        written = show_store(what, out, clips, how or "pca", MOST if most is None else most, link, seed, ffmpeg)
    elif kind == "run":
        from embcomp.show.curves import show_run

        written = show_run(what, out)
    else:
        from embcomp.export.labelling import open_audio_labeller
        from embcomp.show.confusions import show_student

        if clips is None:
            raise ConfigError("a student is shown by what it says of labelled clips: add --manifest")
        opened = open_audio_labeller(what, threads)
        written, notes = show_student(opened, clips, out, what.resolve().name, link, skip_bad, ffmpeg)
    if as_json:
        print_json({"of": what, "kind": kind, "files": written, "notes": notes})
        return
    for path in written:
        click.echo(str(path))
    for note in notes:
        click.echo(f"note: {note}", err=True)


def _student(model: Path) -> Path:
    return common.student_folder(model) if model.is_dir() else model


def _kind(what: Path) -> str:
    """What a path is.

    Raises
    ------
    ConfigError
        Nothing that can be shown.
    """
    from embcomp.errors import ConfigError
    from embcomp.pipeline.chosen import is_run
    from embcomp.storage.ownership import kind_of

    if not what.is_dir():
        from embcomp.export.runtime import is_exported

        return "student" if is_exported(what) else "clip"
    if is_run(what):
        return "run"
    found = kind_of(what)
    if found in ("store", "student"):
        return found
    is_what = f"holds a {found}" if found else "is no folder that embcomp made"
    raise ConfigError(f"{what} {is_what}; shown are clips, stores, finished runs and students")
