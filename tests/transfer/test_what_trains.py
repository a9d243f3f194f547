"""For every method, by name: the parameters that training moves, and those that stay as they are."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from helpers.transfer_cases import (
    batch_of,
    examples,
    moved_by,
    names,
    new_student,
    prepared,
    teacher_vectors,
    terms_of,
    trained,
)

from embcomp.compression import Compressor
from embcomp.transfer import METHODS


def both(*modules: str) -> set[str]:
    return {f"{name}.{part}" for name in modules for part in ("weight", "bias")}


JOINT = {"schedule": "joint"}
# Options of every method, and what they give it to train beside the student. A new method has a line of its own.
CASES = [
    ("none", {}, set()),
    ("embedding", {}, set()),
    ("embedding", {"student_projector": True}, both("projector")),
    ("embedding_kd", {}, set()),
    ("logit_kd", {}, set()),
    ("compressed", {}, set()),
    ("compressed", {"soft_labels": 0.5}, set()),
    ("compressed", {"student_projector": True}, both("projector")),
    ("compressed", JOINT, both("compressor", "head")),
    ("compressed", {**JOINT, "student_projector": True}, both("compressor", "head", "projector")),
    ("classifier_reuse", {}, both("projector")),
    ("regression", {}, both("head")),
    ("regression", {"head": "mlp"}, both("head.0", "head.2")),
    ("clip_prototypes", {}, both("projection")),
    ("clip_samples", {}, both("projection")),
    ("clip_teacher", {}, both("projection")),
    ("concepts", {"concepts": 3}, set()),
]
# Terms that no label and so no classifier takes part in.
ON_EMBEDDINGS = {"distance", "contrast", "concept"}
# The student's classifier is the teacher's, which stays as it is.
GIVEN = {"classifier_reuse": both("classify")}


@pytest.fixture(scope="module")
def data():
    return examples()


def method_of(data, method, options):
    compressor = None
    if options.get("schedule") == "joint":
        fitted = Compressor(6, method="linear", objective="task", epochs=0).fit(teacher_vectors(), data.labels.index)
        compressor = fitted.to_module()
    return prepared(method, data, compressor=compressor, **options)


def test_every_method_is_here():
    assert {method.name for method in METHODS} == {method for method, _, _ in CASES}


@pytest.mark.parametrize(("method", "options", "own"), CASES)
def test_terms_reach_the_parameters_that_are_named_and_no_others(data, method, options, own):
    transfer, student = method_of(data, method, options), new_student()
    assert names(transfer) == own
    # Checkpoints hold what is trained; targets, scores and prototypes are made again from the store.
    assert {name for name in transfer.state_dict() if not name.startswith("classifier.")} == own
    terms = terms_of(transfer, student, batch_of(data))
    reached = set().union(*(moved_by(term, transfer) for term in terms.values()))
    assert reached == own
    classifier, all_names = both("classify"), names(student)
    assert classifier < all_names
    for name, term in terms.items():
        if name == "teacher":  # of the joint schedule: the compressor's own
            assert moved_by(term, student) == set()
        elif name in ON_EMBEDDINGS:
            assert moved_by(term, student) == all_names - classifier, name
        else:
            assert moved_by(term, student) == all_names - GIVEN.get(method, set()), name


@pytest.mark.parametrize(("method", "options", "own"), CASES)
def test_a_step_moves_them_and_leaves_what_comes_from_the_teacher(data, method, options, own):
    transfer, student = method_of(data, method, options), new_student()
    before = {name: value.detach().clone() for name, value in transfer.state_dict().items()}
    frozen = {name: value.clone() for name, value in transfer.named_buffers()}
    first = {name: value.detach().clone() for name, value in student.named_parameters()}
    trained(transfer, data, student, steps=4, evaluate_every=4)
    assert {name for name, value in transfer.named_parameters() if not torch.equal(value, before[name])} == own
    assert all(torch.equal(value, frozen[name]) for name, value in transfer.named_buffers())
    still = {name for name, value in student.named_parameters() if torch.equal(value, first[name])}
    assert not still


@pytest.mark.parametrize(("method", "options", "own"), CASES)
def test_what_it_adds_follows_the_labels_only_where_it_says_that_it_needs_them(data, method, options, own):
    other = replace(data, labels=replace(data.labels, matrix=np.roll(data.labels.matrix, 5, axis=0)))
    found = []
    for clips in (data, other):
        transfer, student = method_of(data if options == JOINT else clips, method, options), new_student()
        terms = terms_of(transfer, student, batch_of(clips))
        kept = {name: value for name, value in transfer.named_buffers() if value.is_floating_point()}
        found.append({name: value.detach() for name, value in {**kept, **terms}.items() if name != "prediction"})
    same = all(torch.allclose(found[0][name], found[1][name]) for name in found[0])
    assert same == (not transfer.needs_labels or method == "none")


@pytest.mark.parametrize(("method", "options"), [(method, options) for method, options, _ in CASES if options != JOINT])
def test_before_labels_take_part_nothing_follows_them_and_afterwards_all_is_as_without_that_time(data, method, options):
    kinds = {one.name: one for one in METHODS}
    if "label_free" not in {field.name for field in fields(kinds[method].Settings)} or options.get("schedule"):
        return
    student, batch = new_student(), batch_of(data)
    transfer, plain = (method_of(data, method, {**options, **more}) for more in ({"label_free": 0.5}, {}))
    early = terms_of(transfer, student, replace(batch, progress=0.49))
    assert (
        moved_by(sum(early.values()), student).isdisjoint(both("classify")) and float(early["prediction"].detach()) == 0
    )
    assert float(early.get("kd", torch.zeros(())).detach()) == 0 and moved_by(early["distance"], student)
    assert float(early["distance"].detach()) > float(terms_of(plain, student, batch)["distance"].detach()) > 0
    late = terms_of(transfer, student, replace(batch, progress=0.5))
    for name, term in terms_of(plain, student, batch).items():
        torch.testing.assert_close(late[name], term)
