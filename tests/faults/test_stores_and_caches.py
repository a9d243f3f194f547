"""What stands is used again, only what changed is made again, and neither a full disk nor a second writer spoils it."""

from __future__ import annotations

import ctypes
import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner
from helpers.settings import teacher_settings
from helpers.tones import write_tones

from embcomp.audio.clips import Clips
from embcomp.audio.features import compute_features
from embcomp.cli import group
from embcomp.compression import Compressor
from embcomp.config import AudioConfig, load
from embcomp.data.manifest import Manifest
from embcomp.errors import AudioError, EmbcompError, StoreError
from embcomp.pipeline import run
from embcomp.storage import arrays, files
from embcomp.storage.store import EmbeddingStore, write_store
from embcomp.teachers import KMeansTeacher, embed

AUDIO = AudioConfig(seconds=0.3, n_mels=8)
SMALL = teacher_settings(centroids=4, patches=300, whitened=8)


class Counting:
    """A teacher that counts the clips it embeds."""

    def __init__(self, teacher):
        self.teacher, self.embedded = teacher, 0
        self.name, self.sample_rate, self.dim, self.fingerprint = teacher.name, 16_000, teacher.dim, teacher.fingerprint

    def embed(self, waveforms, lengths):
        self.embedded += len(lengths)
        return self.teacher.embed(waveforms, lengths)


def clips_of(manifest):
    return Clips(Manifest.read(manifest), 16_000, 0.3)


@pytest.fixture
def teacher(tones):
    clips = clips_of(tones)
    return Counting(KMeansTeacher.learn(((wave, length) for _, wave, length in clips.batches(64)), len(clips), SMALL))


def embedded(manifest, teacher, path, **options):
    """Embed a manifest; returns the store and how many clips were embedded for it."""
    before, clips = teacher.embedded, clips_of(manifest)
    return embed(clips, clips.hashes(), teacher, path, **options), teacher.embedded - before


def change(manifest, row):
    path = Manifest.read(manifest).audio_path(row)
    wave, rate = soundfile.read(path)
    soundfile.write(path, wave[::-1], rate)


def test_one_changed_clip_is_one_row(tones, teacher, tmp_path):
    first, count = embedded(tones, teacher, tmp_path / "e")
    rows = np.array(first.data)
    assert count == 24
    assert embedded(tones, teacher, tmp_path / "e")[1] == 0
    change(tones, 5)
    second, count = embedded(tones, teacher, tmp_path / "e")
    assert count == 1
    assert np.flatnonzero((second.data != rows).any(axis=1)).tolist() == [5]
    fresh, count = embedded(tones, teacher, tmp_path / "fresh")
    assert count == 24
    np.testing.assert_allclose(second.data, fresh.data, atol=1e-6)


def test_the_command_embeds_one_changed_clip(tones, teacher, tmp_path, monkeypatch):
    teacher.teacher.save(tmp_path / "t")
    command = [
        "embed",
        str(tones),
        "--teacher",
        f"kmeans:{tmp_path / 't'}",
        "--out",
        str(tmp_path / "e"),
        "--seconds",
        "0.3",
    ]
    counts = []
    plain = KMeansTeacher.embed
    monkeypatch.setattr(
        KMeansTeacher, "embed", lambda self, *args: (counts.append(len(args[1])), plain(self, *args))[1]
    )
    for expected in (24, 0, 1):
        if expected == 1:
            change(tones, 0)
        counts.clear()
        assert CliRunner().invoke(group, command).exit_code == 0
        assert sum(counts) == expected


def test_rows_are_taken_from_stores_beside_it_if_asked(tones, teacher, tmp_path):
    embedded(tones, teacher, tmp_path / "stores" / "old")
    change(tones, 7)
    (tmp_path / "stores" / "notes").mkdir()
    (tmp_path / "stores" / "broken").mkdir()
    (tmp_path / "stores" / "broken" / "meta.json").write_text("{")
    assert embedded(tones, teacher, tmp_path / "stores" / "new", reuse=tmp_path / "stores")[1] == 1
    assert embedded(tones, teacher, tmp_path / "stores" / "alone")[1] == 24
    other, count = (
        KMeansTeacher.learn([(np.random.default_rng(1).normal(size=(9, 4800)), np.full(9, 4800))], 9, SMALL),
        24,
    )
    assert embedded(tones, Counting(other), tmp_path / "stores" / "other", reuse=tmp_path / "stores")[1] == count


def test_log_mels_of_one_changed_clip_are_made_again(tones, tmp_path, monkeypatch):
    decoded = []
    plain = Clips.decode
    monkeypatch.setattr(Clips, "decode", lambda self, row: (decoded.append(row), plain(self, row))[1])
    for name, expected in (("a", 24), ("b", 1)):
        clips = clips_of(tones)
        decoded.clear()
        compute_features(clips, clips.hashes(), AUDIO, tmp_path / name, reuse=tmp_path)
        assert len(decoded) == expected
        change(tones, 3)


def test_audio_that_changes_while_it_is_embedded_is_not_kept_under_its_old_hash(tones, teacher, tmp_path):
    clips = clips_of(tones)
    hashes = clips.hashes()
    change(tones, 5)
    with pytest.raises(AudioError, match=r"row 7: .*: changed while it was in use; run again"):
        embed(clips, hashes, teacher, tmp_path / "e")
    with pytest.raises(AudioError, match="changed while it was in use"):
        compute_features(clips, hashes, AUDIO, tmp_path / "f")
    assert embedded(tones, teacher, tmp_path / "e")[1] == 24


def test_a_file_that_vanishes_is_named_and_finished_rows_stay(tmp_path, monkeypatch):
    manifest = write_tones(tmp_path / "many", groups=8, clips=5)
    clips = clips_of(manifest)
    learned = KMeansTeacher.learn(((wave, length) for _, wave, length in clips.batches(64)), len(clips), SMALL)
    teacher, hashes = Counting(learned), clips.hashes()
    gone = clips.manifest.audio_path(70)
    content = gone.read_bytes()
    gone.unlink()
    with pytest.raises(AudioError, match="row 72: .*no such file"):
        embed(clips, hashes, teacher, tmp_path / "e")
    assert teacher.embedded == 64 and not (tmp_path / "e").exists()
    gone.write_bytes(content)
    assert embedded(manifest, teacher, tmp_path / "e")[1] == 16


# A full disk.
def rows_of(vectors):
    return lambda rows: vectors[rows]


VECTORS = np.random.default_rng(0).normal(size=(300, 64)).astype(np.float32)
IDS = [f"{number}.wav" for number in range(300)]


def fill(path, **options):
    return write_store(path, IDS, IDS, 64, {}, rows_of(VECTORS), batch_size=50, **options)


def test_no_room_for_a_store_is_told_before_the_work(tmp_path, monkeypatch):
    def full(handle, start, size):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(EmbcompError, match="No space left on device"):
        write_store(tmp_path / "s", IDS, IDS, 64, {}, lambda rows: pytest.fail("embedded in vain"))
    assert [path.name for path in tmp_path.iterdir()] == []


def test_a_disk_that_fills_up_keeps_the_finished_rows(tmp_path, monkeypatch):
    calls = []
    plain = os.fsync

    def full(handle):
        calls.append(handle)
        if len(calls) == 8:  # plan.json, then two a batch
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        plain(handle)

    monkeypatch.setattr(arrays.os, "fsync", full)
    with pytest.raises(StoreError, match=r"No space left on device; 150 of 300 rows are kept, the same call goes on"):
        fill(tmp_path / "s")
    monkeypatch.undo()
    asked = []
    write_store(tmp_path / "s", IDS, IDS, 64, {}, lambda rows: (asked.extend(rows), VECTORS[rows])[1], batch_size=50)
    assert asked == list(range(150, 300))
    np.testing.assert_array_equal(EmbeddingStore.open(tmp_path / "s").data, VECTORS)


LIMITED = """
import resource, sys
sys.path.insert(0, {here!r})
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
from embcomp.errors import EmbcompError
from test_stores_and_caches import *
try:
    {what}
    print("written")
except EmbcompError as error:
    print("refused:", error)
"""


@pytest.mark.parametrize(
    "what", ["fill(Path({out!r}, 's'))", "Compressor(40, method='pca').fit(VECTORS).save(Path({out!r}, 'c'))", "files.write_text(Path({out!r}, 't'), 'x' * 20_000)"]
)  # fmt: skip
def test_files_that_may_not_grow_are_told_in_words_and_leave_no_litter(tmp_path, what):
    here = Path(__file__).resolve().parent
    code = LIMITED.format(here=str(here), limit=10_000, what=what.format(out=str(tmp_path)))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(here.parents[1]), str(here.parent), *sys.path])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, env=environment)
    assert done.stdout.startswith("refused: cannot write"), done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == []


@pytest.fixture
def tiny_disk(tmp_path):
    """A disk of 64 kB, where one may be mounted."""
    library = ctypes.CDLL(None, use_errno=True)
    (tmp_path / "disk").mkdir()
    place = str(tmp_path / "disk").encode()
    if not sys.platform.startswith("linux") or library.mount(b"tmpfs", place, b"tmpfs", 0, b"size=64k"):
        pytest.skip("may not mount a small disk here")
    yield tmp_path / "disk"
    library.umount2(place, 2)


def test_a_real_full_disk(tiny_disk):
    with pytest.raises(EmbcompError, match="No space left on device"):
        fill(tiny_disk / "s")
    assert list(tiny_disk.iterdir()) == []
    with pytest.raises(EmbcompError, match="cannot write"):
        Compressor(60, method="pca").fit(VECTORS).save(tiny_disk / "c")
    assert list(tiny_disk.iterdir()) == []
    write_store(tiny_disk / "small", IDS[:50], IDS[:50], 64, {}, rows_of(VECTORS))
    assert len(EmbeddingStore.open(tiny_disk / "small")) == 50


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX users")
def test_a_read_only_folder_is_told_in_words(tmp_path):
    (tmp_path / "closed").mkdir()
    os.chmod(tmp_path / "closed", 0o555)
    for folder in (tmp_path, *list(tmp_path.parents)[:3]):
        if os.getuid() == 0:
            os.chmod(folder, 0o755)
    child = os.fork()
    if child == 0:
        answer = 1
        try:
            if os.getuid() == 0:  # nothing is closed to root
                os.setuid(65534)
            for write in (
                lambda: fill(tmp_path / "closed" / "s"),
                lambda: files.write_text(tmp_path / "closed" / "t", ""),
            ):
                try:
                    write()
                    os._exit(2)
                except EmbcompError as error:
                    answer = 0 if "Permission denied" in str(error) else 3
        finally:
            os._exit(answer)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert list((tmp_path / "closed").iterdir()) == []


# Several writers.
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX processes")
def test_of_many_writers_of_one_store_each_is_refused_or_finds_it_whole(tmp_path):
    children = []
    for _ in range(6):
        child = os.fork()
        if child == 0:
            code = 9
            try:
                fill(tmp_path / "s")
                code = 0
            except StoreError as error:
                code = 3 if "another process is writing" in str(error) else 4
            finally:
                os._exit(code)
        children.append(child)
    codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
    assert set(codes) <= {0, 3} and 0 in codes
    np.testing.assert_array_equal(EmbeddingStore.open(tmp_path / "s").data, VECTORS)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s"]


def test_a_second_run_into_the_same_folder_is_refused_while_the_first_writes(tones, tmp_path):
    (tmp_path / "run.toml").write_text(
        "seeds = [0]\nworkers = 1\n[data]\ntrain = 'tones/manifest.csv'\n[audio]\nseconds = 0.3\nn_mels = 16\n[split]\nfolds = 2\n"
        "[teacher]\ncentroids = 4\nwhitened = 8\npatches = 300\n[student]\nwidth = 8\n[training]\nsteps = 2\n[transfer]\nmethod = 'none'\n"
    )
    for place in (tmp_path / "out", Path(os.path.relpath(tmp_path / "out"))):
        seen = []

        def second(stage, done, total, place=place, seen=seen):
            if not seen:
                seen.append(CliRunner().invoke(group, ["run", str(tmp_path / "run.toml"), "--out", str(place)]))

        result = run(load(tmp_path / "run.toml"), tmp_path / "out", second)
        assert len(result.scores)
        assert isinstance(seen[0].exception, StoreError)
        assert "another process is writing" in str(seen[0].exception) and "wait for it to end" in str(seen[0].exception)
        assert not (tmp_path / "out" / ".lock").exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs POSIX locks")
def test_a_file_system_without_locks_is_no_other_writer(tmp_path, monkeypatch):
    import fcntl

    def none(handle, operation):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", none)
    fill(tmp_path / "s")
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def dead():
    """Number of a process that has ended."""
    return int(subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True).stdout)


def test_what_killed_processes_left_is_cleared_away_and_the_living_are_left_alone(tmp_path):
    process = dead()
    for name in (f".a.{process}.tmp", f".a.{os.getppid()}.tmp", f".b.{process}.tmp", f".a.{process}.other"):
        (tmp_path / name).mkdir()
    files.recover(tmp_path / "a")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([f".a.{os.getppid()}.tmp", f".b.{process}.tmp", f".a.{process}.other"])  # fmt: skip


def test_a_store_whose_writer_died_between_its_two_renames_is_found_again(tmp_path):
    fill(tmp_path / "s")
    os.rename(tmp_path / "s", tmp_path / f".s.{dead()}.old")
    found = write_store(tmp_path / "s", IDS, IDS, 64, {}, lambda rows: pytest.fail("no row was lost"))
    np.testing.assert_array_equal(found.data, VECTORS)


@pytest.mark.slow
def test_memory_stays_flat_over_fifty_thousand_clips(tmp_path):
    """Resident memory after the first 5,000 of 50,000 clips grows by less than 1 MB per 10,000."""
    rng = np.random.default_rng(0)
    (tmp_path / "a").mkdir()
    for number in range(50_000):
        soundfile.write(tmp_path / "a" / f"{number}.wav", rng.integers(-9000, 9000, 800, dtype=np.int16), 16_000)
    lines = "".join(f"a/{number}.wav,x\n" for number in range(50_000))
    (tmp_path / "manifest.csv").write_text("path,label\n" + lines)
    manifest = Manifest.read(tmp_path / "manifest.csv")
    clips = Clips(manifest, 16_000, 0.05)
    learning = Clips(manifest.select(range(200)), 16_000, 0.05)
    config = teacher_settings(centroids=4, patches=200, whitened=4, patch_frames=2)
    teacher = KMeansTeacher.learn(((wave, length) for _, wave, length in learning.batches(64)), 200, config)
    hashes, done, seen = clips.hashes(), 0, []

    def note(count):
        nonlocal done
        done += count
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        seen.append((done, pages * resource.getpagesize() / 2**20))

    embed(clips, hashes, teacher, tmp_path / "e", progress=note)
    count, memory = np.array([point for point in seen if point[0] >= 5000]).T
    slope = np.polyfit(count, memory, 1)[0] * 10_000
    sys.stderr.write(
        f"{memory[0]:.1f} MB after 5,000 clips, {memory[-1]:.1f} after {done}: {slope:+.3f} MB per 10,000\n"
    )
    assert done == 50_000 and slope < 1.0
