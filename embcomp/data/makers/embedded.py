"""Audio that lies inside tables, written out as files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path, PureWindowsPath
from typing import Any

from embcomp.data.makers.arrow import Part
from embcomp.data.sounds import SUFFIXES
from embcomp.errors import ArtifactError, EmbcompError, ManifestError
from embcomp.storage.files import new_folder, read_json, write_json

RECORD = "embcomp.json"
KIND = {"format": 1, "kind": "audio written out of tables"}
MAGIC = (
    (b"RIFF", ".wav"),
    (b"RF64", ".wav"),
    (b"fLaC", ".flac"),
    (b"OggS", ".ogg"),
    (b"ID3", ".mp3"),
    (b"FORM", ".aiff"),
)


def write_audio(parts: Sequence[Part], folder: Path, source: str, names: Sequence[str]) -> list[Path | None]:
    """Write the audio of every row, as it is, into `folder`.

    Parameters
    ----------
    folder : Path
        Appears whole. One that this function made before is replaced, any other refused.
    names : sequence of str
        What each row's audio is called; files have these names where all differ, with a number before them where not.

    Returns
    -------
    list of Path or None
        A file a row; None where it has no audio.

    Raises
    ------
    EmbcompError
        The folder holds something else, or the disk refuses.
    """
    stems = [re.sub(r"[^\w.-]", "_", PureWindowsPath(name.replace("/", "\\")).stem).lstrip(".") for name in names]
    alone = all(stems) and len({stem.casefold() for stem in stems}) == len(stems)
    width = len(str(len(stems)))
    files: list[Path | None] = []
    row = 0
    with new_folder(folder, _refuse_others) as temporary:
        write_json(temporary / RECORD, {**KIND, "source": source})
        for part in parts:
            for sound in part.sounds():
                stem = stems[row] if alone else "_".join(filter(None, [f"{row:0{width}d}", stems[row]]))
                data, ending = _bytes(sound, names[row], f"{part.name}, row {row + 1}")
                files.append(folder / f"{stem}{ending}" if data is not None else None)
                if isinstance(data, bytes):
                    (temporary / f"{stem}{ending}").write_bytes(data)
                elif data is not None:
                    _write_samples(temporary / f"{stem}{ending}", *data)
                row += 1
    return files


def _refuse_others(folder: Path) -> None:
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    try:
        about = read_json(folder / RECORD)
    except ArtifactError:
        about = None
    if not isinstance(about, dict) or {name: about.get(name) for name in KIND} != KIND:
        raise EmbcompError(f"{folder} exists already and is kept; choose another place for the manifest with --out")


def _bytes(sound: Any, name: str, where: str) -> tuple[Any, str]:
    if sound is None:
        return None, ""
    if isinstance(sound, dict):
        import numpy as np

        rate = sound.get("sampling_rate")
        if not isinstance(rate, int) or rate <= 0:
            raise ManifestError(f"{where}: samples without a sampling_rate")
        return (np.asarray(sound["array"], dtype=np.float32), rate), ".wav"
    ending = next((ending for mark, ending in MAGIC if sound.startswith(mark)), "")
    if not ending and len(sound) > 1 and sound[0] == 0xFF and sound[1] & 0xE0 == 0xE0:
        ending = ".mp3"
    own = Path(name).suffix.lower()
    return sound, ending or (own if own in SUFFIXES else ".bin")


def _write_samples(path: Path, samples: Any, rate: int) -> None:
    import soundfile

    soundfile.write(path, samples, rate, subtype="FLOAT")
