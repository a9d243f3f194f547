"""Readers on mutated files: what is not right is an EmbcompError, and reading writes nothing and starts nothing."""

from __future__ import annotations

import contextlib
import json
import sys
import tomllib

import numpy as np
import pytest
import torch
from helpers.fuzzing import EXAMPLES, bytes_changed, fuzz, hook, rewriting, tree_changed
from helpers.settings import student_settings
from hypothesis import strategies as st

from embcomp.compression import Compressor
from embcomp.config import AudioConfig, load, parse, to_dict, to_toml
from embcomp.data.manifest import Manifest
from embcomp.storage.store import EmbeddingStore, write_store
from embcomp.students.classifier import Classifier
from embcomp.students.inference import predict_logits
from embcomp.teachers import KMeansTeacher

VECTORS = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)


@pytest.fixture(scope="module", autouse=True)
def hooked():
    sys.addaudithook(hook)


MANIFEST = """path,label,group,split,dataset,start,end
a.wav,owl,g1,train,x,,
"b c.wav","owl|tit",g2,test,x,0.5,1.5
d.wav,?tit,g1,train,,1,
é.wav,"a ""b"", c",g3,,y,,2
"""


@EXAMPLES
def test_manifests(tmp_path, examples):
    path = tmp_path / "manifest.csv"

    def read(content):
        manifest = Manifest.read(path)
        assert len(set(manifest.ids)) == len(manifest) > 0
        for row in range(len(manifest)):
            with contextlib.suppress(ValueError):  # a path with a zero byte; `Clips` names it
                manifest.leads_out(row)
            manifest.interval(row)

    fuzz(examples, bytes_changed(MANIFEST.encode()), read, path.write_bytes)


CONFIG = to_dict(parse({"seeds": [1], "variants": [{"name": "a", "transfer": {"method": "none"}}, {"name": "b"}]}))


@EXAMPLES
def test_configs_as_text(tmp_path, examples):
    text = to_toml(parse(CONFIG)).encode()
    path = tmp_path / "run.toml"

    def read(content):
        config = load(path, ["training.steps=5"])
        assert parse(tomllib.loads(to_toml(config))) == config

    fuzz(examples, bytes_changed(text), read, path.write_bytes)


@EXAMPLES
def test_configs_as_tables(examples):
    fuzz(examples, tree_changed(CONFIG), parse)


@EXAMPLES
def test_stores(tmp_path, examples):
    path = tmp_path / "store"
    ids = [f'clip "{number}", é.wav' for number in range(20)]
    write_store(path, ids, [f"{number:016x}" for number in range(20)], 6, {"teacher": "x"}, lambda rows: VECTORS[rows])
    meta = json.loads((path / "meta.json").read_text())
    cases = st.sampled_from(["data.npy", "index.csv", "meta.json"]).flatmap(
        lambda name: st.tuples(st.just(name), bytes_changed((path / name).read_bytes()[:1200]))
    ) | tree_changed(meta).map(lambda tree: ("meta.json", json.dumps(tree).encode()))

    def read(case):
        found = EmbeddingStore.open(path)
        assert found.take(found.ids).shape == (len(found), found.dim)

    fuzz(examples, cases, read, rewriting(path))


def use_compressor(path):
    found = Compressor.load(path)
    assert found.transform(VECTORS).shape == (20, 2)


def use_student(path):
    found = Classifier.load(path)
    logits = predict_logits(found.network, torch.zeros(2, found.audio.n_mels, 9), torch.tensor([9, 5]))
    assert found.probabilities(logits).shape == (2, len(found.classes))


def use_kmeans(path):
    found = KMeansTeacher.load(path)
    assert found.embed(np.zeros((1, 8000), np.float32), np.array([8000])).shape == (1, found.dim)


def save_kmeans(path):
    generator = torch.Generator().manual_seed(0)
    KMeansTeacher(*(torch.rand(shape, generator=generator) for shape in ((128,), (128, 4), (3, 4)))).save(path)


ARTIFACTS = {
    "compressor": (
        lambda path: Compressor(2, method="mlp", objective="reconstruction", epochs=0, hidden=4).fit(VECTORS).save(path),
        use_compressor,
    ),
    "student": (
        lambda path: Classifier.new("ab", AudioConfig(n_mels=8), student_settings(width=8, embedding=4), False, 0).save(path),
        use_student,
    ),
    "kmeans": (save_kmeans, use_kmeans),
}  # fmt: skip


@EXAMPLES
@pytest.mark.parametrize("kind", ARTIFACTS)
def test_artifacts(tmp_path, kind, examples):
    save, use = ARTIFACTS[kind]
    path = tmp_path / "artifact"
    save(path)
    use(path)
    weights, text = ((path / name).read_bytes() for name in ("weights.safetensors", "config.json"))
    head = 8 + int.from_bytes(weights[:8], "little")
    cases = st.one_of(
        bytes_changed(weights[:head]).map(lambda part: ("weights.safetensors", part + weights[head:])),
        bytes_changed(weights).map(lambda content: ("weights.safetensors", content)),
        bytes_changed(text).map(lambda content: ("config.json", content)),
        tree_changed(json.loads(text)).map(lambda tree: ("config.json", json.dumps(tree).encode())),
    )
    fuzz(examples, cases, lambda case: use(path), rewriting(path))
