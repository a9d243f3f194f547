"""Small sets of synthetic sounds for the quick start: ``demo``, ``demo_shifted`` and the unlabelled ``demo_pool``.

All contain the same eight families of sounds. The shifted set has other
instruments in other registers, reverberant and noisy rooms and narrow-band
lines, so that a model trained on the first set meets a domain shift.
"""

from __future__ import annotations

import csv
import os
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embcomp.demo import conditions
from embcomp.demo.families import FAMILIES
from embcomp.demo.parts import Instrument, draw_instrument
from embcomp.errors import ArtifactError, ConfigError, EmbcompError
from embcomp.extras import imported
from embcomp.storage.files import new_folder, read_json, write_json, write_text
from embcomp.storage.ownership import listing, strangers

__all__ = ["CONFIG", "FAMILIES", "DemoSets", "Instrument", "render"]

CONFIG = Path(__file__).with_name("demo.toml")  # the comparison run on the two sets

FORMAT_VERSION = 2  # raised whenever the same seed gives other bytes
CLIPS = 384
SHIFTED_CLIPS = 160
POOL_CLIPS = 960  # that the demo renders
LOWEST_SAMPLE_RATE = 8000  # in Hz, for the formants and the band edges
THREADS = 4  # at most
FULL_SCALE = 32767  # of a 16-bit sample

README = """Synthetic sounds: {set}

Every clip here is computed by embcomp.demo from formulas and random numbers.
Nothing was recorded, and no instrument, voice or room is real. The set shows how the
tools work; scores on it say nothing about real audio.

{clips} clips, {families} families (the labels): {labels}.
A group is one instrument: its clips share their timbre, so a split must keep them together.
Seed {seed}, {sample_rate} Hz, mono, 16 bit.
"""


@dataclass(frozen=True)
class Setting:
    """One of the two sets.

    Attributes
    ----------
    name : str
        Of the data set and its folder, and the start of every group.
    seed : int
        Mixed into every random choice, so that the sets differ.
    instruments : int
        Groups per family.
    register : tuple of (float, float)
        Pitches of the instruments, in Hz.
    scene : callable
        Draws the recording conditions of a clip.
    labelled : bool, default=True
        Whether its manifest has labels.
    """

    name: str
    seed: int
    instruments: int
    register: tuple[float, float]
    scene: Callable[[np.random.Generator, np.random.Generator], conditions.Scene]
    labelled: bool = True


PLAIN = Setting("demo", 0x71D60CD0, 8, (180.0, 420.0), conditions.plain)
SHIFTED = Setting("demo_shifted", 0x251C42DC, 5, (110.0, 600.0), conditions.shifted)
POOL = Setting("demo_pool", 0x5D0C9A11, 30, (110.0, 600.0), conditions.any_place, labelled=False)


@dataclass(frozen=True)
class DemoSets:
    """Folders of the two sets.

    Attributes
    ----------
    plain, shifted, pool : Path
        Each with ``manifest.csv``, ``audio/``, ``README.txt`` and ``demo.json``. The pool has no labels and, unless
        it was asked for, no clips.
    """

    plain: Path
    shifted: Path
    pool: Path

    @property
    def plain_manifest(self) -> Path:
        """Manifest of the set to train on."""
        return self.plain / "manifest.csv"


def render(
    folder: str | os.PathLike,
    *,
    seed: int = 0,
    clips: int = CLIPS,
    shifted_clips: int = SHIFTED_CLIPS,
    pool_clips: int = 0,
    sample_rate: int = 16000,
    progress: Callable[[int, int], None] | None = None,
) -> DemoSets:
    """Render the sets into `folder`, unless they are already there with the same settings.

    A set rendered with other settings is replaced. Each set appears complete or not at all.

    Parameters
    ----------
    folder : path
        Gets the folders ``demo/``, ``demo_shifted/`` and, with `pool_clips`, ``demo_pool/``.
    seed : int, default=0
        Not negative. The same seed gives the same files, byte for byte with the same
        numpy, scipy and libsndfile.
    clips, shifted_clips : int
        Number of clips in each set, at least one per family. A larger set contains the
        clips of a smaller one unchanged.
    pool_clips : int, default=0
        Number of unlabelled clips by other instruments, in the conditions of either set; 0 renders none.
    sample_rate : int, default=16000
        In Hz, at least 8000.
    progress : callable, optional
        Called as ``progress(done, total)`` after every clip, over all sets.

    Returns
    -------
    DemoSets
        The folders of the sets.

    Raises
    ------
    ConfigError
        A setting is out of range, or a folder of that name contains something else.
    EmbcompError
        A file cannot be written.
    """
    check("seed", seed, 0)
    check("clips", clips, len(FAMILIES))
    check("shifted_clips", shifted_clips, len(FAMILIES))
    check("sample_rate", sample_rate, LOWEST_SAMPLE_RATE)
    check("pool_clips", pool_clips, 0)
    folder = Path(folder)
    total, before = clips + shifted_clips + pool_clips, 0
    for setting, count in ((PLAIN, clips), (SHIFTED, shifted_clips), (POOL, pool_clips)):
        if not count:
            continue

        def report(done: int, before: int = before) -> None:
            if progress is not None:
                progress(before + done, total)

        render_set(folder / setting.name, setting, count, seed, sample_rate, report)
        before += count
    return DemoSets(*(folder / setting.name for setting in (PLAIN, SHIFTED, POOL)))


def check(name: str, value: int, least: int) -> None:
    """Raise ConfigError unless `value` is a whole number of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < least:
        raise ConfigError(f"{name} must be a whole number of at least {least}, not {value!r}")


def render_set(
    target: Path, setting: Setting, clips: int, seed: int, sample_rate: int, report: Callable[[int], None]
) -> None:
    """Render one set into the folder `target`; `report` is called with the number of clips done."""
    made = {
        "made_by": "embcomp.demo",
        "format": FORMAT_VERSION,
        "set": setting.name,
        "seed": int(seed),
        "clips": int(clips),
        "sample_rate": int(sample_rate),
    }
    rows = plan(setting, clips)
    if is_rendered(target, made, rows):
        report(clips)
        return
    with new_folder(target, lambda there: is_rendered(there, made, rows)) as temporary:
        (temporary / "audio").mkdir()

        def one(row: tuple[str, int, int]) -> None:
            write_clip(temporary / clip_path(*row), render_clip(setting, *row, seed, sample_rate), sample_rate)

        # Most of the time goes into transforms and the encoder, which let other threads run.
        pool = ThreadPoolExecutor(max_workers=min(THREADS, os.cpu_count() or 1))
        try:
            for done, _ in enumerate(pool.map(one, rows), start=1):
                report(done)
        finally:
            pool.shutdown(cancel_futures=True)
        write_manifest(temporary / "manifest.csv", setting, rows)
        about = README.format(families=len(FAMILIES), labels=", ".join(FAMILIES), **made)
        write_text(temporary / "README.txt", about)
        write_json(temporary / "demo.json", made)


def plan(setting: Setting, clips: int) -> list[tuple[str, int, int]]:
    """Family, instrument and take of each clip, the same number for every family and, as far as possible, instrument."""
    families = list(FAMILIES)
    rows = []
    for number in range(clips):
        turn, family = divmod(number, len(families))
        take, instrument = divmod(turn, setting.instruments)
        rows.append((families[family], instrument, take))
    return sorted(rows)


def clip_path(family: str, instrument: int, take: int) -> str:
    """Path of a clip, relative to the manifest."""
    return f"audio/{family}_{instrument:02d}_{take:02d}.flac"


def generator(seed: int, setting: Setting, family: str, instrument: int, stream: int) -> np.random.Generator:
    """Generator of one clip (its take + 1) or of its instrument (stream 0), independent of what else is rendered."""
    return np.random.default_rng([seed, setting.seed, zlib.crc32(family.encode()), instrument, stream])


def render_clip(setting: Setting, family: str, instrument: int, take: int, seed: int, sample_rate: int) -> np.ndarray:
    """One clip, float64 of shape (samples,), peak below 1."""
    shared = generator(seed, setting, family, instrument, 0)
    timbre = draw_instrument(shared, *setting.register)
    rng = generator(seed, setting, family, instrument, take + 1)
    scene = setting.scene(rng, shared)
    sound = FAMILIES[family](rng, timbre, sample_rate)
    return conditions.record(rng, sound, scene, sample_rate)


def write_clip(path: Path, clip: np.ndarray, sample_rate: int) -> None:
    """Write a clip as 16-bit FLAC."""
    soundfile = imported("soundfile", "rendering the demo needs")
    try:
        soundfile.write(path, np.rint(clip * FULL_SCALE).astype(np.int16), sample_rate, format="FLAC")
    except soundfile.LibsndfileError as error:
        raise EmbcompError(f"cannot write {path}: {error}") from error


def write_manifest(path: Path, setting: Setting, rows: list[tuple[str, int, int]]) -> None:
    """Write the manifest of a set."""
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["path", "label", "group", "dataset"])
        for family, instrument, take in rows:
            group = f"{setting.name}_{family}_{instrument:02d}"
            label = family if setting.labelled else ""
            writer.writerow([clip_path(family, instrument, take), label, group, setting.name])


def is_rendered(target: Path, made: dict, rows: list[tuple[str, int, int]]) -> bool:
    """Whether `target` already contains exactly this set.

    Raises
    ------
    ConfigError
        It contains files that this module did not write and must not replace.
    """
    if not target.exists():
        return False
    if not target.is_dir():
        raise ConfigError(f"{target} is a file and the demo needs a folder there; choose another folder")
    if not strangers(target):
        return False
    try:
        found = read_json(target / "demo.json")
    except ArtifactError:  # an unreadable record counts as none
        found = None
    if not isinstance(found, dict) or found.get("made_by") != made["made_by"]:
        raise ConfigError(f"{target} contains other files (no demo.json), which are kept; choose another folder")
    others = strangers(target, ("audio", "manifest.csv", "README.txt", "demo.json"))
    if (target / "audio").is_dir():
        others += [name for name in strangers(target / "audio") if not name.endswith(".flac")]
    if others:
        raise ConfigError(f"{target} contains {listing(others)} beside the demo, which would be lost; move them")
    needed = ["manifest.csv", "README.txt", *(clip_path(*row) for row in rows)]
    return found == made and all((target / name).is_file() for name in needed)
