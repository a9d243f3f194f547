"""Lists of clips to label next, from a student and a manifest."""

from __future__ import annotations

import csv
import math
import shutil

import numpy as np
import pytest
from helpers.pools import drop_labels, save_student
from helpers.settings import student_settings
from helpers.tones import write_tones

import embcomp
from embcomp.cli.suggest import suggest as command
from embcomp.config import AudioConfig
from embcomp.data.inputs import InputSpec
from embcomp.data.manifest import Manifest
from embcomp.errors import ArtifactError, AudioError, ConfigError, ManifestError
from embcomp.students.classifier import Classifier

pytestmark = pytest.mark.filterwarnings("ignore::embcomp.errors.EmbcompWarning")


@pytest.fixture
def call(capsys):
    def run(*arguments):
        command.main([str(part) for part in arguments], standalone_mode=False)
        return capsys.readouterr()

    return run


def rows_of(path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_only_clips_without_a_label_are_suggested_the_least_sure_first(saved, pool):
    manifest = Manifest.read(pool)
    found = embcomp.suggest(saved, manifest, count=5)
    unlabelled = {name for name, label in zip(manifest.ids, manifest.labels) if not label}
    assert len(unlabelled) == found.candidates == 12 and set(found.manifest.ids) <= unlabelled
    assert (np.diff(found.scores) <= 0).all()
    # The same numbers as predicting each file gives.
    whole = embcomp.predict(saved, [manifest.folder / name for name in sorted(unlabelled)])
    margins = np.diff(np.sort(whole.probabilities, axis=1)[:, -2:], axis=1)[:, 0]
    expected = [sorted(unlabelled)[row] for row in np.argsort(margins, kind="stable")[:5]]
    assert found.manifest.ids == expected
    np.testing.assert_allclose(found.scores, 1 - np.sort(margins)[:5], atol=1e-5)
    said = dict(zip([path for path, *_ in whole.places], whole.labels))
    assert list(found.predicted) == [said[str(manifest.folder / name)] for name in expected]


def test_the_list_is_a_manifest_wherever_it_is_written(saved, pool, tmp_path):
    found = embcomp.suggest(saved, pool, count=4, by="diversity")
    for place in (pool.parent / "next.csv", tmp_path / "deep/next.csv"):
        found.write(place)
        read = Manifest.read(place, allow_outside=True)
        assert [read.audio_path(row).resolve() for row in range(4)] == [
            found.manifest.audio_path(row).resolve() for row in range(4)
        ]
        assert read.labels == [""] * 4 and list(read.groups) == list(found.manifest.groups)
        assert [row["predicted"] for row in rows_of(place)] == list(found.predicted)
    assert not found.leads_out(pool.parent / "next.csv") and found.leads_out(tmp_path / "deep/next.csv")
    found.write(place)  # its own is renewed
    (tmp_path / "mine.csv").write_text("path,label\na.wav,dog\n")
    with pytest.raises(ArtifactError, match=r"mine.csv is there already and is no list of suggested clips"):
        found.write(tmp_path / "mine.csv")


def test_parts_of_files_keep_their_times(saved, tmp_path):
    manifest = write_tones(tmp_path)
    names = sorted(path.name for path in (tmp_path / "audio").iterdir())[:3]
    lines = [f"audio/{name},,0{start},{start + 0.1}" for name in names for start in (0.0, 0.1)]
    manifest.write_text("path,label,start,end\n" + "\n".join(lines) + "\n")
    found = embcomp.suggest(saved, manifest, count=6, per_group=1)
    assert len(found) == 3  # without a group the clips of a file are one
    found.write(tmp_path / "next.csv")
    again = Manifest.read(tmp_path / "next.csv")
    assert again.ids == found.manifest.ids and "#" in again.ids[0]
    assert list(rows_of(tmp_path / "next.csv")[0]) == [
        *("path", "start", "end", "label", "group", "predicted", "score", "why")
    ]


def test_labels_in_other_manifests_count(saved, pool, tmp_path):
    found = embcomp.suggest(saved, pool, count=12)
    done = tmp_path / "done.csv"
    lines = [f"{found.manifest.audio_path(row).resolve()},{'' if row else 'high'}" for row in range(3)]
    done.write_text("path,label\n" + "\n".join(lines) + "\n")
    rest = embcomp.suggest(saved, pool, count=12, labelled=[Manifest.read(done, allow_outside=True)])
    assert rest.candidates == 11 and rest.manifest.ids == found.manifest.ids[1:]
    # Diversity keeps away from what is labelled elsewhere.
    first = embcomp.suggest(saved, pool, count=1, by="diversity")
    done.write_text(f"path,label\n{first.manifest.audio_path(0).resolve()},high\n")
    second = embcomp.suggest(saved, pool, count=1, by="diversity", labelled=[Manifest.read(done, allow_outside=True)])
    both = embcomp.suggest(saved, pool, count=2, by="diversity")
    assert second.manifest.ids == both.manifest.ids[1:]


def test_similar_finds_the_clip_of_which_a_copy_is_given(saved, pool, tmp_path):
    manifest = Manifest.read(pool)
    wanted = next(row for row, label in enumerate(manifest.labels) if not label)
    shutil.copy(manifest.audio_path(wanted), tmp_path / "copy.wav")
    found = embcomp.suggest(saved, pool, count=3, by="similar", like=[tmp_path / "copy.wav"])
    assert found.manifest.ids[0] == manifest.ids[wanted] and found.scores[0] == pytest.approx(1)
    assert found.why[0].endswith("copy.wav")
    # A clip of the manifest itself is no answer to the question what is like it.
    found = embcomp.suggest(saved, pool, count=12, by="similar", like=[manifest.audio_path(wanted)])
    assert len(found) == 11 and manifest.ids[wanted] not in found.manifest.ids


def test_disagreement_takes_students_whose_classes_are_in_another_order(saved, pool, tmp_path):
    same = Classifier.load(saved)
    order = [2, 0, 1]
    same.network.classify.weight.data = same.network.classify.weight.data[order]
    same.network.classify.bias.data = same.network.classify.bias.data[order]
    same.classes = tuple(same.classes[number] for number in order)
    found = embcomp.suggest(saved, pool, by="disagreement", students=[same])
    np.testing.assert_allclose(found.scores, 0, atol=1e-6)
    other = save_student(tmp_path / "other", seed=1)
    assert embcomp.suggest(saved, pool, by="disagreement", students=[other]).scores[0] > 0.01
    third = save_student(tmp_path / "third", classes=("high", "low", "none"))
    with pytest.raises(
        ConfigError, match="student 2 has other classes than the first student: they differ in mid, none"
    ):
        embcomp.suggest(saved, pool, by="disagreement", students=[third])


def test_several_labels_a_clip(pool, tmp_path):
    student = save_student(tmp_path / "student", multi_label=True)
    found = embcomp.suggest(student, pool, count=12, by="uncertainty")
    whole = embcomp.predict(student, [found.manifest.audio_path(row) for row in range(12)])
    assert list(found.predicted) == whole.labels


@pytest.mark.parametrize(
    "options, words",
    [
        ({"count": 0}, "--n must be at least 1, not 0"),
        ({"per_group": 0}, "--per-group must be at least 1"),
        ({"by": "similar"}, "--by similar needs an example: add --like CLIP"),
        ({"like": ["a.wav"]}, "--like is for --by similar"),
        ({"by": "disagreement"}, "add --students OTHER"),
        ({"students": ["other"]}, "--students is for --by disagreement"),
        ({"by": "luck"}, "unknown strategy 'luck'"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_read(options, words):
    with pytest.raises(ConfigError, match=words):
        embcomp.suggest("no such student", "no such manifest", **options)


def test_what_cannot_be_used_is_named(saved, tmp_path):
    manifest = drop_labels(write_tones(tmp_path), lambda number: number > 3)
    (tmp_path / "audio/tones_high_0_1.wav").write_text("no sound")
    with pytest.raises(AudioError, match="1 of 4 clips cannot be used:\n  row 3: audio/tones_high_0_1.wav"):
        embcomp.suggest(saved, manifest)
    found = embcomp.suggest(saved, manifest, skip_bad=True)
    assert len(found) == 3 and [clip.path for clip in found.bad] == ["audio/tones_high_0_1.wav"]
    with pytest.raises(AudioError, match="--like nothing.wav: "):
        embcomp.suggest(saved, manifest, by="similar", like=["nothing.wav"], skip_bad=True)
    with pytest.raises(ManifestError, match="every clip of tones has a label"):
        embcomp.suggest(saved, write_tones(tmp_path))
    rows = Classifier.new(("a", "b"), AudioConfig(), student_settings(kind="mlp"), False, 0, InputSpec("table", (3, 1)))
    with pytest.raises(ConfigError, match="suggest is for students that take audio; this one takes"):
        embcomp.suggest(rows, manifest)


def test_the_command_writes_the_list_and_says_what_is_in_it(saved, pool, tmp_path, call):
    said = call(saved, pool, "--n", 20, "--per-group", 1, "--out", tmp_path / "next.csv")
    assert said.out == f"8 of 12 clips without a label, from 8 groups: {tmp_path / 'next.csv'}\n"
    assert "20 were asked for" in said.err and "--allow-outside" in said.err
    scores = [float(row["score"]) for row in rows_of(tmp_path / "next.csv")]
    assert scores == sorted(scores, reverse=True) and not any(map(math.isnan, scores))
    (tmp_path / "mine.csv").write_text("path,label\na.wav,dog\n")
    with pytest.raises(ArtifactError, match="is no list of suggested clips"):
        call(saved, pool, "--out", tmp_path / "mine.csv")
