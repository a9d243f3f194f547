"""Views by hand: `embed --views`, a compressor, `distill --views`."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from helpers.tones import write_tones

import embcomp
from embcomp.audio.clips import Clips
from embcomp.audio.views import View, ViewedClips
from embcomp.cli import group
from embcomp.config import AudioConfig, DataConfig, parse
from embcomp.data.manifest import Manifest
from embcomp.errors import ConfigError, StoreError
from embcomp.storage.store import EmbeddingStore
from embcomp.students.classifier import Classifier
from embcomp.teachers import KMeansTeacher
from embcomp.training.distill import distill

AUDIO = AudioConfig(seconds=0.3, n_mels=24)


def call(*words):
    done = CliRunner().invoke(group, [str(word) for word in words])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Labelled clips and a pool, embedded with two views each, and compressed."""
    root = tmp_path_factory.mktemp("views")
    home, pool = (write_tones(root / name, groups=3, clips=2, name=name, seed=seed) for seed, name in enumerate("ab"))
    small = ["--set", "teacher.centroids=6", "--set", "teacher.whitened=8", "--set", "teacher.patches=300"]
    changes = ["--views", 2, "--set", "training.noise=25", "--set", "training.view_seed=4"]
    shown = call("embed", home, "--teacher", "kmeans", *small, "--out", root / "e", "--seconds", 0.3, *changes)
    assert f"view 2: {root / 'e.view2'}" in shown
    call("embed", pool, "--teacher", f"kmeans:{root / 'e.teacher'}", "--out", root / "p", "--seconds", 0.3, *changes)
    reduce = ["--method", "pca", "--objective", "reconstruction", "--dim", 3]
    call("compress", root / "e", *reduce, "--out", root / "pca")
    stores = {}
    for name in ("e", "e.view1", "e.view2", "p", "p.view1", "p.view2"):
        call("apply", root / "pca", root / name, "--out", root / f"t-{name}")
        stores[name] = EmbeddingStore.open(root / f"t-{name}")
    return SimpleNamespace(root=root, home=Manifest.read(home), pool=Manifest.read(pool), stores=stores)


def variant(**training):
    sections = {"steps": 4, "batch_size": 8, "evaluate_every": 4, "freq_mask": 2, **training}
    return parse({"training": sections, "student": {"width": 8, "embedding": 8}}).variants[0]


def train(made, out, views=("e.view1", "e.view2"), pools=False, chosen=None, **options):
    of = made.stores
    return distill(
        made.home, out, variant=chosen or variant(), targets=of["e"], audio=AUDIO,
        unlabelled=[(made.pool, of["p"])] if pools else (), views=[of[name] for name in views], **options,
    )  # fmt: skip


def test_stores_of_views_hold_the_embedding_of_the_changed_sound(made):
    teacher = KMeansTeacher.load(made.root / "e.teacher")
    for number in (1, 2):
        store = EmbeddingStore.open(made.root / f"e.view{number}")
        view = View(**store.settings["view"])
        assert view == View(number, 4, gain=6.0, equaliser=10.0, roll=0.1, noise=25.0)
        clips = ViewedClips.viewed(Clips(made.home, 16_000, 0.3), view)
        for row in range(len(clips)):
            sound = clips.decode(row)
            expected = teacher.embed(sound[None], np.array([len(sound)]))
            np.testing.assert_allclose(store.take([made.home.ids[row]]), expected, rtol=1e-4, atol=1e-5)
    kept = EmbeddingStore.open(made.root / "e")
    assert "view" not in kept.settings
    assert np.abs(kept.take(made.home.ids) - store.take(made.home.ids)).max() > 1e-3


def test_the_student_gets_the_sound_that_its_target_is_of(made, tmp_path, monkeypatch):
    lessons = []

    def spy(variant, audio, lesson, out, **options):
        lessons.append((variant, lesson))
        return original(variant, audio, lesson, out, **options)

    original = embcomp.training.distill.train_student
    monkeypatch.setattr("embcomp.training.distill.train_student", spy)
    student = train(made, tmp_path / "s", ("p.view1", "e.view2", "e.view1"), pools=True)
    [(used, lesson)] = lessons
    assert used.training.views == 2 and len(lesson.views) == 2 and len(lesson.unlabelled) == 2
    front = embcomp.audio.features.front_end(AUDIO)
    parts = [(one, made.home) for one in lesson.views] + [(lesson.unlabelled[1], made.pool)]
    for part, manifest in parts:
        view = View(**part.embeddings.settings["source"]["view"])
        clips = ViewedClips.viewed(Clips.of(manifest, AUDIO), view)
        features, lengths = part.features.load(list(part.ids))
        for row, clip in enumerate(part.ids):
            sound = torch.from_numpy(clips.decode(manifest.ids.index(clip)))
            torch.testing.assert_close(
                features[row, :, : lengths[row]], front(sound[None])[0, :, : lengths[row]], rtol=1e-4, atol=1e-4
            )
    assert [one.embeddings.path.name for one, _ in parts] == ["t-e.view2", "t-e.view1", "t-p.view1"]
    # The same call finds the student; other views are another student.
    again = train(made, tmp_path / "s", ("p.view1", "e.view2", "e.view1"), pools=True)
    assert again.about["key"] == student.about["key"] and len(lessons) == 1
    other = train(made, tmp_path / "o", ("e.view1",))
    assert other.about["key"] != student.about["key"]


def test_labels_alone_get_the_views_that_the_training_names(made, tmp_path):
    alone = parse({"transfer": {"method": "none"}, "training": {"steps": 2, "batch_size": 8, "views": 2}}).variants[0]
    student = distill(made.home, tmp_path / "s", variant=alone, audio=AUDIO)
    assert (tmp_path / ".s.logmel.view2").is_dir()
    plain = replace(alone, training=replace(alone.training, views=0))
    other = distill(made.home, tmp_path / "o", variant=plain, audio=AUDIO)
    assert student.about["key"] != other.about["key"]


def test_without_views_the_key_is_that_of_before(made, tmp_path):
    """The key takes in nothing of views that are not there."""
    first = train(made, tmp_path / "s", ())
    noisy = train(made, tmp_path / "o", (), chosen=variant(noise=30.0, view_seed=9))
    assert first.about["key"] == noisy.about["key"]
    for one, other in zip(first.network.state_dict().values(), noisy.network.state_dict().values()):
        assert torch.equal(one, other)


def test_on_the_command_line(made, tmp_path):
    out, root = tmp_path / "s", made.root
    views = [word for number in (1, 2) for word in ("--views", root / f"t-e.view{number}")]
    settings = ["--set", "training.steps=2", "--set", "audio.seconds=0.3", "--set", "audio.n_mels=24"]
    call("distill", made.root / "a/manifest.csv", "--targets", root / "t-e", *views, "--out", out, *settings)
    assert Classifier.load(out).classes == ("high", "low") or list(Classifier.load(out).classes) == ["high", "low"]


def test_what_does_not_fit_is_refused_before_anything_is_trained(made, tmp_path):
    of, out = made.stores, tmp_path / "s"
    for views, options, why in (
        (("e",), {}, "holds vectors of clips as they are, not of a view"),
        (("p.view1",), {}, "lacks clips of every manifest given"),
        (("p.view1",), {"pools": True}, "views of unlabelled clips only"),
        (("e.view1", "e.view1"), {}, "is of view 1, as another store of --views is; give each once"),
        (("e.view1",), {"chosen": variant(views=2)}, "training.views is 2, and --views has 1"),
        ((), {"chosen": variant(views=2)}, "training.views needs the targets of the views: embed with --views"),
        (("e.view1",), {"chosen": variant(mixstyle=0.5)}, "training.mixstyle changes log-mels"),
    ):
        with pytest.raises((ConfigError, StoreError), match=why):
            train(made, out, views, **options)
    alone = parse({"transfer": {"method": "none"}, "training": {"steps": 2}}).variants[0]
    with pytest.raises(ConfigError, match="'none' learns from no targets; leave the views' out"):
        distill(made.home, out, variant=alone, views=[of["e.view1"]], audio=AUDIO)
    with pytest.raises(StoreError, match=r"clips of up to 0.3 s, and the student gets up to 2 s.*--seconds 2, or set"):
        distill(made.home, out, variant=variant(), targets=of["e"], views=[of["e.view1"]], audio=AudioConfig(n_mels=24))
    with pytest.raises(ConfigError, match="holds vectors, and cannot embed views"):
        embcomp.embed(made.home, tmp_path / "x", teacher=f"store:{made.root / 'e'}", views=[View(1)])
    np.save(tmp_path / "table.npy", np.zeros((len(made.home), 3), np.float32))
    table = DataConfig(inputs="table", input_file=str(tmp_path / "table.npy"))
    mlp = parse(
        {"student": {"kind": "mlp"}, "data": {"inputs": "table", "input_file": "x"}, "teacher": {"spec": "store:x"}}
    )
    with pytest.raises(ConfigError, match="views are of audio"):
        distill(made.home, out, variant=mlp.variants[0], targets=of["e"], views=[of["e.view1"]], data=table)
    assert not out.exists()
