"""A run folder written by hand: what a report is read from, without a run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from embcomp.config import AudioConfig
from embcomp.evaluation.scores import Predictions
from embcomp.storage.store import write_store
from embcomp.students.classifier import Classifier
from helpers.settings import student_settings

SETTINGS = (("in-domain", "home"), ("cross-dataset", "abroad"), ("adapted", "abroad"))
METHODS = ("none", "embedding", "compressed", "probe")
NAMES = ("no teacher", "raw embedding", "compressed", "probe: kmeans")
CLASSES = ("high", "low", "middle")
# One for each way out of an attribute, a text, a table, a style and a terminal.
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(2)>',
    "a | b [c](javascript:alert(3)) `d` \\| <b>",
    "'--></style></title><svg onload=alert(4)>\u202e&lt;\x1b[31m",
)
HOSTILE_CLASSES = ("</text><script>alert(5)</script>", "' onclick='alert(6)", "`x`&amp;*[y](z)*")


def make_run(folder: Path, names=NAMES, classes=CLASSES, multi_label=False, values=(0.5, 0.6, 0.7, 0.8)) -> Path:
    """Four variants, two seeds and three ways of testing; the scores of variant k start from ``values[k]``."""
    rng = np.random.default_rng(0)
    metric = "mAP" if multi_label else "balanced_accuracy"
    rows, history, index = [], [], []
    for name, method, value in zip(names, METHODS, values):
        common = {"method": method, "teacher": "", "compressor": "", "dim": 8 if method == "compressed" else ""}
        common |= {"train_dataset": "home", "variant": name, "metric": metric}
        for seed in (0, 1):
            if method != "probe":
                # What validation prefers is what the test does not.
                chosen = {"seed": seed, "test_dataset": "home", "value": 0.9 - value / 2, "n": 10}
                rows.append(common | chosen | {"setting": "validation"})
                for step in (10, 20, 30):
                    history.append([name, seed, "1", step, 1 / step, 0.3 + step / 100 + rng.uniform(0, 0.1)])
            for number, (setting, test) in enumerate(SETTINGS):
                path = f"stages/predictions/{len(index)}.csv"
                _predictions(rng, classes, multi_label).save(folder / path)
                index.append(
                    {"variant": name, "seed": seed, "fold": "1", "setting": setting, "test_dataset": test, "path": path}
                    | {"targets": method, "student": None, "embedding": None}
                )
                if method != "probe":
                    index[-1]["student"] = f"stages/students/{method}"
                if method not in ("none", "probe"):
                    index[-1]["embedding"] = "stages/embeddings/one"
                score = {"seed": seed, "test_dataset": test, "value": value - 0.1 * number + 0.02 * seed, "n": 20}
                rows.append(common | score | {"setting": setting, "low": value - 0.3, "high": value + 0.1})
        for number, (setting, test) in enumerate(SETTINGS):
            pooled = {"seed": "all", "test_dataset": test, "value": value - 0.1 * number, "n": 20}
            rows.append(common | pooled | {"setting": setting, "low": value - 0.25, "high": value + 0.05})
        if method != "probe":
            student = Classifier.new(classes, AudioConfig(seconds=0.4), student_settings(width=16), multi_label, 0)
            student.save(folder / f"stages/students/{method}")
    write_store(
        folder / "stages/embeddings/one", list("abcd"), list("abcd"), 6, {}, lambda rows: np.zeros((len(rows), 6))
    )
    pd.DataFrame(rows).to_csv(folder / "scores.csv", index=False)
    columns = ["variant", "seed", "fold", "step", "teacher", "validation_score"]
    pd.DataFrame(history, columns=columns).to_csv(folder / "history.csv", index=False)
    (folder / "predictions.json").write_text(json.dumps(index))
    (folder / "config.toml").write_text("[evaluation]\nconfidence = 0.9\n# ``` " + names[0].replace("\x1b", "") + "\n")
    (folder / "environment.json").write_text(
        json.dumps({"python": names[1], "packages": {"torch": "1"}, "seeds": [0, 1]})
    )
    bad = [{"row": 2, "path": names[0], "reason": names[2]}]
    metrics = {"name": names[0], "seeds": [0, 1], "folds": ["1"], "audio_seconds": 0.4, "bad_clips": bad}
    metrics |= {"unseen": "groups"}
    metrics |= {
        "left_out": {names[1]: {names[2]: 3}},
        "not_tested": {},
        "cut": {"home": 4},
        "guards": {"shared_groups": 3, "checked": [names[3]]},
    }
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return folder


def add_comparisons(folder: Path, names=NAMES, claim: str | None = None) -> None:
    """Paired differences of the second and third variant from the first."""
    rows = [
        {"variant": name, "baseline": names[0], "difference": 0.1 * number - 0.15, "low": -0.2, "high": 0.3, "p": 0.01}
        | {"p_corrected": 0.0321 * number, "n_groups": 4, "n_clips": 20, "setting": setting, "test_dataset": test}
        | {"metric": "balanced_accuracy"}
        for setting, test in SETTINGS
        for number, name in enumerate(names[1:3], 1)
    ]
    pd.DataFrame(rows).to_csv(folder / "comparisons.csv", index=False)
    metrics = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(json.dumps(metrics | ({"claim": claim} if claim else {})))


def make_sweep(folder: Path) -> Path:
    """A curve of two methods at three sizes."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for method, base in (("pca", 0.5), ("linear", 0.6), ("identity", 0.8)):
        for dim in (2, 4, 8) if method != "identity" else (64,):
            score = base + 0.02 * dim if method != "identity" else base
            row = {"method": method, "dim": dim, "behind": 0.8 - score, "folds": 3}
            for measure in ("score", "retained", "overlap"):
                row |= {measure: score, f"{measure}_low": score - 0.05, f"{measure}_high": score + 0.05}
            rows.append(row)
    pd.DataFrame(rows).to_csv(folder / "curve.csv", index=False)
    return folder


def _predictions(rng: np.random.Generator, classes, multi_label: bool) -> Predictions:
    count = 20
    chances = rng.dirichlet(np.ones(len(classes)), count).astype(np.float32)
    truth = rng.integers(0, len(classes), count)
    if multi_label:
        truth = (rng.random((count, len(classes))) < 0.4).astype(np.float32)
    names = np.array([f"{number}.wav" for number in range(count)], dtype=object)
    return Predictions(names, names, truth, chances, tuple(classes), multi_label)
