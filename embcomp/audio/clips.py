"""The clips of a manifest: hashed, checked, decoded batch by batch."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from embcomp.audio.decoding import GRACE, decode, fit_length
from embcomp.audio.mono import LOSSES
from embcomp.config import AudioConfig
from embcomp.data.manifest import Manifest
from embcomp.data.slips import numbered
from embcomp.errors import AudioError, BadClip, EmbcompWarning, refuse_bad
from embcomp.storage.bringing import bring_together, hash_of, is_there
from embcomp.storage.content import part_key
from embcomp.storage.members import member_of
from embcomp.storage.places import url_of

REMOTE_WORKERS = 16  # threads that bring remote files; they mostly wait


@dataclass(frozen=True)
class Clips:
    """Audio of a manifest at one sample rate, cut at one length.

    Attributes
    ----------
    manifest : Manifest
    sample_rate : int
        Hz.
    seconds : float
        Longer clips are cut.
    channel : str
        Of files with several; see `embcomp.audio.mono.to_mono`.
    ffmpeg : bool
        Whether the program ffmpeg reads what libsndfile cannot.
    """

    manifest: Manifest
    sample_rate: int
    seconds: float
    channel: str = "mix"
    ffmpeg: bool = False

    @classmethod
    def of(cls, manifest: Manifest, audio: AudioConfig, seconds: float | None = None) -> Clips:
        """The clips of a manifest as `audio` says, cut at its length or at `seconds`."""
        return cls(manifest, audio.sample_rate, seconds or audio.seconds, audio.channel, audio.ffmpeg)

    def __len__(self) -> int:
        return len(self.manifest)

    @property
    def samples(self) -> int:
        """Length of the longest clip possible, samples."""
        return round(self.seconds * self.sample_rate)

    def at(self, sample_rate: int) -> Clips:
        """The same clips, decoded at another rate (Hz)."""
        return self if sample_rate == self.sample_rate else replace(self, sample_rate=sample_rate)

    def decode(self, row: int, lost: Callable[[str], None] = lambda kind: None) -> np.ndarray:
        """Clip `row` as float32 (samples,).

        Parameters
        ----------
        lost : callable, optional
            See `embcomp.audio.decoding.decode`.

        Raises
        ------
        AudioError
            The clip cannot be used; it is named with its manifest row.
        """
        return self._read(row, self.seconds, lost)[: self.samples]

    def _read(self, row: int, seconds: float, lost: Callable[[str], None]) -> np.ndarray:
        start, end = self.manifest.interval(row)
        options = {"start": start, "end": end, "seconds": seconds, "channel": self.channel, "ffmpeg": self.ffmpeg}
        try:
            return decode(self.path(row), self.sample_rate, **options, lost=lost)
        except AudioError as error:
            raise self._named(row, str(error)) from None

    def _named(self, row: int, reason: str) -> AudioError:
        bad = BadClip(int(self.manifest.table["row"].iat[row]), self.manifest.table["path"].iat[row], reason)
        return AudioError(str(bad), [bad])

    def path(self, row: int) -> Path:
        """Where the audio of clip `row` lies, or its copy will lie if it is remote.

        Raises
        ------
        AudioError
            Outside the manifest's folder, and may not. The message does not repeat the path.
        """
        try:
            outside = self.manifest.leads_out(row)
        except (OSError, ValueError) as error:
            raise AudioError(f"cannot be read ({getattr(error, 'strerror', None) or error})") from None
        if outside:
            raise AudioError(
                "lies outside the manifest's folder; if you trust the manifest, give --allow-outside (data.allow_outside)"
            )
        return self.manifest.audio_path(row)

    def batch(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Clips `rows` as one zero-padded array and their lengths; see `embcomp.audio.decoding.fit_length`."""
        self._bring(rows)
        return fit_length([self.decode(row) for row in rows])

    def _bring(self, rows: Iterable[int]) -> None:
        """Bring the remote files of clips that are whole files."""
        if self._remote:
            whole = [row for row in rows if self.manifest.interval(row) == (None, None)]
            bring_together(self.path(row) for row in whole)

    @property
    def _remote(self) -> bool:
        return len(self) > 0 and bool(url_of(self.manifest.audio_path(0)))

    def unchanged(self, hashes: list[str]) -> Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]:
        """`batch`, which refuses audio that is not what was hashed.

        A row made from a file that changed meanwhile would be kept under the old
        content's hash, and be taken for good ever after.

        Parameters
        ----------
        hashes : list of str
            Of every clip, from `hashes`.
        """
        known: dict[str, tuple] = {}

        def check(row: int) -> None:
            try:
                path = self.path(row)
                if url_of(path) or member_of(path):
                    now, name = (), str(path)
                else:
                    about = os.stat(path)
                    now, name = (about.st_ino, about.st_size, about.st_mtime_ns), str(path)
                    if known.get(name) == now:
                        return
                same = self._with_interval(hash_of(path), row) == hashes[row]
            except OSError as error:
                raise self._named(row, f"cannot be read ({error.strerror or error})") from None
            if not same:
                raise self._named(row, "changed while it was in use; run again")
            # Of a file in many parts the hash is taken once.
            if self.manifest.interval(row) != (None, None):
                known[name] = now

        def batch(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            found = self.batch(rows)
            for row in rows:
                check(row)
            return found

        return batch

    def batches(self, size: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """All clips in order: row numbers, waveforms (k, samples), lengths (k,)."""
        for first in range(0, len(self), size):
            rows = np.arange(first, min(first + size, len(self)))
            yield rows, *self.batch(rows)

    def usable_batches(
        self, size: int, bad: list[BadClip], progress: Callable[[int], None] | None = None
    ) -> Iterator[tuple[list[int], list[np.ndarray]]]:
        """Clips that can be used, in order: row numbers, and a waveform (samples,) of each; the others are added to `bad`."""
        for first in range(0, len(self), size):
            rows: list[int] = []
            waveforms: list[np.ndarray] = []
            for row in range(first, min(first + size, len(self))):
                try:
                    waveforms.append(self.decode(row))
                    rows.append(row)
                except AudioError as error:
                    bad += error.bad
                if progress is not None:
                    progress(1)
            if rows:
                yield rows, waveforms

    def hashes(self, workers: int = 2) -> list[str]:
        """Content key of each clip: the hash of its file's bytes, and its interval; see `embcomp.storage.content`.

        A file that cannot be read has the hash ``"unreadable"``; `bad_clips` says why.
        """
        paths = self.manifest.table["path"].tolist()
        first_row: dict[str, int] = {}
        for row, path in enumerate(paths):
            first_row.setdefault(path, row)

        def key_of(row: int) -> str:
            try:
                path = self.path(row)
                return hash_of(path) if is_there(path) else "unreadable"
            except (OSError, ValueError):  # an AudioError is a ValueError
                return "unreadable"

        with ThreadPoolExecutor(REMOTE_WORKERS if self._remote else workers) as pool:
            by_path = dict(zip(first_row, _in_turn(pool, key_of, first_row.values())))
        return [self._with_interval(by_path[path], row) for row, path in enumerate(paths)]

    def _with_interval(self, key: str, row: int) -> str:
        return part_key(key, *self.manifest.interval(row))

    def look(self, progress: Callable[[int], None] | None = None, workers: int = 2) -> Looked:
        """Decode every clip and say which cannot be used, which are cut, and which lose something in a mono mix.

        Parameters
        ----------
        progress : callable, optional
            Called with 1 after each clip.
        """

        def one(row: int) -> tuple[BadClip | None, bool, str]:
            kinds: list[str] = []
            try:
                waveform = self._read(row, self.seconds + 2 * GRACE, kinds.append)
            except AudioError as error:
                return error.bad[0], False, ""
            return None, len(waveform) > (self.seconds + GRACE) * self.sample_rate, "".join(kinds)

        bad: list[BadClip] = []
        longer, lost = 0, {kind: [] for kind in LOSSES}
        # Decoding releases the interpreter lock, so threads share the work.
        with ThreadPoolExecutor(REMOTE_WORKERS if self._remote else workers) as pool:
            for row, (wrong, cut, kind) in enumerate(_in_turn(pool, one, range(len(self)))):
                bad += [] if wrong is None else [wrong]
                longer += cut
                if kind:
                    lost[kind].append(int(self.manifest.table["row"].iat[row]))
                if progress is not None:
                    progress(1)
        return Looked(bad, longer, {kind: rows for kind, rows in lost.items() if rows})

    def bad_clips(self, progress: Callable[[int], None] | None = None, workers: int = 2) -> list[BadClip]:
        """The clips that cannot be used; see `look`."""
        return self.look(progress, workers).bad

    def check(self, skip_bad: bool, progress: Callable[[int], None] | None = None) -> Checked:
        """The clips that decode, and what was found of all.

        Parameters
        ----------
        skip_bad : bool
            Leave unusable clips out. Otherwise they raise.

        Raises
        ------
        AudioError
            Some clips cannot be used and `skip_bad` is false, or none can. Every one is named.

        Warns
        -----
        EmbcompWarning
            Each of the notes.
        """
        found = self.look(progress)
        bad = found.bad
        refuse_bad(bad, len(self), skip_bad, "clips")
        notes = tuple(
            f"{self.manifest.name}, {numbered(rows)}: {LOSSES[kind]}; "
            'audio.channel = "left", "right" or "loudest" takes one'
            for kind, rows in found.lost.items()
        )
        for note in notes:
            warnings.warn(note, EmbcompWarning, stacklevel=2)
        rows = {clip.row for clip in bad}
        keep = ~self.manifest.table["row"].isin(rows).to_numpy()
        return Checked(replace(self, manifest=self.manifest.select(keep)), bad, found.longer, notes)

    def usable(self, skip_bad: bool, progress: Callable[[int], None] | None = None) -> tuple[Clips, list[BadClip]]:
        """The clips that decode, and those that do not; see `check`."""
        found = self.check(skip_bad, progress)
        return found.clips, found.bad


@dataclass(frozen=True)
class Looked:
    """What decoding every clip shows.

    Attributes
    ----------
    bad : list of BadClip
    longer : int
        Clips that go on past the length at which they are cut.
    lost : dict of str to list of int
        Lines of the manifest whose mono mix loses something, by a key of `embcomp.audio.mono.LOSSES`.
    """

    bad: list[BadClip]
    longer: int
    lost: dict[str, list[int]]


@dataclass(frozen=True)
class Checked:
    """Clips that can be used, and what is to be known of them.

    Attributes
    ----------
    clips : Clips
    bad : list of BadClip
        Left out.
    longer : int
        How many are cut.
    notes : tuple of str
    """

    clips: Clips
    bad: list[BadClip]
    longer: int
    notes: tuple[str, ...]


def names_audio(manifest: Manifest) -> bool:
    """Whether any row of a manifest names a file that is there; one of stored vectors may name none."""
    try:
        return any(is_there(manifest.audio_path(row)) for row in range(len(manifest)))
    except (OSError, ValueError):  # no name that a file could have
        return False


def _in_turn(pool: ThreadPoolExecutor, function: Callable[[int], Any], rows: Iterable[int]) -> Iterator[Any]:
    """``pool.map`` that hands out a few hundred at a time: an interruption waits for no more than these."""
    rows = iter(rows)
    while some := list(islice(rows, 256)):
        yield from pool.map(function, some)
