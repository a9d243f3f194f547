"""The same seed gives the same bytes, and a run can be done again from what it saved."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
from helpers.runs import tiny
from helpers.tones import write_tones

from embcomp.cli.run import run as command
from embcomp.config import parse
from embcomp.errors import ArtifactError, ConfigError
from embcomp.pipeline import run
from embcomp.pipeline.repeat import changes, compare_scores, repeat

# One of every way to be random: batches, dropout, clusters, prototypes, projections, trained and joint compressors.
VARIANTS = [
    {"name": "none", "transfer": {"method": "none"}},
    {"name": "logits", "transfer": {"method": "logit_kd"}},
    {"name": "regression", "transfer": {"method": "regression", "clusters": 3, "head": "mlp"}},
    {"name": "prototypes", "transfer": {"method": "clip_prototypes"}},
    {"name": "samples", "transfer": {"method": "clip_samples"}},
    {"name": "mlp", "compressor": {"method": "mlp", "objective": "both"}},
    {"name": "random", "compressor": {"method": "random"}},
    {"name": "joint", "transfer": {"schedule": "joint"}},
]


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("sets")
    write_tones(root / "home", groups=4, clips=2, name="home")
    write_tones(root / "abroad", groups=2, clips=2, name="abroad", seed=5)
    return root


def settings(root: Path, **changed) -> dict:
    return tiny(root, seeds=[0], training={"steps": 6, "evaluate_every": 3}, variants=VARIANTS, **changed)


@pytest.fixture(scope="module")
def first(sets, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "first"
    run(parse(settings(sets)), out)
    return out


@pytest.fixture(scope="module")
def again(first):
    return repeat(first, first.with_name("again"))


def stages(folder: Path) -> dict[str, bytes]:
    """Every file under stages/; what was measured with a clock is put to zero."""
    found = {}
    for path in sorted((folder / "stages").rglob("*")):
        if path.is_file():
            content = path.read_bytes()
            if path.name == "result.json":
                content = re.sub(rb'("[a-z_]*seconds"): [0-9.e+-]+', rb"\1: 0", content)
            found[path.relative_to(folder).as_posix()] = content
    return found


def test_every_stage_comes_out_again_byte_for_byte(first, again):
    before, now = stages(first), stages(again.result.folder)
    kinds = {Path(name).parts[1] for name in before}
    assert {"features", "teachers", "embeddings", "compressors", "students", "predictions", "splits"} <= kinds
    assert list(before) == list(now)
    assert [name for name in before if before[name] != now[name]] == []
    for name in ("config.toml", "environment.json", "scores.csv", "history.csv"):
        assert (first / name).read_bytes() == (again.result.folder / name).read_bytes()


def test_neither_workers_nor_the_order_of_the_variants_change_a_byte(sets, first, tmp_path):
    run(parse(settings(sets, workers=2) | {"variants": VARIANTS[::-1]}), tmp_path / "out")
    before, now = stages(first), stages(tmp_path / "out")
    assert [name for name in before if before[name] != now[name]] == [] and len(before) == len(now)


def test_another_seed_gives_other_students(sets, first, tmp_path):
    content = settings(sets) | {"seeds": [1], "variants": VARIANTS[:1]}
    run(parse(content), tmp_path / "out")
    weights = [{body for name, body in stages(folder).items() if "students" in name and name.endswith("safetensors")}
               for folder in (first, tmp_path / "out")]  # fmt: skip
    assert weights[1] and not weights[0] & weights[1]


def test_a_repetition_says_that_all_is_the_same(first, again):
    assert again.same and not again.changes and again.clips == again.missing == again.added == 0
    assert again.largest == 0 and again.compared == 4 * len(pd.read_csv(first / "scores.csv"))
    kept = json.loads((again.result.folder / "repeat.json").read_text())
    assert kept["same"] is True and kept["repeats"] == str(first.resolve())


@pytest.fixture
def altered(first, tmp_path) -> Path:
    """A run of which one score, one version and one clip are not what they were."""
    folder = shutil.copytree(first, tmp_path / "altered")
    table = pd.read_csv(folder / "scores.csv", dtype=str, keep_default_na=False)
    table.loc[5, "value"] = str(float(table.loc[5, "value"]) + 0.25)
    table.to_csv(folder / "scores.csv", index=False, lineterminator="\n")
    environment = json.loads((folder / "environment.json").read_text())
    environment["packages"]["torch"] = "1.0"
    (folder / "environment.json").write_text(json.dumps(environment))
    return folder


def test_a_difference_is_found_and_gives_exit_code_3(altered, again, capsys):
    # The repetition stands already, so that only the comparison is done.
    with pytest.raises(SystemExit) as left:
        command.main(["--from", str(altered), "--out", str(again.result.folder)], standalone_mode=False)
    told = capsys.readouterr()
    assert left.value.code == 3
    assert "1 of" in told.out and "numbers differ, by 0.25 at most: value of variant" in told.out
    assert "packages.torch: 1.0 then" in told.err


def test_the_same_scores_give_exit_code_0(first, again, capsys):
    command.main(["--from", str(first), "--out", str(again.result.folder)], standalone_mode=False)
    assert f"the same scores: {again.compared} numbers agree to the digit" in capsys.readouterr().out


def test_scores_are_compared_by_what_they_are_not_by_their_place():
    table = pd.DataFrame(
        {"variant": ["a", "a", "b"], "value": ["0.1", "0.2", "0.3"], "low": ["", "", "0"], "high": "1", "n": "3"}
    )
    assert [len(compare_scores(table, table)[0]), *compare_scores(table, table)[1:]] == [0, 12, 0, 0]
    other = table.assign(value=["0.1", "0.25", "0.3"], low=["", "0.1", "0"], new="column")
    differing, compared, missing, added = compare_scores(table, other.iloc[::-1].sort_values("value"))
    assert list(differing["column"]) == ["value", "low"] and (compared, missing, added) == (12, 0, 0)
    assert differing["difference"][0] == pytest.approx(0.05) and differing["difference"][1] == float("inf")
    assert compare_scores(table, other.iloc[:2])[2:] == (1, 0) and compare_scores(other.iloc[:2], table)[2:] == (0, 1)


def test_changes_name_what_differs():
    found = changes({"a": {"b": 1, "c": 2}, "d": [1]}, {"a": {"b": 1, "c": 3}, "d": [1], "e": None})
    assert [str(change) for change in found] == ["a.c: 2 then, 3 now"]


def test_misuse(first, tmp_path):
    with pytest.raises(ArtifactError, match="no finished run at"):
        repeat(tmp_path, tmp_path / "out")
    with pytest.raises(ConfigError, match="is the run itself"):
        repeat(first, first)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/config.toml").write_bytes((first / "config.toml").read_bytes())
    (tmp_path / "run/scores.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ArtifactError, match="has no column value, low, high, n"):
        repeat(tmp_path / "run", tmp_path / "out")
    from click import UsageError

    for arguments in ([], ["config.toml", "--from", str(first)]):
        with pytest.raises(UsageError, match="give either CONFIG or --from RUN"):
            command.main([*arguments, "--out", str(tmp_path / "out")], standalone_mode=False)
    assert not (tmp_path / "out").exists()
