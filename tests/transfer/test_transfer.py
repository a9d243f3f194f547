from __future__ import annotations

import numpy as np
import pytest
import torch
from helpers.settings import student_settings, transfer_settings

from embcomp.compression import Compressor
from embcomp.data.labels import encode
from embcomp.errors import ConfigError, DataError
from embcomp.losses import distance_correlation, prediction_loss
from embcomp.students import StudentOutput, build_student
from embcomp.transfer import METHODS, Batch, Source, build_transfer

N, CLASSES, WIDTH, DIM = 12, 3, 16, 20


@pytest.fixture
def labels():
    return encode([f"c{number % CLASSES}" for number in range(N)])


@pytest.fixture
def targets(rng):
    return rng.normal(size=(N, DIM)).astype(np.float32)


@pytest.fixture
def batch(labels):
    torch.manual_seed(0)
    return Batch(torch.randn(N, 24, 30), torch.full((N,), 30), torch.from_numpy(labels.matrix), torch.arange(N))


@pytest.fixture
def student():
    torch.manual_seed(0)
    return build_student(student_settings(width=16, embedding=WIDTH, dropout=0.0), CLASSES, 24)


def start_module(targets, labels, dim=8):
    return Compressor(dim, method="linear", objective="task", epochs=0).fit(targets, labels.index).to_module()


def prepared(config, targets, labels, **options):
    transfer = build_transfer(config, labels.multi_label, **options)
    transfer.prepare(targets, labels, WIDTH)
    return transfer


def gradients(loss, module):
    """Names of the parameters of `module` that `loss` moves."""
    named = [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
    found = torch.autograd.grad(loss, [parameter for _, parameter in named], retain_graph=True, allow_unused=True)
    return {name for (name, _), gradient in zip(named, found) if gradient is not None and gradient.abs().sum() > 0}


def test_none_is_the_prediction_loss_alone(student, batch, labels):
    output = student(batch.features, batch.lengths)
    terms = prepared(transfer_settings(method="none"), None, labels).loss(output, batch)
    assert list(terms) == ["prediction"]
    torch.testing.assert_close(terms["prediction"], prediction_loss(output.logits, batch.labels, False))


def test_embedding_weighs_prediction_and_distance(student, batch, labels, targets):
    output = student(batch.features, batch.lengths)
    terms = prepared(transfer_settings(method="embedding", weight=0.3), targets, labels).loss(output, batch)
    torch.testing.assert_close(terms["prediction"], 0.7 * prediction_loss(output.logits, batch.labels, False))
    torch.testing.assert_close(
        terms["distance"], 0.3 * distance_correlation(output.embedding, torch.from_numpy(targets))
    )


def test_embedding_owns_no_parameter_and_its_distance_spares_the_classifier(student, batch, labels, targets):
    transfer = prepared(transfer_settings(method="embedding"), targets, labels)
    assert not list(transfer.parameters())
    terms = transfer.loss(student(batch.features, batch.lengths), batch)
    moved = gradients(terms["distance"], student)
    assert not any(name.startswith("classify") for name in moved)
    assert {name for name, _ in student.named_parameters() if not name.startswith("classify")} == moved
    assert any(name.startswith("classify") for name in gradients(terms["prediction"], student))


def joint(targets, labels, **options):
    config = transfer_settings(method="compressed", schedule="joint", **options)
    return prepared(config, targets, labels, compressor=start_module(targets, labels))


def test_joint_terms_reach_the_right_parameters_and_no_others(student, batch, labels, targets):
    transfer = joint(targets, labels)
    terms = transfer.loss(student(batch.features, batch.lengths), batch)
    assert set(terms) == {"prediction", "distance", "teacher"}
    own = {name for name, _ in transfer.named_parameters()}
    assert gradients(terms["teacher"], transfer) == own
    assert gradients(terms["teacher"], student) == set()
    assert gradients(terms["distance"], transfer) == set()
    assert gradients(terms["prediction"], transfer) == set()
    assert "project.weight" in gradients(terms["distance"], student)


def test_without_stop_gradient_the_distance_also_moves_the_compressor(student, batch, labels, targets):
    transfer = joint(targets, labels, stop_gradient=False)
    terms = transfer.loss(student(batch.features, batch.lengths), batch)
    moved = gradients(terms["distance"], transfer)
    assert moved and all(name.startswith("compressor") for name in moved)


def test_targets_are_not_trained(labels, targets):
    transfer = joint(targets, labels)
    assert "targets" not in dict(transfer.named_parameters())
    assert not transfer.targets.requires_grad


@pytest.mark.parametrize("distance", ["distance_correlation", "cosine_distance_difference"])
def test_widths_may_differ_for_structural_distances(student, batch, labels, targets, distance):
    transfer = prepared(transfer_settings(method="embedding", distance=distance), targets, labels)
    assert torch.isfinite(transfer.loss(student(batch.features, batch.lengths), batch)["distance"])


def test_a_direct_cosine_needs_equal_widths_and_says_so(student, batch, labels, targets):
    transfer = prepared(transfer_settings(method="embedding", distance="cosine"), targets, labels)
    with pytest.raises(DataError, match="compressor.dim to the student's embedding width"):
        transfer.loss(student(batch.features, batch.lengths), batch)


def test_rows_pick_their_own_targets(student, labels, targets):
    transfer = prepared(transfer_settings(method="embedding", weight=1.0), targets, labels)
    rows = torch.tensor([4, 1, 7, 2])
    output = StudentOutput(torch.zeros(4, CLASSES), torch.from_numpy(targets[rows]), torch.zeros(4, 1, 1))
    batch = Batch(torch.zeros(4, 24, 3), torch.full((4,), 3), torch.from_numpy(labels.matrix[rows]), rows)
    assert float(transfer.loss(output, batch)["distance"]) < 1e-5


def test_every_method_is_built_and_knows_its_targets():
    for method in METHODS:
        assert transfer_settings(method=method.name).source in Source
    assert transfer_settings(method="clip_teacher").source == Source.TEACHER
    assert transfer_settings(method="compressed").source == Source.TARGET
    assert transfer_settings(method="compressed", schedule="joint").source == Source.EMBEDDING


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"method": "compresed"}, "did you mean 'compressed'"),
        ({"method": "embedding", "distance": "distance_corelation"}, "did you mean 'distance_correlation'"),
        ({"method": "compressed", "schedule": "joint"}, "needs one to start from"),
        ({"method": "clip_teacher"}, "got none; clip_samples takes vectors"),
    ],
)
def test_misuse(keys, message):
    with pytest.raises(ConfigError, match=message):
        build_transfer(transfer_settings(**keys), False)
