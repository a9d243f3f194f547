"""Hugging Face data sets on disk, written by `datasets` itself: audio folders, Parquet and Arrow with the audio inside."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import soundfile
from helpers.sounds import write_sounds

from embcomp.data.makers import detect, make
from embcomp.data.manifest import Manifest
from embcomp.errors import EmbcompError, ManifestError

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


def flac(seed: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.random.default_rng(seed).uniform(-0.5, 0.5, 2000), 8000, format="FLAC")
    return file.getvalue()


def features(**kinds) -> dict[bytes, bytes]:
    return {b"huggingface": json.dumps({"info": {"features": kinds}}).encode()}


CLASSES = {"names": ["cat", "dog"], "_type": "ClassLabel"}


def write_parquet(path, numbers):
    """Rows with audio inside, class numbers, and a speaker."""
    path.parent.mkdir(parents=True, exist_ok=True)
    audio = [{"bytes": flac(number), "path": f"clip{number}.flac"} for number in numbers]
    table = pyarrow.table(
        {
            "audio": audio,
            "label": [number % 2 for number in numbers],
            "client_id": [f"s{number % 3}" for number in numbers],
        }
    )
    parquet.write_table(table.replace_schema_metadata(features(audio={"_type": "Audio"}, label=CLASSES)), path)


def test_audio_inside_parquet_is_written_out_as_it_is(tmp_path):
    write_parquet(tmp_path / "data" / "train-00000-of-00001.parquet", range(4))
    write_parquet(tmp_path / "data" / "test-00000-of-00001.parquet", range(4, 6))
    assert detect(tmp_path).name == "hf"
    made = make("hf", tmp_path)
    made.write()
    manifest = Manifest.read(tmp_path / "manifest.csv")
    assert sorted(manifest.labels) == ["cat", "cat", "cat", "dog", "dog", "dog"]
    assert sorted(manifest.splits) == ["test"] * 2 + ["train"] * 4 and set(manifest.groups) == {"s0", "s1", "s2"}
    for row, name in enumerate(manifest.ids):
        number = int(name.removeprefix("audio/clip").removesuffix(".flac"))
        assert manifest.audio_path(row).read_bytes() == flac(number)
        assert manifest.labels[row] == CLASSES["names"][number % 2]


def test_only_one_split_and_a_wrong_one(tmp_path):
    write_parquet(tmp_path / "train.parquet", range(3))
    write_parquet(tmp_path / "test.parquet", range(3, 5))
    assert len(make("hf", tmp_path, split=("test",)).clips) == 2
    with pytest.raises(ManifestError, match="no split 'tset'; did you mean 'test'"):
        make("hf", tmp_path, split=("tset",))


def test_a_folder_of_somebody_else_is_never_written_into(tmp_path):
    write_parquet(tmp_path / "train.parquet", range(3))
    (tmp_path / "audio").mkdir()
    (tmp_path / "audio" / "mine.txt").write_text("kept")
    with pytest.raises(EmbcompError, match="audio exists already and is kept"):
        make("hf", tmp_path)
    assert [path.name for path in (tmp_path / "audio").iterdir()] == ["mine.txt"]
    # What was written out before may be written again.
    out = tmp_path / "new" / "manifest.csv"
    assert len(make("hf", tmp_path, out=out).clips) == len(make("hf", tmp_path, out=out).clips) == 3


def test_names_that_repeat_or_lead_out_become_names_of_their_own(tmp_path):
    audio = [{"bytes": flac(number), "path": name} for number, name in enumerate(["../../a.flac", "x/a.flac", None])]
    audio.append({"bytes": None, "path": None})
    parquet.write_table(pyarrow.table({"audio": audio, "label": ["x", "y", "x", "y"]}), tmp_path / "train.parquet")
    made = make("hf", tmp_path)
    assert [clip.path.relative_to(tmp_path).as_posix() for clip in made.clips] == [
        "audio/0_a.flac",
        "audio/1_a.flac",
        "audio/2.flac",
    ]
    assert made.left_out == (("row 4", "has no audio"),)


def test_what_cannot_be_a_manifest_is_refused_before_audio_is_written(tmp_path):
    parquet.write_table(pyarrow.table({"audio": [{"bytes": flac(0), "path": "a"}], "x": ["1"]}), tmp_path / "t.parquet")
    with pytest.raises(ManifestError, match=r"--column label=NAME"):
        make("hf", tmp_path)
    assert not (tmp_path / "audio").exists()
    assert make("hf", tmp_path, column=("label=x",)).clips[0].label == "1"


def test_several_labels_and_samples_instead_of_files(tmp_path):
    audio = [{"array": [0.0, 0.25, -0.25] * 300, "sampling_rate": 8000} for _ in range(2)]
    table = pyarrow.table({"audio": audio, "label": [[0, 1], []]})
    kinds = features(label={"feature": CLASSES, "_type": "List"})
    parquet.write_table(table.replace_schema_metadata(kinds), tmp_path / "train.parquet")
    made = make("hf", tmp_path)
    assert [clip.label for clip in made.clips] == ["cat|dog", "|"]
    samples, rate = soundfile.read(made.clips[0].path)
    assert rate == 8000 and np.allclose(samples, [0.0, 0.25, -0.25] * 300)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_audio_folders_with_metadata(tmp_path, form):
    rows = [("a.wav", "dog", "ann"), ("deep/b.wav", "cat", "bob")]
    for split in ("train", "test"):
        write_sounds(tmp_path / split, *(row[0] for row in rows))
        table = pyarrow.table(
            {name: list(column) for name, column in zip(("file_name", "label", "speaker_id"), zip(*rows))}
        )
        path = tmp_path / split / f"metadata.{form}"
        if form == "parquet":
            parquet.write_table(table, path)
        else:
            table.to_pandas().to_csv(path, index=False) if form == "csv" else table.to_pandas().to_json(
                path, orient="records", lines=True
            )
    assert detect(tmp_path).name == "hf"
    made = make("hf", tmp_path)
    assert sorted((clip.split, clip.label, clip.group) for clip in made.clips) == [
        ("test", "cat", "bob"),
        ("test", "dog", "ann"),
        ("train", "cat", "bob"),
        ("train", "dog", "ann"),
    ]
    assert not (tmp_path / "audio").exists()


def test_an_audio_folder_without_metadata_is_a_folder_of_classes(tmp_path):
    write_sounds(tmp_path, "train/dog/a.wav", "test/cat/b.wav")
    assert {(clip.split, clip.label) for clip in make("hf", tmp_path).clips} == {("train", "dog"), ("test", "cat")}


def test_what_datasets_saves_is_read(tmp_path):
    datasets = pytest.importorskip("datasets")
    from embcomp.data.makers.arrow import dataset_part, disk_parts

    audio = [{"bytes": flac(number), "path": f"{number}.flac"} for number in range(3)]
    table = pyarrow.table({"audio": audio, "label": [1, 0, -1]})
    kinds = features(audio={"_type": "Audio"}, label=CLASSES)
    saved = datasets.Dataset(datasets.table.InMemoryTable(table.replace_schema_metadata(kinds)))
    datasets.DatasetDict({"train": saved}).save_to_disk(str(tmp_path / "saved"))
    made = make("hf", tmp_path / "saved")
    assert [(clip.label, clip.split) for clip in made.clips] == [("dog", "train"), ("cat", "train"), ("", "train")]
    assert made.clips[0].path.read_bytes() == flac(0)
    # A data set of the hub goes the same way.
    part, disk = dataset_part(saved, "train"), disk_parts(tmp_path / "saved")[0]
    assert part.cells() == disk.cells() == {"label": ["dog", "cat", ""]}
    assert part.paths() == disk.paths() and list(part.sounds()) == list(disk.sounds())


def test_a_name_that_is_neither_folder_nor_data_set_is_told(tmp_path, monkeypatch):
    import sys

    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ImportError, match=r"there is no folder nobody/nothing.*pip install -e '\.\[hf\]'"):
        make("hf", "nobody/nothing")


def test_no_column_of_audio_is_told(tmp_path):
    parquet.write_table(pyarrow.table({"text": ["a"], "label": ["x"]}), tmp_path / "train.parquet")
    with pytest.raises(ManifestError, match=r"no column of audio \(found: text, label\)"):
        make("hf", tmp_path)
