"""Real processes on this machine, which train together and fail together."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from helpers.together import agree_or_not, second_dies, second_fails, trained_alone_or_together
from helpers.tones import write_tones

from embcomp.engines.together import run_together
from embcomp.errors import ConfigError, EmbcompError, StoreError
from embcomp.transfer import METHODS

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]

# Every method, and every way in which losses and clips of a batch depend on each other.
CASES = [
    *({"method": method.name} for method in METHODS),
    {"method": "embedding", "stage_weights": (1.0, 1.0, 1.0), "distance": "cosine_distance_difference"},
    {"method": "embedding", "training": {"mixup": 0.3, "mixstyle": 0.5, "equaliser": 3.0}},
    {"method": "clip_samples", "faithful": True, "training": {"averaging": 0.9, "patience": 5}},
    {"method": "logit_kd", "faithful": True, "training": {"accumulate": 2, "unlabelled_gain": 3.0}},
    {"method": "regression", "label_free": 0.3, "training": {"balanced": False, "labelled": 0.3}},
]


# In single precision an activation next to zero may fall on the other side of a ReLU, and what follows is another training;
# in double precision that does not happen.
PRECISE = [{**case, "precise": True, "training": {**case.get("training", {}), "mixup": 0.0}} for case in CASES]
FIRST = [{**case, "training": {**case.get("training", {}), "steps": 5, "learning_rate": 1e-4}} for case in CASES]


def histories(path) -> list[list[dict[str, float]]]:
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def by_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("together")
    for processes in (1, 2):
        job = {"cases": [*PRECISE, *FIRST], "out": str(folder / f"{processes}.json")}
        run_together(trained_alone_or_together, job, processes)
    return histories(folder / "1.json"), histories(folder / "2.json")


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda number: f"{number}-{CASES[number]['method']}")
def test_losses_of_two_processes_are_those_of_one(by_processes, number):
    one, two = (found[number] for found in by_processes)
    assert len(one) == len(two) and len(one) > 10
    for alone, together in zip(one, two):
        assert alone == pytest.approx(together, abs=1e-6)


@pytest.mark.parametrize("number", range(len(CASES)), ids=lambda number: f"{number}-{CASES[number]['method']}")
def test_losses_are_the_same_in_single_precision_by_the_compiled_kernels(by_processes, number):
    one, two = (found[len(CASES) + number] for found in by_processes)
    assert len(one) == len(two) >= 4
    for alone, together in zip(one, two):
        assert alone == pytest.approx(together, abs=1e-5)


def test_a_training_goes_on_with_another_number_of_processes(tmp_path):
    case = {"method": "embedding", "precise": True, "training": {"averaging": 0.5}}
    run_together(trained_alone_or_together, {"cases": [case], "out": str(tmp_path / "whole.json")}, 1)
    checkpoint = str(tmp_path / "checkpoint.pt")
    for processes, stop in ((2, 17), (1, 33), (2, 0)):
        resumed = [case | {"stop": stop, "checkpoint": checkpoint}]
        run_together(trained_alone_or_together, {"cases": resumed, "out": str(tmp_path / "resumed.json")}, processes)
    (whole,), (found,) = histories(tmp_path / "whole.json"), histories(tmp_path / "resumed.json")
    assert len(found) == 50
    for one, other in zip(whole, found):
        assert one == pytest.approx(other, abs=1e-6)


def test_processes_that_differ_are_told_in_what():
    run_together(agree_or_not, {"same": True}, 2)
    with pytest.raises(
        ConfigError, match="the processes of this training differ in clips: 0, 1; start all of them with"
    ):
        run_together(agree_or_not, {"same": False}, 2)


def test_where_one_fails_its_words_are_told_and_the_others_end():
    with pytest.raises(StoreError, match="row 1 is bad"):
        run_together(second_fails, {}, 2)


def test_where_one_dies_the_others_end_and_it_is_told():
    with pytest.raises(EmbcompError, match=r"process 2 of 2 of the training died: .*exit code -9.*Run again to go on"):
        run_together(second_dies, {}, 2)


def test_the_command_starts_processes_and_takes_those_of_torchrun(tmp_path):
    manifest = write_tones(tmp_path / "tones", groups=4, clips=4)
    settings = ["--transfer", "none", "--set", "training.steps=30", "--set", "training.evaluate_every=10"]
    starts = {
        "one": [sys.executable, "-m", "embcomp", "distill"],
        "two": [sys.executable, "-m", "embcomp", "distill", "--processes", "2"],
        "torchrun": [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone", "--local-addr", "127.0.0.1", "-m", "embcomp", "distill"],
    }  # fmt: skip
    rows = {}
    for name, command in starts.items():
        out = tmp_path / name
        done = subprocess.run(
            [*command, str(manifest), *settings, "--out", str(out)], capture_output=True, text=True, timeout=200
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("student of") == 1
        assert "Traceback" not in done.stderr and "Warning" not in done.stderr
        assert not list(tmp_path.glob("*.checkpoint.pt"))
        rows[name] = json.loads((out / "history.json").read_text())
    assert rows["two"] == rows["torchrun"]
    assert rows["one"][0] == pytest.approx(rows["two"][0], abs=1e-4)
