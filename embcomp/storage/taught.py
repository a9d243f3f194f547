"""Which clips taught the vectors of a store: those that its teacher and its compressor were learned from, kept beside them.

An exported Parquet file has them among its metadata.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from embcomp.errors import StoreError
from embcomp.storage.files import check_regular, write_bytes
from embcomp.storage.parquet import import_pyarrow
from embcomp.storage.seen import Seen, tensors_of

FILE = "taught.safetensors"  # in the folder of a store
ENTRY = b"embcomp.taught"  # among the metadata of a table
HASHES, FILES, SPANS = "seen", "seen_files", "seen_spans"


def together(*some: Seen | None) -> Seen | None:
    """All clips of several; None where none of them is known."""
    known = [one for one in some if one is not None]
    if len(known) < 2:
        return known[0] if known else None
    parts = {(file, *span) for one in known for file, span in zip(one.files.tolist(), map(tuple, one.spans.tolist()))}
    rows = sorted(parts)
    return Seen(
        np.unique(np.concatenate([one.hashes for one in known])),
        np.array([file for file, _, _ in rows], dtype=np.int64),
        np.array([span for _, *span in rows], dtype=np.float64).reshape(-1, 2),
    )


def keep(store: str | os.PathLike, seen: Seen | None) -> None:
    """Write what taught a finished store, or that nothing is known of it.

    Parameters
    ----------
    store : path
        Its folder.
    seen : Seen or None
    """
    path = Path(store, FILE)
    if seen is None:
        path.unlink(missing_ok=True)
        return
    content = packed(seen)
    if not path.is_file() or path.read_bytes() != content:
        write_bytes(path, content)


def kept(store: str | os.PathLike) -> Seen | None:
    """What taught a store, or the vectors of a Parquet file.

    Returns
    -------
    Seen or None
        None where it does not say, as stores of earlier versions and of models that others trained.

    Raises
    ------
    StoreError
        The file is damaged.
    MissingDependencyError
        It is a Parquet file, and pyarrow is not installed.
    """
    path = Path(store)
    if path.suffix.lower() == ".parquet" and path.is_file():
        return _of_parquet(path)
    path = path / FILE
    if not path.exists():
        return None
    try:
        check_regular(path)
        return unpacked(path.read_bytes())
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{path} does not say which clips taught the store ({error}); make the store again, or delete this file: "
            "what is trained on it can then not be checked against test clips"
        ) from None


def noted(metadata: Mapping[bytes, bytes], table: Path) -> Seen | None:
    """What taught the vectors of a table, from its metadata; None where they do not say.

    Raises
    ------
    StoreError
        They are damaged.
    """
    if ENTRY not in metadata:
        return None
    try:
        return unpacked(base64.b64decode(metadata[ENTRY], validate=True))
    except ValueError as error:
        raise StoreError(f"{table} does not say which clips taught its vectors ({error}); export it again") from None


def _of_parquet(path: Path) -> Seen | None:
    pyarrow = import_pyarrow()
    try:
        return noted(pyarrow.parquet.read_schema(path).metadata or {}, path)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"cannot read {path}: {error}") from None


def packed(seen: Seen) -> bytes:
    """As it is kept in a file: 8 bytes a clip, and 24 more for each part of a file."""
    from safetensors.torch import save

    return save(tensors_of(seen))


def unpacked(content: bytes) -> Seen:
    """What `packed` packed.

    Raises
    ------
    ValueError
        It is damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(content)
    except SafetensorError as error:
        raise ValueError(str(error)) from None
    kinds = {name: (str(one.dtype), one.dim()) for name, one in tensors.items()}
    expected = {HASHES: ("torch.int64", 1), FILES: ("torch.int64", 1), SPANS: ("torch.float64", 2)}
    if HASHES not in kinds or any(expected.get(name) != kind for name, kind in kinds.items()):
        raise ValueError(f"it holds {kinds}")
    found = Seen.of_tensors(tensors)
    if len(found.files) != len(found.spans) or found.spans.shape[1:] != (2,):
        raise ValueError("its parts do not fit together")
    return found
