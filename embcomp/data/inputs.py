"""What students get instead of audio: rows of a table, or images, by the ids of a manifest."""

from __future__ import annotations

import hashlib
import math
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from embcomp.data.input_tables import read_table
from embcomp.data.manifest import Manifest
from embcomp.errors import BadClip, ConfigError, EmbcompWarning, StoreError, choose
from embcomp.storage.bringing import brought_from
from embcomp.storage.ids import ids_of_rows, spelled_otherwise
from embcomp.storage.store import EmbeddingStore
from embcomp.storage.vectors import read_arrays

CHANNELS = (1, 2, 3, 4)  # of an image
WORDS = {"table": "a table comes", "images": "images come"}
TABLES = (".csv", ".tsv", ".txt", ".parquet")
ARRAYS = (".npy", ".npz", ".h5", ".hdf5")


@dataclass(frozen=True)
class InputSpec:
    """What one input of a student is.

    Attributes
    ----------
    kind : {"audio", "table", "images"}
    shape : tuple of int
        Columns and 1, or channels, height and width; empty of audio, whose log-mels follow from its settings.
    columns : tuple of str
        Of a table.
    """

    kind: str = "audio"
    shape: tuple[int, ...] = ()
    columns: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Numbers that an input of a table or of images has."""
        return math.prod(self.shape)

    def settings(self) -> dict:
        """As it is saved; `of` reads it back."""
        return {"kind": self.kind, "shape": list(self.shape), "columns": list(self.columns)}

    @classmethod
    def of(cls, settings: dict) -> InputSpec:
        """What `settings` gave.

        Raises
        ------
        ValueError, KeyError, TypeError
            They are not of an input.
        """
        kind, columns = str(settings["kind"]), tuple(map(str, settings["columns"]))
        shape = tuple(map(int, settings["shape"]))
        if kind not in ("table", "images") or len(shape) != (2 if kind == "table" else 3) or min(shape) < 1:
            raise ValueError(f"{kind} inputs of shape {shape}")
        if kind == "table" and len(columns) != shape[0]:
            raise ValueError(f"{len(columns)} columns for {shape[0]} numbers")
        return cls(kind, shape, columns)


AUDIO = InputSpec()


class InputRows:
    """Rows of a file of inputs, by id.

    Parameters
    ----------
    path : Path
    spec : InputSpec
    data : ndarray of shape (n, *spec.shape)
    ids : list of str
    """

    def __init__(self, path: Path, spec: InputSpec, data: np.ndarray, ids: list[str]):
        self.path, self.spec, self.data, self.ids = path, spec, data, ids
        self._row_of = {name: row for row, name in enumerate(ids)}

    def take(self, ids: Sequence[str]) -> np.ndarray:
        """Inputs of `ids`, float32 (len(ids), *shape).

        Raises
        ------
        StoreError
            An id is not there; the first is named.
        """
        if any(name not in self._row_of for name in ids):
            self._row_of |= spelled_otherwise(self._row_of, ids)
        missing = [name for name in ids if name not in self._row_of]
        if missing:
            there = f"; it holds {self.ids[0]!r}, say" if self.ids else ""
            raise StoreError(f"{self.path} lacks {len(missing)} of {len(ids)} rows, {missing[0]!r} first{there}")
        return np.asarray(self.data[[self._row_of[name] for name in ids]], dtype=np.float32)

    def keys(self, ids: Sequence[str]) -> list[str]:
        """A key of the content of each of `ids`, by its float32 values and its shape."""
        head = repr((self.spec.kind, self.spec.shape)).encode()
        rows = np.ascontiguousarray(self.take(ids), dtype="<f4")
        return [hashlib.sha256(head + row.tobytes()).hexdigest()[:16] for row in rows]

    def bad(self, manifest: Manifest) -> list[BadClip]:
        """The rows of a manifest whose inputs are missing or infinite in part, each with the first such place."""
        found = []
        values = self.take(manifest.ids)
        for row in np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1)):
            place = np.argwhere(~np.isfinite(values[row]))[0]
            name = f"column {self.spec.columns[place[0]]!r}" if self.spec.columns else f"a pixel at {place.tolist()}"
            what = "is empty or no number" if np.isnan(values[row][tuple(place)]) else "is infinite"
            line = int(manifest.table["row"].iat[row])
            found.append(BadClip(line, manifest.ids[row], f"{name} of {self.path.name} {what}"))
        return found


def usable_rows(
    manifest: Manifest, rows: InputRows, skip_bad: bool, others: Sequence[BadClip] = ()
) -> tuple[Manifest, list[BadClip]]:
    """The clips of a manifest whose inputs are finite, and those that are left out.

    Parameters
    ----------
    skip_bad : bool
        Leave unusable clips out. Otherwise they raise.
    others : sequence of BadClip
        Clips that cannot be used for another reason.

    Raises
    ------
    StoreError
        A clip is not there; or some cannot be used and `skip_bad` is false, or none can. Every one is named.
    """
    bad = {clip.row: clip for clip in [*others, *rows.bad(manifest)]}
    listed = [bad[row] for row in sorted(bad)]
    return without_bad(manifest, listed, skip_bad), listed


def without_bad(manifest: Manifest, bad: Sequence[BadClip], skip_bad: bool) -> Manifest:
    """The other clips of a manifest, if these may be left out; see `usable_rows`."""
    if bad and (not skip_bad or len(bad) == len(manifest)):
        listing = "\n".join(f"  {clip}" for clip in bad)
        raise StoreError(
            f"{len(bad)} of {len(manifest)} rows cannot be used:\n{listing}\n"
            "Mend them, or leave them out with --skip-bad (data.skip_bad)"
        )
    return manifest.select(~manifest.table["row"].isin([clip.row for clip in bad]).to_numpy())


def input_path(file: str | os.PathLike, manifest: Manifest) -> Path:
    """Where the inputs of a data set lie: from its manifest's folder on, ``{dataset}`` being its name."""
    return brought_from(manifest.folder, os.fspath(file).replace("{dataset}", manifest.name))


def kind_of_inputs(path: str | os.PathLike) -> str:
    """What a file holds: ``table`` or ``images``, by its name or by the shape of its array.

    Raises
    ------
    StoreError
        Missing or of another kind.
    """
    path = Path(path)
    if not path.exists():
        raise StoreError(f"no table and no images at {path}")
    if path.suffix.lower() in TABLES or (path / "meta.json").exists():
        return "table"
    return "table" if read_arrays(path)[0].ndim == 2 else "images"


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


def read_inputs(
    kind: str, path: str | os.PathLike, ids: Sequence[str] | None = None, columns: Sequence[str] = ()
) -> InputRows:
    """Read what students get.

    A table is ``.csv``, ``.tsv`` or ``.parquet`` with a column ``id`` or ``path`` and columns of numbers, or an array
    (n, columns) as ``.npy`` or ``.npz``; images are arrays (n, height, width) or (n, channels, height, width). Beside a
    ``.npy`` its ids may lie, see `embcomp.storage.vectors.open_vectors`.

    Parameters
    ----------
    kind : {"table", "images"}
    path : path
    ids : sequence of str, optional
        Of the rows, in order, for a file without ids; by default they are numbered from 0 on.
    columns : sequence of str
        Of a table, those to take, in that order; empty takes all that hold numbers.

    Raises
    ------
    StoreError
        Missing, of another kind or shape, an id twice, a column that is not there or holds no numbers.

    Warns
    -----
    EmbcompWarning
        Columns that are left out.
    """
    choose("kind of input", kind, dict.fromkeys(("table", "images")))
    path = Path(path)
    if not path.exists():
        raise StoreError(f"no {kind} at {path} (data.input_file)")
    suffix, accepted = path.suffix.lower(), (TABLES if kind == "table" else ()) + ARRAYS
    if not path.is_dir() and suffix not in accepted:
        raise StoreError(f"{path}: {WORDS[kind]} as {', '.join(accepted)}")
    if kind == "table" and suffix in TABLES and not path.is_dir():
        found = read_table(path, columns)
        if found.left_out and not columns:
            warnings.warn(f"{path.name}: not shown to students: {found.left_out}", EmbcompWarning, stacklevel=2)
        data, own, names = found.data, found.ids, found.columns
    else:
        data, own = _stored(path) if (path / "meta.json").exists() else read_arrays(path)
        if data.dtype.kind not in "fiub":
            raise StoreError(f"{path}: inputs must be numbers, not {data.dtype}")
        data, names = _table(data, path, columns) if kind == "table" else (_images(data, path), ())
    own = ids_of_rows(own, ids, data, path, "inputs")
    return InputRows(path, InputSpec(kind, data.shape[1:], tuple(names)), data, own)


def _stored(path: Path) -> tuple[np.ndarray, list[str]]:
    """The rows of an embcomp store, which may be what students see."""
    store = EmbeddingStore.open(path)
    return store.data, store.ids


def _table(data: np.ndarray, path: Path, columns: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """An array as a table whose columns are called by their numbers."""
    if data.ndim != 2 or not data.shape[1]:
        raise StoreError(f"{path}: a table has the shape (n, columns), not {data.shape}")
    names = [str(number) for number in range(data.shape[1])]
    if unknown := [name for name in columns if name not in names]:
        raise StoreError(
            f"{path} has no column {unknown[0]!r}: the columns of an array are called 0 to {len(names) - 1}"
        )
    data = data[:, [int(name) for name in columns]] if columns else data
    return data[:, :, None], list(columns or names)


def _images(data: np.ndarray, path: Path) -> np.ndarray:
    if data.ndim == 4 and data.shape[1] not in CHANNELS and data.shape[3] in CHANNELS:
        raise StoreError(
            f"{path}: images have the shape (n, channels, height, width), and {data.shape} has the channels last; "
            "save np.moveaxis(images, -1, 1)"
        )
    if data.ndim == 3:
        data = data[:, None]
    if data.ndim != 4 or not all(data.shape[1:]):
        raise StoreError(
            f"{path}: images have the shape (n, height, width) or (n, channels, height, width), not {data.shape}"
        )
    return data
