"""Clips that taught the vectors of a store travel with them: to targets, to the student, and to the test that refuses them."""

from __future__ import annotations

import os

import numpy as np
import pytest
from helpers.settings import student_settings
from helpers.tones import write_tones
from hypothesis import given
from hypothesis import strategies as st

import embcomp
from embcomp.audio.clips import Clips
from embcomp.compression.store import apply
from embcomp.config import AudioConfig, parse
from embcomp.data.manifest import Manifest
from embcomp.errors import ArtifactError, DataError, StoreError
from embcomp.storage.seen import Seen
from embcomp.storage.store import EmbeddingStore, write_store
from embcomp.storage.taught import ENTRY, FILE, keep, kept, together
from embcomp.students.classifier import Classifier
from embcomp.training.compress import fit_compressor
from embcomp.training.distill import distill

NAMES = st.lists(st.sampled_from([f"clip{n}" for n in range(6)] + ["long#0-1", "long#2-3", "long#2.5-inf"]), max_size=6)


@given(NAMES, NAMES, NAMES)
def test_together_holds_what_either_holds(one, other, asked):
    both = together(Seen.of(one), None, Seen.of(other))
    assert both.among(asked) == Seen.of([*one, *other]).among(asked)
    np.testing.assert_array_equal(both.hashes, Seen.of([*one, *other]).hashes)


@pytest.mark.parametrize("suffix, package", [(".parquet", "pyarrow"), (".lance", "lance")])
def test_tables_keep_it(tmp_path, suffix, package):
    pytest.importorskip(package)
    from embcomp.storage import exchange

    seen = (Seen.of(["a", "long#1-2"]), Seen.of(["b"]), None)
    files = []
    for number, one in enumerate(seen):
        path, ids = tmp_path / f"s{number}", [f"{number}{letter}" for letter in "xyz"]
        keep(write_store(path, ids, ids, 1, {}, lambda rows: np.ones((len(rows), 1))).path, one)
        files.append(path.with_suffix(suffix))
        exchange.export_store(path, files[-1])
    if suffix == ".parquet":  # which are read as they are, too
        asked = ["a", "b", "long#1.5-3", "long#2-3"]
        assert [kept(file) and kept(file).among(asked) for file in files] == [["a", "long#1.5-3"], ["b"], None]
    back = kept(exchange.import_tables(files[:1], tmp_path / "one").path)
    assert back.among(["a", "b", "long#1.5-3", "long#2-3"]) == ["a", "long#1.5-3"]
    assert kept(exchange.import_tables(files[2:], tmp_path / "none").path) is None
    both = kept(exchange.import_tables(files, tmp_path / "all").path)
    assert both.among(["a", "b", "c", "long#1.5-3"]) == ["a", "b", "long#1.5-3"]


def test_a_parquet_file_whose_taught_clips_are_damaged_or_too_many_is_refused(tmp_path, monkeypatch):
    pyarrow = pytest.importorskip("pyarrow")
    from embcomp.storage import exchange

    store = write_store(tmp_path / "s", ["a"], ["a"], 1, {}, lambda rows: np.ones((len(rows), 1)))
    keep(store.path, Seen.of(["b"]))
    exchange.export_store(store.path, tmp_path / "good.parquet")
    table = pyarrow.parquet.read_table(tmp_path / "good.parquet")
    for damage in (b"?", table.schema.metadata[ENTRY][:-8]):
        damaged = table.replace_schema_metadata({**table.schema.metadata, ENTRY: damage})
        pyarrow.parquet.write_table(damaged, tmp_path / "bad.parquet")
        with pytest.raises(StoreError, match="bad.parquet does not say which clips taught its vectors"):
            exchange.import_tables([tmp_path / "bad.parquet"], tmp_path / "back")
        with pytest.raises(StoreError, match="bad.parquet does not say which clips taught its vectors"):
            kept(tmp_path / "bad.parquet")
        assert not (tmp_path / "back").exists()
    (tmp_path / "none.parquet").write_bytes(b"no table")
    with pytest.raises(StoreError, match="cannot read .*none.parquet"):
        kept(tmp_path / "none.parquet")
    monkeypatch.setattr(exchange, "MOST_TAUGHT", 10)
    with pytest.raises(StoreError, match="taught by 1 clip, more than .* copy the store's folder"):
        exchange.export_store(store.path, tmp_path / "more.parquet")
    assert not (tmp_path / "more.parquet").exists()


def test_nothing_known_stays_unknown(tmp_path):
    assert together() is None and together(None, None) is None
    assert kept(tmp_path) is None


def test_a_store_keeps_it_and_is_still_ours_to_write(tmp_path):
    def store(names):
        return write_store(tmp_path / "s", names, names, 1, {}, lambda rows: np.ones((len(rows), 1)))

    seen = Seen.of(["a", "long#1-2"])
    keep(store(["a"]).path, seen)
    back = kept(tmp_path / "s")
    assert back.among(["a", "b", "long#1.5-3", "long#2-3"]) == ["a", "long#1.5-3"]
    store(["a", "b"])  # written over, and then nothing is known until the writer says it
    assert kept(tmp_path / "s") is None
    keep(tmp_path / "s", seen)
    keep(tmp_path / "s", None)
    assert kept(tmp_path / "s") is None


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", b"\x08\0\0\0\0\0\0\0{}      "])
def test_a_damaged_file_is_refused_in_words(tmp_path, content):
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(StoreError, match="does not say which clips taught the store.*make the store again"):
        kept(tmp_path)


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / FILE)
    with pytest.raises((StoreError, ArtifactError)):
        kept(tmp_path)


@pytest.fixture(scope="module")
def tones(tmp_path_factory):
    return Manifest.read(write_tones(tmp_path_factory.mktemp("taught"), groups=4, clips=2))


def trained(folder, tones, splits):
    """A student of the split train, whose teacher and compressor were learned from `splits`."""
    embcomp.embed(tones, folder / "some", splits=splits, teacher="kmeans", options={"centroids": 8}, seconds=0.4)
    store = embcomp.embed(tones, folder / "all", teacher=f"kmeans:{folder / 'some.teacher'}", seconds=0.4).store
    apply(fitted_on(folder, tones.with_splits(["train"]), store), folder / "all", folder / "targets")
    variant = parse(
        {
            "transfer": {"method": "compressed"},
            "student": {"width": 8, "embedding": 8},
            "training": {"steps": 1, "batch_size": 8, "evaluate_every": 1},
            "compressor": {"dim": 4},
        }
    ).variants[0]
    return distill(
        tones.with_splits(["train"]),
        folder / "student",
        variant=variant,
        targets=EmbeddingStore.open(folder / "targets"),
        audio=AudioConfig(seconds=0.4, n_mels=16),
    )


def fitted_on(folder, manifest, store):
    settings = parse({"compressor": {"method": "pca", "dim": 4}}).variants[0].compressor
    hashes = Clips.of(manifest, AudioConfig(), 0.4).hashes()
    fitted = fit_compressor(settings, store.take(manifest.ids), None, hashes, 0)
    fitted.save(folder / "compressor")
    return folder / "compressor"


def test_test_clips_that_taught_the_teacher_are_refused_though_the_student_never_had_them(tmp_path, tones):
    student = trained(tmp_path, tones, ["train", "test"])
    tested = tones.with_splits(["test"])
    assert not set(Clips.of(tested, AudioConfig(), 0.4).hashes()) & student.seen
    with pytest.raises(DataError, match="the teacher or the compressor of the student was learned from"):
        embcomp.evaluate(student, tested)
    with pytest.raises(DataError, match="learned from"):
        embcomp.evaluate(Classifier.load(tmp_path / "student"), tested)
    assert len(embcomp.evaluate(student, tested, allow_seen=True).table)


def test_a_teacher_of_training_clips_alone_is_no_hindrance(tmp_path, tones):
    student = trained(tmp_path, tones, ["train"])
    assert student.taught is not None
    assert len(embcomp.evaluate(Classifier.load(tmp_path / "student"), tones.with_splits(["test"])).table)


def test_a_student_of_before_opens_and_nothing_is_known_of_its_teacher(tmp_path):
    student = Classifier.new(["a", "b"], AudioConfig(n_mels=16), student_settings(width=8, embedding=8), False, 0)
    student.save(tmp_path / "student")
    assert Classifier.load(tmp_path / "student").taught is None
