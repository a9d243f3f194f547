"""Remote files brought into the cache, its limit, and failures on the way."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import numpy as np
import pytest
import soundfile
from helpers.remotes import Traffic, forget_looks, fresh_cache, upload

from embcomp.audio.decoding import decode
from embcomp.errors import ConfigError, MissingDependencyError, RemoteError
from embcomp.storage import bringing, cached, remote
from embcomp.storage.bringing import bring_together, brought, hash_of, here
from embcomp.storage.files import file_hash
from embcomp.storage.places import path_of


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "PAUSE", 0)
    return fresh_cache(tmp_path / "cache", monkeypatch)


@pytest.fixture(params=["memory", "file"])
def url(request, tmp_path, cache) -> str:
    """A remote folder with a file, a folder, and a second file in that."""
    (tmp_path / "there/inner").mkdir(parents=True)
    (tmp_path / "there/a.txt").write_bytes(b"first" * 100)
    (tmp_path / "there/inner/b.txt").write_bytes(b"")
    if request.param == "file":
        return f"file://{tmp_path}/there"
    return upload(tmp_path / "there", f"memory://{uuid.uuid4().hex}/there")


def write(url: str, content: bytes) -> None:
    system, place = fsspec.core.url_to_fs(url)
    system.pipe_file(place, content)


def stored(folder: Path) -> int:
    return sum(os.stat(path).st_blocks * 512 for name in ("files", "ranges") for path in (folder / name).rglob("*.wav"))


def test_a_file_is_brought_once_and_again_when_it_has_changed(url, monkeypatch):
    traffic = Traffic(monkeypatch)
    place = path_of(f"{url}/a.txt")
    assert here(place).read_bytes() == b"first" * 100 and here(place) == place
    assert len(traffic.reads) == 1
    assert hash_of(place) == file_hash(place)
    write(f"{url}/a.txt", b"second")
    assert here(place).read_bytes() == b"first" * 100  # looked at a moment ago
    assert here(place, fresh=True).read_bytes() == b"second" and hash_of(place) == file_hash(place)
    assert cached.entry(f"{url}/a.txt").bytes == 6


def test_a_folder_is_brought_as_it_is_now(url):
    folder = brought(url)
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.txt")) == ["a.txt", "inner/b.txt"]
    system, place = fsspec.core.url_to_fs(url)
    system.rm_file(f"{place}/a.txt")
    assert [path.name for path in brought(url).rglob("*.txt")] == ["b.txt"]
    assert brought(folder) == folder  # what was brought stays as it is


def test_what_is_missing_has_a_place_at_which_nothing_is(url):
    assert not here(path_of(f"{url}/none")).exists() and not brought(f"{url}/none").exists()
    with pytest.raises(FileNotFoundError):
        hash_of(path_of(f"{url}/none"))


def test_a_folder_that_is_being_uploaded_is_not_opened(url):
    write(f"{url}/{bringing.UPLOADING}", b"")
    with pytest.raises(RemoteError, match="is not whole"):
        brought(url)


@pytest.mark.parametrize("failures", [2, 100])
def test_failures_are_tried_again_and_then_said_in_a_line(url, failures, monkeypatch):
    monkeypatch.setenv("OUR_SECRET_KEY", "hunter22hunter22")
    calls = []

    class Flaky:
        def __init__(self, system):
            self.system = system

        def __getattr__(self, name):
            return getattr(self.system, name)

        def cat_file(self, *given, **options):
            calls.append(1)
            if len(calls) <= failures:
                raise TimeoutError(
                    "no answer from https://me:hunter23@host/x?X-Amz-Signature=hunter24 hunter22hunter22\nmore"
                )
            return self.system.cat_file(*given, **options)

    real = remote._system
    monkeypatch.setattr(remote, "_system", lambda url: Flaky(real(url)))
    place = path_of(f"{url}/a.txt")
    if failures < remote.TRIES:
        assert here(place).read_bytes() == b"first" * 100
        return
    with pytest.raises(
        RemoteError, match="tried 5 times: TimeoutError: no answer.*run the same command again"
    ) as caught:
        here(place)
    assert "hunter2" not in str(caught.value) and "\n" not in str(caught.value)
    assert not place.exists()


def test_an_interrupted_download_goes_on(url, monkeypatch):
    content = np.random.default_rng(0).bytes(1000)
    write(f"{url}/a.txt", content)
    monkeypatch.setattr(bringing, "BLOCK", 300)
    traffic = Traffic(monkeypatch)
    real, place = bringing.remote.read, path_of(f"{url}/a.txt")

    def dies(url, start=0, stop=None):
        if start == 600:
            raise KeyboardInterrupt
        return real(url, start, stop)

    monkeypatch.setattr(bringing.remote, "read", dies)
    with pytest.raises(KeyboardInterrupt):
        here(place)
    assert not place.exists()
    monkeypatch.setattr(bringing.remote, "read", real)
    assert here(place).read_bytes() == content
    assert [start for _, start, _ in traffic.reads] == [0, 300, 600, 900]


def test_a_file_that_changes_while_it_is_read_is_refused(url, monkeypatch):
    write(f"{url}/a.txt", b"x" * 1000)
    monkeypatch.setattr(bringing, "BLOCK", 300)
    real = bringing.remote.read

    def changed(name, start=0, stop=None):
        found = real(name, start, stop)
        if start == 600:
            write(name, b"y" * 1001)
        return found

    monkeypatch.setattr(bringing.remote, "read", changed)
    with pytest.raises(RemoteError, match="changed while it was read; run again"):
        here(path_of(f"{url}/a.txt"))
    monkeypatch.setattr(bringing.remote, "read", real)
    assert here(path_of(f"{url}/a.txt")).read_bytes() == b"y" * 1001


def test_copies_not_used_for_longest_go_and_their_hashes_stay(cache, tmp_path, monkeypatch):
    place = f"memory://{uuid.uuid4().hex}"
    for number in range(30):
        write(f"{place}/{number:02d}.bin", bytes([number]) * 1000)
    monkeypatch.setenv(cached.LIMIT, str(10_000 / 1e9))
    monkeypatch.setattr(cached, "HELD", 2)
    paths = [path_of(f"{place}/{number:02d}.bin") for number in range(30)]
    keys = [hash_of(path) for path in paths]
    assert cached._asked("select bytes from total")[0][0] <= 10_000
    there = [path.name for path in paths if path.exists()]
    assert there == [f"{number:02d}.bin" for number in range(30 - len(there), 30)] and 2 <= len(there) <= 10
    assert here(paths[-4]).exists()  # used again, so that it stays longer than its neighbours
    for path in paths[:7]:
        assert here(path).read_bytes()[:1] == bytes([int(path.stem)])
    assert paths[-4].exists() and not paths[-2].exists()
    traffic = Traffic(monkeypatch)
    assert [hash_of(path) for path in paths] == keys and not traffic.reads


def test_what_a_command_has_opened_is_not_dropped(url, monkeypatch):
    folder = brought(url)
    monkeypatch.setenv(cached.LIMIT, "1e-9")
    other = f"memory://{uuid.uuid4().hex}/c.txt"
    write(other, b"x" * 500)
    here(path_of(other))
    assert (folder / "a.txt").exists()


def test_a_limit_that_is_none_is_refused(url, monkeypatch):
    monkeypatch.setenv(cached.LIMIT, "lots")
    with pytest.raises(ConfigError, match="EMBCOMP_CACHE_GB = 'lots' is no number"):
        here(path_of(f"{url}/a.txt"))


def _bring_all(folder: str, cache: str, limit: str, names: list[str], seed: int, answers) -> None:
    os.environ.update({"EMBCOMP_CACHE": cache, cached.LIMIT: limit})
    wrong = 0
    for number in np.random.default_rng(seed).integers(0, len(names), 80):
        place = path_of(f"file://{folder}/{names[number]}")
        content = here(place).read_bytes()
        wrong += content != bytes([number]) * (1000 + number)
    answers.put(wrong)


def test_processes_share_a_cache_that_is_too_small(cache, tmp_path):
    (tmp_path / "there").mkdir()
    names = [f"{number}.bin" for number in range(20)]
    for number, name in enumerate(names):
        (tmp_path / "there" / name).write_bytes(bytes([number]) * (1000 + number))
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    about = (str(tmp_path / "there"), str(cache), str(5000 / 1e9), names)
    children = [context.Process(target=_bring_all, args=(*about, seed, answers), daemon=True) for seed in range(3)]
    for child in children:
        child.start()
    assert [answers.get(timeout=120) for _ in children] == [0, 0, 0]
    for child in children:
        child.join(60)
    total = cached._asked("select bytes from total")[0][0]
    assert total == sum(path.stat().st_size for path in (cache / "files").rglob("*.bin"))


def test_a_damaged_list_of_copies_is_made_anew(url, cache):
    here(path_of(f"{url}/a.txt"))
    cached._local.__dict__.pop("of")
    for path in cache.glob("copies.sqlite*"):
        path.unlink() if path.suffix != ".sqlite" else path.write_bytes(b"no database" * 1000)
    assert here(path_of(f"{url}/a.txt")).read_bytes() == b"first" * 100


def test_a_scheme_without_its_package_names_the_command(cache, monkeypatch):
    monkeypatch.setitem(remote.SCHEMES, "gs", ("a_package_that_is_not_here", ""))
    with pytest.raises(MissingDependencyError, match="gs:// needs a_package_that_is_not_here: pip install a_package"):
        here(path_of("gs://bucket/a.wav"))


@pytest.fixture
def recording(tmp_path, cache) -> tuple[Path, str]:
    """Ten minutes of noise with chunks before and behind its samples, and its URL."""
    path = tmp_path / "there/long.wav"
    path.parent.mkdir()
    rng = np.random.default_rng(0)
    with soundfile.SoundFile(path, "w", 16_000, 1, "PCM_16") as file:
        file.title = "a title"
        file.write(rng.uniform(-0.5, 0.5, 600 * 16_000))
    url = f"memory://{uuid.uuid4().hex}"
    upload(path.parent, url)
    return path, f"{url}/long.wav"


def test_of_a_long_wav_only_the_part_that_is_read_is_brought(recording, cache, monkeypatch):
    path, url = recording
    traffic = Traffic(monkeypatch)
    for start, end in [(0, 1), (300.123, 301.5), (300.5, 302), (599, 600), (17.0625, None)]:
        options = {"start": start, "end": end, "seconds": 2}
        assert np.array_equal(decode(path_of(url), 16_000, **options), decode(path, 16_000, **options))
    assert traffic.bytes < 0.05 * path.stat().st_size
    assert stored(cache) <= traffic.bytes + 65536
    assert not path_of(url).exists()
    assert np.array_equal(decode(url, 8000, end=400), decode(path, 8000, end=400))  # more than half: all of it
    assert path_of(url).stat().st_size == path.stat().st_size and stored(cache) < 1.1 * path.stat().st_size


def test_ranges_of_a_changed_file_are_not_mixed(recording):
    path, url = recording
    decode(url, 16_000, start=1, end=2)
    with soundfile.SoundFile(path, "w", 16_000, 1, "PCM_16") as file:
        file.title = "a title"
        file.write(np.random.default_rng(1).uniform(-0.5, 0.5, 600 * 16_000))
    write(url, path.read_bytes())
    forget_looks()
    assert np.array_equal(decode(url, 16_000, start=1, end=3), decode(path, 16_000, start=1, end=3))


@pytest.mark.parametrize("form", ["FLAC", "WAV"])
def test_what_is_no_plain_wav_is_brought_whole(form, recording, tmp_path):
    _, url = recording
    path = tmp_path / "other.flac"
    rng = np.random.default_rng(0)
    if form == "FLAC":
        soundfile.write(path, rng.uniform(-1, 1, 16_000 * 60), 16_000, format=form)
    else:  # whose header promises another length than the file has
        soundfile.write(path, rng.uniform(-1, 1, 16_000 * 60), 16_000, format=form)
        path.write_bytes(path.read_bytes() + bytes(100))
    other = url.replace("long.wav", "other")
    write(other, path.read_bytes())
    assert np.array_equal(decode(other, 16_000, start=1, end=2), decode(path, 16_000, start=1, end=2))
    assert path_of(other).exists()


def test_a_file_too_large_for_the_cache_is_hashed_without_being_kept(recording, cache, monkeypatch):
    path, url = recording
    monkeypatch.setenv(cached.LIMIT, "0.001")
    assert hash_of(path_of(url)) == file_hash(path)
    assert not path_of(url).exists()
    traffic = Traffic(monkeypatch)
    assert hash_of(path_of(url)) == file_hash(path) and not traffic.reads


def test_of_many_threads_one_at_a_time_opens_the_list_of_copies(tmp_path, monkeypatch):
    """sqlite does not wait where two make the journal of a new database; now and then that was "database is locked"."""
    opening, most, real = [], [], sqlite3.connect

    class Slow(sqlite3.Connection):
        def execute(self, text, *values):
            if "journal_mode" in text:
                opening.append(1)
                most.append(len(opening))
                time.sleep(0.01)
                opening.pop()
            return super().execute(text, *values)

    fresh_cache(tmp_path / "new", monkeypatch)
    monkeypatch.setattr(sqlite3, "connect", lambda *given, **options: real(*given, factory=Slow, **options))
    with ThreadPoolExecutor(6) as pool:
        barrier = threading.Barrier(6)
        for done in [pool.submit(lambda: (barrier.wait(20), cached.entry("memory://x/y"))) for _ in range(6)]:
            assert done.result(60)[1] == cached.Entry()
    assert len(most) == 6 and max(most) == 1


def test_files_are_brought_together(url, monkeypatch):
    write(f"{url}/c.txt", b"c")
    bring_together([path_of(f"{url}/{name}") for name in ("a.txt", "c.txt", "missing")] + [Path("local")])
    traffic = Traffic(monkeypatch)
    assert here(path_of(f"{url}/c.txt")).read_bytes() == b"c" and not traffic.reads
