"""Dataclasses are values: frozen, so that what is shared or hashed stays, but for those that collect while they work."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
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


def dataclasses():
    """(file and name, whether it is frozen) of every dataclass."""
    for path in sorted((ROOT / "embcomp").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for mark in getattr(node, "decorator_list", []):
                called = mark.func if isinstance(mark, ast.Call) else mark
                if isinstance(called, ast.Name) and called.id == "dataclass":
                    options = {one.arg: one.value for one in getattr(mark, "keywords", [])}
                    frozen = "frozen" in options and ast.literal_eval(options["frozen"]) is True
                    yield f"{path.relative_to(ROOT / 'embcomp').as_posix()}: {node.name}", frozen


def test_all_are_frozen_but_those_that_collect():
    assert {name for name, frozen in dataclasses() if not frozen} == COLLECTING
