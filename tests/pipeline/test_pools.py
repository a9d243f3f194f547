"""One decision about unlabelled clips: whoever asks for a variant's gets the same."""

from __future__ import annotations

import pytest
from helpers.runs import tiny
from helpers.tones import write_tones

from embcomp.config import parse
from embcomp.data.manifest import Manifest
from embcomp.pipeline.plan import Plan
from embcomp.pipeline.stages import embeddings
from embcomp.pipeline.stages.base import RunContext
from embcomp.pipeline.stages.pools import Learner, pools_for
from embcomp.pipeline.workspace import Dataset, Workspace, make_splits

VARIANTS = {
    "none": {"transfer": {"method": "none"}},
    "raw": {"transfer": {"method": "embedding"}},
    "task": {"transfer": {"method": "compressed"}},
    "pca": {"transfer": {"method": "compressed"}, "compressor": {"method": "pca", "objective": "reconstruction"}},
    "without": {"transfer": {"method": "embedding"}, "training": {"unlabelled": False}},
    "at every step": {"transfer": {"method": "clip_teacher"}},
}


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets")
    sets = []
    for name in ("home", "abroad", "pool", "more"):
        manifest = Manifest.read(write_tones(root / name, groups=4, clips=1, name=name, rate=4000, seconds=0.05))
        sets.append(Dataset(manifest, tuple(f"{name}{row}" for row in range(len(manifest)))))
    content = tiny(root, seeds=[0], variants=[{"name": name, **one} for name, one in VARIANTS.items()])
    config = parse(content | {"data": {"root": str(root), "inputs": "audio"}})
    return RunContext(Workspace(root / "out"), config, sets[:2], sets[2:])


@pytest.mark.parametrize(
    ("learner", "who"),
    [
        (Learner.TEACHER, {"none", "raw", "task", "pca", "at every step"}),
        (Learner.COMPRESSOR, {"pca"}),
        (Learner.STUDENT, {"raw", "task", "pca"}),
    ],
)
def test_who_learns_from_pools(context, learner, who):
    (split, *_) = make_splits(context.source, context.config)
    for name in VARIANTS:
        pools = pools_for(context, context.variant(name), learner, split)
        assert [pool.dataset.manifest.name for pool in pools] == (["pool", "more"] if name in who else [])
        assert all(context.sets[pool.number] is pool.dataset for pool in pools)
        assert all(pool.hashes == list(pool.dataset.hashes) for pool in pools)


def test_a_frozen_teacher_learns_from_none(context):
    content = tiny(context.config.data.root, teacher={"spec": "store:vectors"}, variants=[{"name": "a"}])
    (variant,) = parse(content).variants
    (split, *_) = make_splits(context.source, context.config)
    assert pools_for(context, variant, Learner.TEACHER, split) == []


def test_the_key_of_a_teacher_is_made_once_a_fold(context, monkeypatch):
    asked = []
    key = embeddings.teacher_key
    monkeypatch.setattr(embeddings, "teacher_key", lambda *parts: asked.append(parts) or key(*parts))
    splits = make_splits(context.source, context.config)
    plan = Plan(context, splits)
    teachers = {job.paths[0] for job in plan.embeddings.values()}
    assert len(teachers) == 2 * len(splits)  # with the pools, and without
    assert len(asked) == len(teachers)
