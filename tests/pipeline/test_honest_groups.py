"""What a run claims where the manifest gives no groups, names them otherwise, or gives some."""

from __future__ import annotations

import csv
import json
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile
from click.testing import CliRunner
from helpers.tones import write_tones

from embcomp.cli import group
from embcomp.config import parse
from embcomp.data.manifest import Manifest
from embcomp.errors import ManifestError
from embcomp.pipeline import run
from embcomp.report import write_report

SECTIONS = {
    "seeds": [0],
    "workers": 1,
    "audio": {"seconds": 0.4, "n_mels": 24},
    "split": {"folds": 2, "validation": 0.5},
    "training": {"steps": 2, "batch_size": 8, "evaluate_every": 2, "freq_mask": 2},
    "evaluation": {"bootstrap": 20},
    "variants": [{"name": name, "transfer": {"method": "none"}} for name in ("one", "two")],
}


def settings(manifest, **data):
    return parse({**SECTIONS, "data": {"root": str(manifest.parent), "train": manifest.name, **data}})


def rewritten(manifest, name, change):
    """A manifest beside `manifest` whose rows `change` made."""
    table = pd.read_csv(manifest, dtype=str, keep_default_na=False)
    change(table).to_csv(manifest.parent / name, index=False)
    return manifest.parent / name


def texts(folder):
    return (folder / "report.md").read_text(), (folder / "report.html").read_text()


@pytest.fixture
def home(tmp_path):
    return write_tones(tmp_path / "home", groups=4, clips=2, name="home")


@pytest.fixture(scope="module")
def ungrouped(tmp_path_factory):
    """A finished run on clips without groups."""
    root = tmp_path_factory.mktemp("ungrouped")
    manifest = rewritten(
        write_tones(root / "home", groups=4, clips=2, name="home"), "plain.csv", lambda t: t[["path", "label"]]
    )
    return run(settings(manifest), root / "out")


def test_without_groups_nothing_speaks_of_unseen_groups(ungrouped):
    metrics = json.loads((ungrouped.folder / "metrics.json").read_text())
    assert metrics["groups"] == {"plain": {"unit": "clip", "count": 16, "without": 16}}
    for text in (*texts(ungrouped.folder), json.dumps(metrics)):
        assert "unseen groups" not in text and "resamples groups" not in text
        assert "unseen clips; no groups given" in text
    markdown = texts(ungrouped.folder)[0]
    assert "resamples clips, for which no groups are given" in markdown
    assert "over 16 clips, no groups given" in markdown
    assert "Leak guards that could not be run: whether clips of one speaker, machine or recording" in markdown
    assert "Leak guards passed: " in markdown and "no group;" not in markdown
    assert "where clips share a speaker, a machine or a recording, name that column" in markdown


def test_a_bare_table_and_an_old_run_say_what_they_know(ungrouped, tmp_path):
    shutil.copy(ungrouped.folder / "scores.csv", tmp_path / "scores.csv")
    write_report([tmp_path / "scores.csv"], tmp_path / "bare.md")
    assert "unseen clips; no groups given" in (tmp_path / "bare.md").read_text()
    table = pd.read_csv(tmp_path / "scores.csv").drop(columns=["unit", "unseen"])
    table.to_csv(tmp_path / "scores.csv", index=False)
    write_report([tmp_path / "scores.csv"], tmp_path / "older.md")
    assert "unseen" not in (tmp_path / "older.md").read_text() and "in-domain" in (tmp_path / "older.md").read_text()
    # A run of before this was written down is told by the groups of its predictions.
    shutil.copytree(ungrouped.folder, tmp_path / "run")
    table.to_csv(tmp_path / "run/scores.csv", index=False)
    metrics = json.loads((tmp_path / "run/metrics.json").read_text())
    metrics["claim"] = {"plain, unseen groups": "In accuracy, a beats b."}
    for name in ("unseen", "groups", "notes"):
        del metrics[name]
    (tmp_path / "run/metrics.json").write_text(json.dumps(metrics))
    write_report([tmp_path / "run"], tmp_path / "run.md")
    text = (tmp_path / "run.md").read_text()
    assert "unseen groups" not in text and "plain, unseen clips; no groups given: In accuracy" in text


def test_a_speaker_column_gives_the_same_numbers_as_a_group_column(home, tmp_path):
    named = rewritten(home, "named.csv", lambda table: table.rename(columns={"group": "Speaker ID"}))
    given, taken = (run(settings(path), tmp_path / path.stem) for path in (home, named))
    columns = ["variant", "metric", "value", "low", "high"]
    pd.testing.assert_frame_equal(given.scores[columns], taken.scores[columns])
    markdown = texts(taken.folder)[0]
    assert "unseen groups" in markdown and "no groups given" not in markdown
    assert "the column 'Speaker ID' is taken as the group" in markdown
    assert "no audio is in two groups" in markdown


def test_with_two_candidates_a_run_asks(home, tmp_path):
    two = rewritten(home, "two.csv", lambda t: t.rename(columns={"group": "speaker"}).assign(session=list("ab") * 8))
    with pytest.raises(ManifestError, match="--group-column NAME"):
        run(settings(two), tmp_path / "out")
    result = run(settings(two, group_column="speaker"), tmp_path / "out")
    assert "columns not used: session" in texts(result.folder)[0]


@pytest.fixture
def segments(tmp_path):
    """Eight recordings of noise, labels by turns, and overlapping parts of each."""
    rng, rows = np.random.default_rng(0), []
    for number in range(8):
        soundfile.write(tmp_path / f"{number}.wav", 0.1 * rng.normal(size=16_000), 16_000)
        rows += [(f"{number}.wav", "xy"[number % 2], start / 10, start / 10 + 0.2) for start in range(8)]
    with open(tmp_path / "parts.csv", "w", newline="") as file:
        csv.writer(file).writerows([("path", "label", "start", "end"), *rows])
    return tmp_path / "parts.csv"


def test_parts_of_a_file_stay_on_one_side_and_the_page_says_files(segments, tmp_path):
    result = run(settings(segments), tmp_path / "out")
    for path in (result.folder / "stages/splits").iterdir():
        split = json.loads(path.read_text())
        sides = [{clip.partition("#")[0] for clip in split[name]} for name in ("fit", "validation", "test")]
        assert sum(map(len, sides)) == len(set.union(*sides)) == 8
    markdown = texts(result.folder)[0]
    assert "parts, unseen files; no groups given" in markdown and "unseen groups" not in markdown
    assert "parts of a file that overlap count as the same audio" in markdown


def test_overlapping_parts_in_two_groups_are_refused(segments, tmp_path):
    table = pd.read_csv(segments)
    table.assign(group=[f"g{row % 4}" for row in range(len(table))]).to_csv(tmp_path / "leak.csv", index=False)
    with pytest.raises(ManifestError, match=r"'0.wav#0-0.2' \(group 'g0'\) overlaps '0.wav#0.1-0.3' \(group 'g1'\)"):
        run(settings(tmp_path / "leak.csv"), tmp_path / "out")


def test_groups_shared_by_a_published_split_are_not_called_unseen(home, tmp_path):
    shared = rewritten(home, "shared.csv", lambda table: table.assign(split=["a", "b"] * 8))
    config = settings(shared)
    config = parse({**SECTIONS, "data": {"root": config.data.root, "train": "shared.csv"},
                    "split": {"by": "column", "validation": 0.5, "allow_shared_groups": True}})  # fmt: skip
    markdown = texts(run(config, tmp_path / "out").folder)[0]
    assert "unseen groups" not in markdown
    assert "unseen clips; 8 of their groups are in training" in markdown
    assert "whether training and test clips share a group: split.allow_shared_groups accepts it" in markdown


def test_further_sets_need_not_have_the_column_that_was_asked_for(home, tmp_path):
    write_tones(tmp_path / "abroad", groups=2, clips=2, name="abroad", seed=5)
    named = rewritten(home, "named.csv", lambda table: table.rename(columns={"group": "who"}))
    result = run(settings(named, group_column="who", cross=["../abroad/manifest.csv"]), tmp_path / "out")
    assert set(result.scores["unit"].dropna()) == {"groups"}


def test_a_command_says_the_notes_once(home, tmp_path):
    plain = rewritten(home, "plain.csv", lambda table: table[["path", "label"]].assign(mood="x", speaker=""))
    options = ["--transfer", "none", "--out", str(tmp_path / "s"), "--set", "training.steps=2"]
    done = CliRunner().invoke(group, ["distill", str(plain), *options, "--set", "audio.seconds=0.4"])
    assert done.exit_code == 0, done.output
    assert done.output.count("note: plain.csv: columns not used: speaker, mood") == 1
    assert done.output.count("no groups given, so each clip is a group of its own") == 1


def test_the_group_column_reaches_every_command(home, tmp_path):
    two = rewritten(home, "two.csv", lambda t: t.rename(columns={"group": "speaker"}).assign(session=list("ab") * 8))
    for command in ("embed", "distill", "evaluate", "sweep", "compress", "run"):
        assert "--group-column" in CliRunner().invoke(group, [command, "--help"]).output
    base = ["distill", str(two), "--transfer", "none", "--out", str(tmp_path / "s"), "--set", "training.steps=2"]
    base += ["--set", "audio.seconds=0.4"]
    assert isinstance(CliRunner().invoke(group, base).exception, ManifestError)
    done = CliRunner().invoke(group, [*base, "--group-column", "speaker"])
    assert done.exit_code == 0, done.output
    assert Manifest.read(two, group_column="speaker").unseen == "groups"
