"""What a student is given of a manifest: log-mels of its audio, or rows of a table or images from a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from embcomp.audio.clips import Clips
from embcomp.audio.features import Features, audio_settings, compute_features
from embcomp.config import AudioConfig
from embcomp.data.inputs import InputRows, usable_rows
from embcomp.data.manifest import Manifest
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
    clips : Clips or None
        Their audio; None where students get something else.
    front : AudioConfig or None
        How log-mels are made.
    """

    manifest: Manifest
    hashes: list[str]
    settings: dict[str, Any]
    features: Callable[[str | os.PathLike], Features | FileFeatures]
    clips: Clips | None = None
    front: AudioConfig | None = None


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
        clips.manifest,
        hashes,
        audio_settings(front),
        lambda path: compute_features(clips, hashes, front, path),
        clips,
        front,
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
