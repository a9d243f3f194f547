"""What a student is given of a manifest: log-mels of its audio, or rows of a table or images from a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embcomp.audio.clips import Clips
from embcomp.audio.features import Features, audio_settings, compute_features
from embcomp.config import AudioConfig
from embcomp.data.inputs import InputRows, InputSpec, input_path, read_inputs, usable_rows
from embcomp.data.manifest import Manifest
from embcomp.errors import ConfigError
from embcomp.students.arrays import FileFeatures


@dataclass(frozen=True)
class Given:
    """The usable clips of a manifest.

    Attributes
    ----------
    manifest : Manifest
    hashes : list of str
        Content key of each.
    settings : dict
        What the inputs depend on, beside the clips.
    features : callable
        From a path, where log-mels are kept, to the inputs.
    """

    manifest: Manifest
    hashes: list[str]
    settings: dict[str, Any]
    features: Callable[[str | os.PathLike], Features | FileFeatures]


def given_audio(manifest: Manifest, audio: AudioConfig, skip_bad: bool, front: AudioConfig | None = None) -> Given:
    """The clips that decode.

    Parameters
    ----------
    front : AudioConfig, optional
        How log-mels are made where that is not `audio`, which says how files are decoded.

    Raises
    ------
    AudioError
        Clips cannot be used and `skip_bad` is false.
    """
    clips, _ = Clips.of(manifest, audio).usable(skip_bad)
    hashes, front = clips.hashes(), front or audio
    return Given(
        clips.manifest, hashes, audio_settings(front), lambda path: compute_features(clips, hashes, front, path)
    )


def given_rows(manifest: Manifest, rows: InputRows, skip_bad: bool) -> Given:
    """The clips whose inputs are finite.

    Raises
    ------
    StoreError
        A clip is not there; or some cannot be used and `skip_bad` is false.
    """
    usable, _ = usable_rows(manifest, rows, skip_bad)
    return Given(usable, rows.keys(usable.ids), rows.spec.settings(), lambda path: FileFeatures(rows))


def rows_for(spec: InputSpec, file: str | os.PathLike | None, manifest: Manifest | None = None) -> InputRows | None:
    """The inputs in a file for a student that takes `spec`; None of one that takes audio.

    Parameters
    ----------
    file : path, optional
        From the working directory on, or else from the manifest's folder.

    Raises
    ------
    ConfigError
        The student takes audio and there is a file, or another input and there is none.
    StoreError
        The file is missing or damaged, or holds other inputs than the student takes.
    """
    if spec.kind == "audio":
        if file is not None:
            raise ConfigError("this student takes audio; leave --inputs out")
        return None
    if file is None:
        raise ConfigError(f"this student takes {described(spec)}; give the file that holds them: --inputs FILE")
    path = Path(file)
    if manifest is not None and not path.exists():
        path = input_path(path, manifest)
    rows = read_inputs(spec.kind, path, None if manifest is None else manifest.ids, spec.columns)
    if rows.spec.shape != spec.shape:
        raise ConfigError(f"{path} holds {described(rows.spec)}; this student takes {described(spec)}")
    return rows


def described(spec: InputSpec) -> str:
    """Inputs in words."""
    if spec.kind == "images":
        channels, height, width = spec.shape
        return f"images of {channels} x {height} x {width} (channels, height, width)"
    shown: Sequence[str] = spec.columns[:5]
    return f"a table with {len(spec.columns)} columns ({', '.join(shown)}{', ...' * (len(spec.columns) > 5)})"
