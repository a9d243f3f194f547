"""Dataclasses are values: frozen, so that what is shared or hashed stays, but for those that collect while they work.

And parameters have names that callers may use.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

CODE = Path(__file__).resolve().parents[2] / "embcomp"
COLLECTING = {
    "cli/watching.py: Stage",
    "compression/decoders.py: Decoders",
    "compression/problem.py: Solution",
    "data/makers/arrow.py: Part",
    "export/profile.py: _Candidate",
    "knowledge_clip/model.py: KnowledgeClip",
    "knowledge_clip/training.py: Trained",
    "pipeline/plan.py: Plan",
    "pipeline/trial.py: Trial",
    "report/reading.py: Source",
    "review/label_file.py: LabelFile",
    "serving/listening.py: Microphone",
    "storage/cached.py: Entry",
    "students/classifier.py: Classifier",
    "training/loop.py: TrainingResult",
}


# Text and no syntax trees: this runs for every fault that is tried, see tools/mutants.py.
DATACLASS = re.compile(r"^ *@dataclass(?:\((.*)\))?\n *class (\w+)", re.MULTILINE)
POSITION_ONLY = re.compile(r"(?:^ *|[(,] ?)/[,)]", re.MULTILINE)


@pytest.fixture(scope="module")
def texts():
    """Every file of the package, by its name."""
    return {path.relative_to(CODE).as_posix(): path.read_text(encoding="utf-8") for path in sorted(CODE.rglob("*.py"))}


def test_all_are_frozen_but_those_that_collect(texts):
    found = {f"{name}: {one[2]}": one[1] or "" for name, text in texts.items() for one in DATACLASS.finditer(text)}
    assert len(found) == sum(text.count("@dataclass") for text in texts.values())
    assert {name for name, options in found.items() if "frozen=True" not in options} == COLLECTING


def test_no_parameter_is_by_position_only(texts):
    assert [name for name, text in texts.items() if POSITION_ONLY.search(text)] == []
