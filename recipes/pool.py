"""Cut a folder of any recordings into unlabelled clips: python recipes/pool.py FOLDER OUT [--seconds 1]."""

from __future__ import annotations

import itertools
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import click
import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a clone works without installing the recipes

from embcomp.audio.decoding import decode
from embcomp.errors import AudioError
from embcomp.teachers.librosa import import_librosa
from recipes.common import new_data_folder, write_made

RATE = 16_000  # Hz
SUFFIXES = (".wav", ".flac", ".ogg", ".oga", ".mp3", ".opus", ".aif", ".aiff")
PIECES = 2  # of one recording
LOOKED_AT = 60.0  # s of a recording
QUIET = 35  # dB below the loudest frame counts as silence


def pieces(waveform: np.ndarray, seconds: float, shortest: float = 0.2) -> Iterator[np.ndarray]:
    """At most `PIECES` clips of a recording (n,), of `shortest` to `seconds`, each starting where sound starts."""
    librosa = import_librosa()
    found, taken = 0, 0
    for start, end in librosa.effects.split(waveform, top_db=QUIET, frame_length=400, hop_length=160):
        if found == PIECES:
            return
        # Words with short gaps stay in one clip: what follows within its length belongs to it.
        start = max(start, taken)
        if end - start < shortest * RATE:
            continue
        piece = waveform[start : start + round(seconds * RATE)]
        taken = start + len(piece)
        found += 1
        yield piece


def group_of(path: Path, folder: Path) -> str:
    """The folder that a recording is in, as one word: recordings of one speaker or language lie together."""
    return re.sub(r"[^0-9A-Za-z]+", "_", str(path.parent.relative_to(folder))).strip("_") or "pool"


@click.command(help=__doc__.split("\n")[0])
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--seconds", default=1.0, show_default=True, type=click.FloatRange(0, min_open=True), help="Longest clip."
)
@click.option(
    "--shortest", default=0.2, show_default=True, type=click.FloatRange(0), help="Seconds; shorter sounds are left out."
)
@click.option("--most", default=200, show_default=True, type=click.IntRange(1), help="Clips of one folder.")
@click.option("--leave-out", multiple=True, metavar="GLOB", help="Paths below FOLDER not to use; repeatable.")
def main(folder: Path, out: Path, seconds: float, shortest: float, most: int, leave_out: tuple[str, ...]) -> None:
    if shortest > seconds:
        raise click.BadParameter(f"{shortest:g} s is longer than --seconds {seconds:g}", param_hint="--shortest")
    files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    files = [path for path in files if not any(path.relative_to(folder).match(one) for one in leave_out)]
    if not files:
        raise click.ClickException(f"no audio below {folder}; looked for {', '.join(SUFFIXES)}")
    new_data_folder(out)
    counts: Counter[str] = Counter()
    rows, unreadable = [], []
    for path in files:
        group = group_of(path, folder)
        if counts[group] >= most:
            continue
        try:
            waveform = decode(path, RATE, seconds=LOOKED_AT)
        except AudioError as error:
            unreadable.append(f"{path}: {error}")
            continue
        for piece in itertools.islice(pieces(waveform, seconds, shortest), most - counts[group]):
            name = f"audio/{group}_{counts[group]:04d}.flac"
            soundfile.write(out / name, piece, RATE, subtype="PCM_16")
            rows.append((name, "", group))
            counts[group] += 1
    if not rows:
        shutil.rmtree(out)
        raise click.ClickException(f"no sound of at least {shortest:g} s below {folder}; see --shortest")
    write_made(out, rows, out.name)
    click.echo(
        f"{len(rows)} clip{'s' * (len(rows) != 1)} of {len(counts)} folder{'s' * (len(counts) != 1)}: {out / 'manifest.csv'}"
    )
    for line in unreadable:
        click.echo(f"left out: {line}", err=True)


if __name__ == "__main__":
    main()
