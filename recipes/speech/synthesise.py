"""Digits spoken by speech synthesisers, as another collection: python recipes/speech/synthesise.py OUT.

Needs the programs flite and espeak-ng (packages of most systems, for example ``apt install flite espeak-ng``).
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import soundfile

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a clone works without installing the recipes

from embcomp.audio.decoding import decode
from embcomp.teachers.librosa import import_librosa
from recipes.common import new_data_folder, write_made

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
RATE = 16_000  # Hz
# Of the first, recorded speakers are the source; the second are rules of formants, with accents and voice qualities.
FLITE = ("awb", "kal", "kal16", "rms", "slt")
ESPEAK = ("en-gb+m1", "en-us+f2", "en-gb-scotland+m3", "en-029+f4", "en-gb-x-rp+f1", "en-gb-x-gbclan+m5", "en-us+m7")
SPEEDS = (0.85, 1.0, 1.2)  # times the voice's own
PITCHES = (42, 50, 58)  # of espeak-ng, 0 to 99
QUIET = 40  # dB below the loudest frame: silence at either end is cut, as in FSDD


@dataclass(frozen=True)
class Voice:
    """A voice of a program: a group of the data set."""

    program: str
    name: str

    @property
    def group(self) -> str:
        return f"{self.program}_{self.name}".replace("+", "_")

    def command(self, word: str, take: int, out: Path) -> list[str]:
        """The command that speaks `word` into the file `out`; takes differ in speed and pitch."""
        speed = SPEEDS[take]
        if self.program == "flite":
            stretch = f"duration_stretch={1 / speed:.3f}"
            return ["flite", "-voice", self.name, "--setf", stretch, "-t", word, "-o", str(out)]
        pace, pitch = str(round(160 * speed)), str(PITCHES[take])
        return ["espeak-ng", "-v", self.name, "-s", pace, "-p", pitch, "-w", str(out), word]


VOICES = tuple(Voice("flite", name) for name in FLITE) + tuple(Voice("espeak-ng", name) for name in ESPEAK)


def trimmed(waveform: np.ndarray) -> np.ndarray:
    """The waveform (n,) without the silence at its ends."""
    librosa = import_librosa()
    return librosa.effects.trim(waveform, top_db=QUIET, frame_length=400, hop_length=160)[0]


def clips(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Write every clip; its path, digit and voice."""
    with tempfile.TemporaryDirectory() as temporary:
        spoken = Path(temporary) / "spoken.wav"
        for voice in VOICES:
            for digit, word in enumerate(DIGITS):
                for take in range(len(SPEEDS)):
                    subprocess.run(voice.command(word, take, spoken), check=True, capture_output=True, timeout=60)
                    name = f"audio/{digit}_{voice.group}_{take}.flac"
                    soundfile.write(folder / name, trimmed(decode(spoken, RATE)), RATE, subtype="PCM_16")
                    yield name, str(digit), voice.group


def missing_programs() -> list[str]:
    """Programs that are needed and not installed."""
    return [program for program in ("flite", "espeak-ng") if shutil.which(program) is None]


def synthesise(out: Path) -> int:
    """Write the clips and, last, their manifest into the folder `out`; how many there are."""
    (out / "audio").mkdir(parents=True, exist_ok=True)
    rows = list(clips(out))
    write_made(out, rows, "synthetic_digits")
    return len(rows)


@click.command(help=__doc__.split("\n")[0])
@click.argument("out", type=click.Path(path_type=Path, file_okay=False))
def main(out: Path) -> None:
    if missing := missing_programs():
        raise click.ClickException(f"{' and '.join(missing)} not installed; for example: apt install flite espeak-ng")
    new_data_folder(out)
    click.echo(f"{synthesise(out)} clips of {len(VOICES)} voices: {out / 'manifest.csv'}")


if __name__ == "__main__":
    main()
