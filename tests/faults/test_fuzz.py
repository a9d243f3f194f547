"""Readers on mutated files: what is not right is an EmbcompError, and reading writes nothing and starts nothing."""

from __future__ import annotations

import contextlib
import json
import sys
import time
import tomllib

import numpy as np
import pytest
import torch
from helpers.settings import student_settings
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from embcomp.compression import Compressor
from embcomp.config import AudioConfig, load, parse, to_dict, to_toml
from embcomp.data.manifest import Manifest
from embcomp.errors import EmbcompError
from embcomp.storage.store import EmbeddingStore, write_store
from embcomp.students.classifier import Classifier
from embcomp.students.inference import predict_logits
from embcomp.teachers import KMeansTeacher

VECTORS = np.random.default_rng(0).normal(size=(20, 6)).astype(np.float32)
EXAMPLES = pytest.mark.parametrize("examples", [100, pytest.param(10_000, marks=pytest.mark.slow)])
WATCHED: list[list[str]] = []
WRITES = (
    "os.mkdir",
    "os.rename",
    "os.remove",
    "os.rmdir",
    "os.symlink",
    "os.link",
    "os.truncate",
    "os.chmod",
    "shutil.",
)
STARTS = ("subprocess.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "socket.", "pickle.find_class")


def hook(event, arguments):
    """Notes every write and every start while a reader is watched; an audit hook cannot be taken away again."""
    if not WATCHED:
        return
    if event == "open":
        mode, flags = arguments[1], arguments[2]
        # O_WRONLY and O_RDWR are 1 and 2.
        if (isinstance(mode, str) and set(mode) & set("wax+")) or (mode is None and flags & 3):
            WATCHED[-1].append(f"open {arguments[0]}")
    elif event.startswith((*WRITES, *STARTS)):
        WATCHED[-1].append(f"{event} {arguments}")


@pytest.fixture(scope="module", autouse=True)
def hooked():
    sys.addaudithook(hook)


@contextlib.contextmanager
def watched():
    WATCHED.append([])
    try:
        yield WATCHED[-1]
    finally:
        WATCHED.pop()


JSON = st.recursive(
    st.sampled_from([None, True, False, 0, -1, 1, 2, 3, 2**31, 2**63, 10**30, 0.5, -1e300, "", "x", "../../x", "/etc/passwd", "\0", "é"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "kind", "frames", "0"]), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip
PLACES = st.lists(st.floats(0, 0.999), min_size=1, max_size=4)
# Bytes that mean something to one of the formats, and any others.
PIECES = st.sampled_from([b"", b'"', b",", b"\n", b"\r", b"|", b"?", b"\0", b"\xff", b"\xef\xbb\xbf", b"[", b"{", b"}", b"=", b"'", b"#", b"\\u0000", b"-1", b"1e999", b"nan", b"../", b"999999999999"]) | st.binary(max_size=8)  # fmt: skip


@st.composite
def bytes_changed(draw, whole):
    """Some pieces put in, taken out or written over, or the end cut off."""
    content = bytearray(whole)
    for share in draw(PLACES):
        place = int(share * (len(content) + 1))
        length = draw(st.sampled_from([0, 0, 1, 1, 2, 4, 8, 10**9]))
        content[place : place + length] = draw(PIECES)
    return bytes(content)


@st.composite
def tree_changed(draw, tree):
    """A few leaves or branches of nested tables replaced, taken out or doubled."""
    tree = json.loads(json.dumps(tree))
    for _ in range(draw(st.integers(1, 3))):
        node, path = tree, []
        while isinstance(node, (dict, list)) and len(node) and (not path or draw(st.booleans())):
            path.append(node)
            keys = list(node) if isinstance(node, dict) else list(range(len(node)))
            key = draw(st.sampled_from(keys))
            node = node[key]
        if path:
            value = draw(st.just(Ellipsis) | JSON)
            if value is Ellipsis:
                del path[-1][key]
            else:
                path[-1][key] = value
    return tree


def fuzz(examples, cases, read, make=None):
    """Read so many cases; only EmbcompErrors may come, and nothing may be written or started.

    Parameters
    ----------
    cases : strategy
    read : callable
        Takes a case that `make`, unwatched, has laid on disk.
    """
    counts = {"read": 0, "refused": 0}

    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(cases)
    def every(case):
        if make is not None:
            make(case)
        with watched() as seen:
            try:
                read(case)
                counts["read"] += 1
            except EmbcompError as error:
                assert str(error)
                counts["refused"] += 1
        assert seen == []

    started = time.perf_counter()
    every()
    sys.stderr.write(f"{counts} in {time.perf_counter() - started:.1f} s\n")  # shown by pytest -rP
    assert counts["refused"] > 0 and counts["read"] > 0
    assert sum(counts.values()) >= 0.9 * examples


def rewriting(folder):
    """Lays the one changed file of a case into `folder`, the others as they were."""
    whole = {path.name: path.read_bytes() for path in folder.iterdir()}

    def make(case):
        for name, content in whole.items():
            (folder / name).write_bytes(content)
        (folder / case[0]).write_bytes(case[1])

    return make


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
