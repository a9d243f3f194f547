"""Test clips never teach: with other audio and other labels in the test part, what is learned is the same byte for byte.

Keys and notes of what was learned from can be wrong where the work is wrong; this looks at the results alone, of
teachers, compressors, students and, by their predictions elsewhere, probes.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from helpers.runs import tiny
from helpers.tones import write_tones

from embcomp.compression import Compressor
from embcomp.config import parse
from embcomp.pipeline import run
from embcomp.students.classifier import Classifier
from embcomp.teachers import KMeansTeacher


def settings(root: Path) -> dict:
    return tiny(
        root,
        seeds=[0],
        split={"by": "column", "test": ["test"], "validation": 0.5},
        teacher={"centroids": 6, "whitened": 8, "patches": 500},
        training={"steps": 6, "evaluate_every": 3, "batch_size": 8},
        evaluation={"bootstrap": 2, "reestimate": False},
        variants=[{"name": "compressed"}, {"name": "joint", "transfer": {"schedule": "joint"}}],
    )


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """Two finished runs whose sets differ in the test part of the first alone."""
    root = tmp_path_factory.mktemp("taught")
    runs = []
    write_tones(root / "one/home", groups=4, clips=2, name="home", rate=8000)
    write_tones(root / "one/abroad", groups=2, clips=2, name="abroad", rate=8000, seed=5)
    shutil.copytree(root / "one", root / "two")
    table = pd.read_csv(root / "two/home/manifest.csv")
    rng = np.random.default_rng(0)
    tested = table["split"] == "test"
    for path in table.loc[tested, "path"]:
        soundfile.write(root / "two/home" / path, rng.normal(0, 0.2, 2000), 8000)
    table.loc[tested, "label"] = table.loc[tested, "label"].map({"high": "low", "low": "high"})
    table.to_csv(root / "two/home/manifest.csv", index=False)
    for name in ("one", "two"):
        runs.append(run(parse(settings(root / name)), root / f"run {name}").folder)
    return runs


def learned(folder: Path, kind: str) -> list[bytes]:
    return sorted(path.read_bytes() for path in (folder / "stages" / kind).glob("*/weights.safetensors"))


@pytest.mark.parametrize(("kind", "count"), [("teachers", 1), ("compressors", 2), ("students", 2)])
def test_what_is_learned_does_not_depend_on_test_clips(both, kind, count):
    one, two = (learned(folder, kind) for folder in both)
    assert len(one) == count and one == two


def test_what_is_predicted_elsewhere_does_not_depend_on_test_clips(both):
    tables = []
    for folder in both:
        scores = pd.read_csv(folder / "scores.csv", keep_default_na=False)
        elsewhere = scores[scores["setting"] == "cross-dataset"]
        assert set(elsewhere["probe"]) >= {"probe", "k-NN", "majority", ""}
        tables.append(elsewhere[["variant", "metric", "seed", "value"]].reset_index(drop=True))
        here = scores[scores["setting"] == "in-domain"]
        tables.append(here["value"].tolist())
    pd.testing.assert_frame_equal(tables[0], tables[2])
    assert tables[1] != tables[3]  # the test part did change


def test_what_is_written_down_as_learned_from_has_no_test_clip(both):
    """The same by content hash, from what lies with the stage."""
    from embcomp.pipeline.workspace import Workspace

    for folder in both:
        space = Workspace(folder)
        sets = [space.load_dataset(path.stem) for path in (folder / "stages/datasets").iterdir()]
        home = next(one for one in sets if one.manifest.name == "home")
        (path,) = (folder / "stages/splits").iterdir()
        split = space.load_split(path.stem)
        fit, held, tested = (
            {home.hash_of[clip] for clip in part} for part in (split.fit, split.validation, split.test)
        )
        assert fit and held and tested and not (fit | held) & tested
        for one in (folder / "stages/teachers").iterdir():
            assert set(KMeansTeacher.load(one).seen.among(home.hashes)) == fit | held
        for one in (folder / "stages/compressors").iterdir():
            assert set(Compressor.load(one).seen(home.hashes)) == fit
        for one in (folder / "stages/students").iterdir():
            assert Classifier.load(one).seen == fit | held
