"""Kaldi data folders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from embcomp.data.makers.base import Clip, Found, Maker, folder_of, one_label, option, wanted
from embcomp.data.tables import decode_text
from embcomp.errors import ManifestError

LABEL_FILES = ("utt2label", "utt2class", "utt2lang", "utt2emo", "utt2accent", "utt2dialect", "text")
SHOWN_WORDS = 200  # different texts at most, for them to be classes


@dataclass(frozen=True)
class KaldiSettings:
    """What the label is, and where paths start."""

    labels: str = option("", "File of the labels in DIR.  [default: utt2label, utt2lang, ..., text]", metavar="NAME")
    root: str = option("", "Where paths of wav.scp start.  [default: here, DIR and the folders above]", metavar="DIR")


class Kaldi(Maker):
    """``wav.scp``, with ``segments``, ``utt2spk`` and a file of labels."""

    name = "kaldi"
    summary = "A Kaldi data folder: wav.scp, segments, utt2spk and labels."
    Settings = KaldiSettings

    def recognises(self, path: Path) -> bool:
        """By wav.scp."""
        return (path / "wav.scp").is_file()

    def find(self, sources: Sequence[Path], settings: KaldiSettings, out: Path) -> Found:
        """Find the utterances; see `Maker`. Commands in wav.scp are not run: such recordings are left out."""
        folder = folder_of(sources, self)
        recordings = _pairs(wanted(folder / "wav.scp", "the list of recordings", self))
        if not recordings:
            raise ManifestError(
                f"{folder / 'wav.scp'} is empty; each of its lines is a name and the path of a recording"
            )
        notes: list[str] = []
        left_out: list[tuple[str, str]] = []
        paths: dict[str, Path] = {}
        for name, place in recordings.items():
            path = _find(place, folder, settings.root)
            if place.rstrip().endswith("|"):
                left_out.append(
                    (name, "wav.scp has a command for it, and commands are not run: write the audio to a file")
                )
            elif path is None:
                left_out.append((name, f"no such file: {place} (paths start at --root)"))
            else:
                paths[name] = path
        if not paths:
            raise ManifestError(f"{folder / 'wav.scp'}: no recording can be used; {left_out[0][0]}: {left_out[0][1]}")
        segments = _segments(folder / "segments")
        speaker = _pairs(folder / "utt2spk") if (folder / "utt2spk").is_file() else {}
        if speaker and all(name == who for name, who in speaker.items()):
            notes.append("utt2spk names each utterance its own speaker: no groups")
            speaker = {}
        labels, said = _labels(folder, settings.labels)
        notes += said
        clips = []
        for name, (recording, start, end) in (segments or {name: (name, None, None) for name in recordings}).items():
            if recording not in paths:
                if recording not in recordings:
                    left_out.append((name, f"its recording {recording} is not in wav.scp"))
                continue
            clips.append(Clip(paths[recording], labels.get(name, ""), speaker.get(name, ""), "", start, end))
        if without := sum(not clip.label for clip in clips):
            notes.append(f"{without} utterances have no label")
        home = Path(settings.root) if settings.root else folder
        return Found(clips, home, notes, folder.resolve().name, left_out=left_out)


def _lines(path: Path) -> list[tuple[str, str]]:
    try:
        if path.exists() and not path.is_file():  # a pipe has no end
            raise OSError("not a regular file")
        text, _ = decode_text(path.read_bytes(), path)
    except OSError as error:
        raise ManifestError(f"cannot read {path}: {error.strerror or error}") from None
    lines = [line.strip().split(maxsplit=1) for line in text.splitlines() if line.strip()]
    return [(parts[0], parts[1] if len(parts) > 1 else "") for parts in lines]


def _pairs(path: Path) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, rest in _lines(path):
        if found.setdefault(name, rest) != rest:
            raise ManifestError(f"{path} names {name!r} twice, differently")
    return found


def _segments(path: Path) -> dict[str, tuple[str, float | None, float | None]]:
    found: dict[str, tuple[str, float | None, float | None]] = {}
    for name, rest in _lines(path) if path.is_file() else []:
        parts = rest.split()
        try:
            start, end = float(parts[1]), float(parts[2])
        except (IndexError, ValueError):
            raise ManifestError(
                f"{path}: {name!r} is not followed by a recording, a start and an end in seconds"
            ) from None
        if start < 0 or end != -1 and end <= start:
            raise ManifestError(f"{path}: {name!r} ends at {end:g} s, not after its start")
        found[name] = (parts[0], start, None if end == -1 else end)
    return found


def _labels(folder: Path, given: str) -> tuple[dict[str, str], list[str]]:
    names = [given] if given else [name for name in LABEL_FILES if (folder / name).is_file()]
    if not names or not (folder / names[0]).is_file():
        what = given or f"one of {', '.join(LABEL_FILES)}"
        raise ManifestError(f"{folder} has no file of labels ({what}); name it with --labels")
    labels = {name: one_label(text, name) for name, text in _pairs(folder / names[0]).items()}
    if names[0] == "text" and not given and len(set(labels.values())) > SHOWN_WORDS:
        raise ManifestError(
            f"{folder / 'text'} holds {len(set(labels.values()))} different transcripts, which are no classes; name a file of "
            "labels with --labels"
        )
    return labels, [f"labels from {names[0]}"]


def _find(place: str, folder: Path, root: str) -> Path | None:
    starts = [Path(root)] if root else [Path("."), folder, *folder.resolve().parents]
    return next((start / place for start in starts if (start / place).is_file()), None)
