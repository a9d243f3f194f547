"""Tables, vectors, annotations, lists, descriptions and audio changed at random: read, or refused in words.

EMBCOMP_FUZZ_CASES=10000 pytest tests/faults/test_fuzz_tables.py tries 10,000 of each.
"""

from __future__ import annotations

import io
import json
import sys
import warnings

import numpy as np
import pytest
import soundfile
from helpers.fuzzing import EXAMPLES, bytes_changed, fuzz, hook

from embcomp.audio.decoding import decode
from embcomp.data.annotations import read_audacity, read_raven
from embcomp.data.input_tables import read_table as read_inputs
from embcomp.data.labels import read_label_map
from embcomp.data.makers import make
from embcomp.data.tables import read_table
from embcomp.errors import ManifestError
from embcomp.evaluation.scores import Predictions
from embcomp.export.info import ModelInfo
from embcomp.report.reading import read_source
from embcomp.storage.ids import read_ids
from embcomp.storage.vectors import read_arrays
from embcomp.teachers.describe import parse_description

USUAL = 40  # cases in the suite
VECTORS = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
IDS = [f"a {row}é.wav" for row in range(6)]


@pytest.fixture(scope="module", autouse=True)
def hooked():
    sys.addaudithook(hook)


def npy():
    file = io.BytesIO()
    np.save(file, VECTORS)
    return file.getvalue()


def npz():
    file = io.BytesIO()
    np.savez(file, embeddings=VECTORS, ids=np.array(IDS))
    return file.getvalue()


def parquet():
    pyarrow = pytest.importorskip("pyarrow")
    module = pytest.importorskip("pyarrow.parquet")
    file = io.BytesIO()
    module.write_table(
        pyarrow.table({"id": IDS, "embedding": VECTORS.tolist(), "label": list("abcabc"), "x": VECTORS[:, 0]}), file
    )
    return file.getvalue()


def hdf5():
    h5py = pytest.importorskip("h5py")
    file = io.BytesIO()
    with h5py.File(file, "w") as store:
        store["embeddings"], store["ids"] = VECTORS, np.array([clip.encode() for clip in IDS])
    return file.getvalue()


def excel():
    openpyxl = pytest.importorskip("openpyxl")
    book, file = openpyxl.Workbook(), io.BytesIO()
    for row in (("path", "label"), *zip(IDS, "abcabc")):
        book.active.append(row)
    book.save(file)
    return file.getvalue()


def table(mark=","):
    rows = [["id", "x0", "x1", "x2"], *([clip, *map(str, row)] for clip, row in zip(IDS, VECTORS.tolist()))]
    return "\n".join(mark.join(row) for row in rows).encode()


def sound(form, subtype=None):
    file = io.BytesIO()
    soundfile.write(file, 0.1 * np.random.default_rng(0).normal(size=3000), 16_000, format=form, subtype=subtype)
    return file.getvalue()


RAVEN = b"Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tSpecies\n1\tSpectrogram 1\t1\t0.5\t1.5\t100\t900\twren\n2\tSpectrogram 1\t1\t2\t3,5\t100\t900\t\xc3\xa9\n"
DESCRIPTION = b"format = 1\nname = 'a'\nsample_rate = 48000\npooling = ['mean']\n[[models]]\nfile = 'a.onnx'\ninput = 'x'\noutput = 'y'\nwindow = 144000\nhop = 100\ntail = 'pad'\nbatch = 1\ndivide = 2.0\n"
SCORES = b"id,group,label,p:a,p:b\nx.wav,g,a,0.25,0.75\ny.wav,h,b,0.5,0.5\n"
# Name of the file, its whole content, and what reads it.
READERS = {
    "vectors .npy": ("v.npy", npy, read_arrays),
    "vectors .npz": ("v.npz", npz, read_arrays),
    "vectors .parquet": ("v.parquet", parquet, read_arrays),
    "vectors .csv": ("v.csv", table, read_arrays),
    "vectors .h5": ("v.h5", hdf5, read_arrays),
    "ids": ("v.ids.txt", lambda: "\n".join(IDS).encode(), read_ids),
    "inputs .csv": ("t.csv", lambda: table(";"), read_inputs),
    "inputs .parquet": ("t.parquet", parquet, read_inputs),
    "rows .csv": ("t.csv", table, read_table),
    "rows .json": ("t.json", lambda: json.dumps([{"path": clip, "label": "x"} for clip in IDS]).encode(), read_table),
    "rows .xlsx": ("t.xlsx", excel, read_table),
    "rows .parquet": ("t.parquet", parquet, read_table),
    "label map": ("m.csv", lambda: "from,to\na,b\nc,é\n".encode(), read_label_map),
    "raven": ("r.txt", lambda: RAVEN, read_raven),
    "audacity": ("a.txt", lambda: b"0.5\t1.5\twren\n2\t3,5\t\xc3\xa9\n\\\t100\t900\n", read_audacity),
    "predictions": ("p.csv", lambda: SCORES, lambda path: Predictions.load(path)),
    "description": ("d.toml", lambda: DESCRIPTION, lambda path: parse_description(path.read_text(encoding="utf-8", errors="replace"), "d.toml", path.parent)),
    "notes of a model": ("n.json", lambda: json.dumps(INFO).encode(), lambda path: ModelInfo.from_dict(_json(path), "n.json")),
    "curve of a report": ("c/curve.csv", lambda: b"method,dim,score,low,high\npca,2,0.5,0.4,0.6\npca,4,0.7,0.6,0.8\n", lambda path: read_source(path.parent)),
    **{f"audio {form}": (f"s.{form.lower()}", lambda form=form, kind=kind: sound(form, kind), lambda path: decode(path, 16_000, seconds=1.0, lost=lambda kind: None))
       for form, kind in (("WAV", None), ("WAV", "FLOAT"), ("FLAC", None), ("OGG", None), ("MP3", None), ("AIFF", None))},
}  # fmt: skip
INFO = {"kind": "student", "labels": ["a", "b"], "sample_rate": 16000, "window": 1.0, "input": "waveform"}


def _json(path):
    from embcomp.storage.files import read_json

    return read_json(path)


@EXAMPLES
@pytest.mark.parametrize("kind", READERS)
def test_what_is_changed_is_read_or_refused(tmp_path, kind, examples):
    name, make_whole, read = READERS[kind]
    path, whole = tmp_path / name, make_whole()
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(whole)

    def quietly(case):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read(path)

    if kind not in ("notes of a model", "curve of a report"):
        quietly(whole)
    fuzz(examples, bytes_changed(whole), quietly, path.write_bytes, both=False, usual=USUAL)


LISTS = {"wav.scp": b"r1 r1.wav\nr2 r2.wav\n", "segments": b"u1 r1 0.0 0.1\nu2 r2 0.0 0.1\n", "utt2spk": b"u1 s1\nu2 s2\n", "text": b"u1 wren\nu2 owl tit\n"}  # fmt: skip


@EXAMPLES
@pytest.mark.parametrize("name", LISTS)
def test_lists_of_kaldi(tmp_path, name, examples):
    for other, content in LISTS.items():
        (tmp_path / other).write_bytes(content)
    for number in (1, 2):
        soundfile.write(tmp_path / f"r{number}.wav", np.zeros(3000), 16_000)

    def read(case):
        make("kaldi", tmp_path, out=tmp_path / "m.csv")

    read(None)
    fuzz(examples, bytes_changed(LISTS[name]), read, (tmp_path / name).write_bytes, both=False, usual=USUAL)


def test_parquet_with_a_column_whose_name_is_no_text_is_refused(tmp_path):
    path = tmp_path / "t.parquet"
    path.write_bytes(parquet().replace(b"embedding", b"embeddi\xffg"))
    with pytest.raises(ManifestError, match="cannot read .*t.parquet as Parquet: 'utf-8' codec can't decode"):
        read_table(path)


def test_parquet_whose_pages_are_damaged_is_refused(tmp_path):
    whole, path = parquet(), tmp_path / "t.parquet"
    refused = 0
    for place in range(4, 300, 7):
        path.write_bytes(whole[:place] + b"\xff\xff\xff" + whole[place + 3 :])
        try:
            read_table(path)
        except ManifestError as error:
            refused += "cannot read" in str(error)
    assert refused
