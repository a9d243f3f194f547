"""Small files that unpack to far more than a machine holds: refused before they are read."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
from helpers.hostile import harmless, npy
from helpers.tones import write_tones

from embcomp.data import input_tables, tables
from embcomp.data.manifest import Manifest
from embcomp.errors import EmbcompError, StoreError
from embcomp.teachers import StoredTeacher


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return Manifest.read(write_tones(tmp_path_factory.mktemp("tones") / "tones"))


def test_an_archive_that_unpacks_to_gigabytes_is_refused(tmp_path, manifest):
    with zipfile.ZipFile(tmp_path / "v.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("embeddings.npy", "w", force_zip64=True) as file:
            file.write(npy(f"(24, {25 << 18})"))
            for _ in range(24 * 25):
                file.write(bytes(1 << 20))
        archive.writestr("../../planted", "x")
    with harmless(tmp_path / "planted"), pytest.raises(StoreError, match="unpacks to 600 MB; not read"):
        StoredTeacher(tmp_path / "v.npz", manifest)
    assert not (tmp_path.parent.parent / "planted").exists()


def parquet_bomb(path):
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    part = pyarrow.table({"id": np.zeros(1 << 20, dtype=np.int64), "embedding": np.zeros(1 << 20, dtype=np.int64)})
    with parquet.ParquetWriter(path, part.schema) as writer:
        for _ in range(8):
            writer.write_table(part)


def excel_bomb(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in ("[Content_Types].xml", "xl/workbook.xml"):
            archive.writestr(name, "<x/>")
        with archive.open("xl/worksheets/sheet1.xml", "w", force_zip64=True) as file:
            for _ in range(110):
                file.write(b" " * (1 << 20))


def hdf5_bomb(path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file.create_dataset("embeddings", shape=(10**6, 10**6), dtype="f4", chunks=(1000, 1000), compression="gzip")


BOMBS = {
    "vectors as Parquet": (parquet_bomb, "v.parquet", lambda path, manifest: StoredTeacher(path, manifest)),
    "vectors as HDF5": (hdf5_bomb, "v.h5", lambda path, manifest: StoredTeacher(path, manifest)),
    "inputs as Parquet": (parquet_bomb, "v.parquet", lambda path, manifest: input_tables.read_table(path)),
    "rows as Parquet": (parquet_bomb, "v.parquet", lambda path, manifest: tables.read_table(path)),
    "rows as Excel": (excel_bomb, "v.xlsx", lambda path, manifest: tables.read_table(path)),
}


@pytest.mark.parametrize("what", BOMBS)
def test_what_unpacks_to_far_more_than_its_size_is_refused_unread(tmp_path, manifest, what):
    make, name, read = BOMBS[what]
    make(tmp_path / name)
    with (
        harmless(tmp_path / "planted", megabytes=60),
        pytest.raises(EmbcompError, match="unpacks to .* MB, .*; not read"),
    ):
        read(tmp_path / name, manifest)


def test_what_shrinks_well_in_earnest_is_read(tmp_path):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    rows = pandas.DataFrame({"path": [f"{row}.wav" for row in range(50_000)], "label": ["same"] * 50_000})
    rows.to_parquet(tmp_path / "v.parquet")
    cells, _ = tables.read_table(tmp_path / "v.parquet")
    assert len(cells["path"]) == 50_000
