"""Clips embedded by several workers: chunks of whole batches are jobs, whose vectors lie in files until the store has them.

The batches are those that one process would make, so that a row does not depend on how many work. One process, the
caller, writes the store: a chunk that is done is a row that need not be made again. Vectors come in files, not in
answers: an answer is JSON, and a file outlives the worker and the machine that wrote it.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from embcomp.audio.clips import Clips
from embcomp.audio.views import View, ViewedClips
from embcomp.config import read_choice
from embcomp.data.manifest import Manifest
from embcomp.errors import TeacherError
from embcomp.storage.chunks import chunk_folder, clear, take_chunk, write_chunk
from embcomp.teachers.base import Teacher, TeacherSettings
from embcomp.teachers.embedding import open_teacher, rows_of

BATCHES = 8  # of a chunk at most: seconds of work, and what is lost where a worker dies
CHUNKS = 4  # for each worker at least, so that none waits long for the last


@dataclass(frozen=True)
class Spread:
    """Who embeds, where several workers do.

    Attributes
    ----------
    engine : object
        From `embcomp.engines.open_engine`, in its ``with`` block.
    settings : TeacherSettings
        By which a worker opens the teacher.
    """

    engine: Any
    settings: TeacherSettings

    def over(
        self, clips: Clips, hashes: Sequence[str], teacher: Teacher, path: str | os.PathLike
    ) -> Callable[[list[np.ndarray]], Iterator[tuple[np.ndarray, np.ndarray]]] | None:
        """What makes the rows of a store, for `embcomp.storage.store.write_store`; None where a teacher has to be here.

        Parameters
        ----------
        hashes : sequence of str
            Of every clip.
        teacher : Teacher
            The one that `settings` open.
        path : path
            The store that is written.
        """
        if not all(one.runs for one in teacher.members or [teacher]):
            return None  # it looks vectors up by rows of the whole manifest
        return functools.partial(self._rows, clips, hashes, teacher, Path(path))

    def _rows(
        self, clips: Clips, hashes: Sequence[str], teacher: Teacher, path: Path, batches: list[np.ndarray]
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        folder = chunk_folder(path)
        jobs = ChunkJobs(batches, self.engine.workers, clips, hashes, teacher, self.settings, folder)
        gpus = int(any(str(getattr(one, "device", "")).startswith("cuda") for one in self._single()))
        try:
            for number, _ in self.engine.map(embed_chunk, jobs, gpus=gpus):
                yield jobs.rows(number), take_chunk(jobs.file(number))
        finally:
            clear(folder)

    def _single(self) -> tuple[TeacherSettings, ...]:
        return self.settings.members or (self.settings,)


def on_cpu(settings: TeacherSettings) -> TeacherSettings:
    """Settings to open a teacher by where it only says what it is: a GPU is needed where it works."""
    return replace(settings, device="cpu") if getattr(settings, "device", "cpu") != "cpu" else settings


class ChunkJobs(Sequence):
    """The jobs of the batches of a store, each put together when it is asked for: all paths of millions of clips are long.

    Parameters
    ----------
    batches : list of ndarray of int64
        Row numbers.
    workers : int
    """

    def __init__(
        self,
        batches: list[np.ndarray],
        workers: int,
        clips: Clips,
        hashes: Sequence[str],
        teacher: Teacher,
        settings: TeacherSettings,
        folder: Path,
    ):
        self._size = max(1, min(BATCHES, -(-len(batches) // (CHUNKS * max(1, workers)))))
        self._batches, self._hashes, self._folder, self._clips = batches, hashes, folder, clips
        self._same = {
            "teacher": {**settings.named(), **settings.options()},
            "weights": teacher.fingerprint(),
            "audio": {
                "folder": str(clips.manifest.folder),
                "allow_outside": clips.manifest.allow_outside,
                "sample_rate": clips.sample_rate,
                "seconds": clips.seconds,
                "channel": clips.channel,
                "ffmpeg": clips.ffmpeg,
                "view": asdict(clips.view) if isinstance(clips, ViewedClips) else None,
            },
        }
        self._columns = [clips.manifest.table[name].tolist() for name in ("path", "start", "end", "id", "row")]

    def __len__(self) -> int:
        return -(-len(self._batches) // self._size)

    def __getitem__(self, number: int) -> dict[str, Any]:
        if not 0 <= number < len(self):
            raise IndexError(number)
        rows = self.rows(number)
        return {
            **self._same,
            "clips": [[_plain(column[row]) for column in self._columns] for row in rows],
            "hashes": [self._hashes[row] for row in rows],
            "batches": [len(batch) for batch in self._of(number)],
            "out": str(self.file(number)),
        }

    def _of(self, number: int) -> list[np.ndarray]:
        return self._batches[number * self._size : (number + 1) * self._size]

    def rows(self, number: int) -> np.ndarray:
        """Row numbers of a chunk, in rising order."""
        return np.concatenate(self._of(number))

    def file(self, number: int) -> Path:
        """Where the vectors of a chunk lie."""
        return self._folder / f"chunk-{number}.npy"


def embed_chunk(
    teacher: dict[str, Any],
    weights: str,
    audio: dict[str, Any],
    clips: list[list],
    hashes: list[str],
    batches: list[int],
    out: str,
) -> None:
    """Embed the clips of a chunk, batch by batch, and write their vectors (n, dim) into the file `out`.

    Parameters
    ----------
    teacher : dict
        Settings by name, as a configuration has them.
    weights : str
        Fingerprint that the teacher must have.
    audio : dict
        How clips are decoded, and the folder that their paths start from.
    clips : list of [path, start, end, id, row]
    batches : list of int
        How many clips each batch has.

    Raises
    ------
    TeacherError
        The teacher has other weights here, or failed.
    AudioError
        A clip changed since it was hashed.
    StoreError
        `out` cannot be written.
    """
    opened = _opened(json.dumps(teacher, sort_keys=True), weights)
    rows = rows_of(_clips(audio, clips), hashes, opened)
    ends = np.cumsum([0, *batches])
    vectors = np.concatenate([rows(np.arange(*ends[at : at + 2])) for at in range(len(batches))])
    write_chunk(out, vectors)


@functools.lru_cache(maxsize=1)  # loading one may take longer than embedding a chunk
def _opened(settings: str, weights: str) -> Teacher:
    teacher = open_teacher(read_choice("teacher", json.loads(settings)))
    if teacher.fingerprint() != weights:
        raise TeacherError(
            f"the teacher {teacher.settings.spec} has other weights where a worker opens it; "
            "all machines must see the same files at the same place, and nothing may change them meanwhile"
        )
    return teacher


def _clips(audio: dict[str, Any], clips: list[list]) -> Clips:
    table = pd.DataFrame(clips, columns=["path", "start", "end", "id", "row"])
    table[["start", "end"]] = table[["start", "end"]].astype(float)
    manifest = Manifest(table, Path(audio["folder"]), audio["allow_outside"])
    found = Clips(manifest, *(audio[name] for name in ("sample_rate", "seconds", "channel", "ffmpeg")))
    return found if audio["view"] is None else ViewedClips.viewed(found, View(**audio["view"]))


def _plain(value: Any) -> Any:
    return None if isinstance(value, float) and np.isnan(value) else value
