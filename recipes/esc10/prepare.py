"""Manifests of ESC-10 and of the donateacry corpus: python recipes/esc10/prepare.py FOLDER [--out MANIFEST]."""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a clone works without installing the recipes

from embcomp.errors import ManifestError
from recipes.common import Clip, Found, Layout, collect_files, plain, prepare_command

# Class folders of ESC-10, and of the first edition of ESC-50, to the category names of esc50.csv.
CATEGORIES = {
    "dog_bark": "dog",
    "dog": "dog",
    "rain": "rain",
    "sea_waves": "sea_waves",
    "baby_cry": "crying_baby",
    "crying_baby": "crying_baby",
    "clock_tick": "clock_tick",
    "person_sneeze": "sneezing",
    "sneezing": "sneezing",
    "helicopter": "helicopter",
    "chainsaw": "chainsaw",
    "rooster": "rooster",
    "fire_crackling": "crackling_fire",
    "crackling_fire": "crackling_fire",
}
CLASS_FOLDER = re.compile(r"\d{3} - (?P<name>.+)")
ESC_NAME = re.compile(r"(?P<fold>\d)-(?P<source>\d+)-[A-Z]+(-\d+)?")
CRY_NAME = re.compile(r"(?P<instance>[0-9a-f]{8})(-[0-9a-f]{4}){3}-[0-9a-f]{12}-\d+-.+", re.IGNORECASE)
REASONS = ("belly_pain", "burping", "discomfort", "hungry", "tired")
OTHER_CLASS = "not one of the ten classes"


def collect_esc10(folder: Path) -> Found:
    """ESC-10, by the table of ESC-50 where there is one, else by class folders."""
    tables = sorted(folder.rglob("esc50.csv"))
    return from_table(tables[0]) if tables else collect_files(folder, clip)


def from_table(table: Path) -> Found:
    """The clips of ``meta/esc50.csv`` marked as ESC-10, with its folds and sources.

    Raises
    ------
    ManifestError
        The table lacks a column, or an audio file it names does not exist.
    """
    audio = table.parent.parent / "audio"
    found = Found()
    try:
        with open(table, encoding="utf-8-sig", newline="") as file:
            for row in csv.DictReader(file):
                path = audio / str(row["filename"])
                if str(row["esc10"]).strip().lower() != "true":
                    found.left_out[OTHER_CLASS].append(path)
                elif path.is_file():
                    found.clips.append(Clip(path, row["category"], row["src_file"], row["fold"]))
                else:
                    found.left_out[f"{table.name} names it, but it does not exist"].append(path)
    except KeyError as error:
        raise ManifestError(f"{table} has no column {error}") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ManifestError(f"cannot read {table}: {error}") from None
    return found


def clip(path: Path) -> Clip | str:
    """Class, fold and Freesound source of a clip, from its folder and name."""
    folder, name = CLASS_FOLDER.fullmatch(path.parent.name), ESC_NAME.fullmatch(path.stem)
    if folder is None:
        return "the folder is not NUMBER - CLASS"
    category = CATEGORIES.get(plain(folder["name"]))
    if category is None:
        return OTHER_CLASS
    if name is None:
        return "the name is not FOLD-SOURCE-TAKE"
    return Clip(path, category, name["source"], name["fold"])


def cry(path: Path) -> Clip | str:
    """A recording of the cleaned donateacry corpus; the reason for crying is not used."""
    # The raw uploads next to the cleaned folder also contain speech and noise.
    if path.parent.name not in REASONS:
        return "not in a folder of the cleaned corpus"
    match = CRY_NAME.fullmatch(path.stem)
    if match is None:
        return "the name does not start with an app instance"
    return Clip(path, "crying_baby", match["instance"].lower(), "test")


def collect_donateacry(folder: Path) -> Found:
    """Cries of every app instance."""
    return collect_files(folder, cry)


LAYOUTS = (
    Layout(
        "esc10",
        "meta/esc50.csv and audio/ (ESC-50), or ten folders 'NUMBER - CLASS' with FOLD-SOURCE-TAKE.ogg (ESC-10)",
        collect_esc10,
        "esc10/manifest.csv",
        ("esc10", "ESC-10", "ESC-10-master", "ESC-50", "ESC-50-master"),
    ),
    Layout(
        "donateacry",
        "donateacry_corpus_cleaned_and_updated_data/REASON/INSTANCE-TIMESTAMP-....wav",
        collect_donateacry,
        "donateacry/manifest.csv",
        ("donateacry", "donateacry-corpus", "donateacry-corpus-master", "donateacry_corpus_cleaned_and_updated_data"),
    ),
)

main = prepare_command(
    LAYOUTS,
    "Write a manifest of ESC-10 (from the ESC-50 or the ESC-10 repository) or of the donateacry corpus in FOLDER; "
    "an existing manifest.csv is checked and not changed.",
)

if __name__ == "__main__":
    main()
