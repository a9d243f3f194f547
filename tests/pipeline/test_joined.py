"""A run whose teacher joins several: scaled by the fit clips alone, members shared with variants that have them alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.own_teachers import LEVELS
from helpers.runs import tiny
from helpers.tones import write_three

from embcomp.config import parse
from embcomp.data.manifest import Manifest
from embcomp.errors import TeacherError
from embcomp.pipeline import run
from embcomp.pipeline.plan import Plan
from embcomp.pipeline.stages.base import RunContext
from embcomp.pipeline.workspace import Dataset, Workspace, make_splits
from embcomp.storage.store import EmbeddingStore, write_store
from embcomp.teachers import JoinedTeacher

KMEANS = "kmeans(centroids=8, whitened=16, patches=1000)"


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    return write_three(tmp_path_factory.mktemp("sets"), LEVELS)


def content(sets, variants, **sections):
    found = tiny(sets, seeds=[0], variants=variants, **sections)
    found["training"] |= {"steps": 4, "evaluate_every": 4}
    found["evaluation"] |= {"probe": len(variants) == 1, "bootstrap": 10, "reestimate": False}
    found["teacher"] = {"spec": f"python:{sets / 'own.py'}:Levels + {KMEANS}"}
    found["data"] |= {"unlabelled": ["pool/manifest.csv"]}
    return found


@pytest.fixture(scope="module")
def finished(sets, tmp_path_factory):
    alone = {"spec": "kmeans", "centroids": 8, "whitened": 16, "patches": 1000}
    variants = [
        {"name": "kmeans alone", "teacher": alone, "transfer": {"method": "embedding"}},
        *(
            {"name": one, "transfer": {"method": one}}
            for one in ("embedding", "logit_kd", "regression", "clip_teacher")
        ),
        {"name": "compressed"},
    ]
    out = tmp_path_factory.mktemp("run") / "out"
    return parse(content(sets, variants)), run(parse(content(sets, variants)), out)


def planned(config, folder) -> Plan:
    manifests = [Manifest.read(Path(config.data.root, name, "manifest.csv")) for name in ("home", "abroad", "pool")]
    config = replace(config, data=replace(config.data, inputs="audio"))
    sets = [Dataset(one, tuple(f"{one.name}{row}" for row in range(len(one)))) for one in manifests]
    return Plan(RunContext(Workspace(folder), config, sets[:2], sets[2:]), make_splits(sets[0], config))


def by_hand(parts, ids, fit):
    """Stores made one, the scales from the clips `fit`."""
    share = sum(one.dim for one in parts) / len(parts)
    pairs = [(one.take(ids), one.take(fit)) for one in parts]
    return np.concatenate([(rows - own.mean(0)) * np.sqrt(share / own.var(0).sum()) for rows, own in pairs], 1)


def test_the_join_is_fitted_on_the_fit_clips_alone(finished):
    _, result = finished
    space = Workspace(result.folder)
    splits = [space.load_split(path.stem) for path in (result.folder / "stages/splits").iterdir()]
    stores = [EmbeddingStore.open(path) for path in (result.folder / "stages/embeddings").iterdir()]
    of = {frozenset(store.ids): {} for store in stores}
    for store in stores:
        of[frozenset(store.ids)].setdefault(store.settings["weights"], store)
    home = next(found for ids, found in of.items() if splits[0].fit[0] in ids)
    joins = [store for store in home.values() if "members" in store.settings]
    assert len(joins) == len(splits) == 2
    scaled = set()
    for join in joins:
        parts = [home[one["weights"]] for one in join.settings["members"]]
        made = join.take(join.ids)
        fits = [
            at for at, split in enumerate(splits) if np.allclose(made, by_hand(parts, join.ids, split.fit), atol=1e-4)
        ]
        assert len(fits) == 1 and not np.allclose(made, by_hand(parts, join.ids, join.ids), atol=1e-4)
        scaled.update(fits)
    assert scaled == {0, 1}


def test_members_are_embedded_once_for_all_variants(finished):
    _, result = finished
    stores = [EmbeddingStore.open(path) for path in (result.folder / "stages/embeddings").iterdir()]
    kinds = sorted(store.settings["teacher"] for store in stores)
    # Of three sets: one teacher for both folds; k-means and the join for each fold.
    assert kinds == ["kmeans"] * 6 + ["python"] * 3 + ["python + kmeans"] * 6


def test_every_method_learns_from_it_and_a_second_run_does_nothing(finished, sets):
    config, result = finished
    assert set(result.scores["variant"]) >= {"embedding", "logit_kd", "regression", "clip_teacher", "compressed"}
    own = result.scores[result.scores["variant"] == "embedding"]
    assert set(own["teacher"]) == {f"python:{sets / 'own.py'}:Levels + {KMEANS}"}
    assert np.isfinite(result.scores["value"]).all()
    again = run(config, result.folder)
    assert again.made == 0
    pd.testing.assert_frame_equal(again.scores, result.scores)
    folders = [
        path for path in (result.folder / "stages/teachers").iterdir() if "joined" in (path / "config.json").read_text()
    ]
    assert len(folders) == 2 and {JoinedTeacher.load(one, run_code=True).dim for one in folders} == {26}


def test_keys_hold_every_member_and_the_fit_clips(sets, tmp_path):
    variants = [{"name": "raw", "transfer": {"method": "embedding"}}]
    base = parse(content(sets, variants))
    first = planned(base, tmp_path)
    paths = {path for job in first.joined.values() for path in job.paths}
    students = {str(one.student) for one in first.students}

    def after(config):
        plan = planned(config, tmp_path)
        return {path for job in plan.joined.values() for path in job.paths}, {str(one.student) for one in plan.students}

    spec = base.variants[0].teacher.spec
    for other in (
        spec.replace("centroids=8", "centroids=9"),
        spec.replace("own.py", "mine.py"),
        " + ".join(spec.split(" + ")[::-1]),
    ):
        (sets / "mine.py").write_text(LEVELS.replace("levels 1", "levels 2"))
        changed = content(sets, variants)
        changed["teacher"] = {"spec": other}
        found = after(parse(changed))
        assert not found[0] & paths and not found[1] & students
    seeded = content(sets, variants)
    seeded["seeds"] = [1]
    assert not after(parse(seeded))[0] & paths  # other fit clips
    assert after(base) == (paths, students)


def test_vectors_over_time_are_refused_before_anything_is_embedded(sets, tmp_path):
    manifest = Manifest.read(sets / "home/manifest.csv")
    rows = np.zeros((len(manifest), 4), np.float32)
    write_store(tmp_path / "over", manifest.ids, ["x"] * len(manifest), 4, {"frames": 2}, lambda at: rows[at])
    changed = content(sets, [{"name": "raw", "transfer": {"method": "embedding"}}])
    changed["teacher"] = {"spec": f"kmeans + store:{tmp_path / 'over'}"}
    changed["data"] |= {"cross": [], "unlabelled": []}
    with pytest.raises(TeacherError, match="over gives 2 vectors per clip, and a join has one"):
        run(parse(changed), tmp_path / "out")
    assert not (tmp_path / "out/stages/embeddings").exists()


def test_probes_on_different_vectors_have_different_names(sets, tmp_path):
    spec = f"python:{sets / 'own.py'}:Levels"
    variants = [
        {"name": name, "teacher": teacher, "transfer": {"method": "embedding"}}
        for name, teacher in {
            "joined": {"spec": f"{KMEANS} + {spec}"},
            "alone": {"spec": spec},
            "small": {"spec": "kmeans", "centroids": 4},
            "large": {"spec": "kmeans", "centroids": 5},
        }.items()
    ]
    again = variants[2] | {"name": "small again"}
    changed = content(sets, [*variants, again])
    changed["evaluation"]["probe"] = True
    plan = planned(parse(changed), tmp_path)
    of_teachers = [one for one in plan.probes if one.job.embeddings]
    assert {one.variant for one in of_teachers} == {
        "kmeans(centroids=8, whitened=16, patches=1000) + own.py:Levels", "own.py:Levels", "kmeans", "kmeans (large)",
    }  # fmt: skip
    for split in plan.splits:
        tests = [(test.variant, test.dataset) for one in of_teachers if one.split == split for test in one.tests]
        assert len(tests) == len(set(tests)) == 2 * 2 * 4  # kinds of probe, sets, vectors
