"""Manifests of an acoustic kit and of drum machines: python recipes/drums/prepare.py FOLDER [--out MANIFEST]."""

from __future__ import annotations

import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # a clone works without installing the recipes

from recipes.common import Clip, Found, Layout, collect_files, plain, prepare_command

# The Open Source Drumkit: instrument folder to label, and what its file names hold.
KIT = {
    "crash": ("cymbal", "crash"),
    "ride": ("cymbal", "rid"),
    "hihat": ("hihat", "hh"),
    "kick": ("kick", "kick"),
    "snare": ("snare", "snare"),
    "toms": ("tom", "tom"),
    "rimshot": ("rim", "rimshot"),
    "sidestick": ("rim", "sidestick"),
}
# Numbers of the hits of one articulation: 7, -7, and the older velocity ranges _0-10_7.
HIT_NUMBER = re.compile(r"[-_]?\d+$")

# Every drum machine names its sounds differently: words anywhere in the name, codes as a whole part of it.
WORDS = {
    "kick": r"kick|bdrum|bassdrum",
    "snare": r"snare|shortsn",
    "tom": r"tom",
    "hihat": r"hi_?t?hat|hh(cl|op)|(closed|open)_?hat|shorthi",
    "cymbal": r"cymb|crash|ride",
    "rim": r"rim|stick",
}
CODES = {"bd": "kick", "sd": "snare", "ch": "hihat", "oh": "hihat", "cy": "cymbal", "rs": "rim"}
OTHER = re.compile(r"gong|clap|clave|conga|bongo|cowbell|cabasa|maraca|shaker|tamb|brush|agogo|guiro|timbale|whistle")
OTHER_INSTRUMENT = "an instrument without a label"


def hit(path: Path, kit: Path) -> Clip | str:
    """Label and articulation of a hit of the acoustic kit, from its instrument folder and name."""
    # Only folders below the kit count: a folder above it may have the name of an instrument.
    above = path.relative_to(kit).parts[:-1]
    folder = next((name for name in reversed(above) if name in KIT or name == "gong"), None)
    if folder is None:
        return "not in an instrument folder of the kit"
    if folder == "gong":
        return OTHER_INSTRUMENT
    label, word = KIT[folder]
    if word not in path.stem.lower():
        return f"the name does not hold {word!r}, as those in {folder}/ do"
    articulation = path.stem
    while HIT_NUMBER.search(articulation):
        articulation = HIT_NUMBER.sub("", articulation)
    return Clip(path, label, plain(articulation))


def collect_acoustic(folder: Path) -> Found:
    """Hits of The Open Source Drumkit."""
    return collect_files(folder, lambda path: hit(path, folder))


def sound(name: str) -> str | None:
    """Label of a drum machine's sound, or `OTHER_INSTRUMENT`.

    Parameters
    ----------
    name : str
        Path of the file below the machine's folder, without its ending.

    Returns
    -------
    str or None
        None if the name has no label, or several.

    Examples
    --------
    >>> sound("tom-hi/ht00"), sound("univox-oh"), sound("conga-hi/hc00")
    ('tom', 'hihat', 'an instrument without a label')
    """
    name = plain(name)
    if OTHER.search(name):
        return OTHER_INSTRUMENT
    labels = {label for label, words in WORDS.items() if re.search(words, name)}
    labels |= {CODES[part.rstrip("0123456789")] for part in name.split("_") if part.rstrip("0123456789") in CODES}
    return labels.pop() if len(labels) == 1 else None


def collect_machines(folder: Path) -> Found:
    """Sounds of every drum machine: a machine is a folder with a ``dm.json``, else a folder right below."""

    def rule(path: Path) -> Clip | str:
        above = [parent for parent in path.parents if parent.is_relative_to(folder)]
        described = next((parent for parent in above if (parent / "dm.json").is_file()), None)
        machine = described or (above[-2] if len(above) > 1 else above[-1])
        label = sound(path.relative_to(machine).with_suffix("").as_posix())
        if label is None:
            return "the name has no label, or several"
        return label if label == OTHER_INSTRUMENT else Clip(path, label, plain(machine.name))

    return collect_files(folder, rule)


LAYOUTS = (
    Layout(
        "drums_acoustic",
        f"folders {', '.join(KIT)} with one file per hit (The Open Source Drumkit)",
        collect_acoustic,
        "drums_acoustic/manifest.csv",
        ("drums_acoustic", "the-open-source-drumkit", "the-open-source-drumkit-master"),
    ),
    Layout(
        "drums_machine",
        "a folder per machine with one file per sound (smpldsnds/drum-machines)",
        collect_machines,
        "drums_machine/manifest.csv",
        ("drums_machine", "drum-machines", "drum-machines-main", "drum-machines-master"),
    ),
)

main = prepare_command(
    LAYOUTS,
    "Write a manifest of The Open Source Drumkit or of the drum machine one-shots in FOLDER; "
    "an existing manifest.csv is checked and not changed.",
)

if __name__ == "__main__":
    main()
