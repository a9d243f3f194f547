"""Manifests of Kaldi data folders."""

from __future__ import annotations

import pytest
from helpers.sounds import write_sound

from embcomp.data.makers import detect, make
from embcomp.errors import ManifestError


@pytest.fixture
def folder(tmp_path):
    for name in ("r1", "r2"):
        write_sound(tmp_path / "wav" / f"{name}.wav", seconds=2.0)
    data = tmp_path / "data" / "train"
    data.mkdir(parents=True)
    (data / "wav.scp").write_text(f"r1 {tmp_path}/wav/r1.wav\nr2 wav/r2.wav\n")
    (data / "segments").write_text("u1 r1 0.5 1.0\nu2 r1 1.0 -1\nu3 r2 0 9.5\n")
    (data / "utt2spk").write_text("u1 ann\nu2 bob\nu3 ann\n")
    (data / "utt2lang").write_text("u1 de\nu2 fr\nu3 de\n")
    return data


def test_segments_speakers_and_labels(folder):
    made = make("kaldi", folder)
    assert [(clip.path.name, clip.label, clip.group, clip.start, clip.end) for clip in made.clips] == [
        ("r1.wav", "de", "ann", 0.5, 1.0),
        ("r1.wav", "fr", "bob", 1.0, None),
        ("r2.wav", "de", "ann", 0.0, 2.0),
    ]
    assert "labels from utt2lang" in made.notes and detect(folder).name == "kaldi"
    assert made.dataset == "train"


def test_without_segments_each_recording_is_an_utterance(folder):
    (folder / "segments").unlink()
    (folder / "utt2lang").write_text("r1 de\nr2 fr\n")
    (folder / "utt2spk").write_text("r1 r1\nr2 r2\n")
    made = make("kaldi", folder)
    assert [(clip.label, clip.group, clip.start) for clip in made.clips] == [("de", "", None), ("fr", "", None)]
    assert any("no groups" in note for note in made.notes)


def test_commands_are_never_run_but_told(folder, tmp_path):
    mark = tmp_path / "ran"
    (folder / "wav.scp").write_text(f"r1 touch {mark} |\nr2 {tmp_path}/wav/r2.wav\n")
    made = make("kaldi", folder)
    assert not mark.exists() and [clip.path.name for clip in made.clips] == ["r2.wav"]
    assert made.left_out[0][0] == "r1" and "commands are not run" in made.left_out[0][1]


def test_what_is_missing_is_named(folder):
    with pytest.raises(ManifestError, match="no file of labels"):
        make("kaldi", folder, labels="utt2dialect")
    (folder / "utt2lang").unlink()
    with pytest.raises(ManifestError, match=r"no file of labels \(one of utt2label"):
        make("kaldi", folder)
    (folder / "text").write_text("".join(f"u{number} words {number}\n" for number in range(300)))
    with pytest.raises(ManifestError, match="300 different transcripts, which are no classes"):
        make("kaldi", folder)
    (folder / "segments").write_text("u1 r1 2.0 1.0\n")
    with pytest.raises(ManifestError, match="'u1' ends at 1 s, not after its start"):
        make("kaldi", folder)
    (folder / "segments").unlink()
    (folder / "wav.scp").write_text("r1 nowhere.wav\n")
    with pytest.raises(ManifestError, match="no recording can be used; r1: no such file: nowhere.wav"):
        make("kaldi", folder)
    (folder / "wav.scp").write_text("\n")
    with pytest.raises(ManifestError, match="wav.scp is empty; each of its lines is a name and the path"):
        make("kaldi", folder)
