"""Published data sets, rebuilt in small as they unpack: labels, groups, splits, and what they hold that is no clip."""

from __future__ import annotations

import csv

import pytest
from helpers.sounds import write_sound, write_sounds

from embcomp.data.makers import detect, make
from embcomp.data.manifest import Manifest
from embcomp.errors import ManifestError


def write_csv(path, rows, delimiter=","):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        quoting = csv.QUOTE_ALL if delimiter == "\t" else csv.QUOTE_MINIMAL
        csv.writer(file, delimiter=delimiter, quoting=quoting).writerows(rows)


def esc50(folder):
    rows = [
        ["1-100032-A-0.wav", 1, 0, "dog", "True", 100032, "A"],
        ["2-100032-B-0.wav", 2, 0, "dog", "True", 100032, "B"],
        ["1-9-A-36.wav", 1, 36, "vacuum_cleaner", "False", 9, "A"],
    ]
    write_csv(
        folder / "meta" / "esc50.csv", [["filename", "fold", "target", "category", "esc10", "src_file", "take"], *rows]
    )
    write_sounds(folder / "audio", *(row[0] for row in rows))
    return [("dog", "100032", "1"), ("dog", "100032", "2"), ("vacuum_cleaner", "9", "1")]


def urbansound8k(folder):
    rows = [
        ["100032-3-0-0.wav", 100032, 0.0, 0.317551, 1, 5, 3, "dog_bark"],
        ["100263-2-0-117.wav", 100263, 58.5, 62.5, 1, 10, 2, "children_playing"],
    ]
    header = ["slice_file_name", "fsID", "start", "end", "salience", "fold", "classID", "class"]
    write_csv(folder / "metadata" / "UrbanSound8K.csv", [header, *rows])
    write_sounds(folder / "audio", *(f"fold{row[5]}/{row[0]}" for row in rows))
    return [("dog_bark", "100032", "5"), ("children_playing", "100263", "10")]


def speech_commands(folder):
    names = ("no/0a_nohash_0.wav", "no/0b_nohash_1.wav", "yes/0a_nohash_0.wav")
    write_sounds(folder, *names, "_background_noise_/pink_noise.wav")
    (folder / "testing_list.txt").write_text("no/0b_nohash_1.wav\n")
    (folder / "validation_list.txt").write_text("yes/0a_nohash_0.wav\n")
    return [("no", "0a", "train"), ("no", "0b", "test"), ("yes", "0a", "validation")]


def openmic(folder):
    rows = [
        ["000046_3840", "flute", 0.9, 3],
        ["000046_3840", "piano", 0.1, 3],
        ["000135_483840", "piano", 0.2, 3],
        ["000135_483840", "voice", 0.05, 3],
        ["000135_483840", "flute", 0.0, 3],
    ]
    write_csv(
        folder / "openmic-2018-aggregated-labels.csv",
        [["sample_key", "instrument", "relevance", "num_responses"], *rows],
    )
    write_sounds(folder / "audio", "000/000046_3840.ogg", "000/000135_483840.ogg")
    (folder / "partitions").mkdir()
    (folder / "partitions" / "split01_train.csv").write_text("000046_3840\n")
    (folder / "partitions" / "split01_test.csv").write_text("000135_483840\n")
    return [("flute|?voice", "000046", "train"), ("|", "000135", "test")]


def irmas(folder):
    train = folder / "IRMAS-TrainingData"
    write_sounds(
        train, "cel/008__[cel][nod][cla]0058__1.wav", "cel/[cel][cla]0001__2.wav", "gac/[gac][pop_roc]0058__3.wav"
    )
    test = folder / "IRMAS-TestingData-Part1" / "Part1"
    write_sounds(test, "(02) dont kill the whale-1.wav", "(02) dont kill the whale-12.wav", "no text-1.wav")
    (test / "(02) dont kill the whale-1.txt").write_text("gel\t\nvoi\t\n")
    (test / "(02) dont kill the whale-12.txt").write_text("gel\n")
    return [
        ("cel", "song-0058", "train"),
        ("cel", "song-0001", "train"),
        ("gac", "song-0058", "train"),
        ("gel|voi", "test-(02) dont kill the whale", "test"),
        ("gel", "test-(02) dont kill the whale", "test"),
    ]


def mtat(folder):
    rows = [
        [2, 0, 1, 1, "f/american_bach_soloists-j_s__bach-01-bwv54__i_aria-30-59.mp3"],
        [6, 0, 1, 0, "f/american_bach_soloists-j_s__bach-01-bwv54__i_aria-146-175.mp3"],
        [10, 0, 0, 0, "c/some_band-song-01-x-0-29.mp3"],
        [12, 1, 0, 1, "0/other_band-song-02-y-0-29.mp3"],
    ]
    write_csv(
        folder / "annotations_final.csv", [["clip_id", "no voice", "classical", "strings", "mp3_path"], *rows], "\t"
    )
    for row in rows:
        write_sound(folder / row[-1])
    bach = "american_bach_soloists-j_s__bach-01-bwv54__i_aria"
    return [
        ("classical|strings", bach, "test"),
        ("classical", bach, "test"),
        ("|", "some_band-song-01-x", "validation"),
        ("strings", "other_band-song-02-y", "train"),
    ]


def ravdess(folder):
    write_sounds(folder / "Actor_01", "03-01-01-01-01-01-01.wav", "03-02-05-02-02-01-01.wav")
    write_sounds(folder / "Actor_12", "03-01-08-01-02-01-12.wav")
    return [("neutral", "actor-01", ""), ("angry", "actor-01", ""), ("surprised", "actor-12", "")]


def emodb(folder):
    write_sounds(folder / "wav", "03a01Fa.wav", "03a01Nc.wav", "16b10Wb.wav")
    return [("happiness", "speaker-03", ""), ("neutral", "speaker-03", ""), ("anger", "speaker-16", "")]


LAYOUTS = {
    "esc50": (esc50, {}),
    "urbansound8k": (urbansound8k, {}),
    "speech-commands": (speech_commands, {}),
    "openmic": (openmic, {}),
    "irmas": (irmas, {}),
    "mtat": (mtat, {"tags": 2}),
    "ravdess": (ravdess, {}),
    "emodb": (emodb, {}),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_labels_groups_and_splits_are_those_published(tmp_path, name):
    layout, settings = LAYOUTS[name]
    expected = layout(tmp_path)
    made = make(name, tmp_path, **settings)
    assert sorted((clip.label, clip.group, clip.split) for clip in made.clips) == sorted(expected)
    assert detect(tmp_path).name == name
    made.write()
    manifest = Manifest.read(tmp_path / "manifest.csv")
    assert sorted(manifest.groups) == sorted(group for _, group, _ in expected)
    assert all(manifest.audio_path(row).is_file() for row in range(len(manifest)))


@pytest.mark.parametrize("name", LAYOUTS)
def test_one_layout_is_not_taken_for_another(tmp_path, name):
    write_sounds(tmp_path, "dog/1.wav", "cat/1.wav")
    with pytest.raises(ManifestError, match="missing|not the published|no file|neither|not one"):
        make(name, tmp_path)


def test_a_file_that_the_list_names_and_the_disk_has_not_is_left_out(tmp_path):
    esc50(tmp_path)
    (tmp_path / "audio" / "1-9-A-36.wav").unlink()
    assert make("esc50", tmp_path).left_out == (("audio/1-9-A-36.wav", "no such file"),)


def test_parts_of_sets(tmp_path):
    esc50(tmp_path / "esc")
    assert make("esc50", tmp_path / "esc", esc10=True).summary.classes == {"dog": 2}
    speech_commands(tmp_path / "words")
    assert make("speech_commands", tmp_path / "words", words="yes").summary.classes == {"yes": 1}
    with pytest.raises(ManifestError, match="no word 'yess'; did you mean 'yes'"):
        make("speech-commands", tmp_path / "words", words="yess")
    ravdess(tmp_path / "emotions")
    assert make("ravdess", tmp_path / "emotions", part="song").summary.classes == {"angry": 1}
    with pytest.raises(ManifestError, match="unknown part 'sing'"):
        make("ravdess", tmp_path / "emotions", part="sing")


def test_a_table_of_another_publication_is_refused_by_its_columns(tmp_path):
    write_csv(tmp_path / "meta" / "esc50.csv", [["filename", "category"], ["a.wav", "dog"]])
    with pytest.raises(ManifestError, match="no column 'fold', so it is not the published table"):
        make("esc50", tmp_path)


def test_test_clips_without_their_text_are_named(tmp_path):
    irmas(tmp_path)
    assert make("irmas", tmp_path).left_out == (
        ("no text-1.wav", "no text-1.txt beside it does not say its instruments"),
    )


def test_an_irmas_training_folder_alone(tmp_path):
    irmas(tmp_path)
    assert len(make("irmas", tmp_path / "IRMAS-TrainingData").clips) == 3
