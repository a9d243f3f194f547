"""The recipes of methods: the same comparison on the demo sets, the recorded sets and any manifest; what a teacher costs."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from helpers.recipe_scripts import RECIPES, ROOT, publish, record_runs, script
from helpers.settings import transfer_settings
from helpers.transfer_cases import batch_of, examples, new_student, prepared, teacher_vectors, terms_of

from embcomp.config import load
from embcomp.errors import DataError

METHODS = ("clip_embed_kd", "embedding_compression")
SMALL = (
    "seeds=[0]", "workers=1", "training.steps=2", "training.batch_size=4", "student.width=16", "student.embedding=8",
    "compressor.dim=8", "teacher.centroids=8", "teacher.whitened=16", "teacher.patches=1000", "audio.seconds=0.4",
    "evaluation.bootstrap=10",
)  # fmt: skip


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT))


@pytest.fixture
def asked(monkeypatch, tmp_path_factory) -> list[tuple]:
    """Config and folder of the runs that run.py asks for, instead of a run."""
    return record_runs(monkeypatch, tmp_path_factory.mktemp("report"))


def called(recipe: str, *arguments):
    return CliRunner().invoke(script(recipe, "run").main, [str(argument) for argument in arguments])


@pytest.mark.parametrize("recipe", METHODS)
def test_without_data_the_demo_sets_are_rendered_and_compared_on(recipe, tmp_path, asked, monkeypatch):
    import embcomp.demo as demo

    rendered = demo.render
    monkeypatch.setattr(
        demo, "render", lambda folder, progress: rendered(folder, clips=16, shifted_clips=16, progress=progress)
    )
    done = called(recipe, "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    data = asked[0][0].data
    assert Path(data.root) == tmp_path / "run/sounds" and asked[0][1] == tmp_path / "run"
    assert all(Path(data.root, name).is_file() for name in (data.train, *data.cross))
    assert "synthetic sounds" in done.stderr


def test_recorded_sets_are_found_beside_each_other(tmp_path, asked):
    publish(tmp_path / "free-spoken-digit-dataset", "recordings/1_lucas_0.wav", "recordings/2_lucas_0.wav")
    done = called("clip_embed_kd", tmp_path, "--config", "fsdd", "--out", tmp_path / "run")
    assert done.exit_code == 0, done.output
    data = asked[0][0].data
    assert Path(data.root, data.train).is_file() and data.allow_outside


@pytest.mark.parametrize("recipe", METHODS)
def test_every_variant_runs_on_any_manifest(recipe, tones, tmp_path):
    changes = [part for change in SMALL for part in ("--set", change)]
    done = called(recipe, "--manifest", tones, "--out", tmp_path / "run", *changes)
    assert done.exit_code == 0, done.output + repr(done.exception)
    scores = pd.read_csv(tmp_path / "run/scores.csv")
    expected = {variant.name for variant in load(RECIPES / recipe / "configs/quick.toml").variants}
    assert expected <= set(scores["variant"]) and set(scores["test_dataset"]) == {"tones"}


@pytest.mark.parametrize("recipe", METHODS)
def test_configs_compare_the_same_variants_everywhere(recipe):
    found = {path.stem: load(path).variants for path in (RECIPES / recipe / "configs").glob("*.toml")}
    kinds = {name: dict(map(_compared, variants)) for name, variants in found.items()}
    # A teacher that runs at each of 2,500 steps gives the students that its cached embeddings give, hours later.
    assert {"quick", "fsdd", "esc10", "speech"} <= set(kinds)
    assert set(kinds["quick"]) - set(kinds["speech"]) <= {"running teacher"}
    for name, kind in kinds.items():
        assert kind == {one: kinds["quick"][one] for one in kind} and (
            name == "speech" or len(kind) == len(kinds["quick"])
        )


def _compared(variant) -> tuple[str, tuple]:
    """What a variant is, but for numbers that are chosen for a data set."""
    transfer = {name: value for name, value in variant.transfer.options().items() if name != "weight"}
    return variant.name, (variant.transfer.method, transfer, variant.compressor.method, variant.compressor.objective)


def test_misuse(tones, tmp_path, asked):
    for arguments, message in (
        (["--config", "fsdd"], "the config 'fsdd' is for recorded data sets; give DATA"),
        ([tones.parent, "--manifest", tones], "give DATA or --manifest, not both"),
        ([tones.parent, "--config", "fsd"], "did you mean 'fsdd'"),
    ):
        done = called("clip_embed_kd", *arguments, "--out", tmp_path / "run")
        assert done.exit_code == 2 and message in done.stderr, done.output
    assert not asked and not (tmp_path / "run").exists()


# What a teacher costs


@pytest.fixture
def cost():
    return importlib.import_module("recipes.clip_embed_kd.cost")


@pytest.fixture
def process():
    return importlib.import_module("recipes.clip_embed_kd.cost_process")


def measured(loop: float, own: float, caching: float, prepare: float) -> pd.DataFrame:
    """As cost.py measures: the teacher in the loop and class means, beside a caching pass."""
    rows = [("cache", name, 0, value) for name, value in (("cpu", caching), ("teacher", 4e6), ("class means", 40.0))]
    for method, epoch in (("clip_teacher", loop), ("clip_prototypes", own)):
        parts = {"epoch, CPU": epoch, "epoch, wall": epoch, "peak memory": 1.0, "student": 1e5, "prepare, CPU": prepare}
        rows += [(method, name, 0, value) for name, value in parts.items()]
    return pd.DataFrame(rows, columns=["what", "quantity", "repeat", "value"])


@pytest.mark.parametrize(
    "loop, own, caching, prepare", [(5, 1, 4.5, 0.1), (5, 1, 30, 0.5), (2, 1.9, 1.05, 0), (3, 1, 1, 0)]
)
def test_caching_pays_from_the_first_epoch_at_which_all_in_all_it_took_less(cost, loop, own, caching, prepare):
    pays = next(epoch for epoch in range(1, 100) if caching + prepare + epoch * own < epoch * loop)
    cells = [cell.strip() for cell in cost.table_lines(measured(loop, own, caching, prepare))[-1].split("|")]
    whole = 100 * loop / (100 * own + caching + prepare)
    assert cells[-4:-1] == [str(pays), f"{loop / own:.1f}", f"{whole:.1f}"]


def test_caching_never_pays_where_an_epoch_is_no_cheaper(cost):
    assert "| never | 1.0 | 1.0 |" in cost.table_lines(measured(1, 1, 1, 0))[-1]


def test_plain_kd_in_the_loop_is_plain_kd(process):
    data, vectors, student = examples(), teacher_vectors(), new_student()
    head = process.linear_head(vectors, data.labels)
    loop = process.LogitTeacher(vectors.__getitem__, head, transfer_settings(method="logit_kd"))
    batch = batch_of(data, [3, 9, 3, 14])
    student.eval()
    found, expected = terms_of(loop, student, batch), terms_of(prepared("logit_kd", data), student, batch)
    for name in ("prediction", "kd"):
        torch.testing.assert_close(found[name], expected[name], rtol=1e-3, atol=1e-5)


def test_of_two_classes_the_head_has_two_columns(process):
    data = examples(24).labels
    two = data.select(np.flatnonzero(data.index < 2))
    matrix, bias = process.linear_head(teacher_vectors(24)[data.index < 2], type(two)(("a", "b"), two.matrix[:, :2]))
    assert matrix.shape == (10, 2) and bias.shape == (2,) and not matrix[:, 0].any()


@pytest.mark.slow
def test_every_task_is_measured_in_a_process_of_its_own(cost, tones):
    job = {"manifest": str(tones), "seconds": 0.4, "teacher": "kmeans", "centroids": 8, "whitened": 16}
    job |= {"patch_frames": 12, "batch_size": 6, "epochs": 1}
    found = cost.measure_all(job, ("clip_teacher", "clip_samples"), 1)
    values = found.set_index(["what", "quantity"])["value"]
    assert values["cache", "embeddings"] == pytest.approx(24 * 24 * 4, abs=200)
    assert (values.drop([("clip_teacher", "prepare, CPU"), ("clip_samples", "prepare, CPU")]) > 0).all()
    assert values["clip_teacher", "student"] == values["clip_samples", "student"]
    assert len(cost.table_lines(found)) == 4


def test_a_failed_measurement_says_why(cost, tmp_path):
    with pytest.raises(DataError, match="decode failed: .*missing.csv"):
        cost.measure({"task": "decode", "manifest": str(tmp_path / "missing.csv"), "folder": str(tmp_path)})


def test_the_teacher_is_any_that_has_a_name(process, shared, tmp_path):
    pytest.importorskip("ai_edge_litert", reason="YAMNet needs ai-edge-litert")
    job = process.Job("cache", "", str(tmp_path), teacher=f"tflite:{shared / 'teachers/yamnet/yamnet.tflite'}")
    assert process.opened(job).sample_rate == 16_000
    assert process.teacher_bytes(job) == (shared / "teachers/yamnet/yamnet.tflite").stat().st_size


@pytest.mark.parametrize("name", ["cost.csv", "cost_large.csv"])
def test_the_tables_of_costs_are_what_was_measured(cost, name):
    text = (RECIPES / "clip_embed_kd/README.md").read_text(encoding="utf-8")
    section = text.split(f"<!-- costs: recipes/clip_embed_kd/{name} -->")[1].split("<!-- end -->")[0]
    shown = [line for line in section.splitlines() if line.startswith("|")]
    assert shown == cost.table_lines(pd.read_csv(RECIPES / "clip_embed_kd" / name))
