"""Audio that is damaged, mislabelled, endless or somebody else's: named by row, never a hang, never a shorter clip in silence."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from helpers.bad_files import FILES, NOISE, RATE, riff, sound, whole
from helpers.tones import write_tones

from embcomp.audio.clips import Clips
from embcomp.audio.decoding import decode
from embcomp.cli import group
from embcomp.data.manifest import Manifest
from embcomp.errors import AudioError
from embcomp.storage.store import EmbeddingStore

REFUSED = {name: bad for name, bad in FILES.items() if isinstance(bad.outcome, str)}


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """One manifest of all files, a good one between any two."""
    root = tmp_path_factory.mktemp("bad")
    folder = root / "set"
    folder.mkdir()
    (root / "elsewhere").mkdir()
    sound(root / "elsewhere" / "good.wav")
    lines = ["path,label"]
    for number, bad in enumerate(FILES.values()):
        bad.make(folder / bad.name)
        sound(folder / f"good{number}.wav", NOISE[: 1600 + number])
        lines += [f"{bad.name},x", f"good{number}.wav,y"]
    (folder / "manifest.csv").write_text("\n".join(lines) + "\n")
    return Manifest.read(folder / "manifest.csv")


def row_of(name):
    return 2 * list(FILES).index(name)


def test_there_are_enough_of_them():
    assert len(FILES) >= 90 and len(REFUSED) >= 60


@pytest.mark.parametrize("name", FILES)
def test_each_file_is_refused_with_its_row_and_reason_or_read_whole(everything, name):
    clips, outcome, row = Clips(everything, RATE, 10.0), FILES[name].outcome, row_of(name)
    if isinstance(outcome, float):
        found = clips.decode(row)
        assert len(found) == pytest.approx(outcome * RATE, abs=1200 if "mp3" in name else 2)
        assert np.isfinite(found).all() and found.dtype == np.float32
        return
    with pytest.raises(AudioError, match=outcome) as caught:
        clips.decode(row)
    (bad,) = caught.value.bad
    assert (bad.row, bad.path) == (row + 2, FILES[name].name)
    assert str(caught.value).startswith(f"row {row + 2}: {FILES[name].name}: ")


def test_all_of_them_are_listed_at_once_and_can_be_left_out(everything):
    clips = Clips(everything, RATE, 10.0)
    with pytest.raises(AudioError, match=f"{len(REFUSED)} of {2 * len(FILES)} clips cannot be used") as caught:
        clips.usable(skip_bad=False)
    assert [bad.path for bad in caught.value.bad] == [bad.name for bad in REFUSED.values()]
    good, bad = clips.usable(skip_bad=True)
    assert len(good) + len(bad) == len(clips) and len(bad) == len(REFUSED)
    assert good.usable(skip_bad=False)[1] == []


def test_what_cannot_be_opened_is_hashed_as_unreadable_without_a_hang(everything):
    hashes = dict(zip(everything.ids, Clips(everything, RATE, 10.0).hashes()))
    for name in (
        "pipe",
        "link to a pipe",
        "link to zeros",
        "link to a terminal",
        "link out",
        "loop",
        "folder",
        "missing",
    ):
        assert hashes[FILES[name].name] == "unreadable"


def test_the_command_counts_what_it_leaves_out(everything, tmp_path):
    command = ["embed", str(everything.folder / "manifest.csv"), "--teacher", "kmeans", "--out", str(tmp_path / "emb")]
    small = ["--set", "teacher.centroids=4", "--set", "teacher.patches=200", "--seconds", "0.3"]
    refused = CliRunner().invoke(group, [*command, *small])
    assert isinstance(refused.exception, AudioError) and not (tmp_path / "emb").exists()
    done = CliRunner().invoke(group, [*command, *small, "--skip-bad"])
    left_out = done.output.count("  left out: row ")
    assert done.exit_code == 0, done.output
    # Of a file cut short, three tenths of a second may still be whole.
    assert f"({left_out} unusable clips left out)" in done.output and left_out > 40
    assert len(EmbeddingStore.open(tmp_path / "emb")) == 2 * len(FILES) - left_out


@pytest.mark.parametrize("suffix", [".ogg", ".opus"])
def test_an_ogg_cut_short_is_good_for_what_it_still_holds(tmp_path, suffix):
    options = {"format": "OGG", "subtype": "OPUS"} if suffix == ".opus" else {}
    path = sound(tmp_path / f"a{suffix}", np.tile(NOISE, 20), **options)
    entire = decode(path, RATE, seconds=2.0)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    np.testing.assert_array_equal(decode(path, RATE, seconds=2.0), entire)
    with pytest.raises(AudioError, match="last page of its Ogg stream is missing"):
        decode(path, RATE)


def test_an_ogg_with_something_after_its_end_is_whole(tmp_path):
    path = sound(tmp_path / "a.ogg")
    path.write_bytes(path.read_bytes() + b"TAG" + bytes(125))
    assert len(decode(path, RATE)) == RATE


def test_two_oggs_in_a_row_are_not_taken_for_the_first(tmp_path):
    path = sound(tmp_path / "a.ogg")
    first = path.read_bytes()
    path.write_bytes(first + whole(".ogg")(path))
    with pytest.raises(AudioError, match=f"holds a second file from byte {len(first)} on"):
        decode(path, RATE)
    assert len(decode(path, RATE, seconds=0.5)) == RATE // 2
    path.write_bytes((first + whole(".ogg")(path))[:-100])
    with pytest.raises(AudioError, match="cut off"):
        decode(path, RATE)


LONG = """
import json, resource, sys
from embcomp.audio.decoding import decode
from embcomp.errors import AudioError
from embcomp.storage.files import file_hash
import numpy, soundfile, soxr
decode({good!r}, 16000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    decode({path!r}, 16000)
    answer = "read"
except AudioError as error:
    answer = str(error)
samples = len(decode({path!r}, 16000, start=35990.0, seconds=2.0))
file_hash({path!r})
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([answer, samples, after - before]))
"""


def test_ten_hours_are_refused_or_read_in_parts_in_little_memory(tmp_path):
    count = 36_000 * 8000
    path = tmp_path / "long.wav"
    path.write_bytes(riff(0, data=count, rate=8000, bits=8))
    with open(path, "r+b") as file:
        file.truncate(44 + count)
    sound(tmp_path / "good.wav")
    code = LONG.format(path=str(path), good=str(tmp_path / "good.wav"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    answer, samples, kilobytes = json.loads(done.stdout)
    assert answer.startswith("36000 s long; give a start and end, or a maximum length (over 3600 s is refused)")
    assert samples == 2 * RATE
    assert kilobytes < 30_000


def test_more_values_than_memory_should_hold_are_refused_before_they_are_read(tmp_path):
    path = tmp_path / "wide.wav"
    count = 3000 * 384_000
    path.write_bytes(riff(0, data=min(2 * count, 2**32 - 64), rate=384_000, bits=8, channels=2))
    with open(path, "r+b") as file:
        file.truncate(44 + 2 * count)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(AudioError, match="more than the 536870912 values read at once"):
        decode(path, RATE, seconds=3600.0)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000
    assert len(decode(path, RATE, seconds=1.0)) == RATE


# Audio outside the manifest's folder.
@pytest.fixture
def outside(tmp_path):
    """Each way out of a folder to a good file beside it, and ways that only look like it."""
    write_tones(tmp_path / "set", groups=2, clips=1)
    sound(tmp_path / "good.wav")
    (tmp_path / "set" / "link").symlink_to(tmp_path)
    (tmp_path / "set" / "inside.wav").symlink_to("audio/tones_high_0_0.wav")
    leads_out = ["../good.wav", str(tmp_path / "good.wav"), "link/good.wav", "audio/../../good.wav", "./.././good.wav"]
    stays = ["inside.wav", "audio/../audio/tones_low_0_0.wav", "link/set/audio/tones_low_1_0.wav"]
    path = tmp_path / "set" / "manifest.csv"
    path.write_text("path,label\n" + "".join(f"{name},x\n" for name in leads_out + stays))
    return path, leads_out, stays


def test_audio_outside_the_folder_is_refused_by_row_links_followed(outside):
    path, leads_out, stays = outside
    good, bad = Clips(Manifest.read(path), RATE, 1.0).usable(skip_bad=True)
    assert [clip.path for clip in bad] == leads_out and good.manifest.ids == stays
    assert [clip.row for clip in bad] == list(range(2, 2 + len(leads_out)))
    assert all("give --allow-outside (data.allow_outside)" in clip.reason for clip in bad)


def test_audio_outside_the_folder_can_be_allowed(outside):
    path, leads_out, stays = outside
    clips = Clips(Manifest.read(path, allow_outside=True), RATE, 1.0)
    assert clips.usable(skip_bad=False)[1] == []
    assert clips.manifest.select([0]).allow_outside
    assert "unreadable" not in clips.hashes()
    with pytest.raises(AudioError, match="not a regular file"):
        Clips(device(path), RATE, 1.0).decode(0)


def device(path: Path) -> Manifest:
    other = path.with_name("device.csv")
    other.write_text("path,label\n/dev/zero,x\n")
    return Manifest.read(other, allow_outside=True)


def test_a_manifest_seen_through_a_link_is_at_home_where_it_lies(outside, tmp_path):
    path, _, stays = outside
    (tmp_path / "elsewhere").symlink_to(path.parent)
    manifest = Manifest.read(tmp_path / "elsewhere" / "manifest.csv")
    assert [manifest.leads_out(manifest.ids.index(name)) for name in stays] == [False] * 3


def test_the_commands_take_the_option(tmp_path):
    write_tones(tmp_path / "audio", groups=3, clips=1)
    (tmp_path / "lists").mkdir()
    table = (tmp_path / "audio/manifest.csv").read_text().replace("\naudio/", "\n../audio/audio/")
    (tmp_path / "lists/manifest.csv").write_text(table)
    small = ["--set", "teacher.centroids=4", "--set", "teacher.patches=200", "--seconds", "0.3"]
    command = [
        "embed",
        str(tmp_path / "lists/manifest.csv"),
        "--teacher",
        "kmeans",
        "--out",
        str(tmp_path / "e"),
        *small,
    ]
    refused = CliRunner().invoke(group, command)
    assert isinstance(refused.exception, AudioError) and "6 of 6 clips" in str(refused.exception)
    assert CliRunner().invoke(group, [*command, "--allow-outside"]).exit_code == 0
    assert len(EmbeddingStore.open(tmp_path / "e")) == 6
    for name in ("embed", "distill", "evaluate", "run"):
        assert "--allow-outside" in CliRunner().invoke(group, [name, "--help"]).output


def test_a_line_break_in_a_quoted_cell_does_not_shift_the_rows_in_messages(tmp_path):
    path = tmp_path / "manifest.csv"
    path.write_bytes(
        b'path,label,"a\nnote"\r\n"a.wav","x","1\n2\r\n3"\nmissing.wav,y,\n"b.wav","two\rlines",z\nc.wav,x,\n'
    )
    manifest = Manifest.read(path)
    assert manifest.table["row"].tolist() == [3, 6, 7, 9]
    bad = Clips(manifest, RATE, 1.0).bad_clips()
    assert [(clip.row, clip.path) for clip in bad][1] == (6, "missing.wav")
