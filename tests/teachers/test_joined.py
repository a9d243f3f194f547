"""Several teachers in one embedding: equal shares of the variance, each at its own rate, fitted once."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from click.testing import CliRunner
from helpers.own_teachers import LEVELS
from helpers.settings import teacher_settings
from helpers.tones import write_tones

import embcomp
from embcomp.cli import group
from embcomp.config import parse
from embcomp.data.manifest import Manifest
from embcomp.errors import ArtifactError, ConfigError, DataError, StoreError, TeacherError
from embcomp.storage.store import EmbeddingStore, write_store
from embcomp.teachers import open_teacher
from embcomp.teachers.joined import Blocks

OWN = (
    LEVELS
    + """
class Crossings:
    sample_rate, dim, fingerprint = 4000, 3, "crossings 1"

    def embed(self, waveforms, lengths):
        found = [(np.diff(np.sign(one[:size])) != 0).mean() for one, size in zip(waveforms, lengths)]
        return 100 * np.array(found)[:, None] * np.array([1.0, 2.0, -3.0]) + 7

class Wider(Levels):
    fingerprint = "levels 2"

class Same(Levels):
    def embed(self, waveforms, lengths):
        return np.ones((len(lengths), 2))
"""
)
SMALL = "kmeans(centroids=4, whitened=8, patches=300)"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Manifests, and the start of the specification of a teacher in a file."""
    root = tmp_path_factory.mktemp("joined")
    (root / "own.py").write_text(OWN)
    first = write_tones(root / "first", groups=2, clips=2, name="first")
    other = write_tones(root / "other", groups=2, clips=1, name="other", seed=5)
    return first, other, f"python:{root / 'own.py'}:"


def rows(store):
    return store.take(store.ids)


def alone(manifest, out, spec):
    return embcomp.embed(Manifest.read(manifest), out, teacher=spec, seconds=0.3).store


def trusted(manifest, out, spec):
    return embcomp.embed(Manifest.read(manifest), out, teacher=spec, seconds=0.3, options={"run_code": True}).store


def test_every_block_has_the_same_share_of_the_variance_and_is_centred(rng):
    wide, narrow = rng.normal(3, 50, (200, 40)), rng.normal(-1, 0.01, (200, 3)) * [1, 2, 3]
    joined = Blocks.fit([wide, narrow], "ab").join([wide, narrow])
    assert joined.dtype == np.float32 and joined.shape == (200, 43)
    shares = [joined[:, :40].var(0).sum(), joined[:, 40:].var(0).sum()]
    np.testing.assert_allclose(shares, [43 / 2, 43 / 2], rtol=1e-4)
    np.testing.assert_allclose(joined.mean(0), 0, atol=1e-4)
    # Within a block the proportions stay.
    np.testing.assert_allclose(
        joined[:, 40:].std(0) / joined[:, 40].std(), narrow.std(0) / narrow[:, 0].std(), rtol=1e-3
    )


def test_the_unit_of_a_teacher_does_not_matter_and_new_clips_change_nothing(rng):
    one, other, new = rng.normal(size=(30, 5)), rng.normal(size=(30, 2)), rng.normal(size=(4, 5))
    blocks = Blocks.fit([one, other], "ab")
    louder = Blocks.fit([1000 * one, other], "ab")
    tests = rng.normal(size=(4, 2))
    np.testing.assert_allclose(louder.join([1000 * new, tests]), blocks.join([new, tests]), rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(blocks.join([new, tests])[:1], blocks.join([new[:1], tests[:1]]))
    assert blocks.key() != louder.key()


def test_a_teacher_that_says_nothing_is_named():
    with pytest.raises(DataError, match="the teacher dull gives the same vector for all 5 clips"):
        Blocks.fit([np.full((5, 2), 0.1), np.arange(10.0).reshape(5, 2)], ["dull", "b"])


def test_a_join_is_the_embeddings_of_each_teacher_side_by_side(made, tmp_path):
    first, other, own = made
    spec = f"{own}Levels + {SMALL} + {own}Crossings"
    found = embcomp.embed(Manifest.read(first), tmp_path / "all", teacher=spec, seconds=0.3)
    parts = [alone(first, tmp_path / name, spec) for name, spec in (("a", f"{own}Levels"), ("c", f"{own}Crossings"))]
    kmeans = embcomp.embed(
        Manifest.read(first), tmp_path / "b", teacher="kmeans", seconds=0.3,
        options={"centroids": 4, "whitened": 8, "patches": 300},
    ).store  # fmt: skip
    blocks = [rows(one).astype(float) for one in (parts[0], kmeans, parts[1])]
    share = sum(one.shape[1] for one in blocks) / 3
    expected = [(one - one.mean(0)) * np.sqrt(share / one.var(0).sum()) for one in blocks]
    np.testing.assert_allclose(rows(found.store), np.concatenate(expected, 1), rtol=1e-3, atol=1e-4)
    # The store says what it is made of, each at its rate, and nothing is left beside it.
    members = found.store.settings["members"]
    assert [one["sample_rate"] for one in members] == [8000, 16_000, 4000]
    assert [one["dim"] for one in members] == [2, 12, 3] and found.store.settings[
        "teacher"
    ] == "python + kmeans + python"
    assert [one["weights"] for one in members] == [one.settings["weights"] for one in (parts[0], kmeans, parts[1])]
    assert sorted(path.name for path in tmp_path.iterdir() if "all" in path.name) == [
        "all", "all.teacher", "all.teacher.2",
    ]  # fmt: skip

    # Other clips, by the join as it was fitted.
    spec = f"joined:{tmp_path / 'all.teacher'}"
    again = trusted(first, tmp_path / "again", spec)
    np.testing.assert_allclose(rows(again), rows(found.store), rtol=1e-5, atol=1e-5)
    assert again.settings == found.store.settings
    there = trusted(other, tmp_path / "there", spec)
    new = alone(other, tmp_path / "new", f"{own}Crossings")
    np.testing.assert_allclose(
        rows(there)[:, -3:], (rows(new) - blocks[2].mean(0)) * np.sqrt(share / blocks[2].var(0).sum()), rtol=1e-3
    )
    # The same call once more does nothing; with other clips it is refused.
    before = (tmp_path / "all/data.npy").stat().st_mtime_ns
    embcomp.embed(
        Manifest.read(first), tmp_path / "all", teacher=f"{own}Levels + {SMALL} + {own}Crossings", seconds=0.3
    )
    assert (tmp_path / "all/data.npy").stat().st_mtime_ns == before
    with pytest.raises(ArtifactError, match="was fitted to other clips or settings; use it as joined:"):
        embcomp.embed(Manifest.read(other), tmp_path / "all", teacher=f"{own}Levels + {SMALL} + {own}Crossings")


def test_what_a_join_was_fitted_with_must_not_change(made, tmp_path):
    first, _, own = made
    code = tmp_path / "mine.py"
    code.write_text(OWN)
    embcomp.embed(Manifest.read(first), tmp_path / "x", teacher=f"python:{code}:Levels + {own}Crossings", seconds=0.3)
    code.write_text(OWN.replace("levels 1", "levels 3"))
    with pytest.raises(ArtifactError, match="Levels: its weights or settings have changed; fit the join again"):
        open_teacher(teacher_settings(spec=f"joined:{tmp_path / 'x.teacher'}", run_code=True))


def test_a_folder_runs_no_code_unless_it_is_asked_to(made, tmp_path):
    first, _, own = made
    code = tmp_path / "mine.py"
    code.write_text(OWN)
    spec = f"python:{code}:Levels + {own}Crossings"
    embcomp.embed(Manifest.read(first), tmp_path / "x", teacher=spec, seconds=0.3)
    # What the folder names now would leave a trace.
    place = tmp_path / "x.teacher/config.json"
    (tmp_path / "other.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w').close()\n{OWN}")
    place.write_text(place.read_text().replace(str(code), str(tmp_path / "other.py")))
    with pytest.raises(ConfigError, match="which runs code of its own: if you trust it, set teacher.run_code to true"):
        open_teacher(teacher_settings(spec=f"joined:{tmp_path / 'x.teacher'}"))
    with pytest.raises(ConfigError, match="runs code of its own"):  # the same call again, which names other code
        alone(first, tmp_path / "x", spec)
    assert not (tmp_path / "ran").exists()
    teacher = open_teacher(teacher_settings(spec=f"joined:{tmp_path / 'x.teacher'}", run_code=True))
    assert teacher.dim == 5 and (tmp_path / "ran").exists()


def test_an_interrupted_call_goes_on_with_what_each_teacher_has_embedded(made, tmp_path):
    first, _, own = made
    one, late = tmp_path / "one.py", tmp_path / "late.py"
    one.write_text(OWN)
    late.write_text(OWN.replace("found = [", "raise ValueError('not yet'); found = ["))
    spec = f"python:{one}:Levels + python:{late}:Crossings"
    with pytest.raises(TeacherError, match="not yet"):
        alone(first, tmp_path / "out", spec)
    # The first would fail now, if it were asked again.
    one.write_text(OWN.replace("level = (", "raise ValueError('asked twice'); level = ("))
    late.write_text(OWN)
    expected = alone(first, tmp_path / "whole", f"{own}Levels + {own}Crossings")
    np.testing.assert_array_equal(rows(alone(first, tmp_path / "out", spec)), rows(expected))
    assert not (tmp_path / ".out.members").exists()


def test_stored_vectors_can_be_a_member(made, tmp_path):
    first, _, own = made
    manifest = Manifest.read(first)
    stored = np.random.default_rng(0).normal(size=(len(manifest), 4)).astype(np.float32)
    write_store(tmp_path / "v + w", manifest.ids, ["x"] * len(manifest), 4, {"teacher": "mine"}, lambda at: stored[at])
    assert teacher_settings(spec=f"store:{tmp_path / 'v + w'}").argument.endswith("v + w")
    np.save(tmp_path / "v.npy", stored)
    found = embcomp.embed(manifest, tmp_path / "out", teacher=f"store:{tmp_path / 'v.npy'} + {own}Levels", seconds=0.3)
    expected = (stored - stored.mean(0)) * np.sqrt(3 / stored.var(0).sum())
    np.testing.assert_allclose(rows(found.store)[:, :4], expected, rtol=1e-3, atol=1e-5)
    with pytest.raises(TeacherError, match="holds vectors of clips, and cannot embed other sounds"):
        found.teacher.embed(np.zeros((1, 800), np.float32), np.array([800]))
    frames = {"teacher": "mine", "frames": 2}
    write_store(tmp_path / "over", manifest.ids, ["x"] * len(manifest), 4, frames, lambda at: stored[at])
    with pytest.raises(TeacherError, match="gives 2 vectors per clip, and a join has one"):
        alone(first, tmp_path / "no", f"store:{tmp_path / 'over'} + {own}Levels")


def test_on_the_command_line(made, tmp_path):
    first, _, own = made
    spec, out = f"{own}Levels + {own}Crossings", tmp_path / "out"
    call = ["embed", str(first), "--teacher", spec, "--out", str(out), "--seconds", "0.3"]
    assert (done := CliRunner().invoke(group, call)).exit_code == 0, done.output
    assert "8 clips, 5 dimensions" in done.output
    done = CliRunner().invoke(group, ["teachers", "check", f"joined:{out}.teacher", "--set", "teacher.run_code=true"])
    assert done.exit_code == 0 and "shape (4, 5)" in done.output and "decoded at 8000 Hz" in done.output
    assert "A + B" in CliRunner().invoke(group, ["embed", "--help"]).output
    compressor = tmp_path / "pca"
    call = [
        "compress",
        str(out),
        "--method",
        "pca",
        "--objective",
        "reconstruction",
        "--dim",
        "2",
        "--out",
        str(compressor),
    ]
    assert (done := CliRunner().invoke(group, call)).exit_code == 0, done.output
    targets = CliRunner().invoke(group, ["apply", str(compressor), str(out), "--out", str(tmp_path / "targets")])
    assert targets.exit_code == 0, targets.output
    assert EmbeddingStore.open(tmp_path / "targets").settings["source"]["members"][0]["sample_rate"] == 8000


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ("kmeans + librosaa", "teacher librosaa: .*unknown teacher 'librosaa': did you mean 'librosa'"),
        ("kmeens + librosa", "unknown teacher 'kmeens': did you mean 'kmeans'"),
        ("kmeans + kmeans", "kmeans is there twice; leave one out"),
        ("kmeans(frames=2) + librosa", r"kmeans gives 2 vectors per clip \(frames\), and a join has one"),
        ("kmeans(centroid=2) + librosa", "unknown key 'teacher.centroid'.*'centroids'"),
        ("kmeans(centroids=two) + librosa", r"\(centroids=two\) must be \(KEY=VALUE, KEY=VALUE\)"),
        ("kmeans(centroids=1) + librosa", "centroids must be at least 2"),
        ("joined:folder + kmeans", "unknown teacher 'folder'"),
        ("joined:", "needs two or more: A \\+ B"),
        ("kmeans + ", "unknown teacher ''"),
        ("kmeans + store", "needs a path: store:PATH"),
    ],
)
def test_what_cannot_be_joined_is_refused_before_anything_runs(spec, why):
    with pytest.raises(ConfigError, match=why):
        parse({"teacher": {"spec": spec}})


def test_settings_of_members_and_their_seed():
    settings = teacher_settings(
        spec="kmeans(centroids=9) + kmeans(seed=3) + hf:FOLDER(layer=2, pooling=['max'])", seed=7
    )
    assert [one.options().get("seed") for one in settings.members] == [7, 3, None]
    assert settings.members[0].centroids == 9 and settings.members[2].pooling == ("max",)
    assert settings.learns and settings.spec == settings.argument
    assert parse({"teacher": settings.named() | settings.options()}).variants[0].teacher == settings


def test_a_join_that_is_damaged_or_another_thing(made, tmp_path):
    first, _, own = made
    alone(first, tmp_path / "x", f"{own}Levels + {own}Crossings")
    place = tmp_path / "x.teacher"
    text = (place / "config.json").read_text()
    for wrong in (f"joined:{place}", f"{own}Levels + {own}Crossings"):
        (place / "config.json").write_text(text.replace(f"{own}Levels", wrong))
        with pytest.raises(ArtifactError, match="which is a join itself"):
            open_teacher(teacher_settings(spec=f"joined:{place}", run_code=True))
    (place / "config.json").write_text(text.replace('"beside": [\n  ""', '"beside": [\n  "../up"'))
    with pytest.raises(ArtifactError, match="is damaged"):
        open_teacher(teacher_settings(spec=f"joined:{place}"))
    (place / "config.json").write_text(text.replace('"scales"', '"scale"'))
    with pytest.raises(ArtifactError, match="is damaged"):
        open_teacher(teacher_settings(spec=f"joined:{place}"))
    with pytest.raises(ArtifactError, match="not a joined teacher|no joined teacher"):
        open_teacher(teacher_settings(spec=f"joined:{tmp_path / 'nothing'}"))
    with pytest.raises(DataError, match="Same gives the same vector for all 8 clips; leave it out of the join"):
        alone(first, tmp_path / "y", f"{own}Same + {own}Crossings")
    with pytest.raises(StoreError):
        embcomp.embed(Manifest.read(first), tmp_path / "x", teacher=f"{own}Levels", seconds=0.3)
    assert list(csv.reader((tmp_path / "x/index.csv").open()))[0] == ["id", "hash"]
