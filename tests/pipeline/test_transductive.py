"""Tested sets may be learned from, without labels, only where asked for; such scores are rows of their own."""

from __future__ import annotations

import shutil

import numpy as np
import pandas as pd
import pytest
from helpers.runs import tiny
from helpers.tones import write_tones

from embcomp.compression import Compressor
from embcomp.config import parse
from embcomp.data.manifest import Manifest
from embcomp.data.splits import halves
from embcomp.errors import ConfigError, ManifestError
from embcomp.evaluation.scores import Predictions
from embcomp.pipeline import run
from embcomp.storage.files import read_json
from embcomp.students.classifier import Classifier

WAYS = {"inductive": "none", "groups": "groups", "more groups": "groups", "clips": "clips"}


def settings(root, variants=None, **sections) -> dict:
    pca = {"method": "pca", "objective": "reconstruction"}
    named = [
        {"name": name, "compressor": pca, "training": {"transductive": way, "labelled": 0.5 - 0.1 * (name[0] == "m")}}
        for name, way in WAYS.items()
    ]
    training = {"steps": 4, "evaluate_every": 2, "batch_size": 8, **sections.pop("training", {})}
    return tiny(
        root,
        seeds=[0],
        split={"by": "column", "test": ["test"], "validation": 0.5},
        teacher={"centroids": 6, "whitened": 8, "patches": 500},
        compressor={"dim": 2},
        training=training,
        evaluation={"bootstrap": 2, **sections.pop("evaluation", {})},
        variants=[{"name": "none", "transfer": {"method": "none"}}, *named] if variants is None else variants,
        **sections,
    )


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets")
    write_tones(root / "home", groups=6, clips=1, name="home", rate=8000)
    write_tones(root / "abroad", groups=4, clips=1, name="abroad", rate=8000, seed=5)
    return root


@pytest.fixture(scope="module")
def finished(sets, tmp_path_factory):
    out = tmp_path_factory.mktemp("run") / "out"
    return run(parse(settings(sets, data={"transductive": "both"}, evaluation={"shifts": ["gain:-6"]})), out)


def entries(result, variant, probe=""):
    found = read_json(result.folder / "predictions.json")
    return [one for one in found if one["variant"] == variant and one["probe"] == probe]


def students(folder) -> dict[str, Classifier]:
    found = map(Classifier.load, sorted((folder / "stages/students").iterdir()))
    return {one.about["variant"]: one for one in found}


def hash_of(result, name) -> dict[str, str]:
    for path in (result.folder / "stages/datasets").iterdir():
        content = read_json(path)
        if content["manifest"].endswith(f"{name}/manifest.csv"):
            return dict(zip(content["ids"], content["hashes"]))
    raise AssertionError(name)


def test_what_learned_from_tested_sets_has_rows_of_its_own(finished):
    scores = finished.scores
    own = scores[(scores["probe"] == "") & (scores["setting"] != "validation")]
    found = {name: set(rows["setting"]) for name, rows in own.groupby("variant")}
    everything = {"in-domain", "cross-dataset", "adapted", "robustness"}
    assert found.pop("none") == found.pop("inductive") == everything
    assert found == {
        "groups": {"transductive"},
        "more groups": {"transductive"},
        "clips": {"transductive, same clips"},
    }
    for name, way in WAYS.items():
        assert set(own.loc[own["variant"] == name, "transductive"]) == {"" if way == "none" else way}
        assert set(own.loc[own["variant"] == name, "test_dataset"]) == {"home", "abroad"}


@pytest.mark.parametrize(("variant", "overlaps"), [("groups", False), ("more groups", False), ("clips", True)])
def test_what_is_scored_was_learned_from_only_where_the_rows_say_so(finished, variant, overlaps):
    seen = students(finished.folder)[variant].seen
    places = entries(finished, variant)
    assert len(places) == 2
    for one in places:
        hashes = hash_of(finished, one["test_dataset"])
        scored = Predictions.load(finished.folder / one["path"])
        learned = [hashes[clip] in seen for clip in scored.ids]
        assert all(learned) if overlaps else not any(learned)
        manifest = Manifest.read(finished_manifest(finished, one["test_dataset"]))
        group_of = dict(zip(manifest.ids, manifest.groups))
        of_learned = {group_of[clip] for clip in hashes if hashes[clip] in seen}
        if one["test_dataset"] == "abroad":
            assert of_learned and (of_learned & set(scored.groups) != set()) == overlaps
            assert len(of_learned) == (8 if overlaps else 4)


def finished_manifest(result, name):
    for path in (result.folder / "stages/datasets").iterdir():
        if read_json(path)["manifest"].endswith(f"{name}/manifest.csv"):
            return read_json(path)["manifest"]
    raise AssertionError(name)


def test_inductive_variants_saw_nothing_of_tested_sets(finished):
    abroad = set(hash_of(finished, "abroad").values())
    found = students(finished.folder)
    assert not found["inductive"].seen & abroad and not found["none"].seen & abroad
    assert "transductive" not in found["inductive"].about
    assert found["groups"].about["transductive"] == "groups of home, abroad"
    compressors = [Compressor.load(path) for path in (finished.folder / "stages/compressors").iterdir()]
    assert sorted(len(one.seen(sorted(abroad))) for one in compressors) == [0, 4, 8]
    assert len(list((finished.folder / "stages/teachers").iterdir())) == 3


def test_transductive_scores_are_compared_among_themselves_alone(finished):
    table = pd.read_csv(finished.folder / "comparisons.csv")
    table = table[table["setting"].str.startswith("transductive")]
    assert set(zip(table["variant"], table["baseline"])) == {("more groups", "groups")}
    claims = read_json(finished.folder / "metrics.json")["claim"]
    assert "home to abroad, transductive" in claims
    assert not [where for where in claims if "same clips" in where]  # one variant has nothing to be compared with
    inductive = pd.read_csv(finished.folder / "comparisons.csv").query("setting == 'cross-dataset'")
    assert set(inductive["variant"]) | set(inductive["baseline"]) == {"none", "inductive"}


def test_probes_on_what_learned_from_tested_sets_say_so(finished):
    probes = finished.scores[finished.scores["probe"] != ""]
    student = probes[probes["variant"] == "probe: student of groups"]
    assert set(student["setting"]) == {"transductive"}
    raw = probes[probes["vectors"].isin(["embedding", "target"])]
    for variant, rows in raw.groupby("variant"):
        named = [way for way in ("transductive, same clips", "transductive") if variant.endswith(way)]
        expected = set(named[:1]) or {"in-domain", "cross-dataset", "adapted"}
        assert set(rows["setting"]) == expected, variant
    floor = probes[probes["vectors"] == "log-mel"]
    assert not set(floor["transductive"]) - {""}


def test_reports_cards_and_guards_say_so(finished):
    text = (finished.folder / "report.md").read_text(encoding="utf-8")
    assert "home → abroad, transductive" in text and "home → abroad, transductive, same clips" in text
    guards = read_json(finished.folder / "metrics.json")["guards"]
    assert guards["transductive_clips"] > 0
    assert [one for one in guards["checked"] if "(groups, more groups)" in one and "other groups" in one]
    assert [one for one in guards["not_checked"] if "(clips)" in one and "very clips" in one]
    assert [one for one in guards["checked"] if one.endswith("but in rows of the setting 'transductive, same clips'")]
    html = (finished.folder / "report.html").read_text(encoding="utf-8")
    assert "scored on its other groups" in html
    for path in (finished.folder / "stages/students").iterdir():
        card = (path / "README.md").read_text(encoding="utf-8")
        assert ("Transductive: learned, without labels" in card) == ("transductive" in Classifier.load(path).about)


def test_labels_of_tested_sets_do_not_teach(sets, finished, tmp_path):
    shutil.copytree(sets, tmp_path / "sets")
    for name in ("home", "abroad"):
        path = tmp_path / "sets" / name / "manifest.csv"
        table = pd.read_csv(path)
        other = (table["split"] == "test") | (name == "abroad")
        table.loc[other, "label"] = table.loc[other, "label"].map({"high": "low", "low": "high"})
        table.to_csv(path, index=False)
    variants = [{"name": "groups", "training": {"transductive": "groups"}}]
    outs = []
    for root in (sets, tmp_path / "sets"):
        out = tmp_path / f"out {len(outs)}"
        run(parse(settings(root, variants, data={"transductive": "both"}, evaluation={"probe": False})), out)
        outs.append({p.parent.parent.name: p.read_bytes() for p in out.glob("stages/*/*/weights.safetensors")})
    assert set(outs[0]) == {"teachers", "compressors", "students"} and outs[0] == outs[1]


def test_further_sets_that_share_audio_are_refused(sets, tmp_path):
    shutil.copytree(sets, tmp_path / "sets")
    shutil.copytree(tmp_path / "sets/abroad", tmp_path / "sets/again")
    path = tmp_path / "sets/again/manifest.csv"
    table = pd.read_csv(path, dtype=str)
    names = sorted(set(table["group"]))
    others = dict(zip(names, [f"x{name}" for name in (*names[1:], names[0])]))  # other halves
    table.assign(dataset="again", group=table["group"].map(others)).to_csv(path, index=False)
    content = settings(tmp_path / "sets", [{"name": "groups", "training": {"transductive": "groups"}}])
    content["data"]["cross"] = ["abroad/manifest.csv", "again/manifest.csv"]
    with pytest.raises(ManifestError, match="learned from without labels and those that are scored share"):
        run(parse(content), tmp_path / "out")
    assert not (tmp_path / "out/stages/embeddings").exists()


def test_one_group_cannot_be_halved(sets, tmp_path):
    shutil.copytree(sets, tmp_path / "sets")
    path = tmp_path / "sets/abroad/manifest.csv"
    pd.read_csv(path).assign(group="one").to_csv(path, index=False)
    variants = [{"name": "groups", "training": {"transductive": "groups"}}]
    with pytest.raises(ManifestError, match='abroad: all 8 .* of one group.*training.transductive = "clips"'):
        run(parse(settings(tmp_path / "sets", variants)), tmp_path / "out")


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"training": {"transductive": "groups", "unlabelled": False}}, "training.unlabelled = false"),
        ({"training": {"transductive": "clips"}, "data": {"cross": []}}, "data.cross names none"),
        ({"training": {"transductive": "some"}}, "transductive is 'some'"),
        (
            {"training": {"transductive": "clips"}, "data": {"transductive": "in-domain"}, "split": {"by": "none"}},
            "none",
        ),
    ],
)
def test_what_cannot_be_is_refused_when_read(sets, sections, message):
    content = settings(sets, [{"name": "a"}])
    for name, section in sections.items():
        content[name] = {**content[name], **section}
    with pytest.raises(ConfigError, match=message):
        parse(content)


@pytest.mark.parametrize("seed", range(5))
def test_halves_share_no_group_and_are_about_even(seed):
    rng = np.random.default_rng(seed)
    groups = [f"g{number}" for number in rng.integers(0, 12, 200)]
    first, second = halves(groups, seed)
    assert sorted([*first, *second]) == list(range(200))
    assert not {groups[row] for row in first} & {groups[row] for row in second}
    largest = max(groups.count(one) for one in groups)
    assert abs(len(first) - len(second)) <= largest
    again = halves(groups, seed)
    assert (first == again[0]).all() and (second == again[1]).all()
