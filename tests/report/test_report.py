from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.command import call
from helpers.report_cases import (
    CLASSES,
    HOSTILE,
    HOSTILE_CLASSES,
    NAMES,
    SETTINGS,
    add_comparisons,
    make_run,
    make_sweep,
)
from sklearn.metrics import average_precision_score, recall_score

from embcomp.errors import ConfigError, EmbcompError
from embcomp.evaluation.scores import Predictions
from embcomp.report import build, reading, table_lines, write_report
from embcomp.report.blocks import Cell, Figure, Folded, Points, Table, Text
from embcomp.report.markdown import to_markdown
from embcomp.report.page import SCRIPT, to_html

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return make_run(tmp_path_factory.mktemp("report") / "run")


def blocks_of(document, title=None):
    found = [block for section in document.sections if title in (None, section.title) for block in section.blocks]
    return found + [inner for block in found if isinstance(block, Folded) for inner in block.blocks]


def texts_of(document, title=None) -> str:
    return "\n".join(block.text for block in blocks_of(document, title) if isinstance(block, Text))


def figures_of(document, title=None) -> list[Figure]:
    return [block for block in blocks_of(document, title) if isinstance(block, Figure)]


class Tags(HTMLParser):
    """The structure of a page: its tags with the names of their attributes, and what it shows."""

    def __init__(self, text: str):
        super().__init__()
        self.tags, self.shown = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, *(name for name, _ in attributes)))

    def handle_data(self, data):
        self.shown.append(data)


def test_every_score_in_the_table_is_the_one_in_the_file(folder):
    by_test = pd.read_csv(folder / "scores.csv").groupby(["variant", "setting", "test_dataset"])
    tables = [block for block in blocks_of(build([folder]), "") if isinstance(block, Table)]
    assert [table.head[0] for table in tables] == ["student", "probe"]
    assert [row[0] for table in tables for row in table.rows] == list(NAMES)
    for table in tables:
        for name, *cells in table.rows:
            for (setting, test), cell in zip(SETTINGS, cells, strict=True):
                rows = by_test.get_group((name, setting, test))
                seeds, pooled = rows[rows["seed"] != "all"]["value"], rows[rows["seed"] == "all"].iloc[0]
                assert cell.text == f"{seeds.mean():.3f} ± {seeds.std():.3f}"
                assert cell.note == f"{pooled['low']:.3f} to {pooled['high']:.3f}"
                assert cell.span == pytest.approx((pooled["low"], seeds.mean(), pooled["high"]))


def test_a_finished_run_has_every_part(folder):
    document = build([folder])
    titles = [section.title for section in document.sections]
    assert titles == [
        "",
        "Scores by test set",
        "Differences",
        "Across data sets",
        "Where the best student errs",
        "Cost",
        "How they learned",
        "About the clips",
        "Where it comes from",
    ]
    assert len(figures_of(document, "Across data sets")) == 2  # as trained, and adapted
    assert all(figure.panels and figure.caption and figure.values.rows for figure in figures_of(document))
    points = [
        item for block in blocks_of(document, "About the clips") if isinstance(block, Points) for item in block.items
    ]
    assert "4 clips of home are longer than 0.4 s, cut there" in points and points[-2].startswith(
        "3 groups are in both"
    )
    page = to_html(document)
    assert "90% interval" in page and "confidence = 0.9" in page and f"embcomp run --from {folder}" in page


def test_without_comparisons_it_claims_nothing(folder):
    assert texts_of(build([folder]), "").startswith(
        "Means and intervals only: on home, unseen groups, students lie between"
    )
    figure = figures_of(build([folder]), "Differences")[0]
    assert "They have no interval" in figure.caption
    assert figure.values.rows[0][1:] == ("raw embedding − no teacher", "+0.100")


def test_comparisons_and_claim_come_from_the_run(tmp_path):
    folder = make_run(tmp_path / "run")
    add_comparisons(folder, claim="No student was better: p = 0.4.")
    document = build([folder])
    assert blocks_of(document, "")[0] == Text("No student was better: p = 0.4.", "lead")
    rows = figures_of(document, "Differences")[0].values.rows
    assert rows[0] == ("home, unseen groups", "raw embedding", "no teacher", "-0.050", "-0.200 to 0.300", "0.032")
    assert len(rows) == 6


def test_the_best_student_is_chosen_on_validation_clips(folder):
    """The test scores rise from variant to variant, the validation scores fall."""
    text = texts_of(build([folder]), "Where the best student errs")
    assert text.startswith(
        "Shown is 'no teacher', which has the best mean score of all students on validation clips (0.650)"
    )


@pytest.mark.parametrize("multi_label", [False, True])
def test_each_class_is_measured_as_scikit_learn_does(tmp_path, multi_label):
    folder = make_run(tmp_path / "run", multi_label=multi_label)
    index = [line for line in json.loads((folder / "predictions.json").read_text()) if line["variant"] == NAMES[0]]
    pieces = [Predictions.load(folder / line["path"]) for line in index if line["setting"] == "in-domain"]
    truth, chances = (np.concatenate([getattr(piece, name) for piece in pieces]) for name in ("truth", "probabilities"))
    if multi_label:
        expected = average_precision_score(truth, chances, average=None)
    else:
        expected = recall_score(truth.argmax(1), chances.argmax(1), average=None)
    figure = figures_of(build([folder]), "Where the best student errs")[0]
    assert [row[2] for row in figure.values.rows] == [f"{value:.3f}" for value in expected]
    assert len(figure.panels) == 2 - multi_label


def test_costs_are_those_of_the_saved_students(folder):
    rows = figures_of(build([folder]), "Cost")[0].values.rows
    assert [row[0] for row in rows] == ["a · no teacher", "b · raw embedding", "c · compressed"]
    assert len({row[1:3] for row in rows}) == 1 and int(rows[0][1].replace(",", "")) > 1000
    # Nothing, six numbers of the embedding, eight of the target; four rows of six on disk.
    assert [row[3:] for row in rows] == [("none", "none"), ("24 B", "96 B"), ("32 B", "96 B")]
    timed = figures_of(build([folder], latency=True), "Cost")[0]
    assert len({row[-1] for row in timed.values.rows}) == 1 and timed.values.rows[0][-1].endswith(" ms")


@pytest.mark.parametrize("render", [to_html, to_markdown])
def test_the_same_files_give_the_same_bytes(folder, render):
    assert render(build([folder])) == render(build([folder]))


def test_hostile_names_change_no_tag(tmp_path):
    """A page of names that try to break out has the tags and attributes of one of plain names."""
    hostile = make_run(tmp_path / "hostile", HOSTILE, HOSTILE_CLASSES)
    tame = ["abcd"[number] * len(name) for number, name in enumerate(HOSTILE)]
    plain = make_run(tmp_path / "plain", tame, CLASSES)
    add_comparisons(hostile, HOSTILE, claim=HOSTILE[0])
    add_comparisons(plain, tame, claim=tame[0])
    found, expected = (Tags(to_html(build([each]))) for each in (hostile, plain))
    skip = {"rect", "title", "text"}  # a cell of a heat map is written in or not
    assert [tag for tag in found.tags if tag[0] not in skip] == [tag for tag in expected.tags if tag[0] not in skip]
    assert sum(tag[0] == "script" for tag in found.tags) == 1
    assert not [name for tag in found.tags for name in tag[1:] if name.startswith("on")]
    shown = "".join(found.shown)
    assert all(name.replace("\u202e", "\ufffd").replace("\x1b", "\ufffd") in shown for name in HOSTILE)
    assert "\u202e" not in shown and "\x1b" not in shown


def test_hostile_names_are_plain_text_in_markdown(tmp_path):
    folder = make_run(tmp_path / "run", HOSTILE, HOSTILE_CLASSES)
    text = to_markdown(build([folder]))
    prose = re.sub(r"^(`{3,})\n.*?^\1$", "", text, flags=re.S | re.M)
    assert "<" not in prose and "\x1b" not in text
    assert not re.search(r"(?<!\\)[`\[]", prose)
    for table in re.findall(r"(?:^\|.*\n)+", prose, flags=re.M):
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
    config = (folder / "config.toml").read_text()
    assert f"````\n{config.rstrip()}\n````" in text  # a fence inside does not end it
    assert all("<" not in line for line in table_lines(reading.read_source(folder).summary))


def test_only_the_switch_of_the_theme_may_run(folder):
    import base64
    import hashlib

    page = to_html(build([folder]))
    digest = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in page and "default-src 'none'" in page
    assert page.count("<script>") == 1 and f"<script>{SCRIPT}</script>" in page
    assert not re.search(r"https?://|url\(|@import|<img|<iframe", page)


def test_several_sources_stand_side_by_side(folder, tmp_path):
    other = make_run(tmp_path / "other", values=(0.2, 0.3, 0.4, 0.5))
    sweep = make_sweep(tmp_path / "sweep")
    document = build([folder, other, sweep])
    assert document.title == "no teacher (1), no teacher (2), sweep"
    table = next(block for block in blocks_of(document, "") if isinstance(block, Table))
    assert len(table.head) == 7 and all(isinstance(cell, Cell) for row in table.rows for cell in row[1:])
    assert table.head[1] == "no teacher (1): home, unseen groups"
    assert len(figures_of(document, "Size of the target")[0].panels) == 3
    assert "no size is within 0.02 of the full embedding's 0.800" in texts_of(document, "")


def test_a_bare_table_gives_what_it_can_and_says_what_is_missing():
    document = build([ROOT / "recipes/fsdd/results.csv"])
    assert document.title == "fsdd"
    assert [section.title for section in document.sections] == [
        "",
        "Scores by test set",
        "Differences",
        "Where it comes from",
    ]
    assert "paired comparisons (comparisons.csv)" in texts_of(document, "Where it comes from")


def test_changed_clips_have_a_section_of_their_own(tmp_path):
    folder = make_run(tmp_path / "run")
    table = pd.read_csv(folder / "scores.csv")
    worse = table[(table["setting"] == "in-domain") & (table["method"] != "probe")].copy()
    worse["setting"], worse["shift"], worse["value"] = "robustness", "noise", worse["value"] - 0.25
    pd.concat([table, worse]).to_csv(folder / "scores.csv", index=False)
    figure = figures_of(build([folder]), "Robustness to changed clips")[0]
    assert [row[:3] for row in figure.values.rows] == [
        (name, "home, noise", value) for name, value in zip(NAMES, ("0.260", "0.360", "0.460"))
    ]
    opening = next(block for block in blocks_of(build([folder]), "") if isinstance(block, Table))
    assert len(opening.head) == 4  # not among the scores themselves


def test_writing_beside_and_alone(folder, tmp_path):
    page = tmp_path / "a/report.html"
    assert write_report([folder], page) == [page, page.with_suffix(".md")]
    assert page.read_text().startswith("<!doctype html>") and page.with_suffix(".md").read_text().startswith(
        "# no teacher"
    )
    assert write_report([folder], tmp_path / "only.md") == [tmp_path / "only.md"]
    with pytest.raises(ConfigError, match=r"\.html or \.md"):
        write_report([folder], tmp_path / "report.pdf")


DAMAGE = {
    "scores.csv": ["", "a,b\n1,2\n", "\x00\x01\x02", "variant,setting\n"],
    "metrics.json": [
        "",
        "[]",
        "{",
        '{"cut": [1]}',
        '{"left_out": {"a": 3}}',
        '{"audio_seconds": "1"}',
        '{"seeds": ' + "[" * 100_000,
    ],
    "environment.json": ["3"],
    "history.csv": ["variant,seed\na,1\n", 'variant,seed,fold,step\n"a,1'],
    "predictions.json": ["{}x", "[1]", '[{"variant": 1}]'],
    "comparisons.csv": ["what,ever\n1,2\n"],
    "stages/predictions/0.csv": ["", "id,group,label,p:high\na,a,low,1\n", "\x00"],
    "stages/students/none/config.json": ["{}"],
    "stages/embeddings/one/meta.json": ["{}"],
}


@pytest.mark.parametrize("name, content", [(name, content) for name, every in DAMAGE.items() for content in every])
def test_damage_is_told_by_the_name_of_the_file(tmp_path, name, content):
    folder = make_run(tmp_path / "run")
    (folder / name).write_text(content)
    with pytest.raises(
        EmbcompError, match=re.escape(str(Path(name).parent if "/one/" in name or "none" in name else name))
    ):
        build([folder])


def test_wrong_numbers_and_missing_files_are_told(tmp_path):
    folder = make_run(tmp_path / "run")
    text = (folder / "scores.csv").read_text()
    for wrong, message in (("high?", "must hold numbers"), ("inf", "infinite"), ("", "lacks numbers")):
        (folder / "scores.csv").write_text(text.replace("0.65,", f"{wrong},"))
        with pytest.raises(EmbcompError, match=message):
            build([folder])
    (folder / "scores.csv").unlink()
    with pytest.raises(EmbcompError, match="the run has not ended"):
        build([folder])
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(EmbcompError, match="neither a run folder"):
            build([path])


def test_an_index_that_points_outside_is_refused(tmp_path):
    folder = make_run(tmp_path / "run")
    (tmp_path / "secret.csv").write_text((folder / "stages/predictions/0.csv").read_text())
    index = json.loads((folder / "predictions.json").read_text())
    for path in ("../secret.csv", str(tmp_path / "secret.csv")):
        index[0]["path"] = path
        (folder / "predictions.json").write_text(json.dumps(index))
        with pytest.raises(EmbcompError, match="points out of its folder"):
            build([folder])


def test_huge_files_are_refused(folder, monkeypatch):
    monkeypatch.setattr(reading, "MAX_BYTES", 100)
    with pytest.raises(EmbcompError, match=r"scores\.csv is larger than"):
        build([folder])


def test_the_command_names_what_it_wrote_and_what_is_wrong(tmp_path):
    done = call("report", "recipes/fsdd/results.csv", "--out", tmp_path / "page.html")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(tmp_path / "page.html"), str(tmp_path / "page.md")]
    done = call("report", tmp_path, "--out", tmp_path / "other.html")
    assert done.returncode == 2 and "neither a run folder" in done.stderr and "Traceback" not in done.stderr


def test_a_metric_that_one_class_leaves_undefined_is_left_out(tmp_path):
    folder = make_run(tmp_path / "run")
    before = to_markdown(build([folder]))
    path = folder / "scores.csv"
    table = pd.read_csv(path)
    rows = table[table["metric"] == table["metric"].iloc[0]].assign(metric="roc_auc", value=np.nan)
    pd.concat([table, rows]).to_csv(path, index=False)
    after = to_markdown(build([folder]))
    assert "roc_auc" not in after
    # All else is as it was, but for the hash of the table.
    assert [
        a for a, b in zip(before.splitlines(), after.splitlines(), strict=True) if a != b and path.name not in a
    ] == []


def test_a_table_of_several_runs_keeps_its_own_columns_of_words(tmp_path):
    table = pd.read_csv(make_run(tmp_path / "run") / "scores.csv").assign(set="one", protocol="pairs")
    table.to_csv(tmp_path / "results.csv", index=False)
    plain, several = (texts_of(build([tmp_path / name]), "") for name in ("run/scores.csv", "results.csv"))
    assert plain == several
