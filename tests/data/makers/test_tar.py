"""Tar shards: their manifest, their audio read in place, and archives that are refused."""

from __future__ import annotations

import io
import json
import tarfile
import uuid
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.remotes import fresh_cache, upload
from helpers.sounds import write_sound

import embcomp
from embcomp.data.makers import detect, make
from embcomp.data.makers.tar import expanded
from embcomp.errors import ManifestError
from embcomp.storage import members
from embcomp.storage.bringing import here


def add(archive: tarfile.TarFile, name: str, content: bytes, **about) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    for key, value in about.items():
        setattr(info, key, value)
    archive.addfile(info, io.BytesIO(content))


@pytest.fixture
def shards(tmp_path) -> Path:
    """Two shards with three labelled clips each, whose sounds lie in `plain`, too."""
    for shard in range(2):
        with tarfile.open(tmp_path / f"shard-{shard:03d}.tar", "w") as archive:
            for number in range(3):
                key = f"part/{shard}{number}"
                content = write_sound(tmp_path / f"plain/{shard}{number}.wav", seed=10 * shard + number).read_bytes()
                add(archive, f"{key}.wav", content)
                about = {"label": ["dog", "cat", ["dog", "cat"]][number], "group": shard}
                add(archive, f"{key}.json", json.dumps(about).encode())
    return tmp_path


def test_shards_become_a_manifest_whose_audio_stays_in_them(shards):
    assert detect(shards / "shard-000.tar").name == "tar"
    made = make("tar", [shards / "shard-{000..001}.tar"], out=shards / "manifest.csv")
    made.write()
    table = pd.read_csv(shards / "manifest.csv")
    assert table["path"].tolist() == [f"shard-{s:03d}.tar/part/{s}{n}.wav" for s in range(2) for n in range(3)]
    assert table["label"].tolist() == ["dog", "cat", "dog|cat"] * 2 and table["group"].tolist() == [0] * 3 + [1] * 3
    clips = embcomp.Clips(embcomp.Manifest.read(shards / "manifest.csv"), 8000, 1.0)
    plain = table.assign(path=[f"plain/{s}{n}.wav" for s in range(2) for n in range(3)])
    plain.to_csv(shards / "plain.csv", index=False)
    other = embcomp.Clips(embcomp.Manifest.read(shards / "plain.csv"), 8000, 1.0)
    assert clips.bad_clips() == [] and clips.hashes() == other.hashes() and "unreadable" not in clips.hashes()
    rows = np.arange(6)
    assert all(map(np.array_equal, clips.unchanged(clips.hashes())(rows), other.batch(rows)))


def test_shards_beside_a_remote_manifest(shards, tmp_path, monkeypatch):
    fresh_cache(tmp_path / "cache", monkeypatch)
    make("tar", sorted(shards.glob("*.tar")), out=shards / "manifest.csv").write()
    here_ = embcomp.Clips(embcomp.Manifest.read(shards / "manifest.csv"), 8000, 1.0)
    url = upload(shards, f"memory://{uuid.uuid4().hex}")
    there = embcomp.Clips(embcomp.Manifest.read(f"{url}/manifest.csv"), 8000, 1.0)
    assert there.hashes() == here_.hashes() and there.bad_clips() == []
    assert np.array_equal(there.batch(np.arange(6))[0], here_.batch(np.arange(6))[0])


def test_labels_are_texts_where_there_is_no_json_and_may_be_missing(tmp_path):
    sound = write_sound(tmp_path / "a.wav").read_bytes()
    with tarfile.open(tmp_path / "s.tar", "w") as archive:
        for name, content in {
            "1.wav": sound,
            "1.cls": b"3\n",
            "2.wav": sound[:-2],
            "2.txt": b"cat",
            "3.flac": b"x",
        }.items():
            add(archive, name, content)
    made = make("tar", [tmp_path / "s.tar"], out=tmp_path / "m.csv")
    assert [clip.label for clip in made.clips] == ["3", "cat"]
    assert [name for name, _ in made.left_out] == ["s.tar/3.flac"]


def test_a_missing_member_is_a_bad_clip(shards):
    (shards / "m.csv").write_text("path,label\nshard-000.tar/part/00.wav,a\nshard-000.tar/none.wav,b\n")
    bad = embcomp.Clips(embcomp.Manifest.read(shards / "m.csv"), 8000, 1.0).bad_clips()
    assert [clip.path for clip in bad] == ["shard-000.tar/none.wav"]


def test_few_copies_are_kept_at_a_time(shards, monkeypatch):
    monkeypatch.setattr(members, "HELD", 2)
    members._local.__dict__.pop("held", None)
    paths = [here(shards / f"shard-000.tar/part/0{number}.wav") for number in range(3)]
    assert [path.exists() for path in paths] == [False, True, True]
    assert [path.name for path in paths] == ["00.wav", "01.wav", "02.wav"]


@pytest.mark.parametrize(
    "name, about, says",
    [
        ("../x.wav", {}, "'../x.wav' leads out of the archive"),
        ("/etc/x.wav", {}, "leads out of the archive"),
        ("x.wav", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}, "no plain file but a link"),
        ("a.wav", {}, "the name 'a.wav' is there twice"),
    ],
)
def test_archives_that_could_lead_elsewhere_are_refused(name, about, says, tmp_path):
    with tarfile.open(tmp_path / "s.tar", "w") as archive:
        add(archive, "a.wav", b"a")
        add(archive, name, b"" if about else b"b", **about)
    with pytest.raises(ManifestError, match=says):
        make("tar", [tmp_path / "s.tar"], out=tmp_path / "m.csv")


@pytest.mark.parametrize("kept", [1536, 2048, 2372, 3071, 3072, 10_000])
def test_archives_that_are_cut_off_are_refused(kept, tmp_path):
    with tarfile.open(tmp_path / "s.tar", "w") as archive:
        add(archive, "a.wav", b"a" * 900)
        add(archive, "b.wav", b"b" * 900)
    content = (tmp_path / "s.tar").read_bytes()
    assert len(members.members(tmp_path / "s.tar")) == 2 and len(content) == 10_240
    (tmp_path / "s.tar").write_bytes(content[:kept])
    with pytest.raises(ManifestError, match="cut off|no plain tar, or damaged"):
        members.members(tmp_path / "s.tar")


def test_compressed_archives_and_other_files_are_refused(tmp_path):
    with tarfile.open(tmp_path / "z.tar", "w:gz") as archive:
        add(archive, "a.wav", bytes(100_000))
    (tmp_path / "text.tar").write_text("no tar" * 1000)
    for name in ("z.tar", "text.tar"):
        with pytest.raises(ManifestError, match="is no plain tar, or damaged"):
            members.members(tmp_path / name)


def test_a_folder_called_tar_is_a_folder(tmp_path):
    write_sound(tmp_path / "x.tar/a.wav")
    assert here(tmp_path / "x.tar/a.wav") == tmp_path / "x.tar/a.wav"


def test_ranges_of_shards():
    assert [path.name for path in expanded(Path("d/s-{08..11}.tar"))] == [
        f"s-{n}.tar" for n in ("08", "09", "10", "11")
    ]
    with pytest.raises(ManifestError, match="names no shards"):
        expanded(Path("s-{3..1}.tar"))
