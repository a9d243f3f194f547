"""The table of scores, by whichever version it was written."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from helpers.report_cases import add_comparisons, make_run

from embcomp import read_scores
from embcomp.errors import ArtifactError
from embcomp.evaluation.scores import COLUMNS, summarise
from embcomp.evaluation.table import Setting, Vectors, upgraded
from embcomp.report import build, to_html

# Variant, method, compressor; then what it is.
PROBES = {
    ("probe: kmeans", "probe", ""): ("probe", Vectors.EMBEDDING),
    ("k-NN: kmeans > mlp/task 8", "probe", "mlp/task"): ("k-NN", Vectors.TARGET),
    ("probe: student of a", "probe", "mlp/task"): ("probe", Vectors.STUDENT),
    ("k-NN: log-mel", "probe", ""): ("k-NN", Vectors.LOG_MEL),
    ("probe: panns", "probe", ""): ("probe", Vectors.EMBEDDING),
    ("majority class", "probe", ""): ("majority", ""),
    ("probe: student of a", "none", ""): ("", ""),  # a student that somebody called so
    ("probe: student of a", "rkd", ""): ("", ""),
}


def row(**changed) -> dict:
    common = {"method": "none", "teacher": "", "compressor": "", "dim": "", "seed": "0", "train_dataset": "home"}
    common |= {"test_dataset": "home", "metric": "balanced_accuracy", "value": 0.5, "low": 0.4, "high": 0.6, "n": 9}
    return common | {"variant": "a", "setting": "in-domain"} | changed


def test_old_words_become_those_of_today():
    old = pd.DataFrame(
        [
            row(setting="cross-dataset, re-estimated", test_dataset="other"),
            row(setting="robustness", test_dataset="home, noise 20 dB"),
            row(setting="robustness", test_dataset="home, gain -10 dB"),
            row(),
        ]
    )
    found = upgraded(old)
    assert list(found["setting"]) == [Setting.ADAPTED, Setting.ROBUSTNESS, Setting.ROBUSTNESS, Setting.IN_DOMAIN]
    assert list(found["test_dataset"]) == ["other", "home", "home", "home"]
    assert list(found["shift"]) == ["", "noise 20 dB", "gain -10 dB", ""]
    assert "shift" not in old  # the caller's is left as it was
    pd.testing.assert_frame_equal(upgraded(found), found)
    assert len(summarise(old)) == 4


@pytest.mark.parametrize("named, expected", PROBES.items())
def test_old_probes_are_told_by_their_names_once(named, expected):
    variant, method, compressor = named
    found = upgraded(pd.DataFrame([row(variant=variant, method=method, compressor=compressor)])).iloc[0]
    assert (found["probe"], found["vectors"]) == expected


def test_a_table_of_today_is_taken_at_its_word():
    today = pd.DataFrame([row(variant="majority class", method="probe", shift="", probe="k-NN", vectors="student")])
    assert upgraded(today).iloc[0]["vectors"] == "student" and upgraded(today).iloc[0]["probe"] == "k-NN"


def test_reading_is_the_inverse_of_writing(tmp_path):
    table = upgraded(pd.DataFrame([row(), row(seed="all", variant="NA", low=np.nan), row(method="probe", dim="64")]))
    table.to_csv(tmp_path / "scores.csv", index=False)
    pd.testing.assert_frame_equal(read_scores(tmp_path / "scores.csv"), table)
    assert tuple(table.columns[: len(COLUMNS)]) == COLUMNS


def test_an_empty_cell_that_pandas_reads_as_missing_loses_no_row(tmp_path):
    table = upgraded(pd.DataFrame([row(), row(seed="all")]))
    table.to_csv(tmp_path / "scores.csv", index=False)
    assert len(summarise(pd.read_csv(tmp_path / "scores.csv"))) == 1


def test_only_columns_that_are_there_are_upgraded():
    assert list(upgraded(pd.DataFrame({"setting": ["re-estimated"]}))["setting"]) == [Setting.ADAPTED]
    assert list(upgraded(pd.DataFrame({"method": ["probe"]}))) == ["method"]
    found = upgraded(pd.DataFrame({"method": ["probe"], "variant": ["k-NN: log-mel"]})).iloc[0]
    assert (found["probe"], found["vectors"]) == ("k-NN", Vectors.LOG_MEL)
    empty = upgraded(pd.DataFrame({"method": [], "variant": []}))
    assert list(empty) == ["method", "variant", "probe", "vectors"] and empty.empty


@pytest.mark.parametrize("setting", [one for one in Setting if one != Setting.ROBUSTNESS])
def test_only_changed_clips_have_a_shift(setting):
    found = upgraded(pd.DataFrame([row(setting=setting, test_dataset="home, noise 20 dB")])).iloc[0]
    assert (found["test_dataset"], found["shift"]) == ("home, noise 20 dB", "")


def test_what_is_no_table_is_named(tmp_path):
    (tmp_path / "b.csv").write_bytes(b"value\n\xff\xfe\n")
    with pytest.raises(ArtifactError, match=r"cannot read .*b.csv as a table of scores: .*decode"):
        read_scores(tmp_path / "b.csv")
    (tmp_path / "a.csv").write_text("x,y\n1,2\n")
    with pytest.raises(ArtifactError, match="no column value"):
        read_scores(tmp_path / "a.csv")
    with pytest.raises(ArtifactError, match=r"cannot read .*none.csv"):
        read_scores(tmp_path / "none.csv")


def test_a_report_of_an_old_run_is_that_of_a_new_one(tmp_path):
    """The same run in the words of both versions: but for the hashes of the files, one page."""
    new, old = make_run(tmp_path / "new"), make_run(tmp_path / "old")
    add_comparisons(new)
    add_comparisons(old)
    for name in ("scores.csv", "comparisons.csv"):
        text = (old / name).read_text()
        (old / name).write_text(text.replace("adapted", '"cross-dataset, re-estimated"'))
    table = pd.read_csv(new / "scores.csv", dtype=str, keep_default_na=False)
    upgraded(table).to_csv(new / "scores.csv", index=False)
    index = json.loads((old / "predictions.json").read_text())
    for entry in index:
        entry["setting"] = entry["setting"].replace("adapted", "cross-dataset, re-estimated")
    (old / "predictions.json").write_text(json.dumps(index))
    pages = [to_html(build([folder])).split('id="where-it-comes-from"')[0] for folder in (old, new)]
    assert pages[0] == pages[1] and "home → abroad, adapted" in pages[0]
