"""The recipe on digits: parts that share nothing, changes that stay in their bounds, and a whole run of it."""

from __future__ import annotations

import importlib

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from helpers.recipe_scripts import ROOT

from embcomp.students.classifier import Classifier


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


def module(name: str):
    return importlib.import_module(f"recipes.digits.{name}")


def test_the_parts_share_no_image_and_have_every_digit():
    images, digits, parts = module("prepare").parts()
    assert images.shape == (1797, 1, 8, 8) and 0 <= images.min() < images.max() <= 1
    together = np.concatenate(parts)
    assert len(set(together)) == len(together) == 1797
    for part in parts:
        assert np.allclose(np.bincount(digits[part]) / len(part), np.bincount(digits) / 1797, atol=0.01)
    assert not {image.numpy().tobytes() for image in images[parts[0]]} & {
        image.numpy().tobytes() for image in images[np.concatenate(parts[1:])]
    }


def test_nothing_changes_where_nothing_is_asked_for():
    change = module("changes")
    images = torch.rand(5, 1, 8, 8)
    generator = torch.Generator().manual_seed(0)
    plain = change.changed(images, change.Change(), generator)
    smoothed = torch.nn.functional.avg_pool2d(
        torch.nn.functional.interpolate(images, scale_factor=4, mode="bilinear"), 4
    )
    torch.testing.assert_close(plain, smoothed, atol=1e-5, rtol=0)


def test_a_quarter_turn_is_one():
    change = module("changes")
    image = torch.zeros(1, 1, 8, 8)
    image[0, 0, 1] = 1.0  # a bar near the upper edge
    turned = change.changed(image, change.Change(turn=(90, 90)), torch.Generator().manual_seed(0))[0, 0]
    columns = turned.sum(0)
    assert columns.argmax() in (1, 6) and columns.max() > 3 * columns[3:5].max()


def test_strokes_become_thicker_or_thinner_and_draws_come_from_the_seed():
    change = module("changes")
    images = torch.zeros(60, 1, 8, 8)
    images[:, :, 2:6, 3:5] = 1.0
    only = change.Change(stroke=(1.0, 1.0))
    plain = change.changed(images, change.Change(), torch.Generator())[0].sum()
    sums = change.changed(images, only, torch.Generator().manual_seed(1)).sum((1, 2, 3))
    assert {bool(one > plain) for one in sums} == {True, False} and (sums - plain).abs().min() > 1
    again = change.changed(images, change.SHIFT, torch.Generator().manual_seed(1))
    assert torch.equal(again, change.changed(images, change.SHIFT, torch.Generator().manual_seed(1)))
    assert again.min() >= 0 and again.max() <= 1


def test_the_teacher_knows_what_the_shift_is():
    wide, shift = (getattr(module("changes"), name) for name in ("WIDE", "SHIFT"))
    for name in ("turn", "stroke", "noise"):
        assert getattr(wide, name)[0] <= getattr(shift, name)[0] and getattr(shift, name)[1] <= getattr(wide, name)[1]


def test_one_command_makes_the_data_and_compares(tmp_path, monkeypatch):
    prepare = module("prepare")
    monkeypatch.setattr(prepare, "STEPS", 5)
    quick = [
        "seeds=[0]",
        "training.steps=3",
        "evaluation.probe=false",
        "evaluation.bootstrap=2",
        "evaluation.reestimate=false",
        "workers=1",
    ]
    options = [part for one in quick for part in ("--set", one)]
    main = importlib.import_module("recipes.digits.run").main
    result = CliRunner().invoke(main, ["--out", str(tmp_path / "run"), *options])
    assert result.exit_code == 0, result.output + repr(result.exception)
    assert "| linear, task 9 |" in result.stdout
    scores = pd.read_csv(tmp_path / "run/scores.csv")
    assert set(scores["test_dataset"]) == {"digits", "digits_shifted"}
    student = next((tmp_path / "run/stages/students").iterdir())
    parameters = sum(one.numel() for one in Classifier.load(student).network.parameters())
    assert parameters <= 20_000
    again = CliRunner().invoke(main, ["--out", str(tmp_path / "run"), *options])
    assert again.exit_code == 0 and "already there" in again.stderr
