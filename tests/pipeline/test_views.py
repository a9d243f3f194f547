"""Views in a run: what a student sees of a clip and what it is to match are of the very same sound."""

from __future__ import annotations

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.runs import tiny
from helpers.tones import write_three

import embcomp.training.assembly
from embcomp.audio.clips import Clips
from embcomp.audio.features import front_end
from embcomp.audio.views import View, ViewedClips, views_of
from embcomp.config import TrainingConfig, parse
from embcomp.data.labels import encode
from embcomp.data.manifest import Manifest
from embcomp.errors import ConfigError
from embcomp.pipeline import run
from embcomp.storage.store import EmbeddingStore
from embcomp.students.classifier import Classifier
from embcomp.teachers import JoinedTeacher, embed
from embcomp.training.augment import augmented
from embcomp.training.examples import steps_of

OWN = """
import numpy as np

class Levels:
    sample_rate, dim, fingerprint = 16000, 3, "levels 1"

    def embed(self, waveforms, lengths):
        first = np.stack([one[:size:size // 40][:40] for one, size in zip(waveforms, lengths)])
        level = (waveforms**2).sum(1) / lengths
        return np.stack([level**0.5, np.abs(first).mean(1), first[:, 7]], 1)
"""
K = 2


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    return write_three(tmp_path_factory.mktemp("sets"), OWN)


def content(sets, variants, **training):
    found = tiny(sets, seeds=[0], variants=variants, evaluation={"probe": False, "bootstrap": 5, "reestimate": False})
    found["teacher"] = {"spec": f"python:{sets / 'own.py'}:Levels"}
    found["split"] = {"by": "column", "test": ["test"], "validation": 0.5}
    found["compressor"] = {"dim": 2}
    found["data"] |= {"unlabelled": ["pool/manifest.csv"]}
    found["training"] |= {"steps": 6, "evaluate_every": 6, "freq_mask": 0, "time_mask": 0.0, **training}
    return found


VARIANTS = [
    {"name": "none", "transfer": {"method": "none"}},
    {"name": "raw", "transfer": {"method": "embedding"}},
    {"name": "regression", "transfer": {"method": "regression"}, "training": {"views": 0}},
    {"name": "compressed", "transfer": {"soft_labels": 0.5}},
]
CHANGES = {"views": K, "noise": 20.0, "equaliser": 6.0, "view_seed": 5}


@pytest.fixture(scope="module")
def config(sets):
    changed = content(sets, VARIANTS, **CHANGES)
    return parse(changed)


@pytest.fixture(scope="module")
def finished(config, tmp_path_factory):
    return run(config, tmp_path_factory.mktemp("run") / "out")


def lessons(config, result, sets, monkeypatch):
    """What `train_student` was asked for by each variant's student, found by training it once more."""
    seen = {}

    def spy(variant, audio, lesson, out, **options):
        seen[variant.name] = lesson
        return embcomp.training.assembly.train_student(variant, audio, lesson, out, **options)

    monkeypatch.setattr("embcomp.pipeline.stages.student.train_student", spy)
    shutil.rmtree(result.folder / "stages/students")
    run(config, result.folder)
    return seen


def test_the_target_of_every_row_is_the_embedding_of_the_sound_the_student_sees(
    config, finished, sets, tmp_path, monkeypatch
):
    shutil.copytree(finished.folder, tmp_path / "out")
    seen = lessons(config, replace(finished, folder=tmp_path / "out"), sets, monkeypatch)
    space: dict = {}
    exec(compile(OWN, "own", "exec"), space)
    teacher, logmel = space["Levels"](), front_end(config.audio)
    views = views_of(config.variants[1].training)
    lesson = seen["raw"]
    assert [len(lesson.views), len(lesson.unlabelled)] == [K, 1 + K]
    split = next(iter((tmp_path / "out/stages/splits").iterdir()))
    tests = set(pd.read_json(split, typ="series")["test"])
    for part, where, view in [
        (lesson.fit, "home", None), *((one, "home", view) for one, view in zip(lesson.views, views)),
        (lesson.unlabelled[0], "pool", None), *((one, "pool", view) for one, view in zip(lesson.unlabelled[1:], views)),
    ]:  # fmt: skip
        clips = Clips.of(Manifest.read(sets / where / "manifest.csv"), config.audio)
        clips = clips if view is None else ViewedClips.viewed(clips, view)
        place = {clip: row for row, clip in enumerate(clips.manifest.ids)}
        features, lengths = part.features.load(list(part.ids))
        assert not set(part.ids) & tests
        for row, clip in enumerate(part.ids):
            sound = clips.decode(place[clip])
            vector = teacher.embed(sound[None], np.array([len(sound)]))[0]
            np.testing.assert_allclose(part.embeddings.take([clip])[0], vector, rtol=1e-5, atol=1e-6)
            frames = int(logmel.frames(len(sound)))
            assert lengths[row] == frames
            torch.testing.assert_close(
                features[row, :, :frames], logmel(torch.from_numpy(sound)[None])[0, :, :frames], rtol=1e-4, atol=1e-4
            )
    # Labels go with the views, and a method without a teacher gets the same changed sounds.
    for one in lesson.views:
        assert list(one.ids) == list(lesson.fit.ids)
        np.testing.assert_array_equal(one.labels.matrix, lesson.fit.labels.matrix)
    assert [part.features.store.path for part in seen["none"].views] == [
        part.features.store.path for part in lesson.views
    ]
    assert not np.allclose(
        lesson.views[0].embeddings.take(lesson.fit.ids), lesson.fit.embeddings.take(lesson.fit.ids), atol=1e-4
    )


def test_batches_hold_rows_of_features_with_the_target_of_the_same_row(config, finished, sets, tmp_path, monkeypatch):
    shutil.copytree(finished.folder, tmp_path / "out")
    rows = []

    def spy(student, transfer, fit, validation, training, **options):
        step = transfer.loss

        def loss(output, batch):
            rows.append((batch.features.clone(), batch.rows.clone(), transfer.targets[batch.rows].clone()))
            return step(output, batch)

        monkeypatch.setattr(transfer, "loss", loss)
        spied.append(transfer.targets.clone())
        return train(student, transfer, fit, validation, training, **options)

    train, spied = embcomp.training.assembly.train, []
    monkeypatch.setattr("embcomp.training.assembly.train", spy)
    found = content(sets, [VARIANTS[1]], **CHANGES)
    shutil.rmtree(tmp_path / "out/stages/students")
    run(parse(found), tmp_path / "out")
    stores = [EmbeddingStore.open(path) for path in (tmp_path / "out/stages/views").iterdir()]
    heard = np.concatenate([one.data[:, :-1].reshape(-1, 24, (one.data.shape[1] - 1) // 24) for one in stores])
    vectors = {one.path.name: one for one in map(EmbeddingStore.open, (tmp_path / "out/stages/embeddings").iterdir())}
    of_views = {}
    for store in stores:
        match = next(
            one for one in vectors.values()
            if one.settings.get("view") == store.settings["view"] and set(one.ids) == set(store.ids)
        )  # fmt: skip
        for clip, row in zip(store.ids, store.data):
            of_views[row[:-1].reshape(24, -1)[:, :8].tobytes()] = match.take([clip])[0]
    assert len(of_views) == len(heard)
    changed = 0
    for features, _, targets in rows:
        for one, target in zip(features, targets):
            known = of_views.get(one[:, :8].contiguous().numpy().tobytes())
            if known is not None:  # the others are the clips themselves
                changed += 1
                np.testing.assert_array_equal(target.numpy(), known)
    drawn = sum(len(features) for features, *_ in rows)
    assert 0.4 < changed / drawn < 0.9  # K of K + 1


def test_test_clips_and_further_sets_are_in_no_view(finished, sets):
    tested = Manifest.read(sets / "home/manifest.csv")
    tests = {clip for clip, split in zip(tested.ids, tested.splits) if split == "test"}
    viewed = [EmbeddingStore.open(path) for path in (finished.folder / "stages/views").iterdir()]
    viewed += [
        store for store in map(EmbeddingStore.open, (finished.folder / "stages/embeddings").iterdir())
        if "view" in store.settings
    ]  # fmt: skip
    assert len(viewed) == 8  # of the set trained on and the pool: two views of sound, two of vectors
    assert {store.settings["view"]["seed"] for store in viewed} == {5}
    for store in viewed:
        assert not tests & set(store.ids) and not any("abroad" in clip for clip in store.ids)


def test_a_second_run_does_nothing_and_a_lost_view_is_made_again(config, finished, tmp_path):
    shutil.copytree(finished.folder, tmp_path / "out")
    again = run(config, tmp_path / "out")
    assert again.made == 0
    lost = next((tmp_path / "out/stages/views").iterdir())
    before = (lost / "data.npy").read_bytes()
    shutil.rmtree(lost)
    once = run(config, tmp_path / "out")
    assert once.made == 1 and (lost / "data.npy").read_bytes() == before
    pd.testing.assert_frame_equal(once.scores, finished.scores)


def students(result):
    return {one.about["variant"]: one for one in map(Classifier.load, (result.folder / "stages/students").iterdir())}


def test_without_views_all_is_as_before(finished, sets, tmp_path):
    plain = run(parse(content(sets, VARIANTS, equaliser=6.0)), tmp_path / "out")
    assert not (tmp_path / "out/stages/views").exists()
    one, other = students(finished)["regression"], students(plain)["regression"]
    for a, b in zip(one.network.state_dict().values(), other.network.state_dict().values()):
        assert torch.equal(a, b)
    names = {path.name for path in (tmp_path / "out/stages/students").iterdir()}
    assert len(names & {path.name for path in (finished.folder / "stages/students").iterdir()}) == 1
    # The key of a student without views is the one it had before there were any.
    assert not {"views", "noise", "view_seed"} & set(TrainingConfig().key())
    assert {"views", "noise", "view_seed"} < set(TrainingConfig(views=1).key())


def test_a_learned_and_a_joined_teacher_embed_views_of_their_fold(sets, tmp_path):
    changed = content(sets, [VARIANTS[1], VARIANTS[1] | {"name": "alone"}], views=1)
    spec = f"kmeans(centroids=4, whitened=8, patches=300) + python:{sets / 'own.py'}:Levels"
    changed["variants"][0] = changed["variants"][0] | {"teacher": {"spec": spec}}
    changed["data"] |= {"cross": [], "unlabelled": []}
    result = run(parse(changed), tmp_path / "out")
    stores = [EmbeddingStore.open(path) for path in (result.folder / "stages/embeddings").iterdir()]
    [view] = [one for one in stores if "view" in one.settings and "members" in one.settings]
    [clean] = [one for one in stores if "members" in one.settings and "view" not in one.settings]
    assert view.settings["members"][0]["view"] == view.settings["view"]
    assert view.settings["weights"] == clean.settings["weights"]
    assert np.abs(view.take(view.ids) - clean.take(view.ids)).max() > 1e-3
    # Members embed the view once for both variants.
    assert sorted(one.settings["teacher"] for one in stores if "view" in one.settings) == [
        "kmeans", "kmeans + python", "python",
    ]  # fmt: skip
    # The same as the joined teacher on the changed clips.
    places = (result.folder / "stages/teachers").iterdir()
    [place] = [one for one in places if "joined" in (one / "config.json").read_text()]
    manifest = Manifest.read(sets / "home/manifest.csv")
    rows = [manifest.ids.index(clip) for clip in view.ids]
    clips = Clips.of(manifest.select(np.array(rows)), parse(changed).audio)
    viewed = ViewedClips.viewed(clips, View(**view.settings["view"]))
    teacher = JoinedTeacher.load(place, run_code=True)
    alone = embed(viewed, viewed.hashes(), teacher, tmp_path / "alone")
    assert alone.settings == view.settings
    np.testing.assert_allclose(alone.take(view.ids), view.take(view.ids), rtol=1e-4, atol=1e-5)


def test_the_loop_changes_no_sound_that_a_teacher_has_heard():
    features, lengths = torch.randn(4, 24, 20), torch.full((4,), 20)
    generator = torch.Generator().manual_seed(0)
    views = TrainingConfig(views=2, freq_mask=0, time_mask=0.0, equaliser=9.0, mixstyle=0.5)
    assert torch.equal(augmented(features, lengths, views, generator), features)
    hidden = augmented(features, lengths, replace(views, time_mask=0.5), generator)
    assert not torch.equal(hidden, features)  # hiding is for the student alone


def test_a_pass_is_over_the_clips_not_over_their_views():
    labels = encode(["a", "b"] * 30)
    once = encode(["a", "b"] * 10)
    config = TrainingConfig(epochs=4, batch_size=8)
    assert steps_of(replace(config, views=2), labels) == steps_of(config, once) == 10


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"training": {"views": 1, "mixstyle": 0.5}}, "set training.mixstyle to 0"),
        ({"training": {"views": 101}}, "training.views must be at most 100"),
        ({"training": {"views": 1}, "teacher": {"spec": "store:x.npy"}}, "'store:x.npy' holds vectors, and cannot embed"),
        ({"training": {"views": 1}, "teacher": {"spec": "kmeans + store:x"}}, "'store:x' holds vectors"),
        ({"training": {"views": 1}, "transfer": {"method": "clip_teacher"}}, "clip_teacher runs its teacher at every step"),
        ({"training": {"views": 1}, "data": {"inputs": "table", "input_file": "x.csv"}, "teacher": {"spec": "store:x"}}, "views"),
    ],
)  # fmt: skip
def test_settings_that_do_not_go_with_views_are_refused(changes, why):
    with pytest.raises(ConfigError, match=why):
        parse(changes)


def test_vectors_over_time_may_be_rolled_with_their_sound():
    frames = {"method": "embedding", "frames": True}
    found = parse({"training": {"views": 1}, "transfer": frames, "teacher": {"frames": 4}}).variants[0]
    assert found.transfer.over_time and found.training.roll > 0
    with pytest.raises(ConfigError, match="set training.roll to 0"):
        parse({"transfer": frames, "teacher": {"frames": 4}})
