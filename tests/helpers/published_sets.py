"""Published data sets, rebuilt in small as they unpack; each returns label, group and split of its clips."""

from __future__ import annotations

import csv

from helpers.sounds import write_sound, write_sounds


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


def fsdd(folder):
    write_sounds(folder / "recordings", "7_jackson_4.wav", "7_jackson_5.wav", "0_theo_49.wav", "noise.wav")
    return [("7", "jackson", "test"), ("7", "jackson", "train"), ("0", "theo", "train")]


def audiomnist(folder):
    names = ("01/7_01_0.wav", "26/7_26_32.wav", "60/0_60_49.wav", "60/0_01_49.wav")
    write_sounds(folder / "data", *names)
    (folder / "data" / "audioMNIST_meta.txt").write_text('{"01": {"gender": "male"}}')
    return [("7", "speaker-01", "2"), ("7", "speaker-26", "1"), ("0", "speaker-60", "1")]


GENRES = ("blues", "classical", "country", "disco", "hiphop", "jazz", "metal", "pop", "reggae", "rock")


def gtzan(folder):
    write_sounds(folder / "genres", *(f"{genre}/{genre}.0000{number}.wav" for genre in GENRES for number in range(3)))
    write_sounds(folder / "genres", "blues/blues.wav")
    for number, name in enumerate(("train", "valid", "test")):
        lines = [f"{genre}/{genre}.0000{number}.wav\n" for genre in GENRES if (genre, number) != ("rock", 2)]
        (folder / f"{name}_filtered.txt").write_text("".join(lines))
    splits = ("train", "validation", "test")
    return [
        (genre, "", split) for genre in GENRES for number, split in enumerate(splits) if (genre, number) != ("rock", 2)
    ]


LAYOUTS = {
    "esc50": (esc50, {}),
    "urbansound8k": (urbansound8k, {}),
    "speech-commands": (speech_commands, {}),
    "fsdd": (fsdd, {}),
    "audiomnist": (audiomnist, {}),
    "openmic": (openmic, {}),
    "irmas": (irmas, {}),
    "mtat": (mtat, {"tags": 2}),
    "gtzan": (gtzan, {}),
    "ravdess": (ravdess, {}),
    "emodb": (emodb, {}),
}
