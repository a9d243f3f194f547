"""Pictures and pages of clips, stores, runs and students: what is in them, and what is refused."""

from __future__ import annotations

import json
import re
import sys
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers.pools import CLASSES, save_student
from helpers.report_cases import make_run
from helpers.tones import write_tones

from embcomp.cli.show import show as command
from embcomp.data.manifest import Manifest
from embcomp.errors import ArtifactError, AudioError, ConfigError, DataError, ManifestError, MissingDependencyError
from embcomp.export.labelling import open_audio_labeller
from embcomp.show import maps
from embcomp.show.clip import _pieces
from embcomp.storage.store import write_store

pytest.importorskip("matplotlib")
pytestmark = pytest.mark.filterwarnings("ignore::embcomp.errors.EmbcompWarning")


@pytest.fixture(scope="module")
def there(tmp_path_factory) -> Path:
    """Tones, a student and a store of their vectors; not to be changed."""
    folder = tmp_path_factory.mktemp("there")
    manifest = Manifest.read(write_tones(folder / "tones", classes=CLASSES, groups=2, clips=2))
    save_student(folder / "student")
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(len(manifest), 5)).astype(np.float32)
    write_store(
        folder / "store", manifest.ids, [f"{row}" for row in range(len(manifest))], 5, {}, lambda rows: vectors[rows]
    )
    return folder


@pytest.fixture
def call(capsys):
    def run(*words):
        command.main([str(word) for word in words], standalone_mode=False)
        return capsys.readouterr()

    return run


def is_picture(path: Path) -> bool:
    return path.read_bytes().startswith(b"\x89PNG")


def content(folder: Path) -> dict:
    page = (folder / "index.html").read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="content">(.*?)</script>', page, re.S)[1])


def test_a_clip_is_drawn_with_what_a_model_says(there, tmp_path, call):
    clip = there / "tones/audio/tones_high_0_0.wav"
    assert call(clip, "--out", tmp_path / "a.png").out == f"{tmp_path / 'a.png'}\n"
    call(f"{clip}#0.05-0.15", "--model", there / "student", "--window", 0.1, "--hop", 0.05, "--out", tmp_path / "b.png")
    assert is_picture(tmp_path / "a.png") and is_picture(tmp_path / "b.png")
    call(clip, "--out", tmp_path / "a.png")  # its own is drawn anew
    (tmp_path / "mine.png").write_bytes(b"\x89PNG mine")
    with pytest.raises(ArtifactError, match="is no picture of embcomp"):
        call(clip, "--out", tmp_path / "mine.png")


def test_windows_of_a_clip_are_those_that_predict_labels(there):
    model = open_audio_labeller(there / "student")
    path = there / "tones/audio/tones_low_0_0.wav"
    from embcomp.audio.decoding import decode
    from embcomp.prediction.windows import label_windows

    found = _pieces(model, decode(path, model.audio.sample_rate), 0.1, 0.05)
    expected = list(label_windows(model, path, window=0.1, hop=0.05))
    for one, other in zip(found, expected):
        assert one.start == pytest.approx(other.start)
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=1e-5)
    assert abs(len(found) - len(expected)) <= 1


@pytest.mark.parametrize("name", ["a $x^ b.wav", "音 <b>.wav"])
def test_names_are_no_formulas(there, tmp_path, call, name):
    soundfile.write(tmp_path / name, np.zeros(4000), 8000)
    call(tmp_path / name, "--out", tmp_path / "a.png")
    assert is_picture(tmp_path / "a.png")


def test_a_store_is_a_map_with_clips_to_play(there, tmp_path, call):
    call(there / "store", "--out", tmp_path / "alone.png")
    assert is_picture(tmp_path / "alone.png")
    manifest = there / "tones/manifest.csv"
    call(there / "store", "--manifest", manifest, "--out", tmp_path / "map")
    found = content(tmp_path / "map")
    assert found["classes"] == sorted(CLASSES) and len(found["points"]) == len(found["clips"]) == 12
    read = Manifest.read(manifest)
    for (_, _, number), clip, name, label in zip(found["points"], found["clips"], read.ids, read.labels):
        assert (clip["name"], clip["said"], found["classes"][number]) == (name, label, label)
        samples, _ = soundfile.read(tmp_path / "map" / clip["src"])
        np.testing.assert_allclose(samples, soundfile.read(read.folder / name)[0], atol=1e-4)
    assert "copies in sounds/" in (tmp_path / "map/index.html").read_text()
    call(there / "store", "--manifest", manifest, "--out", tmp_path / "linked", "--link", "--most", 5)
    found = content(tmp_path / "linked")
    assert len(found["clips"]) == 5 and not (tmp_path / "linked/sounds").exists()
    assert all((tmp_path / "linked" / clip["src"]).is_file() for clip in found["clips"])


def test_maps_are_the_same_for_the_same_seed_and_keep_distances_where_they_can(rng):
    flat = rng.normal(size=(30, 2)) @ rng.normal(size=(2, 6))
    plane = maps.pca(flat, 0)
    expected = np.linalg.norm(flat[:, None] - flat, axis=-1)
    np.testing.assert_allclose(np.linalg.norm(plane[:, None] - plane, axis=-1), expected, atol=1e-8)
    np.testing.assert_array_equal(maps.pca(flat, 0), plane)


def test_umap_is_asked_for_by_its_extra(rng, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(MissingDependencyError, match=r"pip install -e '.\[umap\]' in a clone"):
        maps.umap(rng.normal(size=(9, 3)), 0)
    asked = {}

    class Fake:
        def __init__(self, **options):
            asked.update(options)

        def fit_transform(self, vectors):
            return vectors[:, :2]

    module = types.ModuleType("umap")
    module.UMAP = Fake
    monkeypatch.setitem(sys.modules, "umap", module)
    assert maps.umap(rng.normal(size=(9, 3)), 3).shape == (9, 2)
    assert (asked["n_neighbors"], asked["random_state"]) == (8, 3)


def test_a_run_is_its_learning_curves(tmp_path, call):
    run = make_run(tmp_path / "run")
    assert call(run, "--out", tmp_path / "curves").out.split() == [
        str(tmp_path / "curves/curves.png"), str(tmp_path / "curves/index.html"),
    ]  # fmt: skip
    assert is_picture(tmp_path / "curves/curves.png")
    assert "How they learned" in (tmp_path / "curves/index.html").read_text()


def test_a_student_is_its_confusions_with_the_clips_behind_them(there, tmp_path, call):
    manifest = tmp_path / "manifest.csv"
    read = Manifest.read(there / "tones/manifest.csv")
    labels = [*read.labels[:10], "other", ""]
    lines = [f"{there / 'tones' / name},{label}" for name, label in zip(read.ids, labels)]
    manifest.write_text("path,label\n" + "\n".join(lines) + "\n")
    said = call(there / "student", "--manifest", manifest, "--allow-outside", "--out", tmp_path / "confusion")
    assert "1 clip left out, whose label is no class of the student" in said.err
    import embcomp

    predicted = embcomp.predict(there / "student", [there / "tones" / name for name in read.ids[:10]]).labels
    found = content(tmp_path / "confusion")
    pairs = {
        found["clips"][clip]["name"]: (found["classes"][truth], found["classes"][answer])
        for truth, answer, clips in found["cells"]
        for clip in clips
    }
    assert pairs == {
        str(there / "tones" / name): (label, answer) for name, label, answer in zip(read.ids, labels, predicted)
    }
    assert is_picture(tmp_path / "confusion/confusion.png")
    for _, _, clips in found["cells"]:
        sure = [float(found["clips"][clip]["said"]) for clip in clips]
        assert sure == sorted(sure, reverse=True)
    assert all((tmp_path / "confusion" / clip["src"]).is_file() for clip in found["clips"])


def test_clips_that_the_student_was_trained_on_are_counted(there, tmp_path):
    from embcomp.audio.clips import Clips
    from embcomp.show.confusions import show_student

    model, manifest = open_audio_labeller(there / "student"), Manifest.read(there / "tones/manifest.csv")
    _, notes = show_student(model, manifest, tmp_path / "a.png")
    assert notes == []
    model.classifier.seen = frozenset(Clips.of(manifest, model.audio).hashes()[:3])
    _, notes = show_student(model, manifest, tmp_path / "a.png")
    assert notes == ["3 of 12 clips were used to train or validate the student; other clips say more"]


def test_what_cannot_be_shown_is_said(there, tmp_path, call):
    store, student, clip = there / "store", there / "student", there / "tones/audio/tones_high_0_0.wav"
    manifest = there / "tones/manifest.csv"
    other = tmp_path / "other.csv"
    other.write_text("path,label\nx.wav,cat\ny.wav,dog\n")
    cases = [
        ((clip, "--out", tmp_path / "a.jpg"), ConfigError, "--out is FILE.png or a folder"),
        ((clip, "--out", tmp_path / "a"), ConfigError, "pictures are PNG files: --out .*a.png"),
        ((clip, "--most", 5, "--out", tmp_path / "a.png"), ConfigError, "--most is for a store; .* is a clip"),
        ((store, "--model", student, "--out", tmp_path / "a.png"), ConfigError, "--model is for a clip"),
        ((tmp_path / "none.wav", "--out", tmp_path / "a.png"), AudioError, "none.wav"),
        ((tmp_path, "--out", tmp_path / "a.png"), ConfigError, "is no folder that embcomp made; shown are clips"),
        ((store, "--out", tmp_path / "a"), ConfigError, "the page needs the clips: add --manifest"),
        ((store, "--map", "tsne", "--out", tmp_path / "a.png"), ConfigError, "unknown map 'tsne'"),
        ((store, "--manifest", other, "--out", tmp_path / "a"), ManifestError, "names none of the clips"),
        ((store, "--most", 2, "--out", tmp_path / "a.png"), ConfigError, "--most must be at least 3"),
        ((student, "--out", tmp_path / "a.png"), ConfigError, "add --manifest"),
        ((student, "--manifest", other, "--out", tmp_path / "a"), ManifestError, "no clip has one of the student's"),
    ]  # fmt: skip
    for words, error, said in cases:
        with pytest.raises(error, match=said):
            call(*words)
    assert not list(tmp_path.glob("a*"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/index.html").write_text("mine")
    with pytest.raises(ArtifactError, match="index.html, which would be written over"):
        call(store, "--manifest", manifest, "--out", tmp_path / "mine")
    assert sorted(path.name for path in (tmp_path / "mine").iterdir()) == ["index.html"]


def test_stores_too_small_for_a_map_are_refused(tmp_path, call):
    write_store(tmp_path / "store", ["a", "b"], ["1", "2"], 3, {}, lambda rows: np.ones((len(rows), 3), np.float32))
    with pytest.raises(DataError, match="a map needs 3 vectors or more"):
        call(tmp_path / "store", "--out", tmp_path / "a.png")
    write_store(tmp_path / "thin", list("abcd"), list("1234"), 1, {}, lambda rows: rows[:, None].astype(np.float32))
    call(tmp_path / "thin", "--out", tmp_path / "a.png")


def test_without_matplotlib_the_install_command_is_named(there, tmp_path, call, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingDependencyError, match=r"pip install -e '.\[viz\]' in a clone of embcomp"):
        call(there / "tones/audio/tones_high_0_0.wav", "--out", tmp_path / "a.png")
