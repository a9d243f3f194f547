"""Clips embedded by several workers: the bytes of one process, whatever the order, whoever dies."""

from __future__ import annotations

import os

import numpy as np
import pytest
from click.testing import CliRunner
from helpers.killing import contents
from helpers.spread_engine import SpreadEngine
from helpers.tones import write_tones

import embcomp
from embcomp.audio.clips import Clips
from embcomp.audio.views import View
from embcomp.cli import group
from embcomp.config import AudioConfig, read_choice
from embcomp.data.manifest import Manifest
from embcomp.errors import AudioError, ConfigError, EmbcompError, StoreError, TeacherError
from embcomp.storage import chunks
from embcomp.teachers import embed, embed_manifest, open_teacher, spread
from embcomp.teachers.spread import BATCHES, CHUNKS, ChunkJobs, Spread, embed_chunk

# What a row is depends on the batch that its clip is in: on its length, and on its place.
OWN = """
import numpy as np

class Padded:
    sample_rate, dim, fingerprint = 8000, 3, "padded 1"

    def embed(self, waveforms, lengths):
        level = np.array([one[:size].std() for one, size in zip(waveforms, lengths)])
        return np.stack([level, level + waveforms.shape[1], np.arange(len(lengths))], axis=1)
"""
SMALL = {"centroids": 4, "whitened": 8, "patches": 300}
SMALL_MEMBER = "kmeans(centroids=4, whitened=8, patches=300) + OWN"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("spread")
    (folder / "own.py").write_text(OWN)
    write_tones(folder, groups=10, clips=20, seconds=0.05)
    return folder


@pytest.fixture(scope="module")
def about(root):
    """Clips, their hashes and the settings of the teacher."""
    manifest = Manifest.read(root / "manifest.csv")
    clips = Clips.of(manifest, AudioConfig(), 1.0)
    return clips, clips.hashes(), read_choice("teacher", {"spec": f"python:{root / 'own.py'}:Padded"})


@pytest.fixture(scope="module")
def serial(about, tmp_path_factory):
    clips, hashes, settings = about
    path = tmp_path_factory.mktemp("serial") / "store"
    embed(clips, hashes, open_teacher(settings), path)
    return bytes_of(path)


def bytes_of(path):
    return {name: (path / name).read_bytes() for name in sorted(os.listdir(path))}


def spread_over(engine, about, path, **options):
    clips, hashes, settings = about
    return embed(clips, hashes, open_teacher(settings), path, spread=Spread(engine, settings), **options)


def planned(about, batches, workers):
    clips, hashes, settings = about
    return ChunkJobs(batches, workers, clips, hashes, open_teacher(settings), settings, clips.manifest.folder)


@pytest.mark.parametrize("workers", [1, 2, 7, 100])
@pytest.mark.parametrize("count", [1, 2, 7, 31, 64, 65])
def test_chunks_are_whole_batches_in_order_and_enough_for_all_workers(about, count, workers):
    ends = np.cumsum([0, *np.random.default_rng(count).integers(1, 5, count)])
    batches = [np.arange(*ends[at : at + 2]) for at in range(count)]
    jobs = planned(about, batches, workers)
    assert np.array_equal(np.concatenate([jobs.rows(number) for number in range(len(jobs))]), np.arange(ends[-1]))
    given = [size for number in range(len(jobs)) for size in jobs[number]["batches"]]
    assert given == [len(batch) for batch in batches]
    assert all(1 <= len(jobs[number]["batches"]) <= BATCHES for number in range(len(jobs)))
    assert len(jobs) >= min(count, CHUNKS * workers) / 2
    with pytest.raises(IndexError):
        jobs[len(jobs)]


def test_a_job_is_complete_by_itself_and_holds_no_other_clip(about):
    job = planned(about, [np.array([3, 5]), np.array([8])], 1)[0]
    ids = about[0].manifest.ids
    assert [clip[3] for clip in job["clips"]] == [ids[3], ids[5]]
    assert job["hashes"] == [about[1][3], about[1][5]] and job["batches"] == [2]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("workers", [1, 2, 50])
def test_the_bytes_are_those_of_one_process_in_whatever_order_chunks_come(about, serial, tmp_path, workers, seed):
    engine, counted = SpreadEngine(workers, seed), []
    spread_over(engine, about, tmp_path / "store", progress=counted.append)
    assert bytes_of(tmp_path / "store") == serial
    assert sum(engine.sizes) == sum(counted) == len(about[0]) and len(engine.sizes) > 1
    assert os.listdir(tmp_path) == ["store"]


def test_other_batches_would_give_other_bytes(about, serial, tmp_path, monkeypatch):
    from embcomp.teachers import embedding

    def smaller(*given, **options):
        return embcomp.storage.store.write_store(*given, **options, batch_size=50)

    monkeypatch.setattr(embedding, "write_store", smaller)
    clips, hashes, settings = about
    embed(clips, hashes, open_teacher(settings), tmp_path / "store")
    assert bytes_of(tmp_path / "store")["data.npy"] != serial["data.npy"]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("after", [1, 3])
@pytest.mark.parametrize("going_on", ["spread", "serial"])
def test_chunks_that_are_done_are_kept_and_the_rest_has_the_same_bytes(about, serial, tmp_path, after, seed, going_on):
    clips, hashes, settings = about
    first, counted = SpreadEngine(2, seed, ends_after=after), []
    with pytest.raises(EmbcompError, match="worker process died"):
        spread_over(first, about, tmp_path / "store")
    assert sorted(os.listdir(tmp_path)) == [".store.partial"]
    if going_on == "spread":
        second = SpreadEngine(3, seed + 1)
        spread_over(second, about, tmp_path / "store", progress=counted.append)
        assert sum(second.sizes) == len(clips) - sum(first.sizes)
    else:
        embed(clips, hashes, open_teacher(settings), tmp_path / "store", progress=counted.append)
    assert counted[0] == sum(first.sizes) > 0 and sum(counted) == len(clips)
    assert bytes_of(tmp_path / "store") == serial and os.listdir(tmp_path) == ["store"]


def test_a_chunk_done_twice_changes_nothing(about, serial, tmp_path):
    spread_over(SpreadEngine(2, twice=True), about, tmp_path / "store")
    assert bytes_of(tmp_path / "store") == serial and os.listdir(tmp_path) == ["store"]


def test_what_a_killed_call_left_is_cleared_away_and_files_of_others_are_kept(about, serial, tmp_path):
    left = tmp_path / ".store.chunks"
    left.mkdir()
    for name in ("chunk-0.npy", "chunk-3.npy.1234"):
        (left / name).write_bytes(b"half")
    spread_over(SpreadEngine(), about, tmp_path / "store")
    assert bytes_of(tmp_path / "store") == serial and os.listdir(tmp_path) == ["store"]
    (tmp_path / ".other.chunks").mkdir()
    (tmp_path / ".other.chunks" / "mine.txt").write_text("mine")
    with pytest.raises(
        StoreError, match=r"\.other\.chunks holds mine\.txt, no chunks of a store; choose another --out"
    ):
        spread_over(SpreadEngine(), about, tmp_path / "other")
    assert (tmp_path / ".other.chunks" / "mine.txt").read_text() == "mine"


def test_a_teacher_that_is_another_for_the_worker_is_refused(about, tmp_path):
    job = planned(about, [np.array([0])], 1)[0]
    with pytest.raises(
        TeacherError, match=r"has other weights where a worker opens it; all machines must see the same"
    ):
        embed_chunk(**{**job, "weights": "other", "out": str(tmp_path / "chunk-0.npy")})


def test_audio_that_changed_is_refused_as_in_one_process(about, tmp_path):
    job = planned(about, [np.array([2])], 1)[0]
    with pytest.raises(AudioError, match=r"row 4: audio/.*: changed while it was in use; run again"):
        embed_chunk(**{**job, "hashes": ["other"], "out": str(tmp_path / "chunk-0.npy")})


def test_a_chunk_that_never_appears_is_told(about, tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "SEEN", 0.0)
    monkeypatch.setattr(spread, "embed_chunk", lambda **job: None)
    with pytest.raises(StoreError, match=r"cannot read .*chunk-\d\.npy, which a worker has written \(No such file"):
        spread_over(SpreadEngine(), about, tmp_path / "store")


@pytest.mark.parametrize("spec, own", [("kmeans", SMALL), (SMALL_MEMBER, {})], ids=["kmeans", "joined"])
def test_teachers_that_are_learned_or_joined_and_views_have_the_same_bytes(root, tmp_path, monkeypatch, spec, own):
    spec = spec.replace("OWN", f"python:{root / 'own.py'}:Padded")
    manifest, engine = Manifest.read(root / "manifest.csv"), SpreadEngine(2)
    monkeypatch.setattr(embed_manifest, "open_engine", lambda name, workers, threads: engine)
    options = {"teacher": spec, "options": own, "seconds": 1.0, "views": [View(1, gain=6.0, noise=20.0)]}
    for name, more in (("one", {}), ("several", {"workers": 2})):
        (tmp_path / name).mkdir()
        embcomp.embed(manifest, tmp_path / name / "store", **options, **more)
    # A view by all teachers together, and the clips by each of them.
    assert sum(engine.sizes) == len(manifest) * (3 if "+" in spec else 2)
    assert contents(tmp_path / "several") == contents(tmp_path / "one")


def test_vectors_that_are_looked_up_stay_here(root, tmp_path, monkeypatch):
    manifest, engine = Manifest.read(root / "manifest.csv"), SpreadEngine(2)
    np.save(tmp_path / "vectors.npy", np.ones((len(manifest), 2), np.float32))
    monkeypatch.setattr(embed_manifest, "open_engine", lambda name, workers, threads: engine)
    found = embcomp.embed(manifest, tmp_path / "out", teacher=f"store:{tmp_path / 'vectors.npy'}", workers=2)
    assert len(found.store) == len(manifest) and engine.sizes == []


def test_a_wrong_engine_is_refused_before_anything_is_read(root, tmp_path):
    with pytest.raises(ConfigError, match=r"unknown engine 'rey': did you mean 'ray'\?"):
        embcomp.embed(Manifest.read(root / "manifest.csv"), tmp_path / "out", engine="rey")
    assert os.listdir(tmp_path) == []


@pytest.mark.slow
def test_worker_processes_write_the_same_store(root, serial, tmp_path):
    arguments = ["embed", root / "manifest.csv", "--teacher", f"python:{root / 'own.py'}:Padded", "--seconds", "1"]
    done = CliRunner().invoke(group, [*map(str, arguments), "--workers", "2", "--out", str(tmp_path / "store")])
    assert done.exit_code == 0, done.output
    assert bytes_of(tmp_path / "store") == serial and os.listdir(tmp_path) == ["store"]
