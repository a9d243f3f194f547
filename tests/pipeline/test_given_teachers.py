"""A teacher that was learned before a run: refused where it has learned from a clip that is tested."""

from __future__ import annotations

import json
import shutil

import pytest
from helpers.runs import tiny
from helpers.settings import teacher_settings
from helpers.tones import write_tones

from embcomp.audio.clips import Clips
from embcomp.config import parse
from embcomp.data.manifest import Manifest
from embcomp.errors import DataError, TeacherError
from embcomp.pipeline import run
from embcomp.pipeline.workspace import Workspace
from embcomp.storage.exchange import export_store
from embcomp.storage.seen import Seen
from embcomp.teachers import KMeansTeacher
from embcomp.teachers.embed_manifest import embed_manifest

MEMBER = "kmeans(centroids=4, whitened=8, patches=300)"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two sets to run on; teachers learned from parts of the first, from the second and from a third."""
    root = tmp_path_factory.mktemp("given")
    sets = {name: write_tones(root / name, groups=4, clips=2, name=name, rate=8000, seed=seed)
            for seed, name in enumerate(("home", "abroad", "other"))}  # fmt: skip
    small = teacher_settings(centroids=4, whitened=8, patches=300)
    for name, where, splits in (("train", "home", ["train"]), ("test", "home", ["test"]), ("all abroad", "abroad", []), ("all other", "other", [])):  # fmt: skip
        embed_manifest(Manifest.read(sets[where]), root / name, teacher=small, splits=splits, seconds=0.4)
    for name, where in (("join", "test"), ("train join", "train")):
        embed_manifest(Manifest.read(sets["home"]), root / name, teacher=f"{MEMBER} + kmeans:{root / where}.teacher", splits=[where], seconds=0.4)  # fmt: skip
    embed_manifest(
        Manifest.read(sets["other"]), root / "mixed join", teacher=f"{MEMBER} + kmeans:{root}/test.teacher", seconds=0.4
    )
    return root


def config(root, spec, **teacher):
    return parse(
        tiny(root, seeds=[0], split={"by": "column", "test": ["test"], "validation": 0.5},
             training={"steps": 2, "evaluate_every": 2, "batch_size": 8, "freq_mask": 2},
             evaluation={"bootstrap": 2, "reestimate": False, "probe": False},
             variants=[{"name": "raw", "transfer": {"method": "embedding"}}]) | {"teacher": {"spec": spec, **teacher}}
    )  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "named", "clip"),
    [
        ("kmeans:ROOT/test.teacher", "kmeans:ROOT/test.teacher", "audio/home_high_1_0.wav"),
        ("kmeans:ROOT/all abroad.teacher", "kmeans:ROOT/all abroad.teacher", "abroad: audio/abroad_high_0_0.wav"),
        (f"{MEMBER} + kmeans:ROOT/test.teacher", "kmeans:ROOT/test.teacher", "audio/home_high_1_0.wav"),
        ("joined:ROOT/join.teacher", "joined:ROOT/join.teacher", "audio/home_high_1_0.wav"),
        ("joined:ROOT/mixed join.teacher", "kmeans:ROOT/test.teacher", "audio/home_high_1_0.wav"),
    ],
)
def test_a_teacher_learned_from_a_test_clip_is_refused_before_anything_is_learned(made, tmp_path, spec, named, clip):
    with pytest.raises(DataError) as error:
        run(config(made, spec.replace("ROOT", str(made))), tmp_path / "run")
    text = str(error.value)
    assert f"the teacher {named.replace('ROOT', str(made))} was learned from " in text
    assert f" of these clips, {clip!r} first" in text and "kmeans" in text.rpartition("Learn it from other clips")[2]
    stages = {path.name for path in (tmp_path / "run/stages").iterdir()}
    assert not stages & {"embeddings", "teachers", "students", "compressors"}


@pytest.mark.parametrize("spec", ["kmeans:ROOT/all other.teacher", "joined:ROOT/train join.teacher"])
def test_a_teacher_of_other_clips_passes_and_the_guard_is_listed(made, tmp_path, spec):
    """Training clips are other clips, too."""
    spec = spec.replace("ROOT", str(made))
    done = run(config(made, spec), tmp_path / "run")
    guards = json.loads((done.folder / "metrics.json").read_text())["guards"]
    assert guards["teacher_seen_test"] == 0
    assert f"the teacher {spec} was learned from no clip that is tested" in guards["checked"]
    assert not any("was made from clips that are tested" in text for text in guards["not_checked"])


def test_of_a_teacher_without_notes_of_its_clips_the_guard_could_not_be_run(made, tmp_path):
    teacher = KMeansTeacher.load(made / "test.teacher")
    older = tmp_path / "older"
    teacher.seen = None
    teacher.save(older)
    notes = json.loads((older / "config.json").read_text())
    del notes["n_seen"], notes["n_parts_seen"]  # as versions before this one wrote it
    (older / "config.json").write_text(json.dumps(notes))
    assert KMeansTeacher.load(older).fingerprint() == KMeansTeacher.load(made / "test.teacher").fingerprint()
    done = run(config(made, f"kmeans:{older}"), tmp_path / "run")
    guards = json.loads((done.folder / "metrics.json").read_text())["guards"]
    assert "teacher_seen_test" not in guards
    assert f"whether the teacher kmeans:{older} was made from clips that are tested" in guards["not_checked"]
    assert not any("was learned from no clip" in text for text in guards["checked"])


def test_a_teacher_that_a_run_learned_is_refused_where_its_training_clips_are_tested(made, tmp_path):
    """It knows the training clips of its split, and no other: it may be used again in this one alone."""
    first = run(config(made, "kmeans", centroids=4, whitened=8, patches=300), tmp_path / "first")
    (folder,) = (first.folder / "stages/teachers").iterdir()
    (path,) = (first.folder / "stages/splits").iterdir()
    split = Workspace(first.folder).load_split(path.stem)
    seen = KMeansTeacher.load(folder).seen
    home = Manifest.read(made / "home/manifest.csv")
    hashes = dict(zip(home.ids, Clips(home, 16_000, 0.4).hashes()))
    assert seen.among(hashes.values()) == [hashes[clip] for clip in home.ids if clip in {*split.fit, *split.validation}]
    again = config(made, f"kmeans:{folder}")
    assert run(again, tmp_path / "same split").folder.is_dir()
    shutil.copytree(made / "home", tmp_path / "sets/home")
    shutil.copytree(made / "abroad", tmp_path / "sets/abroad")
    table = tmp_path / "sets/home/manifest.csv"
    swapped = table.read_text().replace(",test,", ",x,").replace(",train,", ",test,").replace(",x,", ",train,")
    table.write_text(swapped)
    with pytest.raises(DataError, match="was learned from 8 of these clips, 'audio/home_high_0_0.wav' first"):
        run(config(tmp_path / "sets", f"kmeans:{folder}"), tmp_path / "other split")


def test_vectors_in_parquet_files_say_which_clips_taught_them(made, tmp_path):
    """They lie in each manifest's folder, by the name of its set."""
    pytest.importorskip("pyarrow")
    for name in ("home", "abroad"):
        for taught in ("train", "test"):
            manifest = Manifest.read(made / name / "manifest.csv")
            place = tmp_path / f"{name} {taught}"
            embed_manifest(manifest, place, teacher=f"kmeans:{made / taught}.teacher", seconds=0.4)
            export_store(place, made / name / f"{name} {taught}.parquet")
    with pytest.raises(DataError) as error:
        run(config(made, "store:{dataset} test.parquet"), tmp_path / "refused")
    named = f"the teacher store:{made / 'home'}/home test.parquet was learned from 8 of these clips"
    assert named in str(error.value) and "'audio/home_high_1_0.wav' first" in str(error.value)
    done = run(config(made, "store:{dataset} train.parquet"), tmp_path / "run")
    guards = json.loads((done.folder / "metrics.json").read_text())["guards"]
    assert guards["teacher_seen_test"] == 0
    for name in ("home", "abroad"):
        spec = f"store:{made / name}/{name} train.parquet"
        assert f"the teacher {spec} was learned from no clip that is tested" in guards["checked"]


def test_what_is_kept_depends_on_the_clips_alone_and_changes_no_embedding(made):
    one, other = KMeansTeacher.load(made / "train.teacher"), KMeansTeacher.load(made / "test.teacher")
    assert len(one.seen) == len(other.seen) == 8
    key = one.fingerprint()
    one.seen = Seen.of(["somebody else's"])
    assert one.fingerprint() == key


def test_a_teacher_that_was_not_fetched_is_named_before_a_clip_is_read(tmp_path, monkeypatch):
    monkeypatch.setenv("EMBCOMP_CACHE", str(tmp_path / "cache"))
    (tmp_path / "home").mkdir()
    (tmp_path / "home/manifest.csv").write_text("path,label\nnone.wav,a\n")
    data = {"train": "home/manifest.csv", "cross": []}
    with pytest.raises(TeacherError, match="embcomp teachers fetch yamnet"):
        run(parse(tiny(tmp_path, data=data, teacher={"spec": "yamnet"})), tmp_path / "run")
