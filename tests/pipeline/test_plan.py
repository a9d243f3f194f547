"""`embcomp plan`: lines through measurements, whole runs reckoned from them, and a calibration on the smallest run."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from embcomp.cli import group
from embcomp.config import parse
from embcomp.data.manifest import Manifest
from embcomp.errors import ConfigError
from embcomp.pipeline import calibration
from embcomp.pipeline.calibration import Sets, calibrate, sets_of
from embcomp.pipeline.estimate import counts_of, estimate, regressors
from embcomp.pipeline.footprint import fitted_line, steps_of
from embcomp.pipeline.machine import Machine, read_machine
from embcomp.pipeline.trial import Counts, Point, Trial, patches_of

TINY = {
    "seeds": [0, 1],
    "workers": 1,
    "audio": {"seconds": 0.25, "n_mels": 24},
    "split": {"folds": 2},
    "teacher": {"centroids": 8, "whitened": 16, "patches": 500},
    "compressor": {"dim": 4},
    "student": {"width": 8, "embedding": 8},
    "training": {"steps": 40, "batch_size": 8, "evaluate_every": 10},
    "evaluation": {"bootstrap": 20, "probe": False},
}
SETS = Sets(10_000, (), (), 0.25, 2)


def test_a_line_is_found_where_there_is_one_and_never_falls():
    rows = [(1, 10, 3), (1, 20, 1), (1, 30, 9), (1, 70, 2)]
    assert fitted_line(rows, [2 + 0.5 * a + 0.25 * b for _, a, b in rows]) == pytest.approx([2, 0.5, 0.25])
    falling = fitted_line([(1, 1), (1, 2), (1, 3)], [3.0, 2.0, 1.0])
    assert falling[0] == 0 and falling[1] == pytest.approx(10 / 14)  # through nothing: it is taken to grow
    assert fitted_line([(1,), (1,)], [2.0, 4.0]) == pytest.approx([3.0])
    assert fitted_line([(5, 1), (10, 9)], [5.0, 10.0]) == pytest.approx([1.0, 0.0])


def test_patches_stop_growing_where_the_setting_is_met():
    options = {"patches": 1000, "patch_frames": 12}
    found = [patches_of(options, clips, 1.0) for clips in (1, 10, 100, 10_000)]
    assert found == [90, 900, 1000, 1000]
    assert patches_of({}, 100, 1.0) == 0


def made_up(config, seconds_of) -> Trial:
    """A trial whose times are what `seconds_of` says of a stage and its regressors."""
    trial, name = Trial(start=3.0), config.variants[0].name
    keys = {
        "check": "",
        "log-mels": "0 ",
        "embeddings": name,
        "set-up": name,
        "steps": name,
        "validation": name,
        "results": "",
    }
    for stage, key in keys.items():
        trial.alone[stage, key] = 1
        trial.jobs[stage, key] = 4 if stage in ("set-up", "steps", "validation", "results") else 1
        for clips in (50, 100, 200):
            counts = Counts((clips,), 0, clips * 2 // 5, clips // 10, clips // 2)
            trial.points.append(Point(stage, key, counts, seconds_of(stage, regressors(stage, key, counts))))
            trial.memory.append((stage, counts, 0, 400_000_000))
    return trial


def linear(stage, units):
    return 0.25 if stage == "steps" else 0.5 + 0.01 * units[1]


def test_a_run_is_the_sum_of_its_jobs():
    config = parse({**TINY, "audio": {"seconds": 0.25}})
    counts = counts_of(SETS, config)
    assert (counts.fit, counts.validation, counts.test) == (4000, 1000, 5000)
    found = {one.stage: one for one in estimate(config, SETS, made_up(config, linear)).stages}
    seconds = {stage: 3600 * one.cpu_hours for stage, one in found.items()}
    assert seconds["start"] == pytest.approx(3)
    assert seconds["check"] == pytest.approx(0.5 + 100) and seconds["embeddings"] == pytest.approx(0.5 + 100)
    assert seconds["set-up"] == pytest.approx(4 * (0.5 + 50))
    assert seconds["validation"] == pytest.approx(4 * 4 * (0.5 + 10))  # 40 steps, every 10
    assert seconds["steps"] == pytest.approx(4 * 40 * 0.25, rel=1e-2)
    assert seconds["results"] == pytest.approx(4 * (0.5 + 50))
    assert found["check"].per_unit == pytest.approx(0.01 / 0.25) and found["check"].unit == "clip-second"


def test_workers_share_out_jobs_and_machines_have_speed_and_price():
    config = parse(TINY)
    trial = made_up(config, linear)
    one, many = estimate(config, SETS, trial), estimate(config, SETS, trial, workers=8)
    hours = {stage.stage: (stage.hours, four.hours) for stage, four in zip(one.stages, many.stages)}
    assert hours["steps"][1] == pytest.approx(hours["steps"][0] / 4)  # four jobs
    assert hours["embeddings"][1] == hours["embeddings"][0]  # one job
    assert many.hours < one.hours and many.in_parts < many.hours
    fast = estimate(config, SETS, trial, Machine(speed=2.0, price=3.0))
    assert fast.hours == pytest.approx(one.hours / 2, rel=1e-6) and fast.cost == pytest.approx(3 * fast.hours)
    small = estimate(config, SETS, trial, Machine(memory_gb=0.1, cores=1, name="old"), workers=2)
    assert any("0.1 GB of old" in text for text in small.warnings) and any("1 cores" in text for text in small.warnings)


def test_memory_is_a_base_and_what_is_held_of_the_clips():
    config = parse(TINY)
    trial = made_up(config, linear)
    small, large = (estimate(config, replace(SETS, clips=clips), trial).memory for clips in (200, 10**6))
    assert small == pytest.approx(4e8, rel=0.02) and large > 4 * small
    # On a processor log-mels of many clips with labels are read batch by batch.
    told = [
        estimate(replace(config, device=device), replace(SETS, clips=10**8), trial).warnings
        for device in ("cuda", "cpu")
    ]
    assert "log-mels of all clips with labels are held" in told[0][-1] and not told[1]


def test_epochs_become_steps():
    config = parse({**TINY, "training": {"epochs": 3, "batch_size": 10, "evaluate_every": 100}})
    assert steps_of(config, config.variants[0].name, counts_of(SETS, config)) == (1200, 12)


@pytest.fixture(scope="module")
def calibrated() -> Trial:
    """Two trials of the smallest run, of a fold and seed of it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibration, "LARGEST", 48)
        patch.setattr(calibration, "SMALLEST", 24)
        patch.setattr(calibration, "STEPS", 4)
        return calibrate(parse(TINY), SETS, 0.001)


def test_every_stage_of_a_run_is_measured(calibrated):
    stages = {point.stage for point in calibrated.points}
    assert stages >= {"check", "log-mels", "teacher", "embeddings", "compressors", "apply", "set-up", "steps", "tests"}
    assert len(calibrated.sizes) >= 2 and all(point.seconds >= 0 for point in calibrated.points)
    name = "compressed"
    assert calibrated.jobs["steps", name] == 4 and calibrated.alone["steps", name] == 1  # 2 folds, 2 seeds
    assert calibrated.jobs["log-mels", "0 "] == 1
    found = estimate(parse(TINY), SETS, calibrated)
    assert 0 < found.hours < 10 and found.disk > 1e6
    rows = {one.stage: one for one in found.stages}
    bands, frames = 24, 1 + 4000 // 320
    assert rows["log-mels"].disk == pytest.approx(SETS.clips * 4 * bands * frames, rel=0.25)
    assert json.loads(json.dumps(found.to_dict()))["totals"]["hours"] == pytest.approx(found.hours)


def test_unlabelled_sets_are_sized_by_option(tmp_path):
    config = parse({**TINY, "data": {"root": str(tmp_path), "unlabelled": ["a.csv", "b.csv"]}})
    assert sets_of(config, 100, 1.0, unlabelled=11).unlabelled == (6, 5)
    with pytest.raises(ConfigError, match=r"a\.csv of data\.unlabelled is not there.*--unlabelled"):
        sets_of(config, 100, 1.0)
    with pytest.raises(ConfigError, match="--cross 5, and the configuration has no data.cross"):
        sets_of(config, 100, 1.0, cross=5, unlabelled=1)
    (tmp_path / "a.csv").write_text("path,label\nx.wav,\ny.wav,\n")
    (tmp_path / "b.csv").write_text("path,label\nz.wav,\n")
    assert sets_of(config, 100, 1.0).unlabelled == (2, 1)


def test_own_sounds_are_read_where_they_are(tones, tmp_path, monkeypatch):
    config = parse({**TINY, "data": {"root": str(tones.parent), "train": tones.name}})
    with pytest.raises(ConfigError, match="has 24 sounds, --own-clips needs"):
        calibration._own(config, SETS)
    monkeypatch.setattr(calibration, "SMALLEST", 6)
    monkeypatch.setattr(calibration, "MOST_SMALL", 8)
    sounds = calibration._own(config, SETS)
    assert len({path for path, _, _ in sounds}) == 24
    manifest = Manifest.read(calibration._write_set(tmp_path, 0, 10, 8000, SETS, sounds[:10]), allow_outside=True)
    assert [str(manifest.audio_path(row)) for row in range(10)] == [path for path, _, _ in sounds[:10]]
    assert len(set(manifest.groups)) == 10  # the same sound is never in two groups


@pytest.mark.parametrize(
    "arguments, settings, said",
    [
        (["--clips", "10", "--seconds", "1"], "", "10 is not in the range"),
        (["--clips", "10_000", "--seconds", "0"], "", "not in the range"),
        (["--clips", "1000", "--seconds", "1"], "[training]\nstep = 3\n", "did you mean 'steps'"),
        (["--clips", "1000", "--seconds", "1"], '[teacher]\nspec = "store:x.npy"\n', "teacher that runs"),
        (
            ["--clips", "1000", "--seconds", "1"],
            '[data]\ninputs = "none"\n[teacher]\nspec = "store:x.npy"\n',
            "audio only",
        ),
        (["--clips", "1000", "--seconds", "1", "--cross", "3"], "", "no data.cross"),
        (["--clips", "1000", "--seconds", "1", "--workers", "0"], "", "not in the range"),
        (["--clips", "1000", "--seconds", "1", "--machine", "MACHINE"], "", "did you mean 'price'"),
        (["--clips", "1000", "--seconds", "1"], '[split]\nby = "column"\n', "is not there; set split.folds"),
    ],
)
def test_wrong_values_are_refused_before_anything_runs(arguments, settings, said, tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "run_trial", lambda *given: pytest.fail("ran"))
    (tmp_path / "run.toml").write_text(settings)
    (tmp_path / "machine.toml").write_text("prise = 3\n")
    arguments = [str(tmp_path / "machine.toml") if one == "MACHINE" else one for one in arguments]
    done = CliRunner().invoke(group, ["plan", str(tmp_path / "run.toml"), *arguments])
    assert done.exit_code and said in done.output + str(done.exception)


def test_machines_are_read(tmp_path):
    path = tmp_path / "machine.toml"
    path.write_text('name = "rented"\nprice = 0.4\nspeed = 1.5\ncores = 8\n')
    assert read_machine(path) == Machine("rented", 0.4, 1.5, 8)
    for text, said in (("speed = 0.0", "at least"), ("price = 'x'", "a number"), ("a", "not TOML")):
        path.write_text(text)
        with pytest.raises(ConfigError, match=said):
            read_machine(path)
    with pytest.raises(ConfigError, match="cannot read"):
        read_machine(tmp_path / "none.toml")


def test_the_table_names_stages_savings_and_assumptions(calibrated, tmp_path, monkeypatch):
    monkeypatch.setattr(calibration, "calibrate", lambda *given: calibrated)
    lines = ["seeds = [0, 1]", *(f"[{name}]\n" + "\n".join(f"{key} = {json.dumps(value)}" for key, value in one.items()) for name, one in TINY.items() if isinstance(one, dict))]  # fmt: skip
    (tmp_path / "run.toml").write_text("\n".join(lines))
    options = ["--clips", "10_000", "--seconds", "10", "--workers", "2", "--price", "1"]
    done = CliRunner().invoke(group, ["plan", str(tmp_path / "run.toml"), *options])
    assert done.exit_code == 0, done.output
    for text in (
        "decode to log-mels",
        "students: steps",
        "embeddings in float16",
        "assumed:",
        "audio.seconds = 0.25 s are used",
    ):
        assert text in done.output
    asked = CliRunner().invoke(group, ["plan", str(tmp_path / "run.toml"), *options, "--json"])
    assert np.isfinite(json.loads(asked.stdout)["totals"]["cost"])
