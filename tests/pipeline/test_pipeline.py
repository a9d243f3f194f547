from __future__ import annotations

import dataclasses
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
from helpers.runs import tiny
from helpers.tones import write_tones

from embcomp import read_scores
from embcomp.card.writing import card_of
from embcomp.config import parse, to_toml
from embcomp.data.manifest import Manifest
from embcomp.errors import AudioError, ConfigError
from embcomp.evaluation.scores import COLUMNS
from embcomp.pipeline import run
from embcomp.pipeline.cards import evidence_from_run
from embcomp.pipeline.inputs import refuse_unequal_widths
from embcomp.pipeline.stages.base import RunContext
from embcomp.pipeline.stages.compressor import compressor_path
from embcomp.pipeline.workspace import Dataset, Workspace, make_splits
from embcomp.storage.cards import is_card
from embcomp.students.classifier import Classifier

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("sets")
    write_tones(root / "home", groups=4, clips=2, name="home")
    write_tones(root / "abroad", groups=2, clips=2, name="abroad", seed=5, noise=0.1, classes=("high", "low", "middle"))
    return root


@pytest.fixture(scope="module")
def finished(sets, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "out"
    return run(parse(tiny(sets)), out)


def test_scores_have_the_columns_and_a_row_for_everything(finished):
    table = read_scores(finished.folder / "scores.csv")
    assert tuple(table.columns[: len(COLUMNS)]) == COLUMNS
    students = table[(table["method"] != "probe") & (table["setting"] != "validation")]
    # 4 variants, 3 tests (the further set twice); 2 seeds and all of them pooled
    assert set(students.groupby("metric").size()) == {4 * 3 * 3}
    assert set(students["variant"]) == {"no teacher", "raw", "compressed", "joint"}
    vectors = ["kmeans", "kmeans > linear/task 4", "log-mel"]
    vectors += [f"student of {name}" for name in set(students["variant"])]
    assert set(table[table["method"] == "probe"]["variant"]) == {
        "majority class", *(f"{kind}: {name}" for kind in ("probe", "k-NN") for name in vectors)
    }  # fmt: skip
    kinds = table[table["method"] == "probe"].groupby("vectors")["probe"].agg(set).to_dict()
    both = {"probe", "k-NN"}
    assert kinds == {"embedding": both, "target": both, "student": both, "log-mel": both, "": {"majority"}}
    floor = table[(table["variant"] == "majority class") & (table["metric"] == "balanced_accuracy")]
    assert (floor["value"] == 0.5).all()
    bounded = students.dropna(subset=["low"])
    assert students["value"].between(0, 1).all() and (bounded["low"] <= bounded["high"]).all()
    home = students[students["setting"] == "in-domain"]
    assert (home["n"] == 16).all()  # every clip is tested once
    none = students[students["method"] == "none"]
    assert (none[["teacher", "compressor", "dim"]] == "").all(axis=None)
    assert (students[students["variant"] == "compressed"]["dim"] == "4").all()


def test_the_page_is_made_of_what_the_run_wrote(finished):
    from embcomp.report import build, to_html

    document = build([finished.folder])
    assert (finished.folder / "report.html").read_text() == to_html(document)
    titles = [section.title for section in document.sections]
    assert {"Differences", "Across data sets", "Where the best student errs", "Cost", "How they learned"} <= set(titles)


def test_clips_of_a_label_the_student_lacks_are_left_out_and_counted(finished):
    import json

    metrics = json.loads((finished.folder / "metrics.json").read_text())
    assert metrics["left_out"] == {"abroad": {"middle": 4}}
    assert "4 clips labelled 'middle' left out" in (finished.folder / "report.md").read_text()
    abroad = finished.scores[finished.scores["setting"] == "cross-dataset"]
    assert (abroad["n"] == 8).all()


def test_further_sets_are_scored_twice_and_never_mixed(finished, sets, tmp_path):
    table = finished.scores
    both = {setting: rows for setting, rows in table.groupby("setting") if setting in ("cross-dataset", "adapted")}
    assert len({len(rows) for rows in both.values()}) == 1
    assert set(table[table["method"] == "probe"]["setting"]) == {"in-domain", *both}
    header = (finished.folder / "report.md").read_text().splitlines()[4]
    assert header == "| variant | home, unseen groups | home → abroad | home → abroad, adapted |"
    folder = shutil.copytree(finished.folder, tmp_path / "copy")
    once = run(parse(tiny(sets, evaluation={"reestimate": False})), folder)
    kept = table[table["setting"] != "adapted"].reset_index(drop=True)
    assert once.made == 0
    pd.testing.assert_frame_equal(once.scores, kept)


def test_a_rerun_does_nothing(finished, sets):
    before = {path: path.stat().st_mtime_ns for path in (finished.folder / "stages").rglob("*") if path.is_file()}
    again = run(parse(tiny(sets)), finished.folder)
    assert again.made == 0 and again.reused == finished.made > 0
    pd.testing.assert_frame_equal(again.scores, finished.scores)
    assert before == {
        path: path.stat().st_mtime_ns for path in (finished.folder / "stages").rglob("*") if path.is_file()
    }


def test_every_student_has_a_card_with_its_scores_and_the_guards(finished, tmp_path):
    folders = sorted((finished.folder / "stages/students").iterdir())
    assert folders and all(is_card(folder / "README.md") for folder in folders)
    text = (folders[0] / "README.md").read_text(encoding="utf-8")
    variant = Classifier.load(folders[0]).about["variant"]
    rows = finished.scores[(finished.scores["variant"] == variant) & (finished.scores["seed"].astype(str) == "all")]
    tables = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    head, found = (next(cells for cells in tables if cells[0] == name) for name in ("trained on home", "accuracy"))
    accuracy = rows[rows["metric"] == "accuracy"].set_index("setting")
    for setting, tested in (("in-domain", "home"), ("cross-dataset", "abroad"), ("adapted", "abroad")):
        row = accuracy.loc[setting]
        place = head.index(f"{tested}, {setting}, {row['n']} clips")
        assert found[place] == f"{row['value']:.3f} ({row['low']:.3f} to {row['high']:.3f})"
    assert "Of 4 students trained alike" in text and "- passed: no student was trained or stopped on a clip" in text
    # Written again from what the run left, it says the same.
    evidence, name = evidence_from_run(folders[0])
    assert card_of(folders[0], evidence, name=name) == text
    shutil.copytree(folders[0], tmp_path / "away")
    assert evidence_from_run(tmp_path / "away") is None


def test_a_change_remakes_only_what_depends_on_it(finished, sets, tmp_path):
    folder = shutil.copytree(finished.folder, tmp_path / "copy")
    result = run(parse(tiny(sets, compressor={"dim": 3})), folder)
    # 2 folds x 2 seeds: new compressors and students of two variants, new probes of one compressor and of the students
    assert result.made == 4 * (2 + 2 + 1 + 2)
    result = run(parse(tiny(sets, evaluation={"bootstrap": 60})), folder)
    assert result.made == 0


def test_a_relabelled_training_clip_asks_for_another_compressor(sets, tmp_path):
    config = parse(tiny(sets))
    manifest = Manifest.read(sets / "home" / "manifest.csv")
    home = Dataset(manifest, tuple(map(str, range(len(manifest)))))
    split = make_splits(home, config)[0]

    def path(relabelled: str | None) -> Path:
        table = manifest.table.copy()
        table.loc[table["path"] == relabelled, "label"] = "low"
        changed = Dataset(dataclasses.replace(manifest, table=table), home.hashes)
        context = RunContext(Workspace(tmp_path), config, [changed])
        return compressor_path(context, config.variants[2], split, Path("e"), [])

    high = [clip for clip, label in zip(manifest.ids, manifest.labels) if label == "high"]
    assert path(next(clip for clip in high if clip in split.fit)) != path(None)
    assert path(next(clip for clip in high if clip in split.test)) == path(None)


def test_the_saved_config_is_the_resolved_one(finished, sets):
    import tomllib

    saved = parse(tomllib.loads((finished.folder / "config.toml").read_text()))
    asked = parse(tiny(sets))
    # What "auto" stood for is kept: a repetition must not find something else.
    assert saved == replace(asked, data=replace(asked.data, inputs="audio"))
    assert to_toml(saved) == (finished.folder / "config.toml").read_text()


def test_same_seeds_same_bytes_whatever_the_workers(finished, sets, tmp_path):
    run(parse(tiny(sets, workers=2)), tmp_path / "other")
    assert (tmp_path / "other/scores.csv").read_bytes() == (finished.folder / "scores.csv").read_bytes()


def test_nothing_of_the_test_part_is_learned_from(finished, sets):
    from embcomp.compression import Compressor
    from embcomp.students.classifier import Classifier

    space = Workspace(finished.folder)
    datasets = [space.load_dataset(path.stem) for path in (finished.folder / "stages/datasets").iterdir()]
    home = next(dataset for dataset in datasets if dataset.manifest.name == "home")
    splits = {split.key: split for split in make_splits(home, parse(tiny(sets)))}
    assert len(splits) == 4
    for split in splits.values():
        group_of = dict(zip(home.manifest.ids, home.manifest.groups))
        parts = [{group_of[clip] for clip in part} for part in (split.fit, split.validation, split.test)]
        assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    fits = {frozenset(home.hash_of[clip] for clip in split.fit) for split in splits.values()}
    for path in (finished.folder / "stages/compressors").iterdir():
        compressor = Compressor.load(path)
        seen = frozenset(key for key in home.hashes if compressor.seen([key]))
        assert seen in fits
    trained = {frozenset(home.hash_of[clip] for clip in split.fit + split.validation) for split in splits.values()}
    for path in (finished.folder / "stages/students").iterdir():
        assert Classifier.load(path).seen in trained


def finished_stages(out):
    """How many stages a run in progress has finished; its unfinished folders come and go, and are not entered."""
    return sum(
        not stage.name.startswith(".")
        for kind in ("features", "embeddings", "compressors", "students")
        for stage in ((out / "stages" / kind).iterdir() if (out / "stages" / kind).is_dir() else ())
    )


def test_killed_and_run_again_it_ends_with_the_same_scores(finished, sets, tmp_path):
    config = tmp_path / "tiny.toml"
    config.write_text(to_toml(parse(tiny(sets))))
    out = tmp_path / "out"
    for _ in range(3):
        process = subprocess.Popen([sys.executable, "-m", "embcomp", "run", str(config), "--out", str(out)], cwd=ROOT)
        stages = finished_stages(out)
        deadline = time.time() + 60
        while process.poll() is None and time.time() < deadline:
            if finished_stages(out) >= stages + 4:
                break
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (out / "scores.csv").exists()
    result = run(parse(tiny(sets)), out)
    assert result.reused > 0
    assert (out / "scores.csv").read_bytes() == (finished.folder / "scores.csv").read_bytes()


def test_few_labels_hide_the_others(sets, tmp_path):
    config = parse(tiny(sets, split={"folds": 2, "validation": 0.5, "labels_per_class": 1}))
    result = run(config, tmp_path / "out")
    space = Workspace(tmp_path / "out")
    home = space.load_dataset(
        next(path.stem for path in (tmp_path / "out/stages/datasets").iterdir() if "home" in path.read_text())
    )
    for split in make_splits(home, config):
        labels = split.labels(home, split.fit)
        assert labels.labelled.sum() == 2 and len(split.fit) > 2
    assert len(result.summary)


def test_stored_embeddings_as_teacher(sets, tmp_path):
    root = shutil.copytree(sets, tmp_path / "sets")
    generator = np.random.default_rng(0)
    for name, count in (("home", 16), ("abroad", 12)):
        np.save(root / name / "vectors.npy", generator.normal(size=(count, 6)).astype(np.float32))
    content = tiny(root, seeds=[0], teacher={"spec": "store:vectors.npy"})
    content["variants"] = [{"name": "compressed"}]
    table = run(parse(content), tmp_path / "out").scores
    of_teacher = table["variant"].isin(["compressed", "probe: vectors.npy", "k-NN: vectors.npy"])
    assert of_teacher.any() and set(table.loc[of_teacher, "teacher"]) == {"store:vectors.npy"}


def test_bad_clips_are_all_named_and_nothing_is_written(sets, tmp_path):
    root = spoiled(sets, tmp_path)
    with pytest.raises(AudioError) as error:
        run(parse(tiny(root)), tmp_path / "out")
    assert [clip.row for clip in error.value.bad] == [2, 3]
    assert "0 bytes" in str(error.value) and "not readable as audio" in str(error.value)
    assert not (tmp_path / "out/stages/features").exists()


def test_skip_bad_leaves_them_out_and_counts(sets, tmp_path):
    root = spoiled(sets, tmp_path)
    content = tiny(root, seeds=[0])
    content["data"]["skip_bad"] = True
    content["variants"] = [{"name": "none", "transfer": {"method": "none"}}]
    result = run(parse(content), tmp_path / "out")
    assert [clip.row for clip in result.bad] == [2, 3]
    home = result.scores[result.scores["setting"] == "in-domain"]
    assert (home["n"] == 14).all()
    again = run(parse(content), tmp_path / "out")
    assert again.made == 0 and len(again.bad) == 2


def spoiled(sets, tmp_path):
    root = shutil.copytree(sets, tmp_path / "sets")
    paths = pd.read_csv(root / "home/manifest.csv")["path"]
    (root / "home" / paths[0]).write_bytes(b"")
    (root / "home" / paths[1]).write_bytes(b"not audio at all")
    return root


def test_a_changed_clip_is_noticed(finished, sets, tmp_path):
    root = shutil.copytree(sets, tmp_path / "sets")
    folder = shutil.copytree(finished.folder, tmp_path / "out")
    first = root / "home" / pd.read_csv(root / "home/manifest.csv")["path"][0]
    wave, rate = soundfile.read(first)
    soundfile.write(first, wave[::-1], rate)
    assert run(parse(tiny(root)), folder).made > 0


def test_all_pairs_of_variants_are_compared_where_that_is_asked(sets, finished, tmp_path):
    folder = shutil.copytree(finished.folder, tmp_path / "out")
    before = pd.read_csv(folder / "comparisons.csv")
    done = run(parse(tiny(sets, evaluation={"all_pairs": True})), folder)
    assert done.made == 0
    key = ["setting", "test_dataset"]
    for name, those in pd.read_csv(folder / "comparisons.csv").groupby(key):
        variants = set(those["variant"]) | set(those["baseline"])
        assert len(those) == len(variants) * (len(variants) - 1) / 2 > len(variants) - 1
        same = those[those["baseline"] == "no teacher"].merge(before, on=[*key, "variant", "baseline"])
        assert len(same) == len(variants) - 1
        np.testing.assert_array_equal(same["difference_x"], same["difference_y"])
        assert (same["p_corrected_x"] >= same["p_corrected_y"]).all(), name


def test_a_direct_distance_to_a_target_of_another_width_is_refused_before_anything_is_trained(sets, tmp_path):
    def compared(**transfer):
        variant = {"name": "direct", "transfer": {"method": "compressed", "distance": "cosine"} | transfer}
        return parse(tiny(sets, variants=[variant], compressor={"dim": 4}))

    with pytest.raises(ConfigError, match=r"variant 'direct' .* 16 dimensions .* of 4; set compressor.dim = 16"):
        run(compared(), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    refuse_unequal_widths(compared(student_projector=True))
    refuse_unequal_widths(compared(distance="distance_correlation"))


def test_a_run_that_tests_on_nothing_is_refused_before_anything_is_trained(sets, tmp_path):
    config = parse(tiny(sets, data={"cross": []}, split={"by": "none"}))
    with pytest.raises(ConfigError, match=r'split.by = "none" .*data.cross is empty.*name another set in data.cross'):
        run(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()
