"""Labels for audio that nobody labelled."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile
from helpers.settings import student_settings
from helpers.tones import write_tones

import embcomp
from embcomp.cli.predict import predict
from embcomp.config import AudioConfig
from embcomp.data.manifest import Manifest
from embcomp.errors import AudioError, ConfigError
from embcomp.prediction.files import audio_files
from embcomp.prediction.tables import as_csv, as_json, as_table
from embcomp.students.classifier import Classifier

AUDIO = AudioConfig(seconds=0.4, n_mels=24)
RATE = AUDIO.sample_rate


def student(multi_label=False, **audio):
    found = Classifier.new(["high", "low", "mid"], replace(AUDIO, **audio), student_settings(width=16), multi_label, 0)
    found.network.eval()
    return found


@pytest.fixture
def saved(tmp_path):
    student().save(tmp_path / "student")
    return tmp_path / "student"


@pytest.fixture
def recording(tmp_path, rng):
    """1.5 s of noise that gets louder and higher."""
    path = tmp_path / "long.wav"
    times = np.arange(round(1.5 * RATE)) / RATE
    soundfile.write(path, np.sin(2000 * times**2) * times / 2 + rng.normal(0, 0.01, len(times)), RATE)
    return path


@pytest.fixture
def call(capsys):
    """The command, in this process: what it writes to standard output and standard error."""

    def run(*arguments):
        predict.main([str(part) for part in arguments], standalone_mode=False)
        return capsys.readouterr()

    return run


def test_probabilities_are_those_of_evaluate(tones, tmp_path):
    manifest = Manifest.read(tones)
    scored = embcomp.evaluate(student(), manifest, cache=tmp_path / "cache").predictions
    files = [manifest.audio_path(row) for row in range(len(manifest))]
    found = embcomp.predict(student(), files)
    assert list(found.table["path"]) == [str(path) for path in files]
    np.testing.assert_allclose(found.probabilities, scored.probabilities, atol=1e-5)
    assert list(found.table["label"]) == [scored.classes[number] for number in scored.predicted]
    np.testing.assert_array_equal(found.table["probability"], found.probabilities.max(axis=1))
    # The order of the files, and what shares a batch with what, change nothing.
    alone = [embcomp.predict(student(), path).probabilities[0] for path in files[::5]]
    np.testing.assert_allclose(np.stack(alone), found.probabilities[::5], atol=1e-5)


@pytest.mark.parametrize("window, hop", [(0.4, None), (0.4, 0.1), (0.25, 0.2), (0.3, 0.3), (0.37, None)])
def test_windows_cover_the_file(recording, window, hop):
    table = embcomp.predict(student(), recording, window=window, hop=hop).table
    assert table["start"].iloc[0] == 0 and table["end"].iloc[-1] == pytest.approx(1.5)
    np.testing.assert_allclose(np.diff(table["start"]), hop or window, atol=1e-6)
    assert (table["start"].to_numpy()[1:] <= table["end"].to_numpy()[:-1] + 1e-4).all()
    np.testing.assert_allclose((table["end"] - table["start"])[:-1], window, atol=1e-4)
    assert 0 < table["end"].iloc[-1] - table["start"].iloc[-1] <= window + 1e-4
    # No window more than it takes.
    assert len(table) == 1 or table["end"].iloc[-2] < 1.5 - 1e-3


@pytest.mark.parametrize("rate", [RATE, 22_050])
def test_a_window_is_the_clip_that_a_manifest_row_with_its_times_would_be(tmp_path, rng, rate):
    path = tmp_path / "long.flac"
    soundfile.write(path, rng.normal(0, 0.1, rate) * np.linspace(0, 1, rate), rate)
    found = embcomp.predict(student(), path, window=0.3)
    with open(tmp_path / "manifest.csv", "w", newline="") as file:
        rows = [
            ["long.flac", "low", start, min(end, 1.0)] for start, end in zip(found.table["start"], found.table["end"])
        ]
        csv.writer(file).writerows([["path", "label", "start", "end"], *rows])
    scored = embcomp.evaluate(student(), Manifest.read(tmp_path / "manifest.csv"), cache=tmp_path / "cache").predictions
    np.testing.assert_allclose(found.probabilities, scored.probabilities, atol=1e-4)


def test_a_window_of_full_length_is_the_clip(tmp_path, rng):
    for number, seconds in enumerate([0.4, 0.15, 0.4004]):
        soundfile.write(tmp_path / f"{number}.wav", rng.normal(0, 0.1, round(seconds * RATE)), RATE)
    whole, windows = (embcomp.predict(student(), tmp_path, window=window) for window in (None, AUDIO.seconds))
    assert len(windows.table) == 3 and not whole.cut
    np.testing.assert_allclose(windows.probabilities, whole.probabilities, atol=1e-6)


def test_many_windows_are_read_in_batches(tmp_path, rng, monkeypatch):
    soundfile.write(tmp_path / "long.wav", rng.normal(0, 0.1, 2 * RATE), RATE)
    expected = embcomp.predict(student(), tmp_path / "long.wav", window=0.1)
    monkeypatch.setattr("embcomp.prediction.labeller.BATCH", 3)
    monkeypatch.setattr("embcomp.audio.decoding.BLOCK", 5600)
    found = embcomp.predict(student(), tmp_path / "long.wav", window=0.1)
    assert len(found.table) == 20
    np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-6)


def test_what_is_cut_is_counted_and_said(call, saved, recording):
    assert embcomp.predict(saved, recording).cut == 1 and embcomp.predict(saved, recording, window=0.4).cut == 0
    told = call(saved, recording)
    assert "1 file longer than the 0.4 s the student was trained on, cut to that length; see --window" in told.err


def test_a_student_with_several_labels_names_all_above_the_threshold(recording):
    found = embcomp.predict(student(multi_label=True), recording, threshold=0.3)
    assert not np.isclose(found.probabilities.sum(), 1)
    low, high = (embcomp.predict(student(multi_label=True), recording, threshold=one) for one in (1e-6, 1 - 1e-6))
    assert low.table["label"][0] == "high|low|mid" and high.table["label"][0] == ""
    assert "high|low|mid" in as_table(low) and "  -  " in as_table(high)


def test_csv_and_json_hold_the_same(call, saved, recording, tmp_path):
    found = embcomp.predict(saved, [recording, recording], window=0.4)
    assert len(found.table) == 4  # a file named twice is labelled once
    back = pd.read_csv(io.StringIO(as_csv(found)))
    pd.testing.assert_frame_equal(back, found.table, check_dtype=False, rtol=1e-5)
    rows = json.loads(as_json(found))
    for row, place in zip(rows, back.itertuples()):
        assert (row["path"], row["start"], row["end"], row["label"]) == (
            place.path,
            place.start,
            place.end,
            place.label,
        )
        assert row["probability"] == place.probability == max(row["probabilities"].values())
        assert row["label"] == max(row["probabilities"], key=row["probabilities"].get)
    np.testing.assert_allclose([list(row["probabilities"].values()) for row in rows], found.probabilities, rtol=1e-5)
    for form, expected in (("csv", as_csv(found)), ("json", as_json(found))):
        assert call(saved, recording, "--window", 0.4, "--format", form).out == expected
        call(saved, recording, "--window", 0.4, "--out", tmp_path / f"out.{form}")
        assert (tmp_path / f"out.{form}").read_text() == expected


def test_times_late_in_a_recording_keep_their_digits(saved, recording):
    found = embcomp.predict(saved, recording)
    found.places[0] = (str(recording), 12345.625, 12346.025)
    assert pd.read_csv(io.StringIO(as_csv(found)))["start"][0] == 12345.625


def test_the_table_shows_the_likeliest_classes(call, saved, recording):
    found = embcomp.predict(saved, recording)
    line = call(saved, recording, "--top", 2).out.split()
    order = np.argsort(-found.probabilities[0])[:2]
    assert line[0] == str(recording)
    assert line[1:] == [
        text for number in order for text in (found.classes[number], f"{found.probabilities[0, number]:.3f}")
    ]
    assert "0.80-1.20" in call(saved, recording, "--window", 0.4).out


def test_folders_and_patterns(saved, tmp_path):
    folder = write_tones(tmp_path / "set", groups=1, clips=2).parent
    (folder / "audio/._tones.wav").write_bytes(b"resource fork")
    (folder / "audio/notes.txt").write_text("no audio")
    (folder / "audio/deep").mkdir()
    names = sorted(path.name for path in (folder / "audio").glob("tones*"))
    (folder / "audio/deep/more.WAV").write_bytes((folder / "audio" / names[0]).read_bytes())
    assert [path.name for path in audio_files(folder / "audio")] == names
    assert [path.name for path in audio_files([folder / "audio"], recursive=True)] == ["more.WAV", *names]
    assert [path.name for path in audio_files([folder / "audio/tones_low*", folder / "audio"])] == names[2:] + names[:2]
    assert [path.name for path in audio_files(f"{folder}/**/*.WAV")] == ["more.WAV"]
    (folder / "a[1].wav").write_bytes(b"")
    assert audio_files(folder / "a[1].wav") == [folder / "a[1].wav"]
    with pytest.raises(AudioError, match="holds no audio file.*--recursive"):
        audio_files(tmp_path / "student")
    with pytest.raises(AudioError, match=r"no file matches .*\*.flac"):
        audio_files([folder / "*.flac"])
    with pytest.raises(AudioError, match="no audio file given"):
        audio_files([])


def test_bad_files_are_all_named_and_nothing_is_written(call, saved, recording, tmp_path):
    (tmp_path / "empty.wav").touch()
    (tmp_path / "phone.m4a").write_bytes(b"not for us")
    soundfile.write(tmp_path / "cut.wav", np.zeros(RATE), RATE)
    (tmp_path / "cut.wav").write_bytes((tmp_path / "cut.wav").read_bytes()[: RATE + 44])
    for window in ([], ["--window", "0.1"]):
        with pytest.raises(AudioError) as error:
            call(saved, tmp_path, tmp_path / "none.wav", "--out", tmp_path / "out.csv", *window)
        for reason in (
            "empty.wav: the file is empty",
            "phone.m4a: not readable",
            "none.wav: no such file",
            "--skip-bad",
        ):
            assert reason in str(error.value)
        assert ("cut.wav: is cut off" in str(error.value)) == bool(window)  # its start is whole
        assert not (tmp_path / "out.csv").exists()
    told = call(saved, tmp_path, "--window", "0.1", "--skip-bad")
    assert "3 unusable files left out" in told.err
    assert told.out.count("long.wav") == 15 and "cut.wav" not in told.out
    kept = embcomp.predict(saved, tmp_path, window=0.1, skip_bad=True)
    alone = embcomp.predict(saved, recording, window=0.1)
    np.testing.assert_allclose(kept.probabilities, alone.probabilities, atol=1e-6)
    with pytest.raises(AudioError, match="1 of 1 files cannot be used"):
        embcomp.predict(saved, tmp_path / "empty.wav", skip_bad=True)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"window": 0.5}, r"at most at 0.4 s, the longest the student was trained on"),
        ({"window": 0.0}, "must lie above 0"),
        ({"window": float("nan")}, "must lie above 0"),
        ({"hop": 0.1}, "give --window, too"),
        ({"window": 0.2, "hop": 0.3}, "parts would be skipped"),
        ({"window": 0.2, "hop": -1.0}, "must lie above 0"),
        ({"threshold": 1.0}, "between 0 and 1"),
    ],
)
def test_misuse_is_told_in_words(recording, options, message):
    with pytest.raises(ConfigError, match=message):
        embcomp.predict(student(), recording, **options)
