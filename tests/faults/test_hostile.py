"""Saved models, stores and run folders from somebody who means harm: nothing runs, nothing is allocated, nothing hangs."""

from __future__ import annotations

import json
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch
from helpers.hostile import harmless, npy
from helpers.settings import student_settings, teacher_settings
from helpers.tones import write_tones

from embcomp.compression import Compressor, Quantiser
from embcomp.config import AudioConfig
from embcomp.data.manifest import Manifest
from embcomp.errors import ArtifactError, EmbcompError, StoreError
from embcomp.evaluation.scores import Predictions
from embcomp.knowledge_clip import KnowledgeClip
from embcomp.knowledge_clip.text_encoder import TextEncoder
from embcomp.knowledge_clip.text_teacher import caption_vectors
from embcomp.pipeline.workspace import Workspace
from embcomp.storage.artifact import load_artifact
from embcomp.storage.files import write_json
from embcomp.storage.store import EmbeddingStore, write_store
from embcomp.students.classifier import Classifier
from embcomp.teachers import KMeansTeacher, StoredTeacher
from embcomp.training.loop import _Run

BIG = 10**12
SMALL = student_settings(width=8, embedding=4)
VECTORS = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)


class Plant:
    """Unpickling it makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def kmeans(path):
    rng = np.random.default_rng(0)
    waves = rng.normal(size=(4, 8000)).astype(np.float32)
    config = teacher_settings(centroids=4, patches=100, whitened=8, patch_frames=4)
    KMeansTeacher.learn([(waves, np.full(4, 8000))], 4, config).save(path)


ARTIFACTS = {
    "compressor": (lambda path: Compressor(2, method="pca").fit(VECTORS, ids=list(map(str, range(40)))).save(path), Compressor.load),
    "mlp compressor": (lambda path: Compressor(2, method="mlp", objective="reconstruction", epochs=0).fit(VECTORS).save(path), Compressor.load),
    "quantiser": (lambda path: Quantiser("int8").fit(VECTORS).save(path), Quantiser.load),
    "student": (lambda path: Classifier.new("ab", AudioConfig(n_mels=8), SMALL, False, 0).save(path), Classifier.load),
    "kmeans teacher": (kmeans, KMeansTeacher.load),
    "text encoder": (lambda path: TextEncoder(4, 4, 4, 16).save(path), TextEncoder.load),
    "knowledge clip": (lambda path: KnowledgeClip.new(AudioConfig(n_mels=8), SMALL, 0, {"buckets": 16}).save(path), KnowledgeClip.load),
}  # fmt: skip


def config(change):
    def attack(path, planted):
        content = json.loads((path / "config.json").read_text())
        (path / "config.json").write_text(json.dumps(change(content)))

    return attack


def numbers(content, value):
    """Every whole number that is a size becomes `value`."""
    if isinstance(content, dict):
        return {key: part if key in ("format", "seen") else numbers(part, value) for key, part in content.items()}
    if isinstance(content, list):
        return [numbers(part, value) for part in content]
    return value if type(content) is int else content


def raw(name, make):
    def attack(path, planted):
        (path / name).unlink()
        make(path / name, planted)

    return attack


def header(shape, length):
    text = json.dumps({"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, length]}}).encode()
    return struct.pack("<Q", len(text)) + text


def sparse(path, size):
    with open(path, "wb") as file:
        file.truncate(size)


WEIGHTS, CONFIG = "weights.safetensors", "config.json"
ATTACKS = {
    "pickled weights": raw(WEIGHTS, lambda path, planted: path.write_bytes(pickle.dumps(Plant(planted)))),
    "torch weights": raw(WEIGHTS, lambda path, planted: torch.save({"w": Plant(planted)}, path)),
    "pickled config": raw(CONFIG, lambda path, planted: path.write_bytes(pickle.dumps(Plant(planted)))),
    "a terabyte of weights": raw(WEIGHTS, lambda path, planted: path.write_bytes(header([BIG], 4 * BIG))),
    "shape beyond 64 bits": raw(WEIGHTS, lambda path, planted: path.write_bytes(header([2**40, 2**40], 8) + bytes(8))),
    "header of a terabyte": raw(WEIGHTS, lambda path, planted: path.write_bytes(struct.pack("<Q", BIG) + b"{")),
    "pipe for weights": raw(WEIGHTS, lambda path, planted: os.mkfifo(path)),
    "zeros for weights": raw(WEIGHTS, lambda path, planted: path.symlink_to("/dev/zero")),
    "pipe for config": raw(CONFIG, lambda path, planted: os.mkfifo(path)),
    "zeros for config": raw(CONFIG, lambda path, planted: path.symlink_to("/dev/zero")),
    "folder for config": raw(CONFIG, lambda path, planted: path.mkdir()),
    "config of ten gigabytes": raw(CONFIG, lambda path, planted: sparse(path, 10 << 30)),
    "deep config": raw(CONFIG, lambda path, planted: path.write_text('{"kind":' * 100_000)),
    "deep lists": raw(CONFIG, lambda path, planted: path.write_text("[" * 1_000_000)),
    "huge number": raw(CONFIG, lambda path, planted: path.write_text('{"format": ' + "9" * 100_000 + "}")),
    "sizes of a trillion": config(lambda content: numbers(content, BIG)),
    "sizes beyond 64 bits": config(lambda content: numbers(content, 10**30)),
    "negative sizes": config(lambda content: numbers(content, -3)),
    "zero sizes": config(lambda content: numbers(content, 0)),
    "sizes in words": config(lambda content: numbers(content, "../../etc/passwd")),
    "sizes in lists": config(lambda content: numbers(content, [[]])),
    "another kind": config(lambda content: {**content, "kind": "virus"}),
    "kind in a list": config(lambda content: {**content, "kind": ["student"]}),
    "nothing but the kind": config(lambda content: {key: content[key] for key in ("kind", "format")}),
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("kind", ARTIFACTS)
def test_a_hostile_artifact_is_refused(tmp_path, kind, attack):
    save, load = ARTIFACTS[kind]
    save(tmp_path / "a")
    load(tmp_path / "a")
    ATTACKS[attack](tmp_path / "a", tmp_path / "planted")
    with harmless(tmp_path / "planted"), pytest.raises(EmbcompError) as caught:
        load(tmp_path / "a")
    assert str(tmp_path / "a") in str(caught.value)


@pytest.mark.parametrize("kind", ARTIFACTS)
def test_weights_that_are_no_numbers_or_of_another_kind_are_refused(tmp_path, kind):
    from safetensors.torch import load_file, save_file

    save, load = ARTIFACTS[kind]
    save(tmp_path / "a")
    whole = load_file(tmp_path / "a" / WEIGHTS)
    first = next(name for name, tensor in whole.items() if tensor.is_floating_point() and tensor.numel())
    for change, message in ((lambda t: t * torch.nan, "NaN or infinite"), (lambda t: t.long(), "holds torch.int64")):
        save_file({**whole, first: change(whole[first])}, tmp_path / "a" / WEIGHTS)
        with pytest.raises(ArtifactError, match=message):
            load(tmp_path / "a")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"kind": "thing", "kind": "thing", "format": 1}', "a key is there twice"),
        ('{"kind": "thing", "format": NaN}', "NaN is not a finite number"),
        ('{"kind": "thing", "format": 1, "x": -Infinity}', "-Infinity is not a finite number"),
        ('{"kind": "thing", "format": 1, "x": 1e999}', "1e999 is not a finite number"),
        ('{"kind": "thing", "format": 1, "x": {"a": 1, "a": 2}}', "a key is there twice"),
    ],
)
def test_json_that_two_programs_would_read_differently_is_refused(tmp_path, text, message):
    (tmp_path / CONFIG).write_text(text)
    with pytest.raises(ArtifactError, match=message):
        load_artifact(tmp_path, "thing")


# Arrays.
def pickled(path, planted):
    np.save(path, np.array([[Plant(planted)]] * 24, dtype=object), allow_pickle=True)


ARRAYS = {
    "pickled objects": pickled,
    "bare pickle": lambda path, planted: path.write_bytes(pickle.dumps(Plant(planted))),
    "a trillion rows": lambda path, planted: path.write_bytes(npy(f"({BIG}, 6)") + bytes(96)),
    "a trillion columns": lambda path, planted: path.write_bytes(npy(f"(24, {BIG})") + bytes(96)),
    "shape beyond 64 bits": lambda path, planted: path.write_bytes(npy(f"({2**40}, {2**40})")),
    "shape beyond all bits": lambda path, planted: path.write_bytes(npy(f"({10**40}, 2)")),
    "negative shape": lambda path, planted: path.write_bytes(npy("(-24, -6)") + bytes(999)),
    "shape of true": lambda path, planted: path.write_bytes(npy("(True, 6)") + bytes(24)),
    "code for a shape": lambda path, planted: path.write_bytes(npy(f"(__import__('os').mkdir({str(planted)!r}),)")),
    "nested header": lambda path, planted: path.write_bytes(npy("(" * 5000 + ")" * 5000)),
    "long header": lambda path, planted: path.write_bytes(b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + b" " * 99),
    "objects by header": lambda path, planted: path.write_bytes(npy("(24, 6)", "'|O'") + pickle.dumps(Plant(planted))),
    "words": lambda path, planted: np.save(path, np.full((24, 6), "x")),
    "fields": lambda path, planted: np.save(path, np.zeros(24, dtype=[("a", "f4"), ("b", "O")]), allow_pickle=True),
    "pipe": lambda path, planted: os.mkfifo(path),
    "zeros": lambda path, planted: path.symlink_to("/dev/zero"),
}


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return Manifest.read(write_tones(tmp_path_factory.mktemp("tones") / "tones"))


@pytest.mark.parametrize("attack", ARRAYS)
def test_a_hostile_array_is_refused_wherever_it_is_read(tmp_path, manifest, attack):
    planted = tmp_path / "planted"
    write_store(tmp_path / "s", ["a"], ["h"], 6, {}, lambda rows: VECTORS[rows])
    (tmp_path / "s" / "data.npy").unlink()
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts/texts.csv").write_text("text\nowl\n")
    for path in (tmp_path / "v.npy", tmp_path / "s" / "data.npy", tmp_path / "texts" / "vectors.npy"):
        ARRAYS[attack](path, planted)
    with harmless(planted):
        with pytest.raises(StoreError):
            EmbeddingStore.open(tmp_path / "s")
        with pytest.raises(EmbcompError):
            StoredTeacher(tmp_path / "v.npy", manifest)
        with pytest.raises(EmbcompError):
            caption_vectors(f"vectors:{tmp_path / 'texts'}", ["owl"])


@pytest.mark.parametrize("attack", sorted(set(ARRAYS) - {"pipe", "zeros"}))
def test_a_hostile_array_in_an_archive_is_refused(tmp_path, manifest, attack):
    ARRAYS[attack](tmp_path / "v.npy", tmp_path / "planted")
    with zipfile.ZipFile(tmp_path / "v.npz", "w") as archive:
        archive.write(tmp_path / "v.npy", "embeddings.npy")
        np.save(tmp_path / "ids.npy", np.array(manifest.ids))
        archive.write(tmp_path / "ids.npy", "ids.npy")
    with harmless(tmp_path / "planted"), pytest.raises(EmbcompError):
        StoredTeacher(tmp_path / "v.npz", manifest)


@pytest.mark.parametrize("kind", ["pickle", "text", "empty", "words", "ragged"])
def test_a_hostile_parquet_is_refused(tmp_path, manifest, kind):
    path = tmp_path / "v.parquet"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Plant(tmp_path / "planted")))
    elif kind in ("text", "empty"):
        path.write_text("PAR1" * (kind == "text"))
    else:
        pandas = pytest.importorskip("pandas")
        pytest.importorskip("pyarrow")
        cells = [["a", "b"]] * 24 if kind == "words" else [[1.0] * (1 + row % 2) for row in range(24)]
        pandas.DataFrame({"id": manifest.ids, "embedding": cells}).to_parquet(path)
    with harmless(tmp_path / "planted"), pytest.raises(EmbcompError):
        StoredTeacher(path, manifest)


# Stores and run folders.
@pytest.mark.parametrize(
    "change",
    [
        {"settings": {"frames": BIG}}, {"settings": {"frames": -1}}, {"settings": {"frames": "2"}},
        {"settings": "x"}, {"format": True + 1}, {"complete": 0},
    ],
    ids=str,
)  # fmt: skip
def test_a_store_whose_description_lies_is_refused(tmp_path, change):
    write_store(tmp_path / "s", ["a"], ["h"], 6, {}, lambda rows: VECTORS[rows])
    meta = json.loads((tmp_path / "s/meta.json").read_text())
    (tmp_path / "s/meta.json").write_text(json.dumps(meta | change))
    with pytest.raises(StoreError):
        EmbeddingStore.open(tmp_path / "s")


def test_ids_that_look_like_paths_are_names_and_nothing_else(tmp_path):
    ids = ["../../x", "/etc/passwd", "C:\\x", "..", "~"]
    write_store(tmp_path / "s", ids, list("abcde"), 6, {}, lambda rows: VECTORS[rows])
    np.testing.assert_array_equal(EmbeddingStore.open(tmp_path / "s").take(["/etc/passwd"]), VECTORS[1:2])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s"]


@pytest.mark.parametrize("key", ["../../../etc/passwd", "/etc/passwd", "missing"])
def test_a_run_folder_knows_only_what_lies_in_it(tmp_path, key):
    with pytest.raises(EmbcompError):
        Workspace(tmp_path).load_split(key)
    with pytest.raises(EmbcompError):
        Workspace(tmp_path).load_dataset(key)


@pytest.mark.parametrize("content", [[], {}, {"manifest": "/dev/zero", "ids": [], "hashes": [], "allow_outside": True}, {"manifest": 3, "ids": 1, "hashes": 2, "allow_outside": 1}], ids=str)  # fmt: skip
def test_a_damaged_note_in_a_run_folder_is_refused(tmp_path, content):
    write_json(tmp_path / "stages/datasets/a.json", content)
    write_json(tmp_path / "stages/splits/a.json", content)
    for load in (Workspace(tmp_path).load_dataset, Workspace(tmp_path).load_split):
        with pytest.raises(EmbcompError):
            load("a")


@pytest.mark.parametrize("text", ["", "id\n", "id,group,label\na,b,c\n", "id,group,label,p:x\na,b,y,1\n", "id,group,label,p:x\na,b,x,nan\n", "id,group,label,p:x\na,b,x,one\n", "\0\0"])  # fmt: skip
def test_damaged_predictions_are_refused(tmp_path, text):
    (tmp_path / "p.csv").write_text(text)
    with pytest.raises(EmbcompError):
        Predictions.load(tmp_path / "p.csv")


# Checkpoints.
def restore(path, key="k"):
    run = object.__new__(_Run)
    run.restore(path, key)
    return run


@pytest.mark.parametrize("content", ["pickle", "object", "text", "pipe", "other key"])
def test_a_hostile_checkpoint_is_passed_over(tmp_path, content):
    path = tmp_path / "c.pt"
    if content == "pickle":
        path.write_bytes(pickle.dumps(Plant(tmp_path / "planted")))
    elif content == "object":
        torch.save({"key": "k", "step": Plant(tmp_path / "planted")}, path)
    elif content == "pipe":
        os.mkfifo(path)
    elif content == "text":
        path.write_text("no checkpoint")
    else:
        torch.save({"key": "other"}, path)
    with harmless(tmp_path / "planted"):
        assert vars(restore(path)) == {}


@pytest.mark.parametrize("content", [{}, {"student": 3}, {"student": {"w": torch.zeros(1)}, "step": "x"}], ids=str)
def test_a_checkpoint_that_does_not_fit_is_refused_by_name(tmp_path, content):
    torch.save({"key": "k", **content}, tmp_path / "c.pt")
    with pytest.raises(ArtifactError, match=r"checkpoint .*c\.pt is damaged .*delete it"):
        restore(tmp_path / "c.pt")
