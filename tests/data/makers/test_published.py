"""Published data sets, rebuilt in small as they unpack: labels, groups, splits, and what they hold that is no clip."""

from __future__ import annotations

import pytest
from helpers.published_sets import (
    GENRES,
    LAYOUTS,
    esc50,
    gtzan,
    irmas,
    mtat,
    openmic,
    ravdess,
    speech_commands,
    write_csv,
)
from helpers.sounds import write_sounds

from embcomp.data.makers import detect, make
from embcomp.data.makers.audiomnist import TESTED
from embcomp.data.makers.speech_commands import COMMANDS
from embcomp.data.manifest import Manifest
from embcomp.errors import ManifestError


@pytest.mark.parametrize("name", LAYOUTS)
def test_labels_groups_and_splits_are_those_published(tmp_path, name):
    layout, settings = LAYOUTS[name]
    expected = layout(tmp_path)
    made = make(name, tmp_path, **settings)
    assert sorted((clip.label, clip.group, clip.split) for clip in made.clips) == sorted(expected)
    assert detect(tmp_path).name == name
    made.write()
    manifest = Manifest.read(tmp_path / "manifest.csv")
    if any(group for _, group, _ in expected):
        assert sorted(manifest.groups) == sorted(group for _, group, _ in expected)
    else:
        assert manifest.unit == "clip"
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


def test_the_folds_of_audiomnist_hold_each_speaker_once():
    assert sorted(speaker for fold in TESTED for speaker in fold) == list(range(1, 61))
    assert {len(fold) for fold in TESTED} == {12}


def test_names_that_do_not_fit_are_left_out_by_name(tmp_path):
    LAYOUTS["audiomnist"][0](tmp_path / "one")
    (name, reason), *others = make("audiomnist", tmp_path / "one").left_out
    assert name == "data/60/0_01_49.wav" and "SPEAKER/DIGIT_SPEAKER_TAKE" in reason and not others
    LAYOUTS["fsdd"][0](tmp_path / "two")
    assert detect(tmp_path / "two" / "recordings").name == "fsdd"
    write_sounds(tmp_path / "other" / "recordings", "7_jackson_4.wav", "monday.wav", "tuesday.wav")
    assert detect(tmp_path / "other").name == "folder"
    assert make("fsdd", tmp_path / "two" / "recordings").left_out == (
        ("noise.wav", "the name is not DIGIT_SPEAKER_TAKE"),
    )


def test_genres_without_the_lists_have_no_splits_and_a_warning(tmp_path):
    gtzan(tmp_path)
    for path in tmp_path.glob("*.txt"):
        path.unlink()
    made = make("gtzan", tmp_path)
    assert made.summary.splits == {} and made.summary.groups == 0 and len(made.clips) == 3 * len(GENRES)
    assert "names no artists" in made.notes[0] and made.left_out == (("blues.wav", "its name is not GENRE.NUMBER"),)
    # Some copies of the set have other folders and endings.
    (tmp_path / "genres").rename(tmp_path / "genres_original")
    assert detect(tmp_path).name == "gtzan" and detect(tmp_path / "genres_original").name == "gtzan"


def test_excerpts_in_none_of_the_lists_are_left_out(tmp_path):
    gtzan(tmp_path)
    assert ("rock.00002.wav", "in none of the fault-filtered lists") in make("gtzan", tmp_path).left_out
    (tmp_path / "genres" / "jazz" / "jazz.00001.wav").unlink()
    assert ("genres/jazz/jazz.00001.wav", "no such file") in make("gtzan", tmp_path).left_out


def test_lists_of_genres_are_checked(tmp_path):
    gtzan(tmp_path)
    lists = tmp_path / "lists"
    lists.mkdir()
    for name in ("train", "test"):
        (tmp_path / f"{name}_filtered.txt").rename(lists / f"{name}_filtered.txt")
    with pytest.raises(ManifestError, match=r"lists/valid_filtered.txt is missing"):
        make("gtzan", tmp_path, lists=str(lists))
    with pytest.raises(ManifestError, match=r"train_filtered.txt is missing"):
        make("gtzan", tmp_path)
    text = (lists / "test_filtered.txt").read_text()
    (lists / "valid_filtered.txt").write_text(text)
    with pytest.raises(ManifestError, match="blues.00002 is in valid_filtered.txt and in test_filtered.txt"):
        make("gtzan", tmp_path, lists=str(lists))
    (lists / "valid_filtered.txt").write_text("blues/1.wav\n")
    with pytest.raises(ManifestError, match="names 'blues/1.wav'"):
        make("gtzan", tmp_path, lists=str(lists))


def test_a_copy_of_urbansound8k_in_one_folder(tmp_path):
    expected = LAYOUTS["urbansound8k"][0](tmp_path)
    (tmp_path / "metadata" / "UrbanSound8K.csv").rename(tmp_path / "UrbanSound8K.csv")
    for fold in (tmp_path / "audio").iterdir():
        fold.rename(tmp_path / fold.name)
    (tmp_path / "audio").rmdir()
    assert detect(tmp_path).name == "urbansound8k"
    assert len(make("urbansound8k", tmp_path).clips) == len(expected)


def test_performances_that_are_there_twice_are_taken_once(tmp_path):
    ravdess(tmp_path)
    ravdess(tmp_path / "audio_speech_actors_01-24")
    made = make("ravdess", tmp_path)
    assert len(made.clips) == 3 and len(made.left_out) == 3
    assert all("another folder, too" in reason for _, reason in made.left_out)


def test_clips_without_a_tag_are_left_out_of_the_clean_set(tmp_path):
    mtat(tmp_path)
    assert len(make("mtat", tmp_path, tags=2, clean=False).clips) == 4
    made = make("mtat", tmp_path, tags=2, clean=True)
    assert len(made.clips) == 3 and "|" not in [clip.label for clip in made.clips]
    assert "1 clip with none of them left out" in made.notes


def test_even_answers_may_be_unknown(tmp_path):
    openmic(tmp_path)
    table = tmp_path / "openmic-2018-aggregated-labels.csv"
    table.write_text(table.read_text().replace("000046_3840,piano,0.1", "000046_3840,piano,0.5"))
    labels = {clip.group: clip.label for clip in make("openmic", tmp_path).clips}
    assert labels["000046"] == "flute|piano|?voice"
    labels = {clip.group: clip.label for clip in make("openmic", tmp_path, undecided=True).clips}
    assert labels["000046"] == "flute|?piano|?voice"


@pytest.fixture(scope="module")
def commands(tmp_path_factory):
    """Speech Commands with the ten commands, two other words and three recordings of noise."""
    folder = tmp_path_factory.mktemp("commands")
    words = ("yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "cat", "zero")
    speakers = [f"{number:02x}" for number in range(6)]
    write_sounds(folder, *(f"{word}/{one}_nohash_0.wav" for word in words for one in speakers), seconds=0.02)
    write_sounds(folder / "_background_noise_", "a.wav", "b.wav", "c.wav", seconds=2.5)
    for name, one in (("validation", speakers[4]), ("testing", speakers[5])):
        (folder / f"{name}_list.txt").write_text("".join(f"{word}/{one}_nohash_0.wav\n" for word in words))
    return folder


def test_twelve_classes_have_unknown_words_and_silence(commands):
    made = make("speech-commands", commands, classes=12)
    counts = made.summary.classes
    assert len(counts) == 12 and counts["yes"] == 6 and counts["_unknown_"] == 4 + 1 + 1
    unknown = [clip for clip in made.clips if clip.label == "_unknown_"]
    assert {clip.path.parent.name for clip in unknown} <= {"cat", "zero"}
    silence = [clip for clip in made.clips if clip.label == "_silence_"]
    assert all(clip.end - clip.start == 1 for clip in silence)
    # A recording of noise is in one split; no split has more of it than clips of one command.
    assert sorted({(clip.group, clip.split) for clip in silence}) == [
        ("noise-a", "train"),
        ("noise-b", "validation"),
        ("noise-c", "test"),
    ]
    assert [sum(clip.split == split for clip in silence) for split in ("train", "validation", "test")] == [2, 1, 1]
    again = make("speech-commands", commands, classes=12)
    assert again.clips == made.clips


def test_the_archive_of_test_clips_is_the_test_split_of_twelve_classes(commands, tmp_path):
    archive = tmp_path / "archive"
    words = (*COMMANDS, "_unknown_", "_silence_")
    names = {"_unknown_": "bird_05_nohash_0.wav.wav", "_silence_": "1024.wav"}
    write_sounds(archive, *(f"{word}/{names.get(word, '05_nohash_1.wav')}" for word in words))
    made = make("speech-commands", commands, classes=12, test_set=str(archive))
    tested = [clip for clip in made.clips if clip.split == "test"]
    assert {clip.label for clip in tested} == set(words) and all(archive in clip.path.parents for clip in tested)
    assert {clip.label: clip.group for clip in tested} | {"_unknown_": "05", "_silence_": "noise-1024"} == {
        clip.label: clip.group for clip in tested
    }
    assert not {clip.group for clip in tested} & {clip.group for clip in made.clips if clip.split != "test"}
    # All recordings of noise are left for the other two splits.
    silence = {clip.path.name: clip.split for clip in made.clips if clip.label == "_silence_" and clip not in tested}
    assert silence == {"a.wav": "train", "b.wav": "validation", "c.wav": "train"}
    assert any("12 test clips are those of" in note for note in made.notes)
    # Beside the set it is found by its name, and is no word.
    (tmp_path / "set").mkdir()
    for path in commands.iterdir():
        (tmp_path / "set" / path.name).symlink_to(path)
    archive.rename(tmp_path / "set" / "speech_commands_test_set_v0.02")
    made = make("speech-commands", tmp_path / "set", classes=12)
    assert sum(clip.split == "test" for clip in made.clips) == 12
    assert len(make("speech-commands", tmp_path / "set").summary.classes) == 12


def test_an_archive_of_test_clips_without_a_class_is_refused(commands, tmp_path):
    write_sounds(tmp_path, "yes/05_nohash_1.wav")
    with pytest.raises(ManifestError, match="no holds no clip: the test clips of 12 classes"):
        make("speech-commands", commands, classes=12, test_set=str(tmp_path))
    with pytest.raises(ManifestError, match="--test-set is of 12 classes; add --classes 12"):
        make("speech-commands", commands, test_set=str(tmp_path))


def test_wrong_classes_of_commands_are_refused(commands, tmp_path):
    with pytest.raises(ManifestError, match="--classes is one of 35, 12, not 10"):
        make("speech-commands", commands, classes=10)
    with pytest.raises(ManifestError, match="--words chooses words"):
        make("speech-commands", commands, classes=12, words="yes")
    speech_commands(tmp_path)
    with pytest.raises(ManifestError, match="no word 'up'"):
        make("speech-commands", tmp_path, classes=12)


def test_a_clip_that_a_list_of_commands_names_is_reported_where_it_is_missing(tmp_path):
    speech_commands(tmp_path)
    (tmp_path / "no" / "0b_nohash_1.wav").unlink()
    assert make("speech-commands", tmp_path).left_out == (("no/0b_nohash_1.wav", "no such file"),)


def test_commands_without_lists_are_split_by_the_published_hash_of_the_speaker(tmp_path):
    # Speakers of the published lists: the first eight are tested, the next two validated on.
    tested = ["2aa787cf", "ffa76c4a", "24ad3ebe", "d7467392", "5828dfa2", "91223b83", "f0ae7203", "95ba4996"]
    splits = dict.fromkeys(tested, "test") | {"026290a7": "validation", "060cd039": "validation"}
    write_sounds(tmp_path, *(f"{word}/{one}_nohash_0.wav" for word in ("yes", "no") for one in (*splits, "0a7c2a8d")))
    assert detect(tmp_path).name == "speech-commands"
    made = make("speech-commands", tmp_path)
    assert {clip.group: clip.split for clip in made.clips} == splits | {"0a7c2a8d": "train"}
    assert any("are not there: splits are by the published hash" in note for note in made.notes)
    (tmp_path / "testing_list.txt").write_text("yes/2aa787cf_nohash_0.wav\n")
    with pytest.raises(ManifestError, match="validation_list.txt is missing: the list of validation clips"):
        make("speech-commands", tmp_path)
