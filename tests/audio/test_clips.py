"""The clips of a manifest: decoded in order, hashed by content, and the bad ones named by row."""

from __future__ import annotations

import os

import numpy as np
import pytest
import soundfile

from embcomp.audio.clips import Clips
from embcomp.data.manifest import Manifest
from embcomp.errors import AudioError

RATE = 16_000


@pytest.fixture
def clips(tones):
    return Clips(Manifest.read(tones), RATE, 0.25)


@pytest.fixture
def mixed(tmp_path):
    """Six rows after a blank line: good, missing, text, good, NaN, 8 channels."""
    good = 0.1 * np.ones(1000)
    soundfile.write(tmp_path / "good.wav", good, RATE)
    soundfile.write(tmp_path / "fine.wav", good[:500], RATE)
    (tmp_path / "text.wav").write_text("no sound")
    soundfile.write(tmp_path / "nan.wav", np.full(1000, np.nan), RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "many.wav", np.zeros((10, 8)), RATE)
    names = ["good", "missing", "text", "fine", "nan", "many"]
    (tmp_path / "manifest.csv").write_text("path,label\n\n" + "".join(f"{name}.wav,x\n" for name in names))
    return Clips(Manifest.read(tmp_path / "manifest.csv"), RATE, 1.0)


def test_clips_are_cut_at_the_length_asked_for(clips):
    assert len(clips) == 24 and clips.samples == 4000
    for row in range(len(clips)):
        whole, _ = soundfile.read(clips.manifest.audio_path(row))
        np.testing.assert_allclose(clips.decode(row), whole[:4000], atol=1e-4)


# The last rounds up at the rate of the files and down at that of the clips.
@pytest.mark.parametrize(("sample_rate", "seconds"), [(8000, 0.2), (16_000, 0.2), (22_050, 0.2), (48_000, 0.200035)])
def test_no_clip_is_longer_than_announced_at_any_rate(tones, sample_rate, seconds):
    clips = Clips(Manifest.read(tones), sample_rate, seconds)
    lengths = [len(clips.decode(row)) for row in range(len(clips))]
    assert max(lengths) == clips.samples == round(seconds * sample_rate)


def test_a_part_of_a_file_is_that_part(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.linspace(0, 0.9, RATE), RATE)
    (tmp_path / "manifest.csv").write_text("path,label,start,end\na.wav,x,0.5,0.6\na.wav,y,0.9,\na.wav,z,,0.05\n")
    clips = Clips(Manifest.read(tmp_path / "manifest.csv"), RATE, 0.08)
    found = [clips.decode(row) for row in range(3)]
    assert [len(wave) for wave in found] == [1280, 1280, 800]
    assert [wave[0] for wave in found] == pytest.approx([0.45, 0.81, 0.0], abs=1e-4)


@pytest.mark.parametrize("size", [1, 7, 24, 100])
def test_batches_hold_every_clip_once_in_order(clips, size):
    rows, lengths = [], []
    for numbers, batch, counts in clips.batches(size):
        assert len(numbers) == len(batch) == len(counts) <= size
        for number, wave, count in zip(numbers, batch, counts):
            np.testing.assert_array_equal(wave[:count], clips.decode(number))
            assert not wave[count:].any()
        rows += numbers.tolist()
        lengths += counts.tolist()
    assert rows == list(range(24))
    assert len(set(lengths)) > 3


def test_a_clip_that_cannot_be_used_is_named_by_row_and_path(mixed):
    with pytest.raises(AudioError, match=r"^row 5: text\.wav: not readable as audio") as caught:
        mixed.decode(2)
    assert (caught.value.bad[0].row, caught.value.bad[0].path) == (5, "text.wav")


def test_every_bad_clip_is_named_in_the_order_of_the_manifest(mixed):
    seen = []
    bad = mixed.bad_clips(seen.append)
    assert [(clip.row, clip.path) for clip in bad] == [
        (4, "missing.wav"),
        (5, "text.wav"),
        (7, "nan.wav"),
        (8, "many.wav"),
    ]
    for clip, reason in zip(bad, ["no such file", "not readable as audio", "1000 samples are NaN", "8 channels"]):
        assert clip.reason.startswith(reason)
    assert seen == [1] * 6


@pytest.mark.parametrize("workers", [1, 4])
def test_the_number_of_workers_changes_nothing(mixed, workers):
    assert mixed.bad_clips(workers=workers) == mixed.bad_clips()
    assert mixed.hashes(workers) == mixed.hashes()


def test_bad_clips_stop_the_work_and_all_are_listed(mixed):
    with pytest.raises(
        AudioError, match="4 of 6 clips cannot be used:\n  row 4: missing.wav: no such file\n"
    ) as caught:
        mixed.usable(skip_bad=False)
    assert [clip.row for clip in caught.value.bad] == [4, 5, 7, 8]
    assert "leave them out with --skip-bad" in str(caught.value)


def test_bad_clips_can_be_left_out_and_are_counted(mixed):
    good, bad = mixed.usable(skip_bad=True)
    assert good.manifest.ids == ["good.wav", "fine.wav"]
    assert good.manifest.table["row"].tolist() == [3, 6]
    assert len(good) + len(bad) == len(mixed) == 6
    assert (good.sample_rate, good.seconds) == (mixed.sample_rate, mixed.seconds)
    assert good.usable(skip_bad=False)[1] == []


def test_a_set_of_bad_clips_alone_is_refused_whatever_is_asked(mixed):
    only_bad = Clips(mixed.manifest.select([1, 2]), RATE, 1.0)
    for skip_bad in (False, True):
        with pytest.raises(AudioError, match="2 of 2 clips cannot be used") as caught:
            only_bad.usable(skip_bad)
        assert "--skip-bad" not in str(caught.value)


def test_hashes_follow_the_content_and_not_the_name(clips):
    before = clips.hashes()
    assert len(set(before)) == 24
    path = clips.manifest.audio_path(5)
    other = clips.manifest.audio_path(6)
    path.write_bytes(other.read_bytes())
    after = clips.hashes()
    assert [row for row in range(24) if before[row] != after[row]] == [5]
    assert after[5] == after[6]


def test_hashes_do_not_depend_on_the_other_clips_or_on_the_time(clips):
    before = clips.hashes()
    os.utime(clips.manifest.audio_path(0), (0, 0))
    chosen = Clips(clips.manifest.select([7, 0]), RATE, 0.25)
    assert chosen.hashes() == [before[7], before[0]]


def test_parts_of_one_file_have_hashes_of_their_own(tmp_path):
    soundfile.write(tmp_path / "a.wav", np.zeros(RATE), RATE)
    (tmp_path / "manifest.csv").write_text(
        "path,label,start,end\na.wav,x,,\na.wav,x,0,0.5\na.wav,x,0,0.6\na.wav,x,0.1,0.6\n"
    )
    hashes = Clips(Manifest.read(tmp_path / "manifest.csv"), RATE, 1.0).hashes()
    assert len(set(hashes)) == 4


@pytest.mark.parametrize("kind", ["missing", "folder", "fifo", "loop", "null byte"])
def test_what_cannot_be_hashed_is_marked_and_does_not_hang(tmp_path, kind):
    name = "a\0.wav" if kind == "null byte" else "a.wav"
    if kind == "folder":
        (tmp_path / name).mkdir()
    elif kind == "fifo":
        os.mkfifo(tmp_path / name)
    elif kind == "loop":
        (tmp_path / name).symlink_to(tmp_path / name)
    (tmp_path / "manifest.csv").write_text(f"path,label\n{name},x\n")
    clips = Clips(Manifest.read(tmp_path / "manifest.csv"), RATE, 1.0)
    assert clips.hashes() == ["unreadable"]
    assert [clip.row for clip in clips.bad_clips()] == [2]
