"""Losses: the authors' numbers and gradients, and what must not change them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from embcomp.errors import DataError
from embcomp.losses import (
    DISTANCES,
    align_frames,
    cosine_distance,
    cosine_distance_difference,
    distance_correlation,
    prediction_loss,
)

RELATIONAL = {"distance_correlation": distance_correlation, "cosine_distance_difference": cosine_distance_difference}
NAN = float("nan")


def vectors(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def orthogonal(dim, seed=0):
    return torch.linalg.qr(vectors(dim, dim, seed=seed))[0]


@pytest.mark.parametrize("name", RELATIONAL)
@pytest.mark.parametrize("case", ["clip", "frames", "small"])
def test_loss_and_gradient_are_those_of_the_authors_code(shared, case, name):
    golden = np.load(shared / "golden" / "transfer_losses.npz")
    student = torch.from_numpy(golden[f"east_{case}_student"]).requires_grad_()
    teacher = torch.from_numpy(golden[f"east_{case}_teacher"])
    factors = golden[f"east_{case}_expand"].tolist()
    loss = RELATIONAL[name](*align_frames(student, teacher, *factors))
    loss.backward()
    assert loss.item() == pytest.approx(golden[f"east_{case}_{name}_loss"].item(), abs=1e-6)
    np.testing.assert_allclose(student.grad.numpy(), golden[f"east_{case}_{name}_grad"], atol=1e-6, rtol=0)
    assert np.abs(golden[f"east_{case}_{name}_grad"]).max() > 1e-5  # so that the bound says something


def test_distance_correlation_is_the_textbook_statistic():
    x, y = 30 * vectors(9, 3, seed=1).numpy(), 30 * vectors(9, 5, seed=2).numpy()

    def centred(points):
        distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
        middle = np.eye(9) - 1 / 9
        return middle @ distances @ middle

    a, b = centred(x), centred(y)
    expected = 1 - (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
    assert distance_correlation(torch.from_numpy(x), torch.from_numpy(y)).item() == pytest.approx(expected, abs=1e-8)


def test_cosine_distance_difference_is_scikit_learns_cosine():
    from sklearn.metrics.pairwise import cosine_similarity

    x, y = vectors(9, 3, seed=1), vectors(9, 5, seed=2)
    expected = np.abs(cosine_similarity(x.numpy()) - cosine_similarity(y.numpy())).mean()
    assert cosine_distance_difference(x, y).item() == pytest.approx(expected, abs=1e-12)


CHANGES = {
    "orthogonal map": lambda x: x @ orthogonal(x.shape[-1], 5),
    "scale": lambda x: 7.0 * x,
    "shift": lambda x: x + vectors(x.shape[-1], seed=6),
    "wider by zeros": lambda x: F.pad(x, (0, 3)),
    "scale of each vector": lambda x: x * torch.linspace(0.5, 2, len(x), dtype=x.dtype).unsqueeze(1),
}


@pytest.mark.parametrize("side", ["student", "teacher"])
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("name", RELATIONAL)
def test_what_changes_a_relational_loss_and_what_does_not(name, change, side):
    loss, student, teacher = RELATIONAL[name], vectors(12, 6, seed=1), vectors(12, 9, seed=2)
    before = loss(student, teacher).item()
    changed = CHANGES[change]
    after = loss(changed(student), teacher) if side == "student" else loss(student, changed(teacher))
    told_apart = {"distance_correlation": "scale of each vector", "cosine_distance_difference": "shift"}[name]
    if change == told_apart:
        assert abs(after.item() - before) > 1e-4
    else:
        assert after.item() == pytest.approx(before, abs=1e-7)


@pytest.mark.parametrize("name", DISTANCES)
def test_the_order_of_the_batch_does_not_matter_but_that_of_one_side_does(name):
    student, teacher = vectors(12, 6, seed=1), vectors(12, 6, seed=2)
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    before = DISTANCES[name](student, teacher).item()
    assert DISTANCES[name](student[order], teacher[order]).item() == pytest.approx(before, abs=1e-12)
    assert abs(DISTANCES[name](student, teacher[order]).item() - before) > 1e-4


@pytest.mark.parametrize("name", DISTANCES)
def test_equal_vectors_are_at_distance_zero_and_the_loss_falls_towards_it(name):
    teacher, other = vectors(12, 6, seed=2), vectors(12, 6, seed=1)
    losses = [DISTANCES[name]((1 - share) * other + share * teacher, teacher).item() for share in (0, 0.5, 0.8, 1)]
    assert losses[-1] == pytest.approx(0, abs=1e-8)
    assert losses == sorted(losses, reverse=True) and losses[0] > 0.05


@pytest.mark.parametrize("name", DISTANCES)
@pytest.mark.parametrize("seed", range(5))
def test_losses_stay_in_their_range(name, seed):
    student, teacher = vectors(8, 4, seed=seed), vectors(8, 4, seed=seed + 100)
    top = 1 if name == "distance_correlation" else 2
    assert 0 <= DISTANCES[name](student, teacher).item() <= top
    assert 0 <= DISTANCES[name](student, -student).item() <= top + 1e-9


@pytest.mark.parametrize("name", RELATIONAL)
def test_frames_are_compared_one_by_one_and_averaged(name):
    student, teacher = vectors(10, 4, 6, seed=1), vectors(10, 4, 9, seed=2)
    each = [RELATIONAL[name](student[:, frame], teacher[:, frame]).item() for frame in range(4)]
    assert RELATIONAL[name](student, teacher).item() == pytest.approx(np.mean(each), abs=1e-12)


@pytest.mark.parametrize("name", RELATIONAL)
def test_one_frame_is_a_clip(name):
    student, teacher = vectors(10, 6, seed=1), vectors(10, 9, seed=2)
    expected = RELATIONAL[name](student, teacher).item()
    assert RELATIONAL[name](student.unsqueeze(1), teacher.unsqueeze(1)).item() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("name", DISTANCES)
def test_gradients_agree_with_finite_differences(name):
    student, teacher = vectors(5, 3, seed=1).requires_grad_(), vectors(5, 3, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(DISTANCES[name], (student, teacher), eps=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", RELATIONAL)
def test_gradients_over_frames_agree_with_finite_differences(name):
    student, teacher = vectors(5, 2, 3, seed=1).requires_grad_(), vectors(5, 2, 4, seed=2).requires_grad_()
    assert torch.autograd.gradcheck(RELATIONAL[name], (student, teacher), eps=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", RELATIONAL)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_equal_zero_and_single_vectors_have_a_finite_loss_and_gradient(name, dtype):
    twice = vectors(4, 3, seed=1).to(dtype).repeat(2, 1)
    for batch in (twice, torch.zeros(4, 3, dtype=dtype), twice[:1], torch.ones(4, 3, dtype=dtype)):
        student = batch.clone().requires_grad_()
        loss = RELATIONAL[name](student, vectors(len(batch), 5, seed=2).to(dtype))
        loss.backward()
        assert torch.isfinite(loss) and torch.isfinite(student.grad).all()


@pytest.mark.parametrize("name", RELATIONAL)
def test_the_loss_is_the_same_with_and_without_gradients(name):
    student, teacher = vectors(12, 6, seed=1), vectors(12, 9, seed=2)
    without = RELATIONAL[name](student, teacher)
    assert RELATIONAL[name](student.requires_grad_(), teacher).item() == pytest.approx(without.item(), abs=1e-12)


@pytest.mark.parametrize("name", RELATIONAL)
def test_single_precision_is_good_to_five_digits(name):
    student, teacher = vectors(32, 128, seed=1), vectors(32, 64, seed=2)
    exact = RELATIONAL[name](student, teacher).item()
    assert RELATIONAL[name](student.float(), teacher.float()).item() == pytest.approx(exact, abs=1e-5)


@pytest.mark.parametrize(
    ("student", "teacher", "message"),
    [
        ((4, 3), (5, 3), r"student \(4, 3\) and teacher \(5, 3\) must have the same clips and frames"),
        ((4, 2, 3), (4, 5, 3), "must have the same clips and frames"),
        ((4, 2, 3), (4, 3), "must have the same clips and frames"),
        ((4,), (4, 3), r"expected \(n, dim\) or \(n, t, dim\), got \(4,\)"),
        ((4, 1, 1, 3), (4, 3), r"got \(4, 1, 1, 3\)"),
    ],
)
@pytest.mark.parametrize("name", RELATIONAL)
def test_batches_that_do_not_fit_are_refused(name, student, teacher, message):
    with pytest.raises(DataError, match=message):
        RELATIONAL[name](torch.zeros(student), torch.zeros(teacher))


def test_a_direct_cosine_agrees_with_numpy_and_needs_equal_widths():
    x, y = vectors(7, 4, seed=1), vectors(7, 4, seed=2)
    cosines = (x * y).sum(1) / x.norm(dim=1) / y.norm(dim=1)
    assert cosine_distance(x, y).item() == pytest.approx((1 - cosines).mean().item(), abs=1e-12)
    with pytest.raises(DataError, match=r"equal widths, not \(7, 4\) and \(7, 5\); set compressor\.dim"):
        cosine_distance(x, vectors(7, 5))


def test_a_direct_cosine_over_time_is_that_of_its_frames():
    x, y = vectors(7, 3, 4, seed=1), vectors(7, 3, 4, seed=2)
    expected = cosine_distance(x.flatten(0, 1), y.flatten(0, 1))
    assert cosine_distance(x, y).item() == pytest.approx(expected.item(), abs=1e-12)


def test_frames_are_repeated_cut_and_averaged():
    student, teacher = vectors(2, 7, 3), vectors(2, 2, 4)
    a, b = align_frames(student, teacher, 1, 3)
    assert torch.equal(a, student[:, :6])
    assert torch.equal(b, teacher[:, [0, 0, 0, 1, 1, 1]])
    a, b = align_frames(student, teacher, -1, -1)
    assert torch.equal(a, student.mean(1, keepdim=True)) and torch.equal(b, teacher.mean(1, keepdim=True))


def test_frames_are_not_repeated_unless_that_is_asked_for():
    student, teacher = vectors(2, 7, 3), vectors(2, 5, 4)
    for one, other in ((student, teacher), (teacher, student)):
        a, b = align_frames(one, other)
        assert torch.equal(a, one[:, :5]) and torch.equal(b, other[:, :5])


@pytest.mark.parametrize("factor", [0, -2])
def test_a_wrong_repeat_factor_is_refused(factor):
    with pytest.raises(DataError, match=f"positive whole number, or -1 .* not {factor}"):
        align_frames(vectors(2, 3, 4), vectors(2, 3, 4), 1, factor)


def one_hot(classes, number=3):
    return F.one_hot(torch.tensor(classes), number).double()


def test_prediction_loss_of_single_labels_is_cross_entropy():
    logits = vectors(4, 3)
    expected = F.cross_entropy(logits, torch.tensor([0, 2, 1, 1]))
    assert prediction_loss(logits, one_hot([0, 2, 1, 1]), False).item() == pytest.approx(expected.item(), abs=1e-12)


def test_prediction_loss_of_several_labels_is_binary_cross_entropy():
    logits, labels = vectors(4, 3), (vectors(4, 3, seed=1) > 0).double()
    expected = F.binary_cross_entropy_with_logits(logits, labels)
    assert prediction_loss(logits, labels, True).item() == pytest.approx(expected.item(), abs=1e-12)


@pytest.mark.parametrize("multi_label", [False, True])
def test_clips_without_a_label_change_neither_loss_nor_gradient(multi_label):
    logits, labels = vectors(4, 3).requires_grad_(), one_hot([0, 2, 1, 1])
    hidden = labels.clone()
    hidden[1] = NAN
    loss = prediction_loss(logits, hidden, multi_label)
    expected = prediction_loss(logits[[0, 2, 3]], labels[[0, 2, 3]], multi_label)
    assert loss.item() == pytest.approx(expected.item(), abs=1e-12)
    loss.backward()
    assert (logits.grad[1] == 0).all() and (logits.grad[[0, 2, 3]] != 0).all()


def test_an_unknown_label_of_a_clip_is_left_out_alone():
    logits, labels = vectors(2, 3).requires_grad_(), torch.tensor([[1.0, NAN, 0.0], [0.0, 1.0, NAN]]).double()
    prediction_loss(logits, labels, True).backward()
    assert ((logits.grad != 0) == ~labels.isnan()).all()


def test_of_single_labels_one_unknown_makes_the_clip_unknown():
    logits, labels = vectors(2, 3), torch.tensor([[1.0, 0.0, 0.0], [0.0, NAN, 1.0]]).double()
    expected = prediction_loss(logits[:1], labels[:1], False)
    assert prediction_loss(logits, labels, False).item() == pytest.approx(expected.item(), abs=1e-12)


@pytest.mark.parametrize("multi_label", [False, True])
def test_without_any_label_the_loss_is_zero(multi_label):
    logits = vectors(4, 3).requires_grad_()
    loss = prediction_loss(logits, torch.full((4, 3), NAN, dtype=torch.float64), multi_label)
    loss.backward()
    assert loss.item() == 0 and (logits.grad == 0).all()


@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 3.0, 1.0]).double()])
def test_classes_as_numbers_are_the_same_as_a_matrix(weights):
    logits = vectors(6, 3).requires_grad_()
    index, matrix = torch.tensor([0, -1, 2, -1, 1, 0]), one_hot([0, 0, 2, 0, 1, 0])
    matrix[[1, 3]] = NAN
    losses = [prediction_loss(logits, labels, False, weights) for labels in (index, matrix)]
    assert losses[0].item() == pytest.approx(losses[1].item(), abs=1e-12)
    known = index >= 0
    assert losses[0].item() == pytest.approx(F.cross_entropy(logits[known], index[known], weights).item(), abs=1e-12)
    gradients = [torch.autograd.grad(loss, logits)[0] for loss in losses]
    torch.testing.assert_close(*gradients)
    assert not gradients[0][~known].any()


def test_with_several_labels_the_weights_are_those_of_the_positives():
    logits, weights = vectors(4, 3), torch.tensor([0.5, 3.0, 1.0]).double()
    labels = (vectors(4, 3, seed=1) > 0).double()
    expected = F.binary_cross_entropy_with_logits(logits, labels, pos_weight=weights)
    assert prediction_loss(logits, labels, True, weights).item() == pytest.approx(expected.item(), abs=1e-12)


@pytest.mark.parametrize("weights", [None, torch.ones(3).double()])
def test_classes_of_which_none_is_known_cost_nothing(weights):
    logits = vectors(4, 3).requires_grad_()
    for labels in (torch.full((4,), -1), torch.full((4, 3), NAN).double()):
        loss = prediction_loss(logits, labels, False, weights)
        assert loss.item() == 0 and not torch.autograd.grad(loss, logits)[0].any()


class LargestTensor(TorchDispatchMode):
    """Notes the most numbers that any operation returned."""

    most = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(tensor, torch.Tensor):
                self.most = max(self.most, tensor.numel())
        return result


@pytest.mark.parametrize("frames", [(), (3,)])
def test_distance_correlation_never_holds_all_differences(frames):
    clips, width = 40, 30
    student = torch.randn(clips, *frames, width, requires_grad=True)
    with LargestTensor() as seen:
        distance_correlation(student, torch.randn(clips, *frames, width)).backward()
    assert clips * clips <= seen.most <= 3 * clips * clips


def test_distance_correlation_of_repeated_clips_has_a_small_gradient_in_single_precision():
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(16, 64, generator=generator)
    student = torch.cat([vectors, vectors]).requires_grad_()
    teacher = torch.randn(16, 8, generator=generator).repeat(2, 1)
    distance_correlation(student, teacher).backward()
    exact = student.detach().double().requires_grad_()
    distance_correlation(exact, teacher.double()).backward()
    torch.testing.assert_close(student.grad.double(), exact.grad, atol=1e-5, rtol=1e-3)
