"""Distillation, contrastive and regression losses: the authors' numbers, and what must not change them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers.documented import named, unnamed

from embcomp.errors import DataError
from embcomp.losses import (
    DISTANCES,
    REGRESSIONS,
    RELATIONS,
    binary_kd,
    contrastive_loss,
    multiclass_kd,
    prediction_loss,
    prototype_logits,
    softmax_twice_loss,
)

KD = {"binary": binary_kd, "multiclass": multiclass_kd}
NAN = float("nan")


def vectors(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.fixture
def golden(shared):
    with np.load(shared / "golden" / "transfer_losses.npz") as file:
        return {name: torch.from_numpy(file[name]) for name in file.files if not name.startswith("east")}


def test_binary_kd_and_its_gradient_are_those_of_the_authors_code(golden):
    student = golden["kd_student_scores"].clone().requires_grad_()
    loss = binary_kd(student, golden["kd_teacher_scores"], golden["kd_tau"].item(), golden["kd_mask"])
    loss.backward()
    assert loss.item() == pytest.approx(golden["kd_loss"].item(), abs=1e-6)
    torch.testing.assert_close(student.grad, golden["kd_grad"], atol=1e-6, rtol=0)
    assert golden["kd_grad"].abs().max() > 1e-3  # so that the bound says something
    assert not golden["kd_mask"].all()


def projected(golden, name):
    return F.linear(golden[name], golden["clip_proj_weight"], golden["clip_proj_bias"])


def test_the_published_contrast_with_class_means_is_met(golden):
    logits = prototype_logits(golden["clip_student"], projected(golden, "clip_class_means"))
    torch.testing.assert_close(logits, golden["clip_embed_logits"], atol=1e-6, rtol=0)
    matches = F.one_hot(golden["clip_labels"], logits.shape[1]).double()
    loss = contrastive_loss(logits, matches, symmetric=False)
    assert loss.item() == pytest.approx(golden["clip_embed_loss"].item(), abs=1e-6)


def test_the_published_contrast_within_a_batch_is_met(golden):
    logits = prototype_logits(golden["clip_student"], projected(golden, "clip_teacher_batch"))
    torch.testing.assert_close(logits, golden["clip_teacher_logits"], atol=1e-6, rtol=0)
    loss = contrastive_loss(logits, torch.eye(len(logits), dtype=torch.float64), symmetric=False)
    assert loss.item() == pytest.approx(golden["clip_teacher_loss"].item(), abs=1e-6)


@pytest.mark.parametrize("name", KD)
def test_equal_scores_cost_nothing_and_the_loss_falls_towards_them(name):
    teacher, other = 3 * vectors(6, 4, seed=2), 3 * vectors(6, 4, seed=1)
    losses = [KD[name]((1 - share) * other + share * teacher, teacher).item() for share in (0, 0.5, 0.8, 1)]
    assert losses[-1] == pytest.approx(0, abs=1e-12)
    assert losses == sorted(losses, reverse=True) and losses[0] > 0.05


@pytest.mark.parametrize("tau", [0.5, 1.0, 2.0, 7.0])
def test_kd_is_the_textbook_divergence_of_softened_probabilities(tau):
    student, teacher = vectors(6, 4, seed=1), vectors(6, 4, seed=2)
    p, q = (teacher / tau).softmax(1).numpy(), (student / tau).softmax(1).numpy()
    expected = tau**2 * (p * np.log(p / q)).sum(1).mean()
    assert multiclass_kd(student, teacher, tau).item() == pytest.approx(expected, abs=1e-12)
    p, q = (teacher / tau).sigmoid().numpy(), (student / tau).sigmoid().numpy()
    expected = tau**2 * (p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).mean()
    assert binary_kd(student, teacher, tau).item() == pytest.approx(expected, abs=1e-12)


def test_two_classes_under_a_softmax_are_one_under_a_sigmoid():
    student, teacher = vectors(6, 1, seed=1), vectors(6, 1, seed=2)
    padded = multiclass_kd(F.pad(student, (1, 0)), F.pad(teacher, (1, 0)))
    assert padded.item() == pytest.approx(binary_kd(student, teacher).item(), abs=1e-12)


def test_tau_squared_keeps_the_size_of_the_loss_where_scores_become_soft():
    student, teacher = vectors(6, 4, seed=1), vectors(6, 4, seed=2)
    difference = student - teacher
    centred = difference - difference.mean(1, keepdim=True)
    # Second order of the divergence: half the variance under even probabilities.
    assert multiclass_kd(student, teacher, 1e3).item() == pytest.approx(centred.square().mean().item() / 2, rel=1e-2)
    assert binary_kd(student, teacher, 1e3).item() == pytest.approx(difference.square().mean().item() / 8, rel=1e-2)


def test_a_constant_added_to_a_clips_scores_means_nothing_under_a_softmax_alone():
    student, teacher, shift = vectors(6, 4, seed=1), vectors(6, 4, seed=2), 5 * vectors(6, 1, seed=3)
    before = multiclass_kd(student, teacher).item()
    assert multiclass_kd(student + shift, teacher - shift).item() == pytest.approx(before, abs=1e-12)
    assert abs(binary_kd(student + shift, teacher).item() - binary_kd(student, teacher).item()) > 1e-2


@pytest.mark.parametrize("name", KD)
def test_what_the_mask_leaves_out_changes_neither_loss_nor_gradient(name):
    student, teacher = vectors(6, 4, seed=1).requires_grad_(), vectors(6, 4, seed=2)
    mask = torch.tensor([True, False, True, True, False, True])
    expected = KD[name](student[mask], teacher[mask])
    full = mask if name == "multiclass" else mask.unsqueeze(1).expand(6, 4)
    loss = KD[name](student, teacher, mask=full)
    loss.backward()
    assert loss.item() == pytest.approx(expected.item(), abs=1e-12)
    assert (student.grad[~mask] == 0).all() and (student.grad[mask] != 0).all()
    assert KD[name](student, teacher, mask=torch.zeros_like(full)).item() == 0


@pytest.mark.parametrize("name", KD)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_kd_stays_finite_for_scores_however_sure(name, dtype):
    student = torch.tensor([[1e4, -1e4, 0.0], [-1e4, -1e4, 3.0], [80.0, -80.0, 0.0]], dtype=dtype, requires_grad=True)
    loss = KD[name](student, -student.detach())
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(student.grad).all() and loss > 1


@pytest.mark.parametrize("name", KD)
def test_gradients_of_kd_agree_with_finite_differences(name):
    student, teacher = vectors(3, 4, seed=1).requires_grad_(), vectors(3, 4, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(KD[name], (student, teacher), eps=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", KD)
def test_scores_of_other_clips_or_classes_are_refused(name):
    with pytest.raises(DataError, match=r"student scores \(4, 3\) and teacher scores \(4, 2\)"):
        KD[name](torch.zeros(4, 3), torch.zeros(4, 2))


PAIRS = {**KD, "prototypes": prototype_logits, "contrast": contrastive_loss, **DISTANCES}
MORE_ROWS = [(name, (5, 3)) for name in PAIRS if name != "prototypes"]  # of which there may be any number
WIDER = [(name, (4, 4)) for name in PAIRS if name not in RELATIONS]  # made for two widths


@pytest.mark.parametrize("name, shape", [*MORE_ROWS, *WIDER])
def test_whichever_of_two_is_larger_they_do_not_fit(name, shape):
    small, large = torch.ones(4, 3), torch.ones(shape)
    for pair in ((small, large), (large, small)):
        with pytest.raises(DataError):
            PAIRS[name](*pair)


def test_prototype_logits_are_cosines_over_the_temperature():
    student, prototypes = vectors(5, 6, seed=1), vectors(3, 6, seed=2)
    logits = prototype_logits(student, prototypes, temperature=0.1)
    expected = student @ prototypes.T / student.norm(dim=1, keepdim=True) / prototypes.norm(dim=1) / 0.1
    torch.testing.assert_close(logits, expected)
    torch.testing.assert_close(prototype_logits(7 * student, 0.1 * prototypes, 0.1), logits)
    turn = torch.linalg.qr(vectors(6, 6, seed=3))[0]
    torch.testing.assert_close(prototype_logits(student @ turn, prototypes @ turn, 0.1), logits)
    with pytest.raises(DataError, match="width 6 cannot be compared with prototypes of width 5"):
        prototype_logits(student, prototypes[:, :5])


def test_contrast_is_cross_entropy_in_one_direction_or_both():
    logits, classes = vectors(5, 5), torch.tensor([2, 0, 1, 4, 3])
    matches = F.one_hot(classes, 5).double()
    rows, columns = F.cross_entropy(logits, classes), F.cross_entropy(logits.T, classes.argsort())
    assert contrastive_loss(logits, matches, symmetric=False).item() == pytest.approx(rows.item(), abs=1e-12)
    assert contrastive_loss(logits, matches).item() == pytest.approx((rows + columns).item() / 2, abs=1e-12)


def test_several_partners_share_the_target_equally():
    logits, matches = vectors(3, 4), torch.tensor([[1, 1, 0, 0], [0, 0, 1, 0], [1, 0, 1, 1]]).double()
    expected = F.cross_entropy(logits, matches / matches.sum(1, keepdim=True))
    assert contrastive_loss(logits, matches, symmetric=False).item() == pytest.approx(expected.item(), abs=1e-12)


@pytest.mark.parametrize("symmetric", [False, True])
def test_the_order_of_rows_and_columns_does_not_matter_but_the_pairing_does(symmetric):
    logits, matches = vectors(6, 6), torch.eye(6, dtype=torch.float64)
    before = contrastive_loss(logits, matches, symmetric).item()
    rows, columns = torch.tensor([3, 1, 5, 0, 2, 4]), torch.tensor([5, 4, 0, 1, 2, 3])
    moved = contrastive_loss(logits[rows][:, columns], matches[rows][:, columns], symmetric).item()
    assert moved == pytest.approx(before, abs=1e-12)
    assert abs(contrastive_loss(logits[rows], matches, symmetric).item() - before) > 1e-3


@pytest.mark.parametrize("symmetric", [False, True])
def test_unknown_pairs_are_compared_in_neither_direction(symmetric):
    logits, matches = vectors(4, 3).requires_grad_(), F.one_hot(torch.tensor([0, 1, 2, 0]), 3).double()
    matches[3] = NAN
    matches[0, 2] = NAN
    loss = contrastive_loss(logits, matches, symmetric)
    loss.backward()
    assert torch.isfinite(loss) and torch.isfinite(logits.grad).all()
    assert ((logits.grad != 0) == ~matches.isnan()).all()
    without = contrastive_loss(logits[:3], matches[:3], symmetric)
    assert loss.item() == pytest.approx(without.item(), abs=1e-12)


@pytest.mark.parametrize("value", [0.0, NAN])
def test_without_any_partner_the_contrast_is_zero(value):
    logits = vectors(4, 3).requires_grad_()
    loss = contrastive_loss(logits, torch.full((4, 3), value, dtype=torch.float64))
    loss.backward()
    assert loss.item() == 0 and (logits.grad == 0).all()


def test_pairs_must_be_the_same_on_both_sides():
    with pytest.raises(DataError, match=r"logits \(4, 3\) and matches \(4, 4\)"):
        contrastive_loss(torch.zeros(4, 3), torch.eye(4))


def test_contrast_has_the_gradient_of_finite_differences_through_the_cosine():
    student, prototypes = vectors(4, 3, seed=1).requires_grad_(), vectors(4, 3, seed=2).requires_grad_()
    eye = torch.eye(4, dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda a, b: contrastive_loss(prototype_logits(a, b, 0.2), eye), (student, prototypes), eps=1e-6, atol=1e-6
    )


def test_a_second_softmax_keeps_the_loss_above_its_floor():
    labels = F.one_hot(torch.tensor([0, 2, 1, 1]), 3).double()
    assert softmax_twice_loss(1e3 * labels, labels).item() == pytest.approx(math.log(1 + 2 / math.e), abs=1e-9)
    assert prediction_loss(1e3 * labels, labels, False).item() == pytest.approx(0, abs=1e-9)
    logits = vectors(4, 3)
    expected = F.cross_entropy(logits.softmax(1), labels.argmax(1))
    assert softmax_twice_loss(logits, labels).item() == pytest.approx(expected.item(), abs=1e-12)
    hidden = labels.clone()
    hidden[1] = NAN
    assert softmax_twice_loss(logits, hidden).item() == pytest.approx(
        softmax_twice_loss(logits[[0, 2, 3]], labels[[0, 2, 3]]).item(), abs=1e-12
    )


EXPECTED = {
    "cosine": lambda a, b: np.mean(1 - (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)),
    "mse": lambda a, b: np.mean((a - b) ** 2),
    "l1": lambda a, b: np.mean(np.abs(a - b)),
    "kl": lambda a, b: np.mean(np.sum(softmax(b) * np.log(softmax(b) / softmax(a)), axis=1)),
}


def softmax(rows):
    powers = np.exp(rows)
    return powers / powers.sum(1, keepdims=True)


@pytest.mark.parametrize("name", REGRESSIONS)
def test_regression_losses_agree_with_numpy_vanish_at_equality_and_are_differentiable(name):
    student, teacher = vectors(5, 4, seed=1), vectors(5, 4, seed=2)
    expected = EXPECTED[name](student.numpy(), teacher.numpy())
    assert REGRESSIONS[name](student, teacher).item() == pytest.approx(expected, abs=1e-12)
    assert expected > 0.1 and REGRESSIONS[name](teacher, teacher).item() == pytest.approx(0, abs=1e-12)
    assert torch.autograd.gradcheck(REGRESSIONS[name], (student.requires_grad_(), teacher), eps=1e-6, atol=1e-6)


def test_what_counts_alone_counts_in_full():
    """Where one clip, label or pair is known, the mean is that one's."""
    student, teacher = vectors(4, 3, seed=1), vectors(4, 3, seed=2)
    one = torch.zeros(4, 3, dtype=torch.bool)
    one[2, 1] = True
    assert binary_kd(student, teacher, mask=one) == pytest.approx(binary_kd(student[2:3, 1:2], teacher[2:3, 1:2]))
    assert multiclass_kd(student, teacher, mask=one[:, 1]) == pytest.approx(multiclass_kd(student[2:3], teacher[2:3]))
    labels = torch.full((4, 3), NAN, dtype=torch.float64)
    labels[2, 1] = 1.0
    expected = F.binary_cross_entropy_with_logits(student[2, 1], labels[2, 1])
    assert prediction_loss(student, labels, True) == pytest.approx(expected)
    labels[2] = torch.tensor([0.0, 1.0, 0.0])
    expected = F.cross_entropy(student[2:3], torch.tensor([1]))
    for weights in (None, torch.full((3,), 0.1, dtype=torch.float64)):
        assert prediction_loss(student, labels, False, weights) == pytest.approx(expected)
        assert prediction_loss(student, torch.tensor([-1, -1, 1, -1]), False, weights) == pytest.approx(expected)
    matches = torch.zeros(4, 3, dtype=torch.float64)
    matches[2, 1] = 1
    rows, columns = F.cross_entropy(student[2:3], torch.tensor([1])), F.cross_entropy(student[:, 1], torch.tensor(2))
    assert contrastive_loss(student, matches) == pytest.approx((rows + columns) / 2)


def test_a_class_that_nobody_weighs_costs_nothing():
    weights = torch.tensor([0.0, 1.0, 1.0], dtype=torch.float64)
    labels = F.one_hot(torch.tensor([0, 0]), 3).double()
    assert prediction_loss(vectors(2, 3), labels, False, weights) == 0


def test_defaults_are_those_that_the_docstrings_name():
    found = list(named("embcomp.losses"))
    assert len(found) == 6 and unnamed("embcomp.losses") == []
    assert [one for one in found if one[2] != one[3] or type(one[2]) is not type(one[3])] == []
