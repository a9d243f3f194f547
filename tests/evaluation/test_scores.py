from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from helpers.settings import student_settings
from helpers.tones import write_tones

from embcomp.audio.clips import Clips
from embcomp.compression import Compressor
from embcomp.config import AudioConfig, EvaluationConfig
from embcomp.data.labels import encode
from embcomp.data.manifest import Manifest
from embcomp.errors import ArtifactError, DataError, ManifestError
from embcomp.evaluation.probes import EmbeddingOf, fit_probe, frame_statistics, knn_probe
from embcomp.evaluation.scores import COLUMNS, Predictions, as_rows, evaluate, headline, score_rows, summarise
from embcomp.report import markdown_summary, table_lines
from embcomp.storage.artifact import load_artifact, save_artifact
from embcomp.storage.seen import Seen
from embcomp.students.classifier import Classifier

AUDIO = AudioConfig(seconds=0.4, n_mels=24)
SMALL = student_settings(width=16, embedding=16)


@pytest.fixture
def classifier():
    found = Classifier.new(["high", "low"], AUDIO, SMALL, False, 0)
    found.network.eval()
    return found


def predictions(truth, predicted, groups, classes=("a", "b"), name="x"):
    probabilities = np.eye(len(classes), dtype=np.float32)[predicted]
    ids = np.array([f"{name}{number}" for number in range(len(truth))], dtype=object)
    return Predictions(ids, np.array(groups, dtype=object), np.array(truth), probabilities, tuple(classes))


def test_predictions_round_trip_with_odd_names(tmp_path):
    kept = predictions([0, 1, 1], [0, 0, 1], ["g,1", 'g"2', "nan"], classes=("p:a", "NA"))
    kept.save(tmp_path / "p.csv")
    back = Predictions.load(tmp_path / "p.csv")
    assert back.classes == kept.classes and list(back.groups) == list(kept.groups) and list(back.ids) == list(kept.ids)
    np.testing.assert_array_equal(back.truth, kept.truth)
    np.testing.assert_allclose(back.probabilities, kept.probabilities)


def test_pooled_rows_count_clips_once():
    one, other = predictions([0, 1], [0, 1], list("gh")), predictions([0, 1], [0, 0], list("gh"))
    rows = score_rows([one, other], EvaluationConfig(bootstrap=20), {"variant": "v"})
    found = {row["metric"]: row for row in rows}
    assert found["accuracy"]["value"] == 0.75 and found["accuracy"]["n"] == 2


def test_evaluate_scores_and_counts_what_it_leaves_out(classifier, tmp_path):
    path = write_tones(tmp_path / "abroad", classes=("high", "middle"), groups=2, clips=2)
    found = evaluate(classifier, Manifest.read(path), cache=tmp_path / "cache")
    assert tuple(found.table.columns[: len(COLUMNS)]) == COLUMNS or set(COLUMNS) <= set(found.table.columns)
    assert found.left_out == {"middle": 4} and found.not_tested == ("low",)
    assert (found.table["n"] == 4).all()


def test_a_label_map_joins_names(classifier, tmp_path):
    path = write_tones(tmp_path / "abroad", classes=("squeak", "rumble"), groups=2, clips=2)
    with pytest.raises(ManifestError, match="give a label map"):
        evaluate(classifier, Manifest.read(path), cache=tmp_path / "cache")
    found = evaluate(
        classifier, Manifest.read(path), cache=tmp_path / "c2", label_map={"squeak": "high", "rumble": "low"}
    )
    assert not found.left_out and (found.table["n"] == 8).all()


def test_clips_that_were_trained_on_are_refused_under_any_name(classifier, tones, tmp_path):
    manifest = Manifest.read(tones)
    hashes = Clips(manifest, 16_000, 0.4).hashes()
    classifier.seen = frozenset(hashes[:1])
    renamed = tmp_path / "renamed"
    renamed.mkdir()
    for number in range(2):
        (renamed / f"{number}.wav").write_bytes(manifest.audio_path(number).read_bytes())
    (renamed / "manifest.csv").write_text("path,label\n0.wav,high\n1.wav,low\n")
    with pytest.raises(DataError, match=r"trained on 1 of these clips, '0.wav' first"):
        evaluate(classifier, Manifest.read(renamed / "manifest.csv"), cache=tmp_path / "cache")


def test_classifier_round_trip(classifier, tmp_path):
    classifier.seen, classifier.about = frozenset(["a", "b"]), {"seed": 3}
    classifier.save(tmp_path / "student")
    back = Classifier.load(tmp_path / "student")
    features, lengths = torch.randn(3, 24, 20), torch.tensor([20, 15, 9])
    torch.testing.assert_close(back.network(features, lengths).logits, classifier.network(features, lengths).logits)
    assert (back.classes, back.audio, back.student) == (classifier.classes, AUDIO, SMALL)
    assert back.seen == classifier.seen and back.about == classifier.about
    assert not back.network.training


def test_a_new_classifier_leaves_the_global_generator_alone():
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    Classifier.new(["a", "b"], AUDIO, SMALL, False, 7)
    torch.testing.assert_close(torch.rand(3), expected)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"student": {"kind": "ds_cn"}}, "did you mean 'ds_cnn'"),
        ({"student": {"width": 32, "embedding": 16, "kind": "ds_cnn"}}, "has shape"),
        ({"student": {"width": "x"}}, "damaged"),
        ({"audio": {"hz": 3}}, "damaged"),
        ({"classes": None}, "damaged"),
    ],
)
def test_a_student_whose_config_does_not_fit_is_refused(classifier, tmp_path, change, message):
    classifier.save(tmp_path / "student")
    config, tensors = load_artifact(tmp_path / "student", "student")
    save_artifact(tmp_path / "student", "student", {**config, **change}, tensors)
    with pytest.raises(ArtifactError, match=message):
        Classifier.load(tmp_path / "student")


def test_a_student_that_promises_a_huge_network_costs_nothing(classifier, tmp_path):
    classifier.save(tmp_path / "student")
    config, tensors = load_artifact(tmp_path / "student", "student")
    save_artifact(
        tmp_path / "student", "student", {**config, "student": {**config["student"], "width": 2**20}}, tensors
    )
    with pytest.raises(ArtifactError, match="has shape"):
        Classifier.load(tmp_path / "student")


def two_clouds(rng, names=("a", "c")):
    """Vectors (80, 5) of two classes of ["a", "b", "c"] and their labels; one more has no label."""
    vectors = np.concatenate([rng.normal(0, 1, (40, 5)), rng.normal(4, 1, (40, 5)), np.zeros((1, 5))])
    return vectors, encode([*[names[0]] * 40, *[names[1]] * 40, ""], ["a", "b", "c"])


@pytest.mark.parametrize("kind", ["probe", "k-NN"])
def test_a_probe_knows_only_what_it_was_shown(rng, kind):
    probabilities = fit_probe(kind, *two_clouds(rng))(rng.normal(4, 1, (10, 5)))
    assert probabilities.shape == (10, 3) and (probabilities.argmax(1) == 2).all() and (probabilities[:, 1] == 0).all()
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)


def test_probes_agree_with_scikit_learn(rng):
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    vectors, index = rng.normal(1, 3, (90, 6)), np.arange(90) % 3
    vectors[:, 0] += 3 * index
    fresh, labels = rng.normal(1, 3, (50, 6)), encode([f"c{number}" for number in index])
    models = {
        "probe": LogisticRegression(C=0.01, max_iter=200),
        "k-NN": KNeighborsClassifier(5, weights="distance", metric="cosine"),
    }
    for kind, model in models.items():
        expected = make_pipeline(StandardScaler(), model).fit(vectors, index).predict_proba(fresh)
        np.testing.assert_allclose(fit_probe(kind, vectors, labels)(fresh), expected, atol=1e-5)


@pytest.mark.parametrize("kind", ["probe", "k-NN"])
def test_several_labels_a_clip_are_one_question_each(rng, kind):
    vectors = rng.normal(size=(80, 4))
    cells = ["|".join([name for name, value in zip("ab", row) if value > 0] + ["?c"]) for row in vectors]
    predict = fit_probe(kind, vectors, encode(cells, ["a", "b", "c"], multi_label=True))
    fresh = 2 * rng.normal(size=(40, 4))
    probabilities = predict(fresh)
    for column in (0, 1):
        assert ((probabilities[:, column] > 0.5) == (fresh[:, column] > 0)).mean() > 0.8
    assert (probabilities[:, 2] == 0).all()  # never known to apply


def test_a_neighbour_that_does_not_know_says_nothing():
    vectors = np.array([[1.0, 0.0], [1.0, 0.1], [-1.0, 0.0], [-1.0, 0.1]])
    predict = knn_probe(vectors, encode(["a", "?a|b", "b", "b"], ["a", "b"]), neighbours=2)
    np.testing.assert_allclose(predict(vectors[:1]), [[1.0, 1e-6]], atol=1e-3)
    alone = knn_probe(vectors, encode(["a", "?a|b", "b", "b"], ["a", "b"]), neighbours=1)
    with np.errstate(all="raise"):  # then the share of all clips is what is known
        np.testing.assert_allclose(alone(vectors[1:2]), [[1 / 3, 1.0]], atol=1e-6)


def test_a_neighbour_that_is_far_counts_in_full_and_a_class_known_of_one_clip_too():
    vectors = np.array([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
    labels = encode(["a", "?a|?b|c", "?a", "?a"], ["a", "b", "c"], multi_label=True)
    predict = knn_probe(vectors, labels, neighbours=4)  # all, of which one knows of a, at a cosine distance of 2
    np.testing.assert_allclose(predict(vectors[1:2])[0, 0], 1, atol=1e-6)
    alone = knn_probe(vectors, labels, neighbours=1)
    np.testing.assert_allclose(alone(vectors[1:2])[0], [1, 0, 1], atol=1e-6)  # a: the one clip that is known


def test_the_floor_is_chance(rng):
    vectors, labels = two_clouds(rng)
    rows = np.arange(10, 81)
    probabilities = fit_probe("majority", vectors[rows], labels.select(rows))(np.zeros((4, 5)))
    np.testing.assert_allclose(probabilities, [[3 / 7, 0, 4 / 7]] * 4, atol=1e-6)


def test_log_mel_statistics_are_those_of_the_valid_frames():
    features, lengths = torch.randn(3, 6, 12), torch.tensor([12, 7, 1])
    found = frame_statistics(features, lengths)
    for row, length in enumerate(lengths):
        valid = features[row, :, :length].numpy()
        np.testing.assert_allclose(found[row], [*valid.mean(1), *valid.std(1)], atol=1e-5)


def scores_table():
    rows = []
    for seed, value in [(0, 0.5), (1, 0.7), ("all", 0.6)]:
        rows.append(
            {"variant": "a|b", "setting": "cross-dataset", "train_dataset": "home", "test_dataset": "far", "seed": seed,
             "metric": "balanced_accuracy", "value": value, "low": value - 0.1, "high": value + 0.1, "n": 9}
        )  # fmt: skip
    return pd.DataFrame(rows)


def test_summary_means_over_seeds_and_takes_the_pooled_interval():
    row = summarise(scores_table()).iloc[0]
    assert row["mean"] == pytest.approx(0.6) and row["std"] == pytest.approx(np.std([0.5, 0.7], ddof=1))
    assert (row["low"], row["high"], row["n"]) == (0.5, 0.7, 9)


def test_a_summary_keeps_the_order_of_variants_and_leaves_out_what_decided_when_to_stop():
    table = scores_table()
    stopped = table.assign(setting="validation", value=0.99)
    other = table.assign(metric="accuracy", value=0.11)
    found = summarise(pd.concat([table.assign(variant="z"), stopped, other, table], ignore_index=True))
    assert found["variant"].tolist() == ["z", "a|b"] and set(found["count"]) == {2}
    assert found["mean"].tolist() == pytest.approx([0.6, 0.6])
    assert summarise(pd.concat([table, other]), "accuracy")["mean"].tolist() == pytest.approx([0.11])
    assert "unit" not in found and summarise(table.assign(unit="clips"))["unit"].tolist() == ["clips"]
    assert headline(table) == headline(table[:0]) == "balanced_accuracy" and headline(table.assign(metric="x")) == "mAP"


def test_markdown_names_what_was_left_out_and_escapes():
    summary = summarise(scores_table())
    lines = table_lines(summary)
    assert lines[0] == "| variant | home → far |" and lines[2] == "| a\\|b | 0.600 ± 0.141 [0.500, 0.700] |"
    metrics = {"seeds": [0, 1], "left_out": {"far": {"cat": 2}}, "not_tested": {"far": ["dog"]}, "bad_clips": [{}], "cut": {"far": 3}, "audio_seconds": 1.5}  # fmt: skip
    text = markdown_summary("x", summary, metrics)
    for words in (
        "2 clips labelled 'cat' left out",
        "no clip of: dog",
        "1 unusable clip left",
        "3 clips of far are longer than 1.5 s",
    ):
        assert words in text


@pytest.mark.parametrize(
    "content",
    ["id,group,label,p:a,p:b\nx,g,a,nan,1\n", "id,group,label,p:a,p:b\nx,g,a,inf,1\n", "id,group,label\nx,g,\n"],
)
def test_predictions_without_a_probability_for_every_class_are_refused(content, tmp_path):
    (tmp_path / "p.csv").write_text(content)
    with pytest.raises(ArtifactError, match="not a probability for every class"):
        Predictions.load(tmp_path / "p.csv")


@pytest.mark.parametrize(("several", "column"), [(False, "label"), (True, "labels")])
def test_predictions_that_are_kept_say_whether_a_clip_may_have_several_labels(several, column, tmp_path):
    truth = np.array([[1, 1], [0, 0], [np.nan, 1]] if several else [[1, 0], [0, 1], [0, 1]], dtype=np.float32)
    names = np.array(["x", "y", "z"], dtype=object)
    kept = Predictions(names, names, truth, np.full((3, 2), 0.5, np.float32), ("a", "b"), several)
    kept.save(tmp_path / "p.csv")
    assert (tmp_path / "p.csv").read_text().startswith(f"id,group,{column},p:a,p:b\n")
    found = Predictions.load(tmp_path / "p.csv")
    assert found.multi_label is several and found.classes == ("a", "b")
    np.testing.assert_array_equal(found.truth, truth)


def test_no_clips_are_predictions_too_but_no_students_cannot_be_scored():
    none = np.array([], dtype=object)
    assert Predictions(none, none, np.array([], dtype=int), np.zeros((0, 2)), ("a", "b")).truth.shape == (0, 2)
    one, other = (predictions([0, 1], [0, 1], list("gh"), classes=("a", name)) for name in "bc")
    several = replace(one, multi_label=True)
    for pieces in ([], [one, other], [one, several], [one, several, other]):
        with pytest.raises(DataError, match="predictions of different classes cannot be scored together"):
            as_rows(pieces)
    assert as_rows([several]).threshold == 0.5 and as_rows([one, one]).student.tolist() == [0, 0, 1, 1]


def test_clips_that_taught_the_teacher_or_the_compressor_are_refused_too(classifier, tones):
    manifest = Manifest.read(tones)
    hashes = Clips(manifest, 16_000, 0.4).hashes()
    compressor = Compressor(2, "pca").fit(np.random.default_rng(0).normal(size=(3, 4)), ids=hashes[:3])
    with pytest.raises(DataError, match="the compressor of its targets was fitted on 3 of these clips"):
        evaluate(classifier, manifest, compressor=compressor)
    classifier.taught = Seen.of(hashes[5:7])
    with pytest.raises(DataError, match="the teacher or the compressor of the student was learned from 2 of these"):
        evaluate(classifier, manifest)
    known = evaluate(classifier, manifest, compressor=compressor, allow_seen=True, reestimate=True)
    assert set(known.table["setting"]) == {"as trained", "adapted"} and set(known.table["unit"]) == {"groups"}
    plain = evaluate(classifier, manifest, allow_seen=True)
    assert plain.adapted is None and set(plain.table["setting"]) == {"as trained"}
    np.testing.assert_array_equal(plain.predictions.probabilities, known.predictions.probabilities)
    assert (known.adapted.probabilities != known.predictions.probabilities).any()
    assert list(known.adapted.ids) == list(known.predictions.ids) == manifest.ids


def test_a_student_can_be_asked_for_its_embedding_in_place_of_scores(classifier):
    features, lengths = torch.randn(3, 24, 20), torch.tensor([20, 15, 9])
    with torch.no_grad():
        found, whole = (network(features, lengths) for network in (EmbeddingOf(classifier.network), classifier.network))
    assert torch.equal(found.logits, whole.embedding) and found.logits.shape == (3, 16)


@pytest.mark.parametrize(("asked", "trained"), [(False, False), (True, False), (False, True), (True, True)])
def test_clips_are_read_through_ffmpeg_where_it_is_asked_for_or_was(classifier, tones, monkeypatch, asked, trained):
    class Asked(Exception):
        pass

    def given(manifest, audio, skip_bad, own):
        raise Asked(audio.ffmpeg, skip_bad, own.ffmpeg)

    monkeypatch.setattr("embcomp.evaluation.scores.given_audio", given)
    classifier.audio = replace(AUDIO, ffmpeg=trained)
    with pytest.raises(Asked) as found:
        evaluate(classifier, Manifest.read(tones), ffmpeg=asked)
    assert found.value.args == (asked or trained, False, trained)


@pytest.mark.parametrize("index", [[0, 3], [-1, 0]])
def test_class_numbers_out_of_range_are_refused_with_the_range(index):
    names = np.array(["x", "y"], dtype=object)
    with pytest.raises(DataError, match=r"class numbers must lie in 0\.\.2$"):
        Predictions(names, names, np.array(index), np.zeros((2, 3), np.float32), ("a", "b", "c"))
