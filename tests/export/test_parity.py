"""The parity report: what counts as a loss, and on which clips."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from embcomp.data.labels import Labels
from embcomp.data.manifest import Manifest
from embcomp.errors import ConfigError, DataError
from embcomp.export.clips import choose_clips, waveforms
from embcomp.export.parity import Limits, generated_rows, measure
from embcomp.export.source import open_source


class Altered:
    """A model that gives what its source gives, changed by a function."""

    def __init__(self, source, path, change=lambda outputs: outputs):
        self.source, self.path, self.change, self.info = source, path, change, source.info

    def outputs(self, rows):
        return self.change([part.copy() for part in self.source.reference(rows)])


@pytest.fixture
def case(trained, tmp_path):
    source = open_source(trained / "student")
    (tmp_path / "model.bin").write_bytes(b"1234")
    manifest = Manifest.read(trained / "tones/manifest.csv")
    return source, choose_clips(source.info, manifest), tmp_path / "model.bin"


def run(case, change=lambda outputs: outputs, **limits):
    source, chosen, path = case
    return measure(
        source, Altered(source, path, change), waveforms(chosen.check), chosen.audio, chosen.labels, Limits(**limits)
    )


def flipped(count):
    """Reverse the probabilities of the first `count` clips."""

    def change(outputs):
        outputs[0][:count] = outputs[0][:count, ::-1]
        return outputs

    return change


def test_the_same_model_loses_nothing(case):
    found = run(case)
    assert (found.largest, found.mean, found.agreement, found.failures) == (0, 0, 1, ())
    assert found.before == found.after > 0.8 and found.labelled == found.clips == 48
    assert found.bytes == 4 and found.cosine == pytest.approx(1)
    assert found.parameters == case[0].info.parameters and found.macs > 0


def test_errors_are_those_of_probabilities(case):
    def change(outputs):
        outputs[0][3, 1] += 0.125
        return outputs

    found = run(case, change, agreement=0.0, loss=1.0)
    assert found.largest == pytest.approx(0.125) and found.mean == pytest.approx(0.125 / (48 * 3))


def test_clips_with_another_class_are_counted_and_limited(case):
    source, chosen, _ = case
    expected = source.reference(list(waveforms(chosen.check)))[0]
    changed = int((expected[:6].argmax(1) != expected[:6, ::-1].argmax(1)).sum())
    found = run(case, flipped(6))
    assert found.agreement == 1 - changed / 48
    assert "of the clips, under 99.00%" in found.failures[0]
    assert not [failure for failure in run(case, flipped(6), agreement=0.5).failures if "clips" in failure]


def test_a_score_that_falls_is_a_failure_and_one_that_rises_is_none(case):
    found = run(case, flipped(12), agreement=0.0)
    assert found.after < found.before and "balanced_accuracy falls by" in found.failures[0]
    assert not run(case, flipped(12), agreement=0.0, loss=0.9).failures
    labels = case[1].labels

    def perfect(outputs):
        outputs[0][:] = np.nan_to_num(labels.matrix)
        return outputs

    source, chosen, path = case
    found = measure(
        source, Altered(source, path, perfect), list(waveforms(chosen.check)), "", labels, Limits(agreement=0)
    )
    assert found.after == 1 > found.before and not found.failures


def test_numbers_that_are_not_finite_fail_whatever_the_limits(case):
    def change(outputs):
        outputs[0][0] = np.nan
        return outputs

    assert "not finite" in run(case, change, agreement=0.0, loss=1.0).failures[0]


def test_several_labels_agree_where_all_do(case):
    source, chosen, path = case
    source.info = replace(source.info, multi_label=True, threshold=0.5)
    labels = Labels(chosen.labels.classes, chosen.labels.matrix, True)

    def change(outputs):
        outputs[0][:5] = 1 - outputs[0][:5]
        return outputs

    found = measure(source, Altered(source, path, change), list(waveforms(chosen.check)), "", labels)
    assert found.agreement == 1 - 5 / 48 and found.metric == "mAP"


def test_embeddings_have_a_cosine_instead_of_a_class(trained, tmp_path):
    source = open_source(trained / "teacher")
    (tmp_path / "model.bin").touch()
    rows = generated_rows(source, 4)
    same = measure(source, Altered(source, tmp_path / "model.bin"), rows, "")
    assert same.agreement is None and same.metric is None and same.cosine == pytest.approx(1) and not same.failures
    other = measure(source, Altered(source, tmp_path / "model.bin", lambda outputs: [-outputs[0]]), rows, "")
    assert other.cosine == pytest.approx(-1) and "mean cosine" in other.failures[0]


@pytest.mark.parametrize("name", ["agreement", "loss", "cosine"])
def test_limits_are_shares(name):
    with pytest.raises(ConfigError, match=r"must lie in \[0, 1\]"):
        Limits(**{name: 1.5})


def test_generated_sounds_are_within_range_and_of_many_lengths(trained):
    rows = generated_rows(open_source(trained / "student"))
    assert len({len(row) for row in rows}) > 10 and max(map(len, rows)) == 6400
    assert all(np.abs(row).max() <= 1 and len(row) for row in rows)


def ids(clips):
    return set(clips.manifest.ids)


def test_clips_to_calibrate_on_and_to_check_on_share_no_clip_and_no_group(trained):
    info = open_source(trained / "student").info
    manifest = Manifest.read(trained / "tones/manifest.csv")
    chosen = choose_clips(info, None, manifest, calibration_clips=9)
    assert len(chosen.calibration) == 9 and not ids(chosen.check) & (ids(chosen.calibration) | ids(chosen.validation))
    assert not ids(chosen.calibration) & ids(chosen.validation)
    assert not set(chosen.check.manifest.groups) & set(chosen.calibration.manifest.groups)
    labels = chosen.calibration.manifest.labels
    assert [labels.count(name) for name in info.labels] == [3, 3, 3]
    assert {name: chosen.check.manifest.labels.count(name) for name in info.labels} == {"high": 8, "low": 8, "mid": 8}


def test_a_clip_calibrated_on_is_not_checked_on_under_another_name(trained, tmp_path):
    info = open_source(trained / "student").info
    manifest = Manifest.read(trained / "tones/manifest.csv")
    copies = ["path,label"]
    for row in range(len(manifest)):
        (tmp_path / f"{row}.wav").write_bytes(manifest.audio_path(row).read_bytes())
        copies.append(f"{row}.wav,{manifest.labels[row]}")
    (tmp_path / "copies.csv").write_text("\n".join(copies))
    check = Manifest.read(tmp_path / "copies.csv")
    chosen = choose_clips(info, check, manifest, calibration_clips=6)
    assert len(chosen.check) == 48 - 12
    with pytest.raises(DataError, match="every clip to check on"):
        choose_clips(info, check, manifest, calibration_clips=48)


def test_clips_the_student_was_trained_on_and_clips_not_drawn_are_said(trained):
    source = open_source(trained / "student")
    manifest = Manifest.read(trained / "tones/manifest.csv")
    chosen = choose_clips(source.info, manifest, seen=source.classifier.seen, check_clips=12)
    assert chosen.audio == "tones, 12 of its 48 clips, 12 of them trained on"
    assert [chosen.check.manifest.labels.count(name) for name in source.info.labels] == [4, 4, 4]
    assert ids(choose_clips(source.info, manifest, check_clips=12, seed=1).check) != ids(chosen.check)


def test_labels_the_student_does_not_know_are_compared_and_not_scored(trained, tmp_path):
    source = open_source(trained / "student")
    text = (trained / "tones/manifest.csv").read_text().replace(",low,", ",deep,")
    other = trained / "tones/other.csv"
    other.write_text(text)
    try:
        chosen = choose_clips(source.info, Manifest.read(other))
        assert len(chosen.check) == 48 and chosen.labels.labelled.sum() == 32
        other.write_text(text.replace(",high,", ",a,").replace(",mid,", ",b,"))
        assert not choose_clips(source.info, Manifest.read(other)).labels.labelled.any()
    finally:
        other.unlink()


def test_one_group_cannot_be_parted(trained):
    info = open_source(trained / "student").info
    manifest = Manifest.read(trained / "tones/manifest.csv")
    first = manifest.select([row for row, group in enumerate(manifest.groups) if group.startswith("tones0")])
    with pytest.raises(DataError, match="give --check a manifest of its own"):
        choose_clips(info, None, first)
